import pytest

from spokenby.wording import clock, one_line


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (29.6, "0:30"), (59.6, "1:00"), (3723, "1:02:03")]
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_names_stay_on_one_line() -> None:
    assert one_line("a\nb\tc") == "a b c"
    assert one_line("\n") == "?"
