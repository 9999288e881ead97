"""The command `spokenby evaluate`: how right transcripts are, by references."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from flows.cli.terminal import FAILED, cell, open_console, print_table, say

if TYPE_CHECKING:
    from spokenby.evaluation.annotations import Annotation
    from spokenby.evaluation.figures import Score, Settings
    from spokenby.evaluation.references import Annotations
    from spokenby.evaluation.summary import Together
    from spokenby.site.evaluations import Measured

OURS = "spokenby"
_ALL = "all"
_LEAST_NEEDED = ("uncovered", "far off", "word edges", "names missed", "names wrong", "raw WER")
"""Columns that a narrow terminal may go without: the tables below show them, too."""


class _Row(NamedTuple):
    """One system on one recording."""

    name: str
    group: str
    system: str
    score: Score
    sources: tuple[str, ...]


def evaluate(
    *paths: str,
    references: str | None = None,
    profile: Annotated[tuple[str, ...], Parameter(show_default=False)] = (),
    against: tuple[str, ...] = (),
    collar: Annotated[float, Parameter(validator=Number(gte=0))] = 0.0,
    skip_overlap: bool = False,
    json_file: Annotated[str | None, Parameter(name="--json")] = None,
    pictures: str | None = None,
) -> int:
    """Measure how right finished transcripts are, by references of who said what, when.

    Computes no transcript, but for --profile. References have the name of the video: talk.rttm,
    talk.stm, … for talk.mp4. They lie beside it or in --references: RTTM, STM, ELAN (.eaf), Praat
    (.TextGrid), CTM, captions (.srt, .vtt) and text, also with a name at the head of each line
    ("Ada: Good morning."); UEM says which regions to compare. RTTM, STM, CTM and UEM may list many
    recordings in one file. What a reference does not tell is not measured.

    Needs the group of packages `evaluation`: uv sync --inexact --group evaluation

    For example:

        spokenby evaluate talk.mp4
        spokenby evaluate data/transcripts --references refs/ --json figures.json --pictures out/
        spokenby evaluate data/transcripts --references refs/ --against whisperx-output/
        spokenby evaluate talks/ --profile embedded --profile open
        spokenby evaluate talks/ --profile embedded --profile "embedded --num-speakers 2"

    Args:
        paths: Videos, folders of videos, transcripts' folders, or folders of such folders.
        references: Folder of references, looked through with all its subfolders.
        profile: Transcribe the videos with this profile first, apart from the site's transcripts;
            options of spokenby transcribe may follow it. May be given several times, to compare.
        against: Folder of another system's results on the same recordings: WhisperX's JSON, RTTM,
            captions, or transcripts of another site. May be given several times.
        collar: Seconds on each side of the reference's turn edges that are left out of DER and JER.
        skip_overlap: Leave speech of several people at once out of DER and JER.
        json_file: File to write the figures to.
        pictures: Folder to write a picture of each recording to, as SVG.
    """
    from spokenby.errors import InputError
    from spokenby.evaluation.figures import Settings
    from spokenby.evaluation.readers import RESULTS
    from spokenby.evaluation.references import Annotations
    from spokenby.evaluation.scores import check_libraries
    from spokenby.files import explaining
    from spokenby.settings import read_settings

    check_libraries()
    if not paths:
        raise InputError("no transcript was named", "name a video, or the folder of a transcript")
    for folder in filter(None, (references, *against)):
        if not Path(folder).is_dir():
            raise InputError(f"{folder} is not a folder", "name one that is there")
    console = open_console()
    work = _Work(
        console,
        Settings(collar, skip_overlap),
        {_system(folder): Annotations(Path(folder), RESULTS) for folder in against},
        Path(pictures) if pictures else None,
    )
    if work.pictures:
        with explaining(work.pictures, "choose another folder"):
            work.pictures.mkdir(parents=True, exist_ok=True)
    site = read_settings()
    right = Annotations(Path(references)) if references else None
    found = [
        (system, each)
        for system, where in _systems(profile, paths, site, console).items()
        for each in _find(*where, right, work)
    ]
    rows = list(_measure(found, site, work))
    if not rows:
        raise InputError(
            "nothing could be measured",
            "put references beside the videos, or name their folder with --references",
        )
    _show(console, rows, work.settings)
    if json_file:
        content = json.dumps(_as_json(rows, work.settings), indent=1, ensure_ascii=False)
        with explaining(Path(json_file), "choose another file"):
            Path(json_file).write_text(f"{content}\n", encoding="utf-8")
    return FAILED if work.complained else 0


class _Work:
    """What the command was asked for, and how many files it could not use."""

    def __init__(
        self,
        console: Console,
        settings: Settings,
        others: dict[str, Annotations],
        pictures: Path | None,
    ) -> None:
        self.console, self.settings, self.others = console, settings, others
        self.pictures = pictures
        self._said: set[str] = set()
        self.drawn: set[str] = set()

    @property
    def complained(self) -> bool:
        """Whether something was left out."""
        return bool(self._said)

    def complain(self, problem: object) -> None:
        """Print a line on something that was left out, once."""
        if str(problem) not in self._said:
            self._said.add(str(problem))
            say(self.console, str(problem))


def _systems(
    profiles: Sequence[str], paths: Sequence[str], site: Any, console: Console
) -> dict[str, tuple[Sequence[str], Any]]:
    """Return where transcripts of our own are: of the site, or for each profile."""
    from flows.cli.comparing import transcribe_apart
    from spokenby.site.find_videos import find_videos

    if not profiles:
        return {OURS: (paths, site)}
    videos = list(map(str, find_videos(paths)))
    return {each: (videos, transcribe_apart(each, videos, site, console)) for each in profiles}


def _system(folder: str) -> str:
    """Return how another system is called: as its folder."""
    name = Path(folder).resolve().name
    return f"{name} (other)" if name == OURS else name


def _find(
    paths: Sequence[str], site: Any, references: Annotations | None, work: _Work
) -> Iterator[Measured]:
    """Yield transcripts that have a reference; print a line about each of the others."""
    from spokenby.errors import SpokenbyError
    from spokenby.site.evaluations import find_measured

    for path in paths:
        try:
            for each in find_measured(path, site, references):
                if isinstance(each, SpokenbyError):
                    work.complain(each)
                    continue
                for bad in each.reference.bad:
                    work.complain(bad)
                if each.corrected:
                    say(work.console, f"{each.name}: measured without people's corrections")
                if each.reference.folder:
                    yield each
                else:
                    work.complain(f"{each.name} has no reference; left out")
        except SpokenbyError as error:
            work.complain(error)


def _measure(found: Sequence[tuple[str, Measured]], site: Any, work: _Work) -> Iterator[_Row]:
    """Yield the figures of each recording: ours, then those of other systems."""
    from spokenby.evaluation.scores import score
    from spokenby.site.evaluations import people_known

    people = people_known(site) if found else set()
    with Progress(console=Console(stderr=True), transient=True) as progress:
        others, first = work.others, found[0][0] if found else ""
        task = progress.add_task("measuring", total=len(found) * (1 + len(others)))
        for ours, each in found:
            reference, group = each.reference.annotation, str(each.reference.folder)
            systems: list[tuple[str, Annotation]] = [(ours, each.annotation)]
            for name, results in others.items() if ours == first else ():
                theirs = results.of(each.name)
                for bad in theirs.bad:
                    work.complain(bad)
                if theirs.folder:
                    systems.append((name, theirs.annotation))
                else:
                    work.complain(f"{name} has nothing on {each.name}")
            for system, annotation in systems:
                figures = score(
                    reference,
                    annotation,
                    work.settings,
                    language=each.annotation.language,
                    known_people=people if system == ours else (),
                )
                for note in figures.notes:
                    say(work.console, f"{each.name}, {system}: {note}")
                row = _Row(each.name, group, system, figures, reference.sources)
                if work.pictures:
                    _draw(row, reference, annotation, work)
                yield row
                progress.advance(task)


def _draw(row: _Row, reference: Annotation, annotation: Annotation, work: _Work) -> None:
    from spokenby.evaluation.figures import FIGURES
    from spokenby.evaluation.picture import draw
    from spokenby.files import explaining
    from spokenby.output.folders import safe_name

    shown = ("der", "wer", "wder", "cpwer")
    figures = row.score.figures
    summary = ", ".join(
        f"{FIGURES[key].title} {_written(figures[key].value, key)}"
        for key in shown
        if key in figures
    )
    stem = safe_name(row.name if row.system == OURS else f"{row.name}.{row.system}")
    number = 2
    name = stem
    while name.casefold() in work.drawn:
        name, number = f"{stem}-{number}", number + 1
    work.drawn.add(name.casefold())
    picture = draw(
        f"{row.name}, {row.system}", summary, reference, annotation, row.score, work.settings
    )
    if work.pictures:
        with explaining(work.pictures, "choose another folder"):
            (work.pictures / f"{name}.svg").write_text(picture, encoding="utf-8")


def _written(value: float, key: str) -> str:
    from spokenby.evaluation.figures import FIGURES

    if math.isnan(value):
        return "–"
    return f"{value:.3f} s" if FIGURES[key].unit == "s" else f"{100 * value:.1f} %"


def _show(console: Console, rows: Sequence[_Row], settings: Settings) -> None:
    """Print the figures of each recording, of each folder of references, and of all."""
    for name, sources in dict.fromkeys((row.name, row.sources) for row in rows):
        say(console, f"{name} by {', '.join(sources)}")
    _show_recordings(console, rows)
    for group in _groups(rows):
        _show_together(console, group, [row for row in rows if group in {row.group, _ALL}])
    for line in _explain(rows, settings):
        say(console, line)


def _show_recordings(console: Console, rows: Sequence[_Row]) -> None:
    from spokenby.evaluation.figures import FIGURES

    several = len({row.system for row in rows}) > 1
    keys = [
        key for key in FIGURES if key != "count" and any(key in row.score.figures for row in rows)
    ]
    table = Table("recording", *(["system"] if several else []))
    for key in keys:
        table.add_column(FIGURES[key].title, justify="right")
        if key == "jer":
            table.add_column("speakers", justify="right")
    for row in rows:
        cells = [cell(row.name), *([cell(row.system)] if several else [])]
        for key in keys:
            rate = row.score.figures.get(key)
            value = _written(rate.value, key).removesuffix(" %") if rate else ""
            cells.append(cell(value))
            if key == "jer":
                number = row.score.speakers
                cells.append(cell("{} of {}".format(*number) if number else ""))
        table.add_row(*cells)
    print_table(console, table, *_LEAST_NEEDED)


def _show_together(console: Console, group: str, rows: Sequence[_Row]) -> None:
    from spokenby.evaluation.figures import FIGURES
    from spokenby.evaluation.summary import take_together
    from spokenby.wording import one_line

    systems = list(dict.fromkeys(row.system for row in rows))
    figures = {
        system: take_together([row.score.figures for row in rows if row.system == system])
        for system in systems
    }
    table = Table(one_line(group), *map(one_line, systems))
    for key, figure in FIGURES.items():
        if any(key in found for found in figures.values()):
            taken = [figures[system].get(key) for system in systems]
            most = max(each.recordings for each in taken if each)
            table.add_row(figure.title, *(_interval(each, key, most) for each in taken))
    print_table(console, table)


def _interval(together: Together | None, key: str, most: int) -> str:
    """Return a figure with its interval; where others are of more recordings, of how many."""
    if together is None:
        return ""
    value = _written(together.rate.value, key)
    if not math.isnan(together.low):
        low, high = (_written(each, key).split()[0] for each in (together.low, together.high))
        value = f"{value} ({low} to {high})"
    return f"{value} in {together.recordings} of {most}" if together.recordings < most else value


def _groups(rows: Sequence[_Row]) -> list[str]:
    """Return the folders of references, and all of them together where there are several."""
    groups = list(dict.fromkeys(row.group for row in rows))
    if len({row.name for row in rows}) < 2 and len({row.system for row in rows}) < 2:
        return []
    return groups if len(groups) == 1 else [*groups, _ALL]


def _explain(rows: Sequence[_Row], settings: Settings) -> Iterator[str]:
    """Yield what the figures are and how they were measured."""
    from spokenby.evaluation.figures import FIGURES

    for key, figure in FIGURES.items():
        if any(key in row.score.figures for row in rows):
            yield f"{figure.title}: {figure.means}"
    yield from (f"{name}: {value}" for name, value in _settings(rows, settings).items())


def _settings(rows: Sequence[_Row], settings: Settings) -> dict[str, str]:
    from spokenby.evaluation.figures import TCP_COLLAR_S
    from spokenby.evaluation.summary import RESAMPLES
    from spokenby.evaluation.words import normalizer_name

    languages = sorted({row.score.language for row in rows})
    normalizers = ", ".join(f"{normalizer_name(language)} ({language})" for language in languages)
    return {
        "turns": f"{settings}; pyannote.metrics {version('pyannote.metrics')}",
        "words": f"normalized by Whisper's rules: {normalizers}; "
        f"whisper-normalizer {version('whisper-normalizer')}, MeetEval {version('meeteval')}, "
        f"tcpWER's collar {TCP_COLLAR_S:g} s",
        "intervals": f"95 %, {RESAMPLES} bootstrap samples of the recordings, seed 0",
    }


def _as_json(rows: Sequence[_Row], settings: Settings) -> dict[str, Any]:
    from spokenby.evaluation.summary import take_together

    def number(value: float) -> float | None:
        return None if math.isnan(value) else round(value, 6)

    return {
        "settings": _settings(rows, settings),
        "recordings": [
            {
                "name": row.name,
                "group": row.group,
                "system": row.system,
                "references": row.sources,
                "language": row.score.language,
                "speakers": dict(zip(("found", "right"), row.score.speakers or (), strict=False)),
                "figures": {
                    key: {
                        "value": number(rate.value),
                        "errors": round(rate.errors, 6),
                        "total": round(rate.total, 6),
                    }
                    for key, rate in row.score.figures.items()
                },
            }
            for row in rows
        ],
        "together": [
            {
                "group": group,
                "system": system,
                "figures": {
                    key: {
                        "value": number(each.rate.value),
                        "low": number(each.low),
                        "high": number(each.high),
                        "recordings": each.recordings,
                    }
                    for key, each in take_together(
                        [
                            row.score.figures
                            for row in rows
                            if group in {row.group, _ALL} and row.system == system
                        ]
                    ).items()
                },
            }
            for group in _groups(rows)
            for system in dict.fromkeys(row.system for row in rows)
        ],
    }
