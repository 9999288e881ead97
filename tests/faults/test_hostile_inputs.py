"""One run over files that are no videos and some that are: a line each, and these are done."""

from __future__ import annotations

import json
import os
import re
import sys
import threading
from pathlib import Path
from typing import NamedTuple

import pytest
from commands import Here
from conftest import Site
from hostile import (
    Make,
    box,
    changed,
    content,
    encoded,
    encrypted,
    gzipped,
    id3,
    link_to,
    listening_socket,
    negative_times,
    nested,
    no_media_data,
    png,
    wav,
    with_tags,
    zip_bomb,
)
from media import Sound, make_video, silence, tone

from spokenby.wording import one_line

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="names and kinds of files of POSIX")

LIST = "is a playlist, a text, or of a format that spokenby does not read: name the file"
NO_VIDEO = "is not a video or audio file: play it"
CUT = "is cut off: the index at the end of an mp4 file (moov) is missing: copy or download it again"
MUTE = "has no audio, only a picture: choose a video with sound, or exclude it"
UNDECODABLE = "cannot be decoded"
NO_SAMPLES = "holds no samples: play it"
NEITHER = "is neither a file nor a folder: name a video or a folder"
GONE = "does not exist: check the name"
BIDI, ESCAPE = "\u202e", "\x1b"
EVIL = "![x](http://127.0.0.1:9/x.png) [red]x[/red] <script>alert(1)</script>"

PLAYLIST = (
    "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n"
)
SESSION = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 9 RTP/AVP 0\n"
DASH = '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"></MPD>'
SUBTITLES = "1\n00:00:01,000 --> 00:00:02,000\nHello\n\n"

BAD: dict[str, tuple[Make, str]] = {
    # --- no media at all
    "empty.mp4": (content(b""), "is empty (0 bytes): copy or download it again"),
    "one byte.mp4": (content(b"\0"), NO_VIDEO),
    "text.mp4": (content("not a video\n" * 100), NO_VIDEO),
    "error page.mp4": (content("<!doctype html><title>404</title>" * 9), NO_VIDEO),
    "noise.mp4": (content(bytes(range(7, 251)) * 40), NO_VIDEO),
    "zeros.mp4": (content(bytes(10_000)), NO_VIDEO),
    "zip bomb.mp4": (zip_bomb, NO_VIDEO),
    "gzip.mp4": (gzipped, NO_VIDEO),
    "paper.mp4": (content(b"%PDF-1.7\n" + bytes(5000)), NO_VIDEO),
    "program.mp4": (content(Path(sys.executable).resolve().read_bytes()[:50_000]), NO_VIDEO),
    "picture.mp4": (content(png()), LIST),
    "database.mp4": (content(b"SQLite format 3\0" + bytes(8000)), NO_VIDEO),
    # --- what leads elsewhere
    "subtitles.mp4": (content(SUBTITLES), LIST),
    "playlist.mp4": (content(PLAYLIST), NO_VIDEO),
    "concatenation.mp4": (content("ffconcat version 1.0\nfile good.mp4\n"), LIST),
    "session.mp4": (content(SESSION), LIST),
    "dash.mp4": (content(DASH), NO_VIDEO),
    # --- damaged
    "cut.mp4": (changed(lambda data: data[: data.rindex(b"moov") - 4]), CUT),
    "head.mp4": (changed(lambda data: data[:24]), CUT),
    "reserved.mp4": (changed(no_media_data), UNDECODABLE),
    "long box.mp4": (content(box(b"ftyp", b"isom\0\0\2\0") + b"\x7f\xff\xff\xffmoov"), NO_VIDEO),
    "deep.mp4": (content(nested(3000)), CUT),
    "head.mkv": (content(bytes.fromhex("1a45dfa3 01ffffffffffffff") + bytes(2000)), NO_VIDEO),
    "head.avi": (content(b"RIFF\xff\xff\xff\xffAVI LIST"), NO_VIDEO),
    "head.flac": (content(b"fLaC\x80\0\0\x22" + bytes(34)), UNDECODABLE),
    "head.ogg": (content(b"OggS\0\2" + bytes(20) + b"\1\1x"), "cannot be read (End of file)"),
    "tag.mp3": (content(id3(b"TIT2", b"\0Talk")), NO_VIDEO),
    "cover.mp3": (content(id3(b"APIC", b"\0image/png\0\3\0" + png())), NO_VIDEO),
    # --- no sound that can be had
    "mute.mp4": (lambda path: make_video(path, seconds=1), MUTE),
    "no samples.wav": (content(wav(0)), NO_SAMPLES),
    "encrypted.mp4": (changed(encrypted), UNDECODABLE),
    "unknown.wav": (content(wav(kind=0x7777)), UNDECODABLE),
    # --- no end, no measure
    "1 hertz.wav": (content(wav(100_000, rate_hz=1)), "more than 24 hours: check its times"),
    "0 hertz.wav": (content(wav(rate_hz=0)), NO_VIDEO),
    "65 channels.wav": (content(wav(1600, channels=65)), "has 65 channels, ffmpeg converts"),
    "200 channels.wav": (content(wav(1600, channels=200)), "has 200 channels, ffmpeg converts"),
    "no channels.wav": (content(wav(channels=0)), UNDECODABLE),
    # --- names
    f"{ESCAPE}[31mred{ESCAPE}[0m.mp4": (content(b""), "is empty"),
    f"{BIDI}4pm.mp4": (content(b""), "is empty"),
    "line\nbreak.mp4": (content(b""), "is empty"),
    f"{EVIL.replace('/', '∕')}.mp4": (content(b""), "is empty"),
    "{video.name} %s $HOME.mp4": (content(b""), "is empty"),
    os.fsdecode(b"latin\xe9.mp4"): (content(b""), "is not text (UTF-8): rename it"),
    "e" * 251 + ".mp4": (content(b""), "is empty"),
}
"""By name: what makes it, and what its line says."""

NAMED: dict[str, tuple[Make, str]] = {
    "gone.mp4": (lambda path: path, GONE),
    "dangling.mp4": (link_to("nowhere.mp4"), GONE),
    "loop.mp4": (link_to("loop.mp4"), "cannot be read (Too many levels of symbolic links)"),
    "pipe.mp4": (os.mkfifo, NEITHER),
    "socket.mp4": (listening_socket, NEITHER),
    "zero.mp4": (link_to("/dev/zero"), NEITHER),
    "nothing.mp4": (link_to("/dev/null"), NEITHER),
}
"""What a search leaves out; each is named."""

GOOD: dict[str, Make] = {
    "good.mp4": lambda path: make_video(path, Sound(tone(3))),
    "silence 'quoted' 🎬.mp4": lambda path: make_video(path, Sound(silence(2))),
    "covered.mp3": content(id3(b"APIC", b"\0image/png\0\3\0" + png()) + encoded("mp3", "mp3")),
    "other codec.mp4": changed(lambda data: data.replace(b"mp4a", b"zzzz")),
    "negative.mkv": negative_times,
    "spliced.mp3": content(encoded("mp3", "mp3") + encoded("mp3", "mp3", rate_hz=22_050)),
    "markup.mkv": with_tags(title=EVIL, artist=f"{ESCAPE}[31m{BIDI}"),
    "huge tag.mkv": with_tags(title="t" * 2**20),
    "claims 4 GB.wav": content(wav(16_001, claims=0xFFFFFFF0)),
    "cut off.mp3": content(encoded("mp3", "mp3", 2)[:3000]),
    "short.wav": content(wav(160)),
    "8 bit.wav": content(wav(8000, rate_hz=8000, bits=8)),
    "folder.mp4/inside.wav": content(wav(15_999)),
    f"{ESCAPE}[2J{BIDI}ok\n.wav": content(wav(16_002)),
    "g" * 251 + ".wav": content(wav(16_003)),
}
"""What is odd, but has sound."""


class Batch(NamedTuple):
    site: Site
    code: int
    out: str

    def lines(self) -> list[str]:
        return [line for line in self.out.splitlines() if line.startswith("failed: ")]


def grow(path: Path, ended: threading.Event) -> None:
    with path.open("ab") as file:
        while not ended.wait(0.01):
            file.write(bytes(320))
            file.flush()


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory, prefect_server: str) -> Batch:
    """Return how one run over all of them ended."""
    site = Site(tmp_path_factory.mktemp("hostile"), {"PREFECT_API_URL": prefect_server})
    aside = site.folder / "aside"
    aside.mkdir()
    for name, (make, _) in BAD.items():
        make(site.videos / name)
    for name, make in GOOD.items():
        path = site.videos / name
        path.parent.mkdir(exist_ok=True)
        make(path)
    for name, (make, _) in NAMED.items():
        make(aside / name)
    (site.videos / "up").symlink_to(site.videos)
    growing, ended = site.videos / "growing.wav", threading.Event()
    growing.write_bytes(wav(16_004, claims=0xFFFFFFF0))
    writer = threading.Thread(target=grow, args=(growing, ended))
    writer.start()
    try:
        with Here(site) as commands:
            ran = commands.run("transcribe", site.videos, *(aside / name for name in NAMED))
    finally:
        ended.set()
        writer.join()
    return Batch(site, *ran)


def ended(batch: Batch, name: str) -> str:
    """Return the one line about a file that failed."""
    shown = one_line(os.fsencode(name).decode(errors="replace").replace("\ufffd", "?"))
    lines = [line for line in batch.lines() if shown in line]
    assert len(lines) == 1, (shown, lines, batch.out)
    return lines[0]


@pytest.mark.parametrize("name", [*BAD, *NAMED], ids=ascii)
def test_one_line_says_what_is_wrong_and_what_to_do(batch: Batch, name: str) -> None:
    assert (BAD | NAMED)[name][1] in ended(batch, name)


@pytest.mark.parametrize("name", GOOD, ids=ascii)
def test_the_others_are_done(batch: Batch, name: str) -> None:
    path = batch.site.videos / name
    texts = [file.read_text("utf-8") for file in batch.site.transcripts.glob("*/manifest.json")]
    assert any(json.loads(text)["video"]["name"] == path.name for text in texts)


def test_a_file_that_grows_waits_until_it_is_complete(batch: Batch) -> None:
    assert re.search("changed (while|after)", ended(batch, "growing.wav"))


def test_nothing_else_is_said_or_left(batch: Batch) -> None:
    assert batch.code == 1
    assert len(batch.lines()) == len(BAD) + len(NAMED) + 1
    assert f"{len(GOOD)} of {len(GOOD) + len(BAD) + len(NAMED) + 1} videos" in batch.out
    assert "Traceback" not in batch.out
    assert not re.search("[\\x00-\\x09\\x0b-\\x1f\\x7f-\\x9f\u202a-\u202e\u2066-\u2069]", batch.out)
    assert len(list(batch.site.transcripts.iterdir())) == len(GOOD)
    assert not list(batch.site.data.rglob("*.partial"))
    silent = batch.site.transcript("silence 'quoted' 🎬")
    assert (silent.speakers, silent.segments) == ((), ())
    assert "no speech found" in batch.out
