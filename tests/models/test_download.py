from __future__ import annotations

import os
import shutil
import subprocess
import sys
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from spokenby.errors import InputError, SpokenbyError, StoppedError, TransientError
from spokenby.models import CATALOGUE, RECORD, find_model, installed, verify
from spokenby.models import download as engine
from spokenby.models.download import check_token, fetch_model
from tests.carried import CONTENT, SMALL
from tests.hub import COMMUNITY, ECAPA, WHISPER, Hub, Repo, running

TOKEN = "hf_ThisIsTheSecretOfTheTest"
MODELS = {model.name: model for model in CATALOGUE}
TINY = MODELS["faster-whisper-tiny"]
GATED = MODELS["speaker-diarization-community-1"]

LARGE = Repo({**WHISPER, "model.bin": os.urandom(2**20) * 12})
"""The hub's library hands on blocks of 10 MiB: only what is longer can be continued."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    # Engines that other tests imported in this process have switched it on.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    repos = {
        TINY.repo: Repo(WHISPER),
        GATED.repo: Repo(COMMUNITY, gated=True),
        MODELS["spkrec-ecapa-voxceleb"].repo: Repo(ECAPA),
    }
    with running(Hub(repos)) as hub:
        yield hub


class Log:
    """What a fetch told."""

    def __init__(self) -> None:
        self.counts: list[tuple[int, int]] = []

    def on_bytes(self, done: int, total: int) -> None:
        self.counts.append((done, total))


def fetch(hub: Hub, folder: Path, model=TINY, log: Log | None = None, **chosen) -> Path:
    log = log or Log()
    chosen = {"on_bytes": log.on_bytes, "on_wait": lambda: None, "endpoint": hub.url, **chosen}
    return fetch_model(model, folder, **chosen)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != RECORD
    }


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("faster-whisper-tiny", WHISPER),
        ("spkrec-ecapa-voxceleb", ECAPA),
        ("speaker-diarization-community-1", COMMUNITY),
    ],
)
def test_fetches_what_the_engine_reads(hub: Hub, tmp_path: Path, name: str, files) -> None:
    model, log = MODELS[name], Log()
    hub.accepted = frozenset({TOKEN})
    path = fetch(hub, tmp_path, model, log, token=TOKEN)
    assert path == tmp_path / name / hub.repos[model.repo].commit
    expected = {file: content for file, content in files.items() if content != b"not needed"}
    expected.pop(".gitattributes", None)
    assert contents(path) == expected
    assert find_model(model.engine, name, tmp_path) == path
    ((_, record),) = installed(tmp_path)
    assert verify(path, record) == ""
    assert (record.repo, record.revision) == (model.repo, path.name)
    assert log.counts[-1] == (record.size, record.size)
    assert [done for done, _ in log.counts] == sorted(done for done, _ in log.counts)
    assert {path.name for path in path.parent.iterdir()} == {path.name, ".lock"}
    # The hub knows us, those that it redirects to do not.
    assert {asked.authorization for asked in hub.asked if asked.server == "hub"} == {TOKEN}
    assert {asked.authorization for asked in hub.asked if asked.server == "mirror"} == {""}
    assert TOKEN not in (path / RECORD).read_text()


def test_a_second_fetch_downloads_nothing(hub: Hub, tmp_path: Path) -> None:
    path = fetch(hub, tmp_path)
    hub.asked.clear()
    assert fetch(hub, tmp_path, revision=path.name) == path
    assert [asked.path.split("/")[1] for asked in hub.asked] == ["api"]


def test_a_new_commit_lies_beside_the_old_one(hub: Hub, tmp_path: Path) -> None:
    old = fetch(hub, tmp_path)
    (tmp_path / TINY.name / ".fetching-left").mkdir()
    hub.repos[TINY.repo] = Repo({**WHISPER, "config.json": b'{"new": 1}'})
    new = fetch(hub, tmp_path)
    assert find_model(TINY.engine, TINY.name, tmp_path) == new != old
    assert find_model(TINY.engine, f"{TINY.name}@{old.name}", tmp_path) == old
    assert not list(new.parent.glob(".fetching-*"))


@pytest.mark.parametrize("ignores_ranges", [False, True])
def test_a_cut_is_mended(hub: Hub, tmp_path: Path, ignores_ranges: bool) -> None:
    hub.repos[TINY.repo] = LARGE
    hub.cut["model.bin"] = 11 * 2**20
    hub.ignores_ranges = ignores_ranges
    log = Log()
    path = fetch(hub, tmp_path, log=log)
    assert (path / "model.bin").read_bytes() == LARGE.files["model.bin"]
    assert [asked.range for asked in hub.downloads("model.bin")] == ["", f"bytes={10 * 2**20}-"]
    assert log.counts[-1][0] == log.counts[-1][1]


def test_what_came_before_a_failure_is_kept(hub: Hub, tmp_path: Path) -> None:
    hub.repos[TINY.repo] = LARGE
    hub.cut["model.bin"] = 11 * 2**20
    hub.answers = {"model.bin": 503}
    with pytest.raises(TransientError, match=r"127\.0\.0\.1 answered 503 .* run again later"):
        fetch(hub, tmp_path)
    with pytest.raises(InputError, match="is not installed: run: spokenby models fetch"):
        find_model(TINY.engine, TINY.name, tmp_path)
    hub.asked.clear()
    path = fetch(hub, tmp_path)
    assert (path / "model.bin").read_bytes() == LARGE.files["model.bin"]
    assert [asked.range for asked in hub.downloads("model.bin")] == [f"bytes={10 * 2**20}-"]
    assert hub.downloads("config.json") == []


def test_stopping_keeps_what_came(hub: Hub, tmp_path: Path) -> None:
    hub.repos[TINY.repo] = LARGE

    def stop(done: int, _total: int) -> None:
        if done > 8 * 2**20:
            raise StoppedError("stopped")

    with pytest.raises(StoppedError):
        fetch(hub, tmp_path, on_bytes=stop)
    hub.asked.clear()
    assert contents(fetch(hub, tmp_path))["model.bin"] == LARGE.files["model.bin"]
    assert [asked.range for asked in hub.downloads("model.bin")] == [f"bytes={10 * 2**20}-"]


@pytest.mark.parametrize("name", ["model.bin", "config.json"])
def test_damage_on_the_way_is_noticed(hub: Hub, tmp_path: Path, name: str) -> None:
    hub.damaged.add(name)
    with pytest.raises(TransientError, match=f"{name} of .* arrived damaged.*run the same command"):
        fetch(hub, tmp_path)
    assert installed(tmp_path) == []
    hub.damaged.clear()
    assert contents(fetch(hub, tmp_path))[name] == WHISPER[name]


PAGE = "https://127.0.0.1/pyannote/speaker-diarization-community-1"
AGAIN = "spokenby models fetch speaker-diarization-community-1"


@pytest.mark.parametrize(
    ("token", "line"),
    [
        pytest.param(
            None,
            "pyannote/speaker-diarization-community-1 needs a hub token, and none is set: accept "
            f"its terms at {PAGE}, make a token at https://127.0.0.1/settings/tokens, run: hf auth "
            f"login (or set HF_TOKEN), then: {AGAIN}",
            id="no token",
        ),
        pytest.param(
            TOKEN,
            "the owner of the hub token has no access to pyannote/speaker-diarization-community-1: "
            f"accept its terms at {PAGE} (and let the token read gated repositories at "
            f"https://127.0.0.1/settings/tokens), then run: {AGAIN}",
            id="terms not accepted",
        ),
        pytest.param(
            "hf_expired",
            "127.0.0.1 rejected the hub token: make a new one at "
            "https://127.0.0.1/settings/tokens, run: hf auth login (or set HF_TOKEN), "
            f"then: {AGAIN}",
            id="wrong token",
        ),
    ],
)
def test_a_gated_model_says_what_to_do(hub: Hub, tmp_path: Path, token: str, line: str) -> None:
    hub.known = frozenset({TOKEN})
    with pytest.raises(InputError) as caught:
        fetch(hub, tmp_path, GATED, token=token)
    assert str(caught.value) == line


@pytest.mark.parametrize(
    ("change", "chosen", "kind", "line"),
    [
        (
            {},
            {"revision": "v9"},
            InputError,
            "has no revision 'v9': see https://127.0.0.1/Systran/faster-whisper-tiny/commits/main",
        ),
        (
            {"repos": {}},
            {},
            InputError,
            "127.0.0.1 has no repository Systran/faster-whisper-tiny: check HF_ENDPOINT",
        ),
        (
            {"repos": {TINY.repo: Repo(ECAPA)}},
            {},
            InputError,
            "at main is not a model for faster_whisper (no config.json): try another --revision",
        ),
        (
            {"repos": {TINY.repo: Repo({**WHISPER, "vocabulary./../../x": b"no"})}},
            {},
            InputError,
            "(one of its files would be outside of the model's folder)",
        ),
        (
            {"repos": {TINY.repo: Repo({**WHISPER, "vocabulary.C:/x": b"no"})}},
            {},
            InputError,
            "(one of its files would be outside of the model's folder)",
        ),
        (
            {"sizes": {"model.bin": 10**15}},
            {},
            InputError,
            "is full (1000000.0 GB needed",
        ),
        ({"answers": {"tokenizer.json": 500}}, {}, TransientError, "answered 500"),
        ({}, {"endpoint": "http://127.0.0.1:9"}, TransientError, "127.0.0.1 cannot be reached ("),
    ],
)
def test_what_goes_wrong_is_one_line(
    hub: Hub, tmp_path: Path, change, chosen, kind: type[SpokenbyError], line: str
) -> None:
    for name, value in change.items():
        setattr(hub, name, value)
    with pytest.raises(kind) as caught:
        fetch(hub, tmp_path, **chosen)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)
    assert installed(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
def test_a_disk_that_fills_up_is_one_line(hub: Hub, tmp_path: Path) -> None:
    staging = tmp_path / TINY.name / f".fetching-{hub.repos[TINY.repo].commit}"
    staging.mkdir(parents=True)
    (staging / "model.bin").symlink_to("/dev/full")
    with pytest.raises(InputError, match=r"is full \(No space left on device\): free some space"):
        fetch(hub, tmp_path)


def test_a_folder_that_cannot_be_written_is_one_line(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file")
    with pytest.raises(InputError, match="models cannot be written"):
        fetch(hub, tmp_path / "models")


def test_the_hub_can_be_switched_off(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for model in (TINY, SMALL, MODELS["campplus-zh-en"]):
        with pytest.raises(
            InputError, match="HF_HUB_OFFLINE is set: nothing can be fetched: unset"
        ):
            fetch(hub, tmp_path, model)
    assert hub.asked == []


def everything_about(error: BaseException) -> str:
    """Return all that a log could hold of an exception: texts, arguments, what it came from."""
    parts = ["".join(traceback.format_exception(error)), repr(error.args)]
    while error := error.__cause__ or error.__context__:  # type: ignore[assignment]
        parts += [repr(error), str(error), repr(vars(error))]
    return "\n".join(parts)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 416, 500])
def test_the_token_is_never_told(
    hub: Hub,
    tmp_path: Path,
    status: int,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level("DEBUG")
    hub.known = frozenset({TOKEN})
    hub.message = f"you sent Bearer {TOKEN}, {TOKEN}!"  # the library puts this into its exception
    hub.answers = {"config.json": status}
    with pytest.raises(SpokenbyError) as caught:
        fetch(hub, tmp_path, token=TOKEN)
    told = everything_about(caught.value) + caplog.text + "".join(capfd.readouterr())
    told += "".join(path.read_text("latin-1") for path in tmp_path.rglob("*") if path.is_file())
    assert TOKEN not in told


def test_the_token_is_taken_out_of_any_text(hub: Hub, tmp_path: Path) -> None:
    secret = "other-kind-of-token"
    asking = engine._Hub(TINY, "main", secret, "http://me:password@hub.example")
    for error in (
        RuntimeError(f"header {secret} is wrong"),
        engine.httpx2.ConnectError(f"proxy http://me:password@proxy:80 refused Bearer {secret}"),
        ValueError("hf_AnotherToken in the login file"),
    ):
        line = str(asking.explain(error, tmp_path))
        assert "***" in line
        for private in (secret, "password", "AnotherToken"):
            assert private not in line


@pytest.mark.parametrize("token", ["hf_a b", "hf_a\nX: y", "hf_\x01", "hf_é", "“hf_a”"])
def test_what_is_no_token_is_refused_untold(token: str) -> None:
    with pytest.raises(InputError) as caught:
        check_token(token)
    assert str(caught.value) == (
        "the hub token contains invalid characters: set it again, without quotes"
    )


@pytest.mark.parametrize(
    ("given", "token"), [(None, None), ("", None), (" \n", None), (" hf_a\r\n", "hf_a")]
)
def test_space_around_a_token_does_not_count(given: str | None, token: str | None) -> None:
    assert check_token(given) == token


@pytest.fixture
def pinned(hub: Hub) -> Repo:
    """Return the repository of a model whose bytes are known."""
    hub.repos[SMALL.repo] = Repo(CONTENT, revision=SMALL.revision)
    return hub.repos[SMALL.repo]


def test_known_bytes_are_fetched_at_their_revision(hub: Hub, pinned: Repo, tmp_path: Path) -> None:
    hub.repos[SMALL.repo].files = {**CONTENT, "preprocessor_config.json": b"new since"}
    path = fetch(hub, tmp_path, SMALL)
    assert path == tmp_path / SMALL.name / SMALL.revision
    assert contents(path) == CONTENT
    assert {asked.path.split("/")[4] for asked in hub.asked} == {SMALL.revision}
    assert [asked.path for asked in hub.asked if "/api/" in asked.path] == []
    ((_, record),) = installed(tmp_path)
    assert (record.files, record.revision) == (SMALL.files, SMALL.revision)


@pytest.mark.parametrize("name", ["model.bin", "config.json"])
def test_other_bytes_than_the_known_ones_are_refused(
    hub: Hub, pinned: Repo, tmp_path: Path, name: str
) -> None:
    """Also where the hub itself says that they are right."""
    pinned.files = {**CONTENT, name: CONTENT[name][:-1] + b"?"}
    with pytest.raises(TransientError, match=f"{name} of {SMALL.repo} arrived damaged"):
        fetch(hub, tmp_path, SMALL)
    pinned.files = {**CONTENT, name: CONTENT[name] + b"?"}
    with pytest.raises(TransientError, match=f"fetching {SMALL.repo} from 127.0.0.1 failed"):
        fetch(hub, tmp_path, SMALL)
    assert installed(tmp_path) == []


def test_another_revision_than_the_known_one_is_refused(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="small-whisper is available only at the revision abc123: lea"
    ):
        fetch(hub, tmp_path, SMALL, revision="main")
    assert hub.asked == []


def test_modelscope_is_asked_without_the_token(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = MODELS["campplus-zh-en"]
    assert engine.address_of(model) == f"modelscope.cn/{model.repo}"
    content = find_model("campplus", "", tmp_path).read_bytes()
    hub.repos[model.repo] = Repo({"campplus_cn_en_common.pt": content}, revision=model.revision)
    monkeypatch.setattr(engine, "MODELSCOPE", hub.url)
    path = fetch(hub, tmp_path, model, token=TOKEN, endpoint=None)
    assert (path / "campplus_cn_en_common.pt").read_bytes() == content
    (asked,) = hub.asked
    assert asked.authorization == ""
    assert asked.path == f"/{model.repo}/resolve/v1.0.0/campplus_cn_en_common.pt"


def test_somebody_else_fetches_the_same(hub: Hub, tmp_path: Path) -> None:
    hub.holds = "config.json"
    log = Log()

    def get(_: int) -> Path:
        return fetch(hub, tmp_path, log=log, on_wait=hub.released.set)

    with ThreadPoolExecutor() as pool:
        paths = list(pool.map(get, range(2)))
    assert hub.released.is_set()
    assert paths[0] == paths[1]
    assert len(hub.downloads("model.bin")) == 1


def test_something_else_is_in_the_way(hub: Hub, tmp_path: Path) -> None:
    target = tmp_path / TINY.name / hub.repos[TINY.repo].commit
    target.mkdir(parents=True)
    (target / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="is in the way and holds no model: move or delete it"):
        fetch(hub, tmp_path)
    assert (target / "mine.txt").read_text() == "mine"
    shutil.rmtree(target)
    hub.asked.clear()
    fetch(hub, tmp_path)
    assert hub.downloads("model.bin") == []


def test_this_file_alone_talks_to_a_hub() -> None:
    code = "import sys, spokenby.models, flows.cli.models; print('huggingface_hub' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
