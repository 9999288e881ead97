from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from spokenby.digests import DigestIndex
from spokenby.errors import InputError
from spokenby.models import (
    CATALOGUE,
    KINDS,
    RECORD,
    File,
    Record,
    default_model,
    find_model,
    identify,
    import_models,
    installed,
    is_inside,
    locate,
    put_in_place,
    read_record,
    verify,
)
from tests.conftest import ROOT
from tests.hub import COMMUNITY, ECAPA, WHISPER

FILES = {"faster_whisper": WHISPER, "pyannote": COMMUNITY, "speechbrain": ECAPA}


def folder_of(path: Path, files) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


@pytest.fixture
def whisper(tmp_path: Path) -> Path:
    return folder_of(tmp_path / "faster-whisper-tiny", WHISPER)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return tmp_path / "site" / "models"


def copy(source: Path, site: Path, name: str = "") -> Path:
    ((path, _, new),) = import_models(source, name, site)
    assert new
    return path


@pytest.mark.parametrize(
    ("engine", "name"),
    [
        ("silero", "silero-vad"),
        ("pyannote", "speaker-diarization-community-1"),
        ("speechbrain", "spkrec-ecapa-voxceleb"),
        ("faster_whisper", "faster-whisper-base"),
        ("campplus", "campplus-zh-en"),
        ("segmentation", "segmentation-3.0"),
    ],
)
def test_every_engine_has_a_default(engine: str, name: str) -> None:
    assert default_model(engine).name == name


def test_the_catalogue_is_whole() -> None:
    assert len({model.name for model in CATALOGUE}) == len(CATALOGUE)
    for model in CATALOGUE:
        assert model.license
        assert model.packages or model.repo
        assert bool(model.repo) == (model.engine in KINDS)
        assert not (model.files and model.megabytes)
        if model.repo:
            assert model.size
            assert bool(model.files) == bool(model.revision) == bool(model.packages)
            assert not model.files or not KINDS[model.engine].lacks(model.files)
            assert not model.parts or model.parts.keys() == model.files.keys()


def test_the_notice_names_each_file_that_is_known() -> None:
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    for model in CATALOGUE:
        for name, file in model.files.items():
            assert f"{name}\n{' ' * 14}{file.sha256}" in notice
        if model.files:
            assert f"({model.name})" in notice
            assert f"{model.repo}" in notice
            assert model.revision in notice
            assert model.packages[0] in notice


@pytest.mark.parametrize(
    ("engine", "name", "line"),
    [
        (
            "faster_whisper",
            "faster-whisper-small",
            (
                "the model faster-whisper-small is not installed: "
                "run: spokenby models fetch faster-whisper-small"
            ),
        ),
        (
            "faster_whisper",
            "faster-whisper-large-v3@abc",
            (
                "the model faster-whisper-large-v3@abc is not installed: "
                "run: spokenby models fetch faster-whisper-large-v3 --revision abc"
            ),
        ),
        (
            "pyannote",
            "faster-whisper-small",
            (
                "the model faster-whisper-small is for the engine faster_whisper, not pyannote: "
                "see which are for which: spokenby models list"
            ),
        ),
        (
            "speechbrain",
            "campplus-zh-en",
            (
                "the model campplus-zh-en is for the engine campplus, not speechbrain: "
                "see which are for which: spokenby models list"
            ),
        ),
        (
            "speechbrain",
            "../nowhere",
            (
                "model '../nowhere' is neither known to the engine speechbrain nor a folder: "
                "use 'spkrec-ecapa-voxceleb' or the path of a folder"
            ),
        ),
    ],
)
def test_a_model_that_is_not_here_is_one_line(
    site: Path, engine: str, name: str, line: str
) -> None:
    with pytest.raises(InputError) as caught:
        find_model(engine, name, site)
    assert str(caught.value) == line


def test_models_of_packages_are_found(site: Path) -> None:
    assert find_model("campplus", "", site).name == "campplus_cn_en_common.pt"
    assert find_model("silero", "silero-vad", site).suffix == ".onnx"


def test_a_folder_serves_as_a_model(tmp_path: Path, site: Path, whisper: Path) -> None:
    assert find_model("faster_whisper", str(whisper), site) == whisper
    fits = r"faster-whisper-tiny does not look like .* no config.y.*: set engine=faster_whisper"
    with pytest.raises(InputError, match=fits):
        find_model("pyannote", str(whisper), site)
    (tmp_path / "voices.onnx").write_bytes(b"")
    with pytest.raises(InputError, match="neither known"):
        find_model("silero", str(tmp_path / "other.onnx"), site)
    assert find_model("silero", str(tmp_path / "voices.onnx"), site).exists()


def test_a_name_does_not_mean_a_folder_that_happens_to_lie_around(
    site: Path, whisper: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(whisper.parent)
    with pytest.raises(InputError, match="is not installed"):
        find_model("faster_whisper", whisper.name, site)


@pytest.mark.parametrize("engine", list(FILES))
@pytest.mark.parametrize("kept", [True, False])
def test_import_recognises_each_kind(tmp_path: Path, site: Path, engine: str, kept: bool) -> None:
    files = dict(FILES[engine])
    if not kept:
        lacking = KINDS[engine].needed[-1]
        files = {name: it for name, it in files.items() if not _matches(name, lacking)}
    source = folder_of(tmp_path / "mine", files)
    (source / ".git").mkdir()
    (source / ".git" / "HEAD").write_text("ref")
    if not kept:
        with pytest.raises(InputError, match="mine holds no model: a model has these files: pyann"):
            list(import_models(source, "", site))
        assert installed(site) == []
        return
    path = copy(source, site)
    assert find_model(engine, "mine", site) == path
    record = read_record(path)
    assert record is not None
    assert (record.engine, record.name, verify(path, record)) == (engine, "mine", "")
    assert set(record.files) == {name for name in files if not name.startswith(".")}
    assert [it.name for it in path.parent.iterdir()] == [path.name]


def _matches(name: str, pattern: str) -> bool:
    return Path(name).match(pattern)


def test_import_again_changes_nothing(site: Path, whisper: Path) -> None:
    path = copy(whisper, site)
    before = (path / RECORD).read_bytes()
    assert [it[2] for it in import_models(whisper, "", site)] == [False]
    assert (path / RECORD).read_bytes() == before
    assert [it.name for it in path.parent.iterdir()] == [path.name]


def test_the_model_fetched_last_is_used(site: Path, whisper: Path) -> None:
    first = copy(whisper, site)
    (whisper / "config.json").write_text('{"second": 2}')
    second = copy(whisper, site)
    assert find_model("faster_whisper", "faster-whisper-tiny", site) == second
    for path in (first, second):
        for part in (path.name, path.name[:15]):
            assert find_model("faster_whisper", f"faster-whisper-tiny@{part}", site) == path


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_import_of_another_sites_models(tmp_path: Path, site: Path, depth: int) -> None:
    other = tmp_path / "other"
    for engine, name in [("faster_whisper", "faster-whisper-tiny"), ("speechbrain", "my-ecapa")]:
        source = folder_of(tmp_path / engine, FILES[engine])
        path = copy(source, other, name)
    (other / "my-ecapa" / ".fetching-abc").mkdir()
    got = list(import_models([other, path.parent, path][depth], "", site))
    expected = [it for it in installed(other) if depth == 0 or it[1].name == "my-ecapa"]
    assert [(it[0].name, it[1].name, it[2]) for it in got] == [
        (path.name, record.name, True) for path, record in expected
    ]
    for path, record in installed(site):
        assert verify(path, record) == ""
    index = DigestIndex(tmp_path / "digests.sqlite")
    assert [identify(path, index) for path, _ in installed(site)] == [
        identify(path, index) for path, _ in expected
    ]


def test_import_notices_damage(tmp_path: Path, site: Path, whisper: Path) -> None:
    path = copy(whisper, tmp_path / "other")
    flip(path / "model.bin")
    with pytest.raises(InputError, match=r"model\.bin is damaged: copy it again"):
        list(import_models(tmp_path / "other", "", site))
    assert installed(site) == []
    (path / "model.bin").unlink()
    with pytest.raises(InputError, match=r"cannot be copied to .*No such file"):
        list(import_models(path, "", site))
    assert [it.name for it in (site / "faster-whisper-tiny").iterdir()] == []


@pytest.mark.parametrize(
    ("folder", "name", "line"),
    [
        ("nowhere", "", "nowhere is not a folder"),
        ("mine", "a/b", "'a/b' is not a valid model name: give one with --name"),
        ("mine", "..", "'..' is not a valid model name"),
        ("mine", "spkrec-ecapa-voxceleb", "holds a model for the engine faster_whisper, but spkr"),
        ("empty", "", "empty holds no model: a model has these files: pyannote: config.yaml"),
    ],
)
def test_what_cannot_be_imported(
    tmp_path: Path, site: Path, folder: str, name: str, line: str
) -> None:
    folder_of(tmp_path / "mine", WHISPER)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError) as caught:
        list(import_models(tmp_path / folder, name, site))
    assert line in str(caught.value)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_verify_reads_every_byte(site: Path, whisper: Path) -> None:
    path = copy(whisper, site)
    record = read_record(path)
    assert record is not None
    told: list[float] = []
    assert verify(path, record, told.append) == ""
    assert told == sorted(told)
    assert told[-1] == 1.0
    flip(path / "model.bin")
    assert verify(path, record) == "model.bin has changed"
    flip(path / "model.bin")
    (path / "extra.txt").write_text("")
    assert verify(path, record) == "extra.txt does not belong to it"
    (path / "extra.txt").unlink()
    (path / "vocabulary.txt").unlink()
    assert verify(path, record) == "vocabulary.txt is missing"


def test_what_identifies_a_model_is_its_name_and_bytes(
    tmp_path: Path, site: Path, whisper: Path
) -> None:
    index = DigestIndex(tmp_path / "digests.sqlite")
    path = copy(whisper, site)
    identity = identify(path, index)
    assert identity.startswith("faster-whisper-tiny:")
    assert identity == identify(whisper, index)  # neither revision nor record nor time count
    flip(path / "model.bin")
    assert identify(path, index) != identity


def test_two_at_once_leave_one(site: Path, whisper: Path) -> None:
    path = copy(whisper, site)
    record = read_record(path)
    assert record is not None
    staging = Path(shutil.copytree(whisper, path.parent / ".importing-x"))
    assert put_in_place(staging, record, site) == path
    assert not staging.exists()


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda text: text[:40], "cannot be read (ValidationError): delete the folder"),
        (lambda text: text.replace("faster_whisper", "future"), "is not a record of a model"),
        (lambda text: text.replace("model.bin", "../model.bin"), "cannot be read"),
    ],
)
def test_a_damaged_record_is_one_line(site: Path, whisper: Path, change, line: str) -> None:
    path = copy(whisper, site)
    (path / RECORD).write_text(change((path / RECORD).read_text()))
    with pytest.raises(InputError) as caught:
        find_model("faster_whisper", "faster-whisper-tiny", site)
    assert line in str(caught.value)


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("a.bin", True),
        ("a/b.c/d", True),
        ("..a/b", True),
        ("../a", False),
        ("a/../../b", False),
        ("/a", False),
        ("a//b", False),
        ("./a", False),
        ("C:a", False),
        ("..\\a", False),
    ],
)
def test_a_models_files_lie_inside_its_folder(name: str, inside: bool) -> None:
    assert is_inside(name) is inside


def test_a_record_goes_to_json_and_back(site: Path, whisper: Path) -> None:
    path = copy(whisper, site)
    content = json.loads((path / RECORD).read_text())
    assert set(content) == {"name", "engine", "repo", "revision", "fetched", "files"}
    assert content["files"]["vocabulary.txt"]["size"] == 4
    record = Record.model_validate(content)
    assert record.size == sum(map(len, WHISPER.values()))
    assert isinstance(record.files["config.json"], File)


def test_a_folder_of_everything_is_not_read(tmp_path):
    many = tmp_path / "many"
    many.mkdir()
    for number in range(1001):
        (many / str(number)).touch()
    for folder in (many, Path("/")):
        with pytest.raises(InputError, match="holds more than 1000 files: it is not a model"):
            locate("faster_whisper", str(folder), tmp_path)
