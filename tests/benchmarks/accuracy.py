"""Measure how right transcripts are, by condition, beside other systems on the very same audio.

    python tests/benchmarks/accuracy.py [--audio DIR] [--words DIR] [--voxconverse DIR] [--ami DIR]
        [--librispeech DIR] [--senko-environment DIR] [--whisperx-environment DIR] [--work DIR]

Without a folder, the telephone call of pyannote.audio and the sample conversation are measured.
Which layouts the folders have: `conditions.py`. All systems hear the same WAV files, each in one
process from import to end, one after the other; the Whisper weights, beam and compute type are the
same, the language is for each to find out. Scores are those of `spokenby evaluate`.

`--work` keeps sounds and results: what is in it already is not computed again, so one system can be
added to the others (`--system NAME`, several times). Environments are made if they are not there.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile
from conditions import Folders, Material, Recording, read_material, write_sounds
from measuring import (
    Missing,
    arguments,
    finish,
    prepare_environment,
    run,
    run_process,
    say,
    table,
    temporary_folder,
)
from sites import Site, server

from spokenby.evaluation.annotations import Annotation, Line, annotation_of
from spokenby.evaluation.figures import Score
from spokenby.evaluation.readers import read_json, read_rttm
from spokenby.evaluation.scores import check_libraries, score
from spokenby.evaluation.summary import Together, take_together
from spokenby.evaluation.words import align, joined, normalize
from spokenby.models import find_model
from spokenby.output.formats import open_transcript
from spokenby.output.manifest import read_manifest
from spokenby.review.page import LOW_CONFIDENCE
from spokenby.types import SAMPLE_RATE_HZ, Turn

PEERS = Path(__file__).with_name("peers.py")
OURS, TINY = "spokenby", "spokenby, tiny.en"
SEQUENTIAL, BATCHED = "faster-whisper", "faster-whisper, batched"
SENKO, WHISPERX = "Senko", "WhisperX"
SYSTEMS = (OURS, BATCHED, SENKO, SEQUENTIAL, TINY, WHISPERX)
JOINED, ONE = "faster-whisper, batched + Senko", "one speaker"
"""Put together from the others' results: words given to Senko's turns; a perfect recognizer of
words and speech that takes everybody for one person."""
RELEASES = {SENKO: ("senko", "0.2.2"), WHISPERX: ("whisperx", "3.8.6")}


CONFIDENCES = (0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 1.01)


class Judged(NamedTuple):
    """A word that was heard: whether it is right, and marked as doubtful for the reader."""

    confidence: float
    right: bool
    marked: bool


class Cost(NamedTuple):
    """What a system's process cost, and how much it heard; memory in MB, at its peak."""

    minutes: float
    wall: float
    cpu: float
    memory: float


class Results(NamedTuple):
    """What a system says of each recording, by name."""

    said: dict[str, Annotation]
    cost: Cost | None
    versions: dict[str, str]


# --- systems


def run_spokenby(
    material: Material, paths: Sequence[Path], folder: Path, options: argparse.Namespace, tiny: bool
) -> tuple[Cost, dict[str, str]]:
    """Run the profile `embedded` on a new site on which all people are enrolled."""
    words = ["--profile", "embedded"]
    words += ["--set", f"transcribe.faster_whisper.beam_size={options.beam_size}"]
    words += ["--set", f"transcribe.faster_whisper.compute_type={options.compute_type}"]
    words += ["--set", f"transcribe.faster_whisper.cpu_threads={options.threads}"]
    words += ["--set", f"transcribe.device={options.device}"]
    words += ["--set", f"diarize.device={options.device}"]
    if tiny:
        words += ["--set", "transcribe.model=faster-whisper-tiny.en"]
    with server() as api:
        site = Site(folder, api, OMP_NUM_THREADS=str(options.threads))
        if material.people and not tiny:
            enroll(site, material.people, folder / "people")
        ran = site.transcribe(*paths, *words, *(["--no-identify"] if tiny else []))
    return Cost(heard(paths), ran.wall, ran.cpu, ran.memory / 1e6), {}


def enroll(site: Site, people: Mapping[str, np.ndarray], folder: Path) -> None:
    """Make a site know people by their voices."""
    for name, samples in people.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        path = folder / name / "voice.wav"
        soundfile.write(path, samples, SAMPLE_RATE_HZ, subtype="PCM_16")
    say(f"enrolling {len(people)} people")
    command = [sys.executable, "-m", "flows.cli", "voices", "enroll", folder]
    if code := run_process([*command, "--profile", "embedded"], site.environment).code:
        raise Missing(f"spokenby voices enroll ended with exit code {code}")


def read_spokenby(folder: Path, name: str) -> Annotation:
    """Return what spokenby wrote about a recording."""
    place = output(folder, name)
    about = read_manifest(place) or {}
    return annotation_of(open_transcript(place), about.get("identities", ()))


def output(folder: Path, name: str) -> Path:
    """Return spokenby's folder of a recording."""
    (place,) = (folder / "data" / "transcripts").glob(f"{name}-????????")
    return place


def run_peer(
    system: str, paths: Sequence[Path], folder: Path, options: argparse.Namespace
) -> tuple[Cost, dict[str, str]]:
    """Run another system in a process of its own."""
    python = Path(sys.executable)
    if system in RELEASES:
        environment = options.senko_environment if system == SENKO else options.whisperx_environment
        if environment is None:
            raise Missing(f"no environment was named: --{system.lower()}-environment DIR")
        python = prepare_environment(environment.absolute(), *RELEASES[system])
    whisper = options.whisper or find_model("faster_whisper", "", folder / "models")
    wanted = {
        "system": {SENKO: "senko", WHISPERX: "whisperx"}.get(system, "faster_whisper"),
        "batched": system == BATCHED,
        "recordings": [str(path) for path in paths],
        "out": str(folder),
        "whisper": str(whisper),
        "pyannote": str(options.pyannote or ""),
        "aligner": str(options.aligner or ""),
        **{
            key: getattr(options, key) for key in ("device", "compute_type", "beam_size", "threads")
        },
    }
    env = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "PYANNOTE_METRICS_ENABLED": "0",
        "OMP_NUM_THREADS": str(options.threads),
    }
    out = folder / "versions.txt"
    # -P: or this folder's whisperx.py would be taken for the library.
    ran = run_process([python, "-P", PEERS, json.dumps(wanted)], env, out=out)
    if ran.code:
        raise Missing(f"{system} ended with exit code {ran.code}: see above")
    versions = json.loads(out.read_text(encoding="utf-8").splitlines()[-1])
    return Cost(heard(paths), ran.wall, ran.cpu, ran.memory / 1e6), versions


def read_peer(folder: Path, name: str) -> Annotation:
    """Return what another system wrote about a recording; one that found nothing said so."""
    if (path := folder / f"{name}.rttm").exists():
        return Annotation(turns=read_rttm(path, {name}).turns or ())
    found = read_json(folder / f"{name}.json", {name})
    return replace(found, turns=found.turns or None, words=found.words or ())


def heard(paths: Iterable[Path]) -> float:
    """Return how many minutes recordings last."""
    return float(sum(soundfile.info(path).duration for path in paths)) / 60


def results_of(
    system: str, material: Material, options: argparse.Namespace, work: Path
) -> Results | None:
    """Return what a system says, computed unless it is there; `None` if it was not wanted."""
    recordings = [each for each in material.recordings if system != TINY or each.language == "en"]
    folder = folder_of(work, system)
    done = folder / "done.json"
    known = {each.name: fingerprint(each) for each in recordings}
    before = json.loads(done.read_text(encoding="utf-8")) if done.exists() else {}
    if before.get("recordings") != known:
        if options.system and system not in options.system:
            return None
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        paths = [work / "sounds" / f"{each.name}.wav" for each in recordings]
        say(f"{system}: {len(paths)} recordings")
        if system in {OURS, TINY}:
            cost, versions = run_spokenby(material, paths, folder, options, system == TINY)
        else:
            cost, versions = run_peer(system, paths, folder, options)
        before = {"cost": cost, "versions": versions, "recordings": known}
        done.write_text(json.dumps(before), encoding="utf-8")
    read = read_spokenby if system in {OURS, TINY} else read_peer
    said = {each.name: read(folder, each.name) for each in recordings}
    return Results(said, Cost(*before["cost"]), before["versions"])


def folder_of(work: Path, system: str) -> Path:
    """Return where the results of a system are."""
    return work / "systems" / system.replace(", ", "-").replace(".", "-")


def fingerprint(recording: Recording) -> float:
    """Return a number that another sound does not have."""
    sound = recording.sound.astype(np.float64)
    return round(float(sound @ np.arange(len(sound))), 3)


# --- put together


def give_to_turns(words: Annotation, turns: Annotation) -> Annotation:
    """Return words with the speaker of the turn that each lies in, or is nearest to."""
    speakers = turns.turns or ()

    def speaker(start: float, end: float) -> str | None:
        middle = (start + end) / 2
        far = [(max(turn.start - middle, middle - turn.end, 0), turn.speaker) for turn in speakers]
        return min(far)[1] if far else None

    said = [(speaker(word.start, word.end), word) for word in words.words or ()]
    lines = []
    for who, some in groupby(said, key=lambda pair: pair[0]):
        spoken = [word for _, word in some]
        text = " ".join(word.text for word in spoken)
        lines.append(Line(text, who, spoken[0].start, spoken[-1].end))
    return Annotation(turns=turns.turns, lines=tuple(lines))


def as_one_speaker(reference: Annotation) -> Annotation:
    """Return the reference with everybody called the same: all is right but who speaks."""
    turns: list[Turn] = []
    for turn in sorted(reference.turns or (), key=lambda turn: turn.start):
        if turns and turn.start <= turns[-1].end:
            end = max(turns[-1].end, turn.end)
            turns[-1] = turns[-1].model_copy(update={"end": end})
        else:
            turns.append(turn.model_copy(update={"speaker": "A"}))
    lines = tuple(line._replace(speaker="A") for line in reference.lines or ())
    return Annotation(turns=tuple(turns) or None, lines=lines or None)


# --- scores


Scores = dict[str, dict[str, Score]]
"""By system and recording."""


def score_all(material: Material, results: Mapping[str, Results]) -> Scores:
    """Compare what every system says of every recording."""
    return {
        system: {
            each.name: score(
                each.reference,
                found.said[each.name],
                language=each.language,
                known_people=material.people if system == OURS else (),
            )
            for each in material.recordings
            if each.name in found.said
        }
        for system, found in results.items()
    }


def together(scores: Scores, system: str, names: Iterable[str]) -> dict[str, Together]:
    """Return a system's figures over some recordings."""
    found = scores.get(system, {})
    return take_together([found[name].figures for name in names if name in found])


def show(material: Material, scores: Scores, results: Mapping[str, Results]) -> list[str]:
    """Return the tables."""
    conditions: dict[str, list[Recording]] = {}
    for each in material.recordings:
        conditions.setdefault(each.condition, []).append(each)
    return [
        show_words(conditions, scores),
        show_speakers(conditions, scores),
        show_both(conditions, scores),
        show_names(conditions, scores, strangers_named(material, results)),
        show_costs(results),
    ]


def percent(figures: Mapping[str, Together], key: str) -> float | None:
    """Return a figure for a table."""
    return round(100 * figures[key].rate.value, 1) if key in figures else None


def by_condition(
    conditions: Mapping[str, Sequence[Recording]],
    scores: Scores,
    columns: Sequence[tuple[str, str, str]],
    leading: str,
    *,
    true_words: bool = False,
) -> str:
    """Return a table with a row for each condition that has the figure `leading`.

    Columns are a system, a figure, and their heading; systems that were not run have none.
    """
    columns = [column for column in columns if column[0] in scores]
    rows, all_names = [], []
    for condition, some in conditions.items():
        names = [each.name for each in some]
        if not any(
            leading in scores[column[0]][n].figures
            for column in columns
            for n in names
            if n in scores[column[0]]
        ):
            continue
        if not (true_words and some[0].heard):
            all_names += names
        minutes = sum(each.seconds for each in some) / 60
        label = f"{condition} *" if some[0].heard and true_words else condition
        rows.append(
            [label, len(some), round(minutes, 1)]
            + [percent(together(scores, system, names), key) for system, key, _ in columns]
        )
    if not rows:
        return ""
    label = "all but *" if true_words and any(row[0].endswith("*") for row in rows) else "all"
    totals = [together(scores, system, all_names) for system, _, _ in columns]
    rows.append(
        [label, len(all_names), None]
        + [percent(total, key) for total, (_, key, _) in zip(totals, columns, strict=True)]
    )
    body = table(["", "files", "min", *(column[2] for column in columns)], rows)
    ranges = [
        f"{heading} {100 * found.low:.1f} to {100 * found.high:.1f}"
        for total, (_, key, heading) in zip(totals, columns, strict=True)
        if (found := total.get(key)) and key == leading and found.recordings > 1
    ]
    return (
        f"{body}\n\nOf {label}, 95 % bootstrap intervals: {'; '.join(ranges)}" if ranges else body
    )


def show_words(conditions: Mapping[str, Sequence[Recording]], scores: Scores) -> str:
    """Return word error rates."""
    columns = [(system, "wer", system) for system in (OURS, TINY, SEQUENTIAL, BATCHED, WHISPERX)]
    shown = by_condition(conditions, scores, columns, "wer", true_words=True)
    return f"WER, %\n\n{shown}" if shown else ""


def show_speakers(conditions: Mapping[str, Sequence[Recording]], scores: Scores) -> str:
    """Return diarization error rates and their parts."""
    columns = []
    for system in (OURS, SENKO, WHISPERX):
        columns.append((system, "der", f"{system} DER"))
        columns += [
            (system, key, title)
            for key, title in (
                ("missed", "missed"),
                ("false_alarm", "false"),
                ("confusion", "confused"),
                ("count", "miscounted"),
            )
        ]
    columns.append((ONE, "der", f"{ONE} DER"))
    # Words alone say nothing about speakers.
    columns = [c for c in columns if any("der" in s.figures for s in scores.get(c[0], {}).values())]
    shown = by_condition(conditions, scores, columns, "der")
    return f"DER and its parts, %, collar 0, overlap scored\n\n{shown}" if shown else ""


def show_both(conditions: Mapping[str, Sequence[Recording]], scores: Scores) -> str:
    """Return what goes wrong of words with speakers."""
    columns = [
        (system, key, f"{system} {title}")
        for system in (OURS, JOINED, WHISPERX, ONE)
        for key, title in (("wder", "WDER"), ("cpwer", "cpWER"))
        if any(key in found.figures for found in scores.get(system, {}).values())
    ]
    shown = by_condition(conditions, scores, columns, "wder")
    return f"Words with their speakers, %\n\n{shown}" if shown else ""


def strangers_named(material: Material, results: Mapping[str, Results]) -> tuple[int, int]:
    """Return how many names were given where nobody is enrolled, and to how many speakers."""
    said = results[OURS].said if OURS in results else {}
    others = [
        said[each.name]
        for each in material.recordings
        if each.name in said
        if not {turn.speaker for turn in each.reference.turns or ()} & material.people.keys()
    ]
    speakers = sum(len({turn.speaker for turn in each.turns or ()}) for each in others)
    return sum(len(each.names) for each in others), speakers


def show_names(
    conditions: Mapping[str, Sequence[Recording]], scores: Scores, strangers: tuple[int, int]
) -> str:
    """Return how right names are."""
    columns = [
        (OURS, "name_wrong", "names wrong"),
        (OURS, "name_missed", "enrolled people not named"),
    ]
    shown = by_condition(conditions, scores, columns, "name_missed")
    others = "Names given where nobody is enrolled: {} to {} speakers".format(*strangers)
    return f"Names of enrolled people, %\n\n{shown}\n\n{others}" if shown else ""


def judge_words(material: Material, folder: Path) -> Iterator[Judged]:
    """Yield each word of spokenby's where the true text is known."""
    for each in material.recordings:
        if each.heard or not each.reference.lines:
            continue
        transcript = open_transcript(output(folder, each.name)).transcript
        heard = [word for segment in transcript.segments for word in segment.words]
        # Word by word: a number of several words may count as wrong.
        right, found = (
            [" ".join(normalize(text, each.language)) for text in texts]
            for texts in (joined(each.reference.lines).split(), [word.text for word in heard])
        )
        hits = {
            step.hypothesis
            for step in align(right, found)
            if step.reference is not None and step.hypothesis is not None
            if right[step.reference] == found[step.hypothesis]
        }
        for number, word in enumerate(heard):
            marked = word.confidence < LOW_CONFIDENCE or any(
                note.start <= word.start < note.end for note in transcript.doubtful
            )
            if found[number]:  # no filler
                yield Judged(word.confidence, number in hits, marked)


def by_confidence(judged: Sequence[Judged]) -> list[tuple[str, int, float, float]]:
    """Return how many words are of a confidence, its mean, and how many percent are right."""
    rows = []
    for low, high in pairwise(CONFIDENCES):
        some = [word for word in judged if low <= word.confidence < high]
        if some:
            mean = sum(word.confidence for word in some) / len(some)
            share = sum(word.right for word in some) / len(some)
            label = f"{low:g} to {min(high, 1):g}"
            rows.append((label, len(some), round(mean, 2), round(100 * share, 1)))
    return rows


def show_confidence(judged: Sequence[Judged]) -> str:
    """Return how often words are right by how sure the recognizer is, and what marks find."""
    if not judged:
        return ""
    wrong = sum(not word.right for word in judged)
    marked = sum(word.marked for word in judged)
    both = sum(word.marked and not word.right for word in judged)
    return (
        f"Words of spokenby by their confidence\n\n"
        f"{table(['confidence', 'words', 'mean', 'right, %'], by_confidence(judged))}\n\n"
        f"Of {len(judged)} words, {wrong} are wrong. {marked} are marked as doubtful, of which "
        f"{both} are wrong: {100 * both / max(marked, 1):.0f} % of the marks are right, and they "
        f"find {100 * both / max(wrong, 1):.0f} % of the wrong words."
    )


def show_costs(results: Mapping[str, Results]) -> str:
    """Return what each system cost, in relation to ours."""
    costs = {system: found.cost for system, found in results.items() if found.cost}
    ours = costs.get(OURS)
    rows = [
        [
            system,
            round(cost.minutes, 1),
            round(cost.cpu / cost.minutes, 1),
            round(cost.cpu / cost.minutes / (ours.cpu / ours.minutes), 2) if ours else None,
            round(cost.memory),
            round(cost.wall / cost.minutes / 60, 2),
        ]
        for system, cost in costs.items()
    ]
    head = ["", "min", "CPU s a minute", "of spokenby's", "peak MB", "real-time factor"]
    return f"Cost\n\n{table(head, rows)}"


def as_json(
    material: Material, scores: Scores, results: Mapping[str, Results], failed: Mapping[str, str]
) -> dict[str, Any]:
    """Return everything."""
    return {
        "systems": {
            system: {"cost": found.cost and found.cost._asdict(), "versions": found.versions}
            for system, found in results.items()
        },
        "not_run": dict(failed),
        "recordings": [
            {
                "name": each.name,
                "condition": each.condition,
                "seconds": round(each.seconds, 2),
                "language": each.language,
                "text_by_whisper": each.heard,
                "figures": {
                    system: {
                        key: [round(rate.errors, 4), round(rate.total, 4)]
                        for key, rate in found[each.name].figures.items()
                    }
                    for system, found in scores.items()
                    if each.name in found
                },
            }
            for each in material.recordings
        ],
    }


def add_options(parser: argparse.ArgumentParser) -> None:
    for name in Folders._fields:
        parser.add_argument(f"--{name}", type=Path, help="see conditions.py")
    parser.add_argument("--chosen", default="dev*", help="of --audio: settings were chosen on them")
    parser.add_argument("--far", default="meeting*", help="of --audio: a microphone far away")
    parser.add_argument("--seconds", type=float, default=40, help="of a conversation that is built")
    parser.add_argument("--most", type=int, default=20, help="recordings of a kind of a folder")
    parser.add_argument("--system", action="append", choices=SYSTEMS, help="run these only")
    parser.add_argument("--senko-environment", type=Path, help="made if needed: 6 GB")
    parser.add_argument("--whisperx-environment", type=Path, help="made if needed: 6 GB")
    parser.add_argument("--pyannote", type=Path, help="pipeline's folder for WhisperX's speakers")
    parser.add_argument("--aligner", type=Path, help="wav2vec 2.0's folder for WhisperX's times")
    parser.add_argument("--whisper", type=Path, help="folder of the peers' CTranslate2 model")
    parser.add_argument("--work", type=Path, help="folder to keep sounds and results in")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--compute-type", default="int8", help="of every Whisper")
    parser.add_argument("--beam-size", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)


def main() -> None:
    check_libraries()
    parser = arguments(__doc__, speech=False)
    add_options(parser)
    options = parser.parse_args()
    folders = Folders(*(getattr(options, name) for name in Folders._fields))
    with nullcontext(options.work) if options.work else temporary_folder() as folder:
        work = folder.absolute()
        work.mkdir(parents=True, exist_ok=True)
        material = read_material(
            folders,
            work,
            chosen=options.chosen,
            far=options.far,
            seconds=options.seconds,
            most=options.most,
        )
        write_sounds(material.recordings, work / "sounds")
        minutes = sum(each.seconds for each in material.recordings) / 60
        say(f"{len(material.recordings)} recordings, {minutes:.1f} min")
        results: dict[str, Results] = {}
        failed: dict[str, str] = {}
        for system in SYSTEMS:
            try:
                if found := results_of(system, material, options, work):
                    results[system] = found
                else:
                    failed[system] = "not asked for"
            except Missing as error:
                failed[system] = str(error)
                say(f"{system} is left out: {error}")
        judged = list(judge_words(material, folder_of(work, OURS))) if OURS in results else []
    if BATCHED in results and SENKO in results:
        words, turns = results[BATCHED].said, results[SENKO].said
        given = {name: give_to_turns(words[name], turns[name]) for name in words}
        results[JOINED] = Results(given, None, {})
    ones = {each.name: as_one_speaker(each.reference) for each in material.recordings}
    results[ONE] = Results(ones, None, {})
    scores = score_all(material, results)
    tables = [*show(material, scores, results), show_confidence(judged)]
    tables += [f"{system}: not run: {why}" for system, why in failed.items()]
    found = {**as_json(material, scores, results, failed), "confidence": by_confidence(judged)}
    finish("accuracy", options, "\n\n".join(filter(None, tables)), found)


if __name__ == "__main__":
    run(main)
