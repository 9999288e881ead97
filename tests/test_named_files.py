"""Every file that a docstring, a comment or a page names exists."""

import io
import re
import subprocess
import tokenize
from pathlib import Path

ROOT = Path(__file__).parents[1]
NAMED = re.compile(r"(?<![\w./<{*…-])(?:[\w-]+/)*[\w-]+\.py\b")


def tracked(*patterns: str) -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [name for name in listed.stdout.splitlines() if (ROOT / name).exists()]


def prose_of(file: Path) -> str:
    """Return a page, or the comments and free-standing strings of a module."""
    text = file.read_text("utf-8")
    if file.suffix != ".py":
        return text
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return "\n".join(
        token.string
        for token in tokens
        if token.type == tokenize.COMMENT
        or (token.type == tokenize.STRING and token.line.lstrip().startswith(('"""', 'r"""')))
    )


def test_every_file_that_is_named_exists():
    files = {f"/{name}" for name in tracked("*.py")}
    missing = [
        f"{page}: {name}"
        for page in tracked("flows/*.py", "tasks/*.py", "spokenby/*.py", "*.md")
        for name in NAMED.findall(prose_of(ROOT / page))
        if not any(file.endswith(f"/{name}") for file in files)
    ]
    assert not missing


def test_files_of_tasks_hold_tasks_or_are_explained():
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    (row,) = [line for line in page.splitlines() if line.startswith("| `tasks/` |")]
    explained = set(re.findall(r"`(\w+)`", row))
    without = {
        Path(name).stem
        for name in tracked("tasks/*.py")
        if "\n@task" not in (ROOT / name).read_text()
    }
    assert without - {"__init__"} == explained
