"""The child process that decodes windows with pocketsphinx lives here.

What feeds it does not; see `pocketsphinx.py`. It is started by its path and imports nothing of
whosaid, so that it starts fast and stays small.

On stdin: a number of bytes (8, little-endian) and that many bytes of int16 samples, again and
again. On stdout: one line of JSON for each. The end of stdin, which also comes when the parent is
killed, ends the process at once.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from typing import Any, BinaryIO

CHUNK_BYTES = 2 * 16_000 // 2
"""Half a second at a time: decoding holds the interpreter, and the end of stdin must be seen."""


def main() -> None:
    """Decode what comes on stdin until it ends, with the model in the current folder."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    from pocketsphinx import Decoder

    decoder = Decoder(
        # Plain names: on Windows the library cannot open paths with other than ASCII letters.
        hmm="en-us",
        lm="en-us.lm.bin",
        dict="cmudict-en-us.dict",
        loglevel="FATAL",
    )
    pieces: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(sys.stdin.buffer, pieces), daemon=True).start()
    while True:
        line = json.dumps(_decode(decoder, pieces.get()))
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def _read(stdin: BinaryIO, pieces: queue.SimpleQueue[bytes]) -> None:
    while header := stdin.read(8):
        pieces.put(stdin.read(int.from_bytes(header, "little")))
    os._exit(0)


def _decode(decoder: Any, samples: bytes) -> list[tuple[str, int, int, float]]:
    # A used decoder remembers the channel of what it heard before; with new features it answers as
    # a new one would, in 0.2 ms instead of 0.7 s.
    decoder.reinit_feat()
    decoder.start_utt()
    for start in range(0, len(samples), CHUNK_BYTES):
        decoder.process_raw(samples[start : start + CHUNK_BYTES])
    decoder.end_utt()
    return [
        (segment.word, segment.start_frame, segment.end_frame + 1, segment.prob)
        for segment in decoder.seg() or ()
    ]


if __name__ == "__main__":
    main()
