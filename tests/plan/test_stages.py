from __future__ import annotations

import grimp
import pytest
from conftest import ROOT

from spokenby.errors import InputError
from spokenby.plan.planning import Plan, plan_video, stage_digests, stages_of, upstream_of
from spokenby.plan.profiles import Profile, make_recipe
from spokenby.plan.stages import READS_AUDIO, UPSTREAM, Stage, with_upstream

MODELS = {"speech": "vad:1", "diarize": "voice:1", "embed": "voice:1", "transcribe": "words:1"}
ON = {"edges": {"enabled": True}}
RECIPE = make_recipe(Profile.EMBEDDED, **ON)
OFF = make_recipe(Profile.EMBEDDED, edges={"enabled": False})
E, S, D, M, T, W, G = (
    Stage.EXTRACT,
    Stage.SPEECH,
    Stage.DIARIZE,
    Stage.EMBED,
    Stage.TRANSCRIBE,
    Stage.EDGES,
    Stage.MERGE,
)


def changed(**params: dict[str, object]) -> set[Stage]:
    """Return the stages whose digest some params change."""
    before = stage_digests("video", RECIPE, MODELS)
    after = stage_digests("video", make_recipe(Profile.EMBEDDED, **(ON | params)), MODELS)
    return {stage for stage in Stage if before[stage] != after[stage]}


@pytest.mark.parametrize(
    ("params", "stages"),
    [
        ({}, set()),
        ({"merge": {"max_pause": 3.0}}, {G}),
        ({"diarize": {"num_speakers": 2}}, {D, M, W, G}),
        ({"embed": {"batch_size": 7}}, set()),
        ({"transcribe": {"language": "en"}}, {T, W, G}),
        ({"edges": {"enabled": True, "margin": 0.3}}, {W, G}),
        ({"extract": {"audio_stream": 1}}, set(Stage)),
        ({"write": {"listening_copy": False}}, set()),
    ],
)
def test_params_change_their_stage_and_what_builds_on_it(
    params: dict[str, dict[str, object]], stages: set[Stage]
) -> None:
    assert changed(**params) == stages


def test_model_and_video_enter_the_digests() -> None:
    before = stage_digests("video", RECIPE, MODELS)
    other_model = stage_digests("video", RECIPE, {**MODELS, "transcribe": "words:2"})
    assert {stage for stage in Stage if before[stage] != other_model[stage]} == {T, W, G}
    other_video = stage_digests("film", RECIPE, MODELS)
    assert all(before[stage] != other_video[stage] for stage in Stage)
    assert len(set(before.values())) == len(Stage)


def plan(stored: set[Stage], *, written: bool = False, force: tuple[Stage, ...] = ()) -> Plan:
    return plan_video(
        stage_digests("video", RECIPE, MODELS),
        is_stored=lambda stage, digest: stage in stored,
        is_written=lambda digest: written,
        force=force,
    )


@pytest.mark.parametrize(
    ("stored", "force", "run"),
    [
        (set(), (), list(Stage)),
        ({E}, (), [S, D, M, T, W, G]),
        ({E, S, D, M}, (), [T, W, G]),
        ({E, S, D, M, T}, (), [W, G]),
        ({E, S, D, M, T, W}, (), [G]),
        # Without its audio a finished stage is still finished: nothing listens to the video.
        ({S, D, M, T, W}, (), [G]),
        ({S, M, T, W}, (), [E, D, G]),
        ({E, S, D, M, T, W}, (D,), [D, M, W, G]),
        ({S, D, M, T, W}, (T,), [E, T, W, G]),
        ({E, S, D, M, T, W}, (E,), list(Stage)),
        ({E, S, D, M, T, W}, (W,), [W, G]),
        ({E, S, D, M, T, W}, (G,), [G]),
    ],
)
def test_what_runs(stored: set[Stage], force: tuple[Stage, ...], run: list[Stage]) -> None:
    planned = plan(stored, force=force)
    assert list(planned.run) == run
    assert not set(planned.run) & set(planned.stored)
    assert not planned.done


def test_written_transcript_needs_nothing_unless_forced() -> None:
    assert plan(set(), written=True).done
    assert list(plan(set(READS_AUDIO) | {E}, written=True, force=(M,)).run) == [M, W, G]


def test_reasons_name_the_cause() -> None:
    reasons = plan({E, S, D, M, T, W}, force=(D,)).run
    assert reasons == {
        D: "forced",
        M: "diarize is computed again",
        W: "embed is computed again",
        G: "diarize is computed again",
    }


def test_what_is_written_by_hand_about_stages_is_what_the_table_says() -> None:
    """The versions in the changelog, the architecture page's table of tasks."""
    versions = ", ".join(f"{stage} {stage.spec.version}" for stage in Stage)
    assert f"Stage versions: {versions}." in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = [row.split(" | ") for row in page.splitlines() if row.startswith("| `")]
    made = {row[1].partition("→ `")[2].partition("`")[0]: row for row in rows if len(row) == 4}
    for stage in Stage:
        if stage.spec.result:
            _, _, stored, tag = made[stage.spec.result.__name__]
            assert stored != "no"
            assert tag.startswith("yes") == stage.spec.gpu


def test_a_stage_imports_only_stages_that_it_builds_on() -> None:
    graph = grimp.build_graph("spokenby")
    module = {stage: stage.spec.params.__module__ for stage in Stage}
    for stage in Stage:
        above = {module[each] for each in with_upstream(stage)}
        imported = graph.find_upstream_modules(module[stage])
        assert imported & set(module.values()) <= above, stage


def test_transcribing_does_not_wait_for_diarization() -> None:
    assert D not in UPSTREAM[T]


def test_pyannote_does_not_wait_for_speech_to_be_found() -> None:
    studio = make_recipe(Profile.STUDIO)
    assert upstream_of(studio)[D] == (E,)
    assert upstream_of(RECIPE)[D] == UPSTREAM[D] == (S,)
    before = stage_digests("video", studio, MODELS)
    other = make_recipe(Profile.STUDIO, speech={"onset": 0.6})
    after = stage_digests("video", other, MODELS)
    assert {stage for stage in before if before[stage] != after[stage]} == {S, M, T, G}
    forced = plan_video(
        before,
        is_stored=lambda *_: True,
        is_written=lambda _: True,
        force=(S,),
        upstream=upstream_of(studio),
    )
    assert list(forced.run) == [S, M, T, G]


def test_a_stage_that_is_switched_off_is_nowhere() -> None:
    digests = stage_digests("video", OFF, MODELS)
    assert stages_of(OFF) == tuple(digests) == (E, S, D, M, T, G)
    other = make_recipe(Profile.EMBEDDED, edges={"enabled": False, "margin": 0.3})
    assert stage_digests("video", other, MODELS) == digests
    both = {"is_stored": lambda *_: False, "is_written": lambda _: False}
    assert W not in plan_video(digests, **both).run
    written = plan_video(digests, is_stored=lambda *_: False, is_written=lambda _: True)
    assert written.stored == (E, S, D, M, T, G)
    with pytest.raises(InputError, match="edges is switched off"):
        plan_video(digests, **both, force=(W,))
