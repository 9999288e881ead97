"""Write shapes and text as SVG."""

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape

INK, PALE = "#1f2430", "#6b7280"
HATCHED = "url(#hatched)"

_OPENING = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"
 width="{width}" height="{height}" font-family="Segoe UI, Helvetica, Arial, sans-serif">
<defs><pattern id="hatched" width="6" height="6" patternUnits="userSpaceOnUse"
 patternTransform="rotate(45)"><rect width="6" height="6" fill="#f1f2f5"/>
<rect width="2" height="6" fill="#c3c8d1"/></pattern></defs>
<rect width="100%" height="100%" rx="8" fill="#ffffff"/>"""


def document(width: int, height: float, parts: Sequence[str]) -> str:
    """Return a picture of this size in pixels."""
    opening = _OPENING.format(width=width, height=round(height))
    return "\n".join([opening, *parts, "</svg>\n"])


def written(text: str) -> str:
    """Return a text as XML, without the characters of file names that XML or UTF-8 cannot hold."""
    return escape("".join(c if c.isprintable() else "\ufffd" for c in " ".join(text.split())))


def rect(x: float, y: float, width: float, height: float, fill: str, more: str = "") -> str:
    """Return a rectangle; `more` is any other attributes."""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
        f'fill="{fill}"{more}/>'
    )


def text(
    x: float,
    y: float,
    words: str,
    *,
    size: int = 12,
    colour: str = INK,
    weight: int = 400,
    anchor: str = "start",
) -> str:
    """Return text that starts, ends or is centered at a point."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}" '
        f'font-weight="{weight}" text-anchor="{anchor}">{written(words)}</text>'
    )


def steps(xs: Sequence[float], ys: Sequence[float], base: float | None) -> str:
    """Return a path of steps, with gaps where values are NaN; down to a base line if given."""
    parts = []
    drawing = False
    for i, y in enumerate([*ys, math.nan]):
        if math.isnan(y):
            if drawing and base is not None:
                parts.append(f"V{base:.1f}")
            drawing = False
            continue
        if not drawing:
            parts.append(f"M{xs[i]:.1f} {y if base is None else base:.1f}")
        parts.append(f"V{y:.1f}H{xs[i + 1]:.1f}")
        drawing = True
    return "".join(parts)
