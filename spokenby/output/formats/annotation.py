"""Annotation: transcript.rttm, the turns as diarization tools read them."""

import re
from collections.abc import Mapping
from typing import Any

from spokenby.output.formats.wording import to_ms
from spokenby.types import SpeakerTranscript


def write_rttm(transcript: SpeakerTranscript, name: str, _about: Mapping[str, Any]) -> str:
    """Write the regular turns; the file id and labels have no spaces, as the format demands."""
    file_id = _token(name)
    return "".join(
        f"SPEAKER {file_id} 1 {turn.start:.3f} {turn.duration:.3f} <NA> <NA> "
        f"{_token(turn.speaker)} <NA> <NA>\n"
        for turn in transcript.turns
        if to_ms(turn.duration)
    )


def _token(text: str) -> str:
    """Return the text as one field of RTTM, which white space separates."""
    return re.sub(r"[^\w.-]+", "_", text) or "video"
