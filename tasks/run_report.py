"""Keep what was measured during a run: a picture, its samples, a page in Prefect's UI."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from prefect.artifacts import create_markdown_artifact
from prefect.logging import get_logger

from spokenby.progress import is_stopping
from spokenby.settings import Settings
from spokenby.telemetry import run_page, timeline
from spokenby.telemetry.record import Record
from spokenby.telemetry.sampler import watching
from spokenby.wording import markdown_cell
from tasks.artifacts import tell_prefect

RUNS_KEPT = 100

_lines: list[str] = []


@contextmanager
def watch_run(name: str, settings: Settings) -> Iterator[None]:
    """Watch a run, and tell what was seen: unless it computed nothing, fails or is stopped."""
    with watching() as watch:
        yield
    record = watch.record()
    if is_stopping() or all(span.stage == "inspect" for span in record.spans):
        return
    try:
        _tell(record, name, settings)
    except Exception:  # noqa: BLE001 - the run's transcripts are worth more than its figures
        get_logger("spokenby").warning("the record of this run was not saved", exc_info=True)


def take_lines() -> list[str]:
    """Return the lines about the runs of this process since the last call."""
    lines = list(_lines)
    _lines.clear()
    return lines


def _tell(record: Record, name: str, settings: Settings) -> None:
    line = run_page.in_one_line(record)
    _lines.append(line)
    picture = timeline.draw(record, name, line)
    kept = keep(record, picture, settings.runs)
    _lines.append(f"timeline: {kept}")
    get_logger("spokenby").info("%s; timeline: %s", line, kept)
    tell_prefect(
        create_markdown_artifact,
        run_page.write_run_page(record, name, picture, kept),
        key="run",
        description=markdown_cell(line),
    )


def keep(record: Record, picture: str, folder: Path) -> Path:
    """Write the picture, and the samples as JSON beside it; return where.

    The last `RUNS_KEPT` are kept. Runs that end in the same second, on other hosts too, get a
    number each.
    """
    folder.mkdir(parents=True, exist_ok=True)
    began = record.started.strftime("%Y-%m-%dT%H-%M-%SZ")
    content = json.dumps(record.to_json())
    for number in count(1):
        path = folder / f"{began}{f'-{number}' if number > 1 else ''}.json"
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(content)
        except FileExistsError:
            continue
        break
    path.with_suffix(".svg").write_text(picture, encoding="utf-8")
    for old in sorted(folder.glob("????-??-??T*.json"))[:-RUNS_KEPT]:
        old.with_suffix(".svg").unlink(missing_ok=True)
        old.unlink(missing_ok=True)
    return path.with_suffix(".svg")
