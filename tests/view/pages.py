"""A small site with transcripts, voices and sound, made without a model, and its pages served."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import uvicorn

from spokenby.digests import DigestIndex, digest_file
from spokenby.engines.av import write_opus, write_video
from spokenby.output import folders, formats, layers, manifest
from spokenby.output.folders import folder_name
from spokenby.review import listening_copy, page
from spokenby.settings import Settings
from spokenby.site.batch import prepare_batch
from spokenby.site.inventory import Inventory
from spokenby.site.voice_library import note_transcript, open_library
from spokenby.stages.merging import name_speakers
from spokenby.types import SpeakerTranscript, Video
from spokenby.view.address import derived, folder_id, make_key
from spokenby.view.app import make_app
from spokenby.view.videos import Videos
from tests.review.conversation import Line, transcript_of
from tests.voices.voice_worker import PARAMS, scene

RATE_HZ = 16_000


def tone(seconds: float, hz: float) -> np.ndarray:
    times = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    return (0.2 * np.sin(2 * np.pi * hz * times)).astype(np.float32)


def ball(second: float) -> np.ndarray:
    picture = np.full((90, 160, 3), (30, 60, 110), np.uint8)
    at = int(20 * second) % 120
    picture[30:60, at : at + 30] = (240, 200, 90)
    return picture


@dataclass
class Pages:
    """A site, that of SPOKENBY_DATA_DIR, and where its pages are served."""

    settings: Settings
    folders: dict[str, Path] = field(default_factory=dict)
    url: str = ""

    @property
    def key(self) -> str:
        return make_key(self.settings)

    @property
    def token(self) -> str:
        return derived(self.key, "token")

    def opened(self, path: str = "/") -> str:
        """Return an address with the secret in it."""
        return f"{self.url}{path}?key={self.key}"

    def at(self, name: str, file: str = "page.html") -> str:
        """Return the address of a file of a transcript."""
        return f"/t/{folder_id(self.folders[name])}/{file}"

    @contextmanager
    def client(self, *, admitted: bool = True) -> Iterator[httpx.Client]:
        """Yield a client, which has opened the address with the secret if `admitted`."""
        with httpx.Client(base_url=self.url, trust_env=False) as client:
            if admitted:
                assert client.get("/", params={"key": self.key}).status_code == 303
            yield client

    def transcript(self, name: str) -> SpeakerTranscript:
        return formats.open_transcript(self.folders[name]).transcript


def add_transcript(
    pages: Pages,
    name: str,
    lines: list[tuple[str, str]],
    voices: list[np.ndarray],
    *,
    picture: bool = False,
    sound: bool = True,
) -> None:
    """Add a transcript: what who says, 5 s a line, and the voice of each speaker as a vector."""
    settings = pages.settings
    spoken = [
        Line(6.0 * number, 6.0 * number + 5.0, who, text)
        for number, (who, text) in enumerate(lines)
    ]
    length = spoken[-1].end + 0.5
    video_path = settings.videos / f"{name}.{'mp4' if picture else 'flac'}"
    settings.videos.mkdir(parents=True, exist_ok=True)
    if picture:
        write_video(video_path, tone(length, 300 + 10 * len(pages.folders)), RATE_HZ, ball)
    else:
        video_path.write_bytes(f"the sound of {name}".encode())
    an_hour_ago = time.time() - 3600
    os.utime(video_path, (an_hour_ago, an_hour_ago))
    digest = digest_file(video_path, DigestIndex(settings.digest_index))
    video, heard, _ = scene(name, *voices)
    video = video.model_copy(update={"digest": digest, "duration": length})
    transcript = transcript_of(spoken)
    diarization = scene(name, *voices)[2].model_copy(
        update={"turns": transcript.turns, "exclusive": transcript.turns}
    )
    identities = open_library(settings).identify(video, heard, diarization, PARAMS)
    transcript = name_speakers(transcript, identities)
    folder = settings.transcripts / folder_name(name, digest)
    layer = layers.lay(formats.Document(transcript, name, {"notes": ["made for tests"]}), digest)
    files: dict[str, bytes | Path] = {**formats.render(*layer.document, ["json", "txt"])}
    copy = settings.data_dir / "copy.webm"
    if sound:
        with copy.open("w+b") as file:
            write_opus(tone(length, 440), file)
        files[listening_copy.FILE] = copy
    files |= page.render(layer, files)
    about = {
        "digest": Inventory(prepare_batch()).transcript_key(str(video_path), digest),
        "video": {
            "name": video_path.name,
            "digest": digest,
            "duration": length,
            "audio_streams": 1,
            "recorded": "",
        },
        "identified_from": heard.digest,
    }
    about = manifest.renamed(about, transcript, identities)
    folders.write_folder(folder, manifest.with_files(about, files))
    note_transcript(Video(**{**video.model_dump(), "path": str(video_path)}), folder, transcript,
                    settings)  # fmt: skip
    pages.folders[name] = folder


@contextmanager
def served(pages: Pages) -> Iterator[Pages]:
    """Serve the pages from this process."""
    listener = socket.create_server(("127.0.0.1", 0))
    pages.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    videos = Videos((), pages.settings, lambda status, _: f"http://127.0.0.1:9/again?{status.path}")
    app = make_app(videos, pages.settings, pages.key, lambda: "http://127.0.0.1:9")
    server = uvicorn.Server(
        uvicorn.Config(app, lifespan="off", log_config=None, timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    yield pages
    server.should_exit = True
    thread.join(10)
