"""Put each transcript into a folder of notes, such as an Obsidian vault.

    spokenby transcribe talks/ --on-done "python examples/obsidian.py /path/to/vault"

The folder of the transcript comes as the last word, its manifest on standard input.
"""

import json
import sys
from pathlib import Path


def main() -> None:
    """Write one note, with the figures of the manifest as its properties."""
    vault, folder = Path(sys.argv[1]), Path(sys.argv[2])
    manifest = json.load(sys.stdin)
    properties = {
        "video": manifest["video"]["name"],
        "recorded": manifest["video"]["recorded"],
        "minutes": round(manifest["video"]["duration"] / 60, 1),
        "speakers": manifest["speakers"],
        "words": manifest["words"],
    }
    lines = [
        f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in properties.items()
    ]
    text = (folder / "transcript.txt").read_text("utf-8")
    vault.mkdir(parents=True, exist_ok=True)
    note = vault / f"{folder.name}.md"
    note.write_text("\n".join(["---", *lines, "---", "", text]), encoding="utf-8")
    print(f"wrote {note}")


if __name__ == "__main__":
    main()
