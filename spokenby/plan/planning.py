"""Decide which stages a video needs, and under which digests.

A stage's digest covers the provenance of its result: the digests it builds on, the stage's VERSION,
its params and the identity of its model. All of them are known before anything runs.
"""

from collections.abc import Callable, Collection, Mapping, Sequence

from spokenby.digests import digest_of
from spokenby.errors import InputError
from spokenby.plan.profiles import Recipe
from spokenby.plan.stages import READS_AUDIO, UPSTREAM, Stage
from spokenby.types import Digest, Frozen


def upstream_of(recipe: Recipe) -> Mapping[Stage, tuple[Stage, ...]]:
    """Return what each stage builds on with the engines of a recipe.

    pyannote detects speech itself: it starts as soon as the audio is extracted, and its turns stay
    valid when speech detection changes. But where each track is a speaker, turns are its speech.
    """
    if recipe.diarize.needs_speech or recipe.extract.channels != "mix":
        return UPSTREAM
    return {**UPSTREAM, Stage.DIARIZE: (Stage.EXTRACT,)}


class Plan(Frozen):
    """What one video needs. `run` maps each stage to compute to the reason."""

    digests: dict[Stage, Digest]
    run: dict[Stage, str]
    stored: tuple[Stage, ...]

    @property
    def done(self) -> bool:
        """Whether the outputs are complete, so that there is nothing to do."""
        return not self.run


def stages_of(recipe: Recipe) -> tuple[Stage, ...]:
    """Return the stages of a recipe: all but those it switches off."""
    return tuple(stage for stage in Stage if getattr(recipe[stage], "enabled", True))


def stage_digests(
    video: Digest, recipe: Recipe, model_identities: Mapping[str, Sequence[str]]
) -> dict[Stage, Digest]:
    """Return the digest of every stage of a video that the recipe has.

    Args:
        video: digest of the video's bytes.
        recipe: the params of every stage.
        model_identities: from `profiles.identify_models`.
    """
    upstream = upstream_of(recipe)
    digests: dict[Stage, Digest] = {}
    for stage in stages_of(recipe):
        digests[stage] = digest_of(
            [digests[above] for above in upstream[stage] if above in digests] or video,
            stage,
            stage.spec.version,
            # The name before the colon does not count: a renamed model is the same.
            [identity.rpartition(":")[2] for identity in model_identities.get(stage, ())],
            recipe[stage].in_key(),
            # Whether speakers are identified, but not who they are, which changes.
            *([recipe.identify.enabled] if stage is Stage.MERGE else []),
        )
    return digests


def plan_video(
    digests: dict[Stage, Digest],
    *,
    is_stored: Callable[[Stage, Digest], bool],
    is_written: Callable[[Digest], bool],
    force: Collection[Stage] = (),
    upstream: Mapping[Stage, tuple[Stage, ...]] = UPSTREAM,
) -> Plan:
    """Decide which stages of a video have to be computed.

    Args:
        digests: from `stage_digests`.
        is_stored: whether a stage's result can be read back.
        is_written: whether the output folder holds a complete transcript of this merge digest.
        force: stages to recompute, with everything downstream.
        upstream: what each stage builds on, from `upstream_of`.

    Raises:
        InputError: a stage to force is switched off.
    """
    if off := [stage for stage in force if stage not in digests]:
        raise InputError(f"{off[0]} is switched off", f"give --set {off[0]}.enabled=true as well")
    forced: dict[Stage, str] = {}
    for stage in digests:
        if stage in force:
            forced[stage] = "forced"
        elif above := next((above for above in upstream[stage] if above in forced), None):
            forced[stage] = f"{above} is computed again"
    if not forced and is_written(digests[Stage.MERGE]):
        return Plan(digests=digests, run={}, stored=tuple(digests))

    listening = [stage for stage in READS_AUDIO if stage in digests]
    results = [stage for stage in listening if stage not in forced]
    stored = [stage for stage in results if is_stored(stage, digests[stage])]
    missing = {stage: "not stored" for stage in results if stage not in stored}
    run = {
        stage: forced.get(stage) or missing[stage]
        for stage in listening
        if stage in forced | missing
    }
    if Stage.EXTRACT in forced:
        run[Stage.EXTRACT] = forced[Stage.EXTRACT]
    elif is_stored(Stage.EXTRACT, digests[Stage.EXTRACT]):
        stored.insert(0, Stage.EXTRACT)
    elif run:
        run[Stage.EXTRACT] = "not stored"
    run[Stage.MERGE] = forced.get(Stage.MERGE, "the transcript is not written")
    ordered = {stage: run[stage] for stage in Stage if stage in run}
    return Plan(digests=digests, run=ordered, stored=tuple(stored))
