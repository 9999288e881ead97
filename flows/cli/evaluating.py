"""The command `spokenby evaluate`: how right transcripts are, by references."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.progress import Progress

from flows.cli.figures import Row, as_json, show, written
from flows.cli.terminal import FAILED, open_console, say

if TYPE_CHECKING:
    from spokenby.evaluation.annotations import Annotation
    from spokenby.evaluation.figures import Settings
    from spokenby.evaluation.references import Annotations
    from spokenby.site.evaluations import Measured

OURS = "spokenby"


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
    show(console, rows, work.settings)
    if json_file:
        content = json.dumps(as_json(rows, work.settings), indent=1, ensure_ascii=False)
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


def _measure(found: Sequence[tuple[str, Measured]], site: Any, work: _Work) -> Iterator[Row]:
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
                row = Row(each.name, group, system, figures, reference.sources)
                if work.pictures:
                    _draw(row, reference, annotation, work)
                yield row
                progress.advance(task)


def _draw(row: Row, reference: Annotation, annotation: Annotation, work: _Work) -> None:
    from spokenby.evaluation.figures import FIGURES
    from spokenby.evaluation.picture import draw
    from spokenby.files import explaining
    from spokenby.output.folders import safe_name

    shown = ("der", "wer", "wder", "cpwer")
    figures = row.score.figures
    summary = ", ".join(
        f"{FIGURES[key].title} {written(figures[key].value, key)}"
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
