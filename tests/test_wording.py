import pytest

from spokenby.wording import clock, markdown_cell, markdown_code, one_line, printable


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (29.6, "0:30"), (59.6, "1:00"), (3723, "1:02:03")]
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_names_stay_on_one_line() -> None:
    assert one_line("a\nb\tc") == "a b c"
    assert one_line("\n") == "?"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;title\x07", "\ufffd]0;title\ufffd"),
        ("\x9b31m", "\ufffd31m"),
        ("gpj\u202e4pm.exe", "gpj4pm.exe"),
        ("\u2066a\u2069\u200f", "a"),
        ("half \udce9", "half \ufffd"),
        ("a  b\n\u2028c", "a  b  c"),
        ("[red]a[/red] \u200d é 語", "[red]a[/red] \u200d é 語"),
    ],
)
def test_what_a_terminal_would_obey_is_not_printed(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("![x](http://a.b/c.png)", "!\\[x\\](http\\://a.b/c.png)"),
        ("[x](javascript:alert(1))", "\\[x\\](javascript:alert(1))"),
        ("<img src=x> &lt;", "&lt;img src=x> &amp;lt;"),
        ("`a` *b* _c_ ~d~ \\", "\\`a\\` \\*b\\* \\_c\\_ \\~d\\~ \\\\"),
        ("a|b\n# c", "a\\|b # c"),
        ("HTTPS://a.b/c: d", "HTTPS\\://a.b/c: d"),
        ("see WWW.a.b, wwww.c", "see WWW\\.a.b, wwww.c"),
        ("talk to me@a.b", "talk to me\\@a.b"),
    ],
)
def test_markdown_in_a_name_is_text(text: str, cell: str) -> None:
    assert markdown_cell(text) == cell


@pytest.mark.parametrize(
    ("text", "code"),
    [("a/b", "`a/b`"), ("a`b", "`` a`b ``"), ("``a`", "``` ``a` ```"), ("a\n\nb", "`a b`")],
)
def test_a_path_stays_in_its_code(text: str, code: str) -> None:
    assert markdown_code(text) == code
