"""Draw how often words are right by how sure the recognizer is, from what accuracy.py measured.

python tests/benchmarks/reliability.py tests/benchmarks/results/accuracy.json docs/images/confidence.svg
"""  # noqa: E501 - a command

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path

from spokenby import svg

SIZE, LEFT, TOP = 320, 56, 36
BLUE = "#2563eb"
_Z = 1.96  # of a normal distribution, 95 % lie so many standard deviations around the mean


def interval(right: float, words: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share."""
    middle = right + _Z**2 / (2 * words)
    half = _Z * math.sqrt(right * (1 - right) / words + _Z**2 / (4 * words**2))
    return (middle - half) / (1 + _Z**2 / words), (middle + half) / (1 + _Z**2 / words)


def draw(rows: Sequence[tuple[str, int, float, float]]) -> str:
    """Return a diagram: a dot for each range of confidence, on the diagonal if that is right.

    Args:
        rows: name of the range, number of words, their mean confidence, percent that are right.
    """

    def x(share: float) -> float:
        return LEFT + SIZE * share

    def y(share: float) -> float:
        return TOP + SIZE * (1 - share)

    grey = f'stroke="{svg.PALE}" stroke-width='
    parts = [
        f'<path d="M{x(0)} {y(1)}V{y(0)}H{x(1)}" fill="none" {grey}"1"/>',
        f'<path d="M{x(0)} {y(0)}L{x(1)} {y(1)}" {grey}"1" stroke-dasharray="4 4"/>',
        svg.text(x(0.5), TOP + SIZE + 40, "confidence", colour=svg.PALE, anchor="middle"),
        svg.text(8, TOP - 18, "words that are right", colour=svg.PALE),
    ]
    for tenth in range(0, 11, 2):
        share = tenth / 10
        label = f"{100 * share:.0f} %"
        parts.append(svg.text(LEFT - 6, y(share) + 4, label, colour=svg.PALE, anchor="end"))
        parts.append(svg.text(x(share), TOP + SIZE + 18, f"{share:g}", anchor="middle"))
    for name, words, mean, percent in rows:
        low, high = interval(percent / 100, words)
        title = svg.written(f"{name}: {percent:g} % of {words} words are right")
        parts.append(
            f"<g><title>{title}</title>"
            f'<path d="M{x(mean):.1f} {y(low):.1f}V{y(high):.1f}" stroke="{BLUE}"/>'
            f'<circle cx="{x(mean):.1f}" cy="{y(percent / 100):.1f}"'
            f' r="{2 + math.sqrt(words) / 4:.1f}" fill="{BLUE}" fill-opacity="0.6"/></g>'
        )
    return svg.document(LEFT + SIZE + 24, TOP + SIZE + 56, parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("measured", type=Path, help="what accuracy.py wrote")
    parser.add_argument("picture", type=Path, help="SVG to write")
    options = parser.parse_args()
    found = json.loads(options.measured.read_text("utf-8"))["results"]["confidence"]
    options.picture.write_text(draw(found), "utf-8")


if __name__ == "__main__":
    main()
