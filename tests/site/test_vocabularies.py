"""The most specific vocabulary is a video's, and only what depends on it is computed again."""

from __future__ import annotations

from pathlib import Path

import pytest

from spokenby.buckets import Bucket
from spokenby.errors import InputError
from spokenby.plan.planning import stage_digests
from spokenby.plan.profiles import Profile, make_recipe
from spokenby.settings import Settings
from spokenby.site.batch import Batch
from spokenby.site.find_videos import look_for_videos
from spokenby.site.inventory import INSPECT, Inventory, State
from spokenby.site.vocabularies import Vocabularies, read_vocabulary


def batch_of(site: Path, named: Path | None = None, **params: dict[str, str]) -> Batch:
    return Batch(
        settings=Settings(data_dir=site),
        recipe=make_recipe(Profile.EMBEDDED, **params),
        profile_reason="",
        model_identities={},
        output=site / "transcripts",
        vocabularies=Vocabularies(site, named),
    )


@pytest.fixture
def talks(tmp_path: Path) -> Path:
    folder = tmp_path / "talks"
    folder.mkdir()
    return folder


def test_the_most_specific_file_wins(tmp_path: Path, talks: Path) -> None:
    talk = str(talks / "talk.mp4")
    assert batch_of(tmp_path).for_video(talk).recipe == batch_of(tmp_path).recipe

    def terms(named: Path | None = None) -> str:
        vocabulary = batch_of(tmp_path, named).for_video(talk).recipe.transcribe.vocabulary
        return str(vocabulary)

    (tmp_path / "vocabulary.txt").write_text("Site")
    assert terms() == "Site"
    (talks / "vocabulary.txt").write_bytes("\ufeffBeside\r\nMore".encode())
    assert terms() == "Beside\nMore"
    (tmp_path / "named.txt").write_text("")
    assert terms(tmp_path / "named.txt") == ""


def test_a_file_beside_videos_in_a_bucket(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vocabulary.txt").write_text("Site")
    there = Bucket(bucket)
    talk = f"{bucket}/talks/talk.mp4"

    def terms() -> str:
        return str(batch_of(tmp_path).for_video(talk).recipe.transcribe.vocabulary)

    assert terms() == "Site"
    there.put("talks/talk.mp4", b"x")
    there.put("talks/vocabulary.txt", "\ufeffBeside\r\nMore".encode())
    assert terms() == "Beside\nMore"
    there.put("talks/vocabulary.txt", b"\xff")
    with pytest.raises(InputError, match=r"s3://.*/talks/vocabulary.txt is not UTF-8"):
        terms()
    # Where a folder was searched, nothing is asked about what it does not hold.
    there.put("others/talk.mp4", b"x")
    assert look_for_videos([f"{bucket}/others", f"{bucket}/talks"])[0]
    with monkeypatch.context() as patch:
        patch.setattr(Bucket, "get", None)
        assert batch_of(tmp_path).for_video(f"{bucket}/others/talk.mp4").recipe.transcribe
    with pytest.raises(InputError, match="is not UTF-8"):
        terms()


def test_params_that_were_given_win(tmp_path: Path, talks: Path) -> None:
    (talks / "vocabulary.txt").write_text("Beside\na => b")
    batch = batch_of(tmp_path, transcribe={"vocabulary": "Given"})
    recipe = batch.for_video(str(talks / "talk.mp4")).recipe
    assert (recipe.transcribe.vocabulary, recipe.merge.replacements) == ("Given", "a => b")


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("# nothing yet\n", set()),
        ("Ada", {"transcribe", "merge"}),
        ("ada => Ada", {"merge"}),
    ],
)
def test_only_what_depends_on_it_is_computed_again(
    tmp_path: Path, talks: Path, text: str, changed: set[str]
) -> None:
    (talks / "vocabulary.txt").write_text(text)
    batch = batch_of(tmp_path)
    before, after = (
        stage_digests("0" * 64, recipe, {})
        for recipe in (batch.recipe, batch.for_video(str(talks / "talk.mp4")).recipe)
    )
    assert {stage.value for stage in before if before[stage] != after[stage]} == changed


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot be read .No such file or directory.: check its name"),
        (b"\xff\xfe", "is not UTF-8 text: save it as such"),
        (b"a => b\nb => a", "cannot be used: line 1: replacements go in a circle: a => b => a: "),
        (b"term\n" * 300_000, "it has 200,001 lines; at most 2,000"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path: Path, content: bytes | None, says: str) -> None:
    file = tmp_path / "names.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError, match=says) as raised:
        read_vocabulary(file)
    assert "\n" not in str(raised.value)
    assert "names.txt" in str(raised.value)


def test_a_bad_file_beside_some_videos_stops_no_others(tmp_path: Path, talks: Path) -> None:
    (talks / "vocabulary.txt").write_text("a => b => c")
    inventory = Inventory(batch_of(tmp_path))
    files = [talks / "talk.mp4", tmp_path / "other.mp4"]
    bad, good = inventory.look_at(files, lambda _: "0" * 64)
    assert (bad.state, bad.stage) == (State.FAILED, INSPECT)
    assert "vocabulary.txt cannot be used: line 1" in bad.cause
    assert good.state is State.WAITING
