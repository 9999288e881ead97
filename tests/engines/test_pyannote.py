"""The pyannote engine gives pyannote's own turns, from the disk alone, with a third of the work.

The pipelines are in the real format, with the real segmentation-3.0 and a small random speaker
network: whom they take for whom means nothing, but that two ways of computing it agree does.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
import torch
import yaml
from scipy.cluster.hierarchy import linkage

from spokenby.engines.campplus import CamPlus
from spokenby.engines.torch import full_precision
from spokenby.errors import InputError, StoppedError
from spokenby.models.catalogue import default_model
from spokenby.models.packaged import in_package
from spokenby.stages.diarization import Params
from spokenby.stages.linkage import unit_rows
from spokenby.types import Span, SpeechRegions, Turn, Waveform
from tests.lazily import Lazily
from tests.scoring import SAMPLE_RTTM, diarization_error

if TYPE_CHECKING:
    from pyannote.audio import Pipeline
    from pyannote.core import SlidingWindowFeature

    from spokenby.engines.pyannote import Pyannote

audio, core = Lazily("pyannote.audio"), Lazily("pyannote.core")
clustering, vbx = Lazily("pyannote.audio.pipelines.clustering"), Lazily("pyannote.audio.utils.vbx")
checkpoints, adapted = Lazily("tests.checkpoints.pyannote"), Lazily("spokenby.engines.pyannote")

RATE_HZ = 16_000
METHODS = ("VBxClustering", "AgglomerativeClustering")
SPEECH = SpeechRegions(digest="", regions=(), windows=(), duration=14.3)


pytestmark = pytest.mark.usefixtures("no_network", "one_thread")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("pyannote")
    return {method: checkpoints.build_pipeline(root / method, method) for method in METHODS}


@pytest.fixture(scope="module")
def engines(folders: dict[str, Path]) -> dict[str, Pyannote]:
    return {method: adapted.Pyannote(folder, device="cpu") for method, folder in folders.items()}


@pytest.fixture(scope="module")
def engine(engines: dict[str, Pyannote]) -> Pyannote:
    return engines["VBxClustering"]


@pytest.fixture(scope="module")
def stock(folders: dict[str, Path]) -> dict[str, Pipeline]:
    """Return pyannote's own pipelines. It wants a PLDA even where none is used."""
    with_plda, other = (folders[method] for method in METHODS)
    config = yaml.safe_load((other / "config.yaml").read_text())
    for part, folder in (("segmentation", other), ("embedding", other), ("plda", with_plda)):
        config["pipeline"]["params"][part] = {"checkpoint": str(folder / part)}
    return dict(
        zip(
            METHODS,
            (audio.Pipeline.from_pretrained(with_plda), audio.Pipeline.from_pretrained(config)),
            strict=True,
        )
    )


@pytest.fixture(scope="module")
def talk() -> npt.NDArray[np.float32]:
    """Return 14.3 s of a telephone talk by two, read-only as a memory map is."""
    sound, _ = soundfile.read(
        SAMPLE_RTTM.with_suffix(".wav"),
        start=round(6.5 * RATE_HZ),
        frames=round(14.3 * RATE_HZ),
        dtype="float32",
    )
    sound.setflags(write=False)
    return sound


def as_file(samples: npt.NDArray[np.float32]) -> dict[str, Any]:
    return {"waveform": torch.from_numpy(samples.copy())[None], "sample_rate": RATE_HZ}


def run(engine: Pyannote, samples: npt.NDArray[np.float32], **params: Any) -> list[list[Turn]]:
    chosen = Params(engine="pyannote", **params)
    return list(engine.diarize(Waveform(samples, "digest"), SPEECH, chosen))


def speakers(turns: list[Turn]) -> int:
    return len({turn.speaker for turn in turns})


# --- the same as pyannote


@pytest.mark.parametrize("method", METHODS)
def test_turns_are_those_of_pyannote(
    method: str,
    engines: dict[str, Pyannote],
    stock: dict[str, Pipeline],
    talk: npt.NDArray[np.float32],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as as_it_comes:
        as_it_comes.setattr("pyannote.audio.pipelines.clustering.linkage", linkage)
        output = stock[method](as_file(talk))
    annotations = (output.speaker_diarization, output.exclusive_speaker_diarization)
    expected = [
        [
            Turn(start=segment.start, end=segment.end, speaker=speaker)
            for segment, _, speaker in annotation.itertracks(yield_label=True)
        ]
        for annotation in annotations
    ]
    assert run(engines[method], talk) == expected
    assert speakers(expected[0]) > 1
    assert len(expected[0]) != len(expected[1])  # some overlap


@pytest.mark.parametrize("exclude_overlap", [False, True])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_embeddings_are_those_of_pyannote(
    batch_size: int,
    exclude_overlap: bool,
    engine: Pyannote,
    stock: dict[str, Pipeline],
    talk: npt.NDArray[np.float32],
) -> None:
    segmentation = np.zeros((6, 146, 3), np.float32)
    segmentation[0, 10:80, 0] = 1  # alone
    segmentation[1, 20:140, 1] = segmentation[1, 100:146, 2] = 1  # overlapping
    segmentation[2, 50:90, 0] = segmentation[2, 50:90, 1] = 1  # never alone
    segmentation[4] = [1, 0, 1]  # chunk 3 is silent; here two speak throughout
    segmentation[5, :60, 2] = 1  # the last chunk reaches past the end
    segmentation[5, 60:] = np.nan
    feature = core.SlidingWindowFeature(
        segmentation, core.SlidingWindow(start=0.0, duration=10.0, step=1.0)
    )
    engine._pipeline.embedding_batch_size = batch_size
    ours, theirs = (
        pipeline.get_embeddings(as_file(talk), feature, exclude_overlap=exclude_overlap)
        for pipeline in (engine._pipeline, stock["VBxClustering"])
    )
    assert ours.shape == theirs.shape == (6, 3, 256)
    assert np.abs(theirs).mean() > 0.01
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-6)
    np.testing.assert_array_equal(ours[3], theirs[3])


@pytest.mark.parametrize("seed", range(4))
def test_reconstruction_is_that_of_pyannote(
    seed: int, engine: Pyannote, stock: dict[str, Pipeline]
) -> None:
    rng = np.random.default_rng(seed)
    chunks, speakers = int(rng.integers(1, 12)), int(rng.integers(1, 5))
    spans = rng.random((chunks, 146, 3)).repeat(9, axis=1)[:, :146] > 0.6
    clusters = rng.integers(0, speakers, (chunks, 3)).astype(np.int8)
    clusters[(spans.sum(axis=1) == 0) | (rng.random((chunks, 3)) < 0.2)] = -2
    window = core.SlidingWindow(start=0.0, duration=10.0, step=1.0)
    segmentations = core.SlidingWindowFeature(spans.astype(np.float32), window)
    pipeline, theirs = engine._pipeline, stock["VBxClustering"]
    frames = core.SlidingWindow(start=0.0, duration=0.062, step=0.06875)
    count = pipeline.speaker_count(segmentations, frames, warm_up=(0.0, 0.0))
    for most in (int(count.data.max()), 1):
        count.data = np.minimum(count.data, most).astype(np.int8)
        ours = pipeline.reconstruct(segmentations, clusters, count)
        expected = theirs.reconstruct(segmentations, clusters, count)
        np.testing.assert_array_equal(ours.data, expected.data)
        for gap in (0.0, 0.3):
            assert pipeline.to_annotation(ours, 0.0, gap) == theirs.to_annotation(
                expected, 0.0, gap
            )


def test_the_network_sees_every_chunk_once(engine: Pyannote, talk: npt.NDArray[np.float32]) -> None:
    seen = []
    network = engine._pipeline._embedding.model_.resnet
    handle = network.conv1.register_forward_hook(lambda _, given, __: seen.append(len(given[0])))
    engine._pipeline._embedding.min_num_samples  # noqa: B018 - found out by trying, once
    seen.clear()
    try:
        run(engine, talk)
    finally:
        handle.remove()
    assert sum(seen) == 6  # 14.3 s: chunks from 0 to 5 s


def test_half_precision_stays_close(
    folders: dict[str, Path], engine: Pyannote, talk: npt.NDArray[np.float32]
) -> None:
    half = adapted.Pyannote(folders["VBxClustering"], device="cpu", compute_type="bfloat16")
    sound = torch.from_numpy(talk[: 10 * RATE_HZ].copy())[None, None]
    masks = np.ones((1, 3, 146), np.float32)
    ours, exact = (one._pipeline._embed(sound, masks)[0, 0] for one in (half, engine))
    assert ours.dtype == np.float32
    assert ours @ exact / np.linalg.norm(ours) / np.linalg.norm(exact) > 0.999
    assert not np.array_equal(ours, exact)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_batch_size_changes_nothing(
    batch_size: int, engine: Pyannote, talk: npt.NDArray[np.float32]
) -> None:
    assert run(engine, talk, batch_size=batch_size) == run(engine, talk)


def test_a_full_gpu_halves_the_batches(
    engine: Pyannote, talk: npt.NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, sizes = run(engine, talk), []
    embed = type(engine._pipeline)._embed

    def fill_up(self: Any, waveforms: torch.Tensor, masks: npt.NDArray[np.float32]) -> Any:
        sizes.append(len(waveforms))
        if len(waveforms) > 2:
            raise torch.OutOfMemoryError
        return embed(self, waveforms, masks)

    monkeypatch.setattr("spokenby.engines.batching._fitting", {})
    monkeypatch.setattr(type(engine._pipeline), "_embed", fill_up)
    assert run(engine, talk) == expected
    assert sizes == [4, 2, 2, 2]


# --- the number of speakers


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("params", "found"),
    [
        ({"num_speakers": 2}, {2}),
        ({"num_speakers": 3}, {3}),
        ({"min_speakers": 3}, {3, 4, 5, 6}),
        ({"max_speakers": 1}, {1}),
        ({"min_speakers": 2, "max_speakers": 4}, {2, 3, 4}),
        ({}, {1, 2, 3, 4, 5, 6}),
    ],
)
def test_number_of_speakers(
    method: str,
    params: dict[str, int],
    found: set[int],
    engines: dict[str, Pyannote],
    talk: npt.NDArray[np.float32],
) -> None:
    regular, exclusive = run(engines[method], talk, **params)
    assert speakers(regular) in found
    assert speakers(exclusive) <= speakers(regular)


def voices_in_chunks(
    counts: list[int], seed: int = 0
) -> tuple[npt.NDArray[np.float32], SlidingWindowFeature, npt.NDArray[np.int64]]:
    """Return embeddings of voices that come one after another, their segmentation, who each is."""
    random = np.random.default_rng(seed)
    truth = np.repeat(np.arange(len(counts)), counts)
    embeddings = random.normal(0, 0.03, (len(truth), 3, 256)).astype(np.float32)
    embeddings[:, 1] += unit_rows(random.normal(size=(len(counts), 256)))[truth]
    heard = np.zeros((len(truth), 589, 3), np.float32)
    heard[:, :400, 1] = 1
    window = core.SlidingWindow(start=0.0, duration=10.0, step=1.0)
    return embeddings, core.SlidingWindowFeature(heard, window), truth


@pytest.mark.parametrize("method", METHODS)
def test_a_number_merges_or_splits_what_was_found_freely(
    method: str, engines: dict[str, Pyannote], monkeypatch: pytest.MonkeyPatch
) -> None:
    embeddings, segmentations, truth = voices_in_chunks([60, 40, 30, 8])
    find = engines[method]._pipeline.clustering
    if method == "VBxClustering":
        monkeypatch.setattr(find, "Fa", 0.4)  # with community-1's, this PLDA finds one voice

    def found(**numbers: float) -> npt.NDArray[np.int64]:
        asked = {"num_clusters": None, "min_clusters": 1, "max_clusters": np.inf} | numbers
        hard, _, centroids = find(embeddings, segmentations=segmentations, **asked)
        assert len(centroids) > hard.max()
        return hard[:, 1].astype(np.int64)

    free = found()
    count = len(set(free.tolist()))
    same = {"min_clusters": count, "max_clusters": count, "num_clusters": count}
    np.testing.assert_array_equal(found(**same), free)
    np.testing.assert_array_equal(found(min_clusters=1, max_clusters=count), free)
    for number in (1, 2, 3, 5, 6):
        fitted = found(num_clusters=number, min_clusters=number, max_clusters=number)
        pairs = {*zip(free.tolist(), fitted.tolist(), strict=True)}
        assert len(set(fitted.tolist())) == number
        assert len(pairs) == max(number, count)
    fitted = found(num_clusters=4, min_clusters=4, max_clusters=4)
    assert len({*zip(truth.tolist(), fitted.tolist(), strict=True)}) == 4
    assert len(set(found(min_clusters=5).tolist())) == 5
    assert len(set(found(max_clusters=2).tolist())) == min(count, 2)


@pytest.fixture(scope="module")
def whole_talk() -> Waveform:
    sound, _ = soundfile.read(SAMPLE_RTTM.with_suffix(".wav"), dtype="float32")
    return Waveform(sound, "digest")


@pytest.fixture(scope="module")
def voices(engine: Pyannote, whole_talk: Waveform) -> npt.NDArray[np.float32]:
    """Return CAM++'s vectors of the longest stretch of each speaker in each chunk of the talk."""
    model = in_package(default_model("campplus"))
    if model is None:
        pytest.skip("the package that carries CAM++ is not installed")
    sound = torch.from_numpy(whole_talk.samples)[None]
    file = {"waveform": sound, "sample_rate": RATE_HZ}
    heard = engine._pipeline.get_segmentations(file)
    spans = []
    for start, chunk in enumerate(heard.data):
        for active in (chunk > 0).T & (chunk.sum(axis=1) < 2):
            edges = np.flatnonzero(np.diff(active, prepend=False, append=False)).reshape(-1, 2)
            first, last = max(edges.tolist(), key=lambda edge: edge[1] - edge[0], default=(0, 0))
            begin, end = start + np.array([first, last]) * 10 / chunk.shape[0]
            spans.append(Span(start=begin, end=end))
    vectors = CamPlus(model, "cpu").embed(whole_talk, spans)
    return np.nan_to_num(vectors).reshape(len(heard.data), 3, -1)


@pytest.mark.parametrize("threshold", [0.3, 0.6, 1.1])
def test_the_true_number_never_raises_the_error(
    threshold: float,
    engines: dict[str, Pyannote],
    whole_talk: Waveform,
    voices: npt.NDArray[np.float32],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Real voices, which without their number are anything from one voice to many."""
    engine = engines["AgglomerativeClustering"]
    monkeypatch.setattr(engine._pipeline, "get_embeddings", lambda *_, **__: voices.copy())
    monkeypatch.setattr(engine._pipeline.clustering, "threshold", threshold)
    free, given = (
        engine.diarize(whole_talk, SPEECH, Params(engine="pyannote", num_speakers=number))[0]
        for number in (None, 2)
    )
    print(
        threshold,
        speakers(free),
        [diarization_error(turns, SAMPLE_RTTM) for turns in (free, given)],
    )
    assert speakers(given) == 2
    assert diarization_error(given, SAMPLE_RTTM) <= diarization_error(free, SAMPLE_RTTM) + 0.005
    assert diarization_error(given, SAMPLE_RTTM) < 0.15


@pytest.mark.parametrize("method", METHODS)
def test_more_speakers_than_stretches_of_speech(
    method: str, engines: dict[str, Pyannote], talk: npt.NDArray[np.float32]
) -> None:
    engine = engines[method]
    with pytest.raises(InputError, match=r"too little speech to find 20 speakers.*set a smaller"):
        run(engine, talk[: 10 * RATE_HZ], num_speakers=20)


# --- sounds at the edge


@pytest.mark.parametrize("samples", [0, 1, 400, 16_000, 160_000, 160_001])
def test_any_length_will_do(samples: int, engine: Pyannote, talk: npt.NDArray[np.float32]) -> None:
    for turns in run(engine, talk[:samples]):
        assert all(0 <= turn.start < turn.end <= 12 for turn in turns)


def test_digital_silence(engine: Pyannote) -> None:
    run(engine, np.zeros(3 * RATE_HZ, np.float32))


# --- progress, stopping, what is left behind


def test_progress_runs_from_nothing_to_all(engine: Pyannote, talk: npt.NDArray[np.float32]) -> None:
    told: list[float] = []
    params = Params(engine="pyannote", batch_size=2)
    engine.diarize(Waveform(talk, "digest"), SPEECH, params, told.append)
    assert told[0] == 0
    assert told[-1] == 1
    assert told == sorted(told)
    assert len(set(told)) >= 6


@pytest.mark.parametrize("tf32", [False, True])
@pytest.mark.parametrize("stop_at", [0.0, 0.3, 1.0, None])
def test_stopping_and_torch_precision(
    stop_at: float | None, tf32: bool, engine: Pyannote, talk: npt.NDArray[np.float32]
) -> None:
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    during = set()

    def progress(fraction: float) -> None:
        if fraction < 0.9:  # the networks are at work
            during.update({matmul.allow_tf32, cudnn.allow_tf32})
        if stop_at is not None and fraction >= stop_at:
            raise StoppedError("stopped")

    matmul.allow_tf32 = cudnn.allow_tf32 = tf32
    params = Params(engine="pyannote")
    try:
        if stop_at is None:
            engine.diarize(Waveform(talk, "digest"), SPEECH, params, progress)
        else:
            with pytest.raises(StoppedError):
                engine.diarize(Waveform(talk, "digest"), SPEECH, params, progress)
        assert (matmul.allow_tf32, cudnn.allow_tf32) == (tf32, tf32)
        assert during == {False}
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


def test_precision_returns_after_pyannote_switches_it_off() -> None:
    cudnn = torch.backends.cudnn
    before = cudnn.allow_tf32
    cudnn.allow_tf32 = True
    try:
        with full_precision():
            cudnn.allow_tf32 = False  # as pyannote does on a GPU
        assert cudnn.allow_tf32
    finally:
        cudnn.allow_tf32 = before


def test_precision_returns_when_the_last_has_left() -> None:
    cudnn = torch.backends.cudnn
    before = cudnn.allow_tf32
    cudnn.allow_tf32 = True
    one, other = full_precision(), full_precision()
    try:
        for begin in (one, other):
            begin.__enter__()
        one.__exit__(None, None, None)
        assert not cudnn.allow_tf32
        other.__exit__(None, None, None)
        assert cudnn.allow_tf32
    finally:
        cudnn.allow_tf32 = before


def test_engine_and_device_are_free_while_voices_are_compared(
    engine: Pyannote, talk: npt.NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second sound is heard from beginning to end before the first one's voices are compared."""
    expected, told = run(engine, talk), []
    compare = clustering.VBxClustering.__call__

    def slow(self: Any, **given: Any) -> Any:
        told.append("compare")
        return compare(self, **given)

    def release() -> None:
        told.append("let go")
        if len(told) == 1:
            assert run(engine, talk) == expected

    monkeypatch.setattr(clustering.VBxClustering, "__call__", slow)
    params = Params(engine="pyannote")
    turns = engine.diarize(Waveform(talk, "digest"), SPEECH, params, release=release)
    assert list(turns) == expected
    assert told == ["let go", "compare", "compare"]


def test_a_full_gpu_halves_the_batches_of_the_segmentation(
    engine: Pyannote, talk: npt.NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, sizes = run(engine, talk), []
    network = engine._pipeline._segmentation.model
    forward = network.forward

    def fill_up(waveforms: torch.Tensor) -> torch.Tensor:
        sizes.append(len(waveforms))
        if len(waveforms) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(waveforms)

    monkeypatch.setattr(network, "forward", fill_up)
    assert run(engine, talk) == expected
    assert sizes == [5, 5, 4, 2, 2, 1, 1]


def test_threads(
    folders: dict[str, Path], talk: npt.NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = adapted.Pyannote(folders["VBxClustering"], device="cpu", threads=2)
    asked: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    run(engine, talk[:RATE_HZ])
    assert asked == [2]


def test_what_pyannote_prints_goes_to_the_log(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        vbx.print("WARNING: Value of auxiliary function has decreased!")
    assert capfd.readouterr() == ("", "")
    assert "has decreased" in caplog.text


# --- folders


def test_a_moved_folder_loads_from_anywhere(
    folders: dict[str, Path],
    engine: Pyannote,
    talk: npt.NDArray[np.float32],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # pyannote picks another library for a model whose path holds that library's name
    moved = tmp_path / "speechbrain nvidia wespeaker ü"
    shutil.copytree(folders["VBxClustering"], moved)
    monkeypatch.chdir(tmp_path)
    assert run(adapted.Pyannote(Path(moved.name), device="cpu"), talk) == run(engine, talk)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def change(path: Path, **params: str) -> None:
    config = yaml.safe_load(path.read_text())
    config["pipeline"]["params"].update(params)
    path.write_text(yaml.safe_dump(config))


CONFIG, SEGMENTATION, EMBEDDING = (
    "config.yaml",
    "segmentation/pytorch_model.bin",
    "embedding/pytorch_model.bin",
)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (shutil.rmtree, "is not a pyannote pipeline: it has no config.yaml"),
        (lambda f: (f / CONFIG).unlink(), "is not a pyannote pipeline: it has no config.yaml"),
        (lambda f: (f / CONFIG).write_text("a: [b"), r"cannot use .*config.yaml \(ParserError"),
        (lambda f: (f / CONFIG).write_text("a: b"), r"cannot use .*config.yaml \(KeyError"),
        (lambda f: change(f / CONFIG, clustering="KMeansClustering"), "with KMeansClustering: use"),
        (lambda f: change(f / CONFIG, colour="red"), r"cannot use .*config.yaml \(TypeError"),
        (
            lambda f: change(f / CONFIG, segmentation="pyannote/segmentation-3.0"),
            "names pyannote/segmentation-3.0, but there is no .*pytorch_model.bin",
        ),
        (lambda f: cut(f / EMBEDDING), r"cannot use .*embedding.pytorch_model.bin \(RuntimeError"),
        (lambda f: cut(f / SEGMENTATION), r"cannot use .*segmentation.pytorch_model.bin"),
        (lambda f: (f / EMBEDDING).write_bytes(b""), r"cannot use .*embedding.pytorch_model.bin"),
        (lambda f: (f / EMBEDDING).write_text("hello"), r"cannot use .*embedding.pytorch_model.bi"),
        (lambda f: (f / EMBEDDING).unlink(), "but there is no .*pytorch_model.bin"),
        (
            lambda f: shutil.copy(f / SEGMENTATION, f / EMBEDDING),
            "holds a PyanNet, not a model for embedding",
        ),
        (
            lambda f: shutil.copy(f / EMBEDDING, f / SEGMENTATION),
            "holds a WeSpeakerResNet34, not a model for segmentation",
        ),
        (lambda f: (f / "plda" / "plda.npz").unlink(), "but there is no .*plda.npz"),
        (lambda f: cut(f / "plda" / "plda.npz"), r"cannot use .*plda"),
    ],
)
def test_broken_folders(
    damage: Any, message: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(folders["VBxClustering"], folder)
    damage(folder)
    with pytest.raises(InputError, match=message) as error:
        adapted.Pyannote(folder, device="cpu")
    line = str(error.value)
    assert "\n" not in line
    assert len(line.replace(str(folder), "")) < 350
    assert line.endswith(("run: spokenby models fetch --profile studio", *METHODS))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there(folders: dict[str, Path]) -> None:
    with pytest.raises(InputError, match=r"no NVIDIA GPU that it can use: .*device cpu or auto"):
        adapted.Pyannote(folders["VBxClustering"], device="cuda")
