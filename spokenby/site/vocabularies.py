"""Find the vocabulary of a video: the file that was named, or beside the video, or the site's."""

from pathlib import Path

from spokenby.errors import InputError
from spokenby.site.remote_videos import address_of, is_remote, read_object
from spokenby.stages.vocabulary import ARROW, Vocabulary, parse_vocabulary

FILE = "vocabulary.txt"

MOST_BYTES = 1_000_000
"""More is not read: whatever it is, it has too many lines."""


class Vocabularies:
    """The vocabularies of a run. Each file is read once: a run goes on with what it began with.

    Args:
        site: the site's data folder.
        named: a file for all videos, whatever lies beside them.

    Raises:
        InputError: the named file cannot be read, or a line of it is at fault.
    """

    def __init__(self, site: Path, named: Path | None = None) -> None:
        self._site = site
        self._read: dict[Path, Vocabulary | None] = {}
        self._of_all = read_vocabulary(named) if named else None

    def of_video(self, path: str) -> Vocabulary:
        """Return the vocabulary of the most specific file; an empty one if there is none.

        Raises:
            SpokenbyError: the file cannot be read, or a line of it is at fault.
        """
        if self._of_all is not None:
            return self._of_all
        return self._of_folder(Path(path).parent) or self._of_folder(self._site) or Vocabulary()

    def _of_folder(self, folder: Path) -> Vocabulary | None:
        if folder not in self._read:
            file = folder / FILE
            if is_remote(folder):
                content = read_object(file)
                self._read[folder] = None if content is None else _parse(content, address_of(file))
            else:
                self._read[folder] = read_vocabulary(file) if file.is_file() else None
        return self._read[folder]


def read_vocabulary(file: Path) -> Vocabulary:
    """Read a vocabulary from a file.

    Raises:
        InputError: it cannot be read, or a line is at fault.
    """
    try:
        with file.open("rb") as opened:
            content = opened.read(MOST_BYTES + 1)
    except OSError as error:
        raise InputError(
            f"the vocabulary {file} cannot be read ({error.strerror})", "check its name"
        ) from None
    return _parse(content, str(file))


def _parse(content: bytes, file: str) -> Vocabulary:
    try:
        return parse_vocabulary(content[: MOST_BYTES + 1].decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise InputError(f"the vocabulary {file} is not UTF-8 text", "save it as such") from None
    except ValueError as error:
        raise InputError(
            f"the vocabulary {file} cannot be used: {error}",
            f"write a line a term, or: heard {ARROW} meant",
        ) from None
