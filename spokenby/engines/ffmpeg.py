"""Find ffmpeg; copy videos with captions."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import av
import imageio_ffmpeg

from spokenby.engines.av import FORMATS, probe
from spokenby.errors import InputError
from spokenby.files import replacing

_CAPTION_CODECS = {"mp4": "mov_text", "mov": "mov_text", "matroska": "srt"}
"""Of text tracks, by the container's name in ffmpeg."""

_COPIED_CAPTIONS = {
    "mp4": {"mov_text"},
    "mov": {"mov_text"},
    "matroska": {"subrip", "srt", "ass", "ssa", "webvtt", "hdmv_pgs_subtitle", "dvd_subtitle"},
}
"""Which tracks of captions are taken along, by the container's name in ffmpeg."""


def find_ffmpeg(configured: str | None = None) -> Path:
    """Return the ffmpeg to run: the configured one, else the bundled one.

    Not the system's: ffmpeg 5.1, which Debian 12 has, misplaces sound that begins late by seconds,
    and doubles what changes its rate. Where no package bundles one, the system's is taken.

    Raises:
        InputError: the configured one does not exist.
    """
    if configured:
        if found := shutil.which(configured):
            return Path(found)
        raise InputError(f"no ffmpeg at {configured}", "leave the setting empty")
    try:
        return Path(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise InputError(
            "ffmpeg was not found", "install it, or reinstall imageio-ffmpeg"
        ) from error


def copy_with_captions(
    command: Path, video: Path, captions: Path, chapters: Path, target: Path
) -> None:
    """Copy a video with a track of captions that can be switched off, and chapters.

    Pictures and sound are copied as they are. A video that has chapters keeps its own.

    Args:
        command: from `find_ffmpeg`.
        video: to be copied.
        captions: SubRip.
        chapters: FFMETADATA.
        target: .mp4, .m4v, .mov or .mkv; replaced if it is there.

    Raises:
        InputError: the video cannot be read, or copied into such a file.
    """
    kind = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov"}.get(target.suffix.lower(), "matroska")
    probe(video)  # says in one line what is wrong with it
    with (
        video.open("rb") as file,  # see `probe`
        av.open(file, "r", metadata_errors="replace") as container,
    ):
        own_chapters = bool(container.chapters())
        # What is in there of other kinds, such as pictures of a broadcast, few containers hold.
        texts = [
            stream.index
            for stream in container.streams.subtitles
            if stream.codec_context and stream.codec_context.name in _COPIED_CAPTIONS[kind]
        ]
    with replacing(target) as partial:
        arguments = [
            *(str(command), "-nostdin", "-hide_banner", "-loglevel", "error", "-y"),
            *("-protocol_whitelist", "file", "-format_whitelist", FORMATS),
            # avi has no times for its pictures.
            *("-fflags", "+genpts", "-i", f"file:{video}", "-f", "srt", "-i", f"file:{captions}"),
            *("-f", "ffmetadata", "-i", f"file:{chapters}"),
            *("-map", "0:v?", "-map", "0:a", *(f for n in texts for f in ("-map", f"0:{n}"))),
            *("-map", "1:0", "-map_metadata", "0", "-map_chapters", "0" if own_chapters else "2"),
            *("-c", "copy", f"-c:s:{len(texts)}", _CAPTION_CODECS[kind]),
            *(f"-metadata:s:s:{len(texts)}", "title=Transcript"),
            *(f"-disposition:s:{len(texts)}", "default"),
            *("-f", kind, f"file:{partial}"),
        ]
        try:
            ended = subprocess.run(arguments, capture_output=True, check=False)
        except OSError as error:
            raise InputError(
                f"{command} does not start ({error.strerror})", "check the ffmpeg setting"
            ) from error
        if ended.returncode:
            lines = ended.stderr.decode(errors="replace").split("\n")
            why = re.sub(r"^(\[[^]]*\] *)+", "", lines[0]).strip()
            raise InputError(
                f"{video} cannot be copied with captions ({why or ended.returncode})",
                "check the space on the disk, or put a player's captions file beside the video:"
                " --as srt",
            )
