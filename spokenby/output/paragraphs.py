"""Join a transcript's segments to paragraphs, as a person reads them."""

from __future__ import annotations

from collections.abc import Iterator

from spokenby.stages.words import SENTENCE_ENDS
from spokenby.types import Seconds, SpeakerTranscript, SpokenWord

LONG_PAUSE: Seconds = 2.0
"""A longer pause begins a new paragraph."""
WORDS = 80
"""After so many words, the next end of a sentence ends the paragraph; after twice as many, any."""

_CLOSING = "'\"’”»)]」』）"


def cut_paragraphs(transcript: SpeakerTranscript) -> Iterator[list[SpokenWord]]:
    """Yield the words of each paragraph, never empty, all of one speaker.

    They are in the order of the segments: where people speak at once, times may go back.
    """
    paragraph: list[SpokenWord] = []
    for segment in transcript.segments:
        for word in segment.words:
            if paragraph and _ends(paragraph, word):
                yield paragraph
                paragraph = []
            paragraph.append(word)
    if paragraph:
        yield paragraph


def _ends(paragraph: list[SpokenWord], word: SpokenWord) -> bool:
    last = paragraph[-1]
    if word.speaker != last.speaker:
        return True
    if word.paragraph is not None:
        return word.paragraph
    return (
        word.start - last.end > LONG_PAUSE
        or len(paragraph) >= 2 * WORDS
        or (len(paragraph) >= WORDS and last.text.rstrip(_CLOSING).endswith(SENTENCE_ENDS))
    )
