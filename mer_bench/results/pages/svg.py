"""A small writer of SVG: the same drawing gives the same bytes, readable on light and dark, with title and description.

No script, no link, no font of its own. Marks differ in shape or dash as well as in colour.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape, quoteattr

_STYLE = (
    "text{font:12px sans-serif;fill:#1f2328}.quiet{fill:#59636e}.bg{fill:#fff}.axis{stroke:#59636e}"
    ".grid{stroke:#d1d9e0}.mark{fill:#0b62d6;stroke:#0b62d6}.hollow{fill:#fff;stroke:#59636e}"
    ".guide{stroke:#c4432b;stroke-dasharray:4 3}.line{fill:none;stroke-width:1.5}"
    ".cell{fill:#2f81d6;stroke:#d1d9e0}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.quiet{fill:#9198a1}.bg{fill:#0d1117}.axis{stroke:#9198a1}"
    ".grid{stroke:#3d444d}.mark{fill:#6cb0ff;stroke:#6cb0ff}.hollow{fill:#0d1117;stroke:#9198a1}"
    ".guide{stroke:#ff8a73}.cell{stroke:#3d444d}}"
)
#: strong enough on white and on black
COLOURS = ("#2f81d6", "#c9661a", "#2d9a5f", "#b14fb8", "#8a7a1f", "#d1495b", "#4a8c99", "#7f7f7f")
#: beside a colour: number of corners (0 is round), and whether it is filled
MARKS = ((0, True), (4, True), (3, True), (0, False), (4, False), (3, False), (5, True), (5, False))
DASHES = ("none", "6 3", "2 3", "8 3 2 3", "none", "6 3", "2 3", "8 3 2 3")


class Drawing:
    """Elements in the order in which they are drawn.

    Args:
        width: in pixels.
        height: in pixels.
        title: what it shows.
        about: the same for who cannot see it.
    """

    def __init__(self, width: float, height: float, title: str, about: str) -> None:
        size = f'width="{_n(width)}" height="{_n(height)}" viewBox="0 0 {_n(width)} {_n(height)}"'
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" {size} aria-labelledby="t d">',
            f'<title id="t">{_clean(title)}</title><desc id="d">{_clean(about)}</desc><style>{_STYLE}</style>',
            f'<rect class="bg" width="{_n(width)}" height="{_n(height)}"/>',
        ]

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str) -> None:
        """A straight line."""
        self.parts.append(f'<line class="{kind}" x1="{_n(x1)}" y1="{_n(y1)}" x2="{_n(x2)}" y2="{_n(y2)}"/>')

    def path(self, points: Sequence[tuple[float, float]], colour: str, dash: str = "none") -> None:
        """A line through points."""
        found = " ".join(f"{_n(x)},{_n(y)}" for x, y in points)
        self.parts.append(f'<polyline class="line" stroke="{colour}" stroke-dasharray="{dash}" points="{found}"/>')

    def dot(self, x: float, y: float, kind: str, radius: float = 4) -> None:
        """A circle."""
        self.parts.append(f'<circle class="{kind}" cx="{_n(x)}" cy="{_n(y)}" r="{_n(radius)}"/>')

    def mark(self, x: float, y: float, colour: str, shape: tuple[int, bool], radius: float = 4) -> None:
        """A small sign of a colour; see `MARKS`."""
        corners, filled = shape
        paint = f'fill="{colour}" stroke="{colour}"' if filled else f'class="bg" stroke="{colour}" stroke-width="1.5"'
        if not corners:
            self.parts.append(f'<circle {paint} cx="{_n(x)}" cy="{_n(y)}" r="{_n(radius)}"/>')
            return
        turns = [math.pi * (2 * k / corners - 0.5) for k in range(corners)]
        points = " ".join(f"{_n(x + radius * math.cos(t))},{_n(y + radius * math.sin(t))}" for t in turns)
        self.parts.append(f'<polygon {paint} points="{points}"/>')

    def box(self, x: float, y: float, width: float, height: float, kind: str, opacity: float = 1) -> None:
        """A rectangle."""
        size = f'width="{_n(width)}" height="{_n(height)}" fill-opacity="{_n(opacity)}"'
        self.parts.append(f'<rect class="{kind}" x="{_n(x)}" y="{_n(y)}" {size}/>')

    def text(self, x: float, y: float, words: str, *, anchor: str = "start", kind: str = "") -> None:
        """One line of text; anchor is start, middle or end."""
        extra = f" class={quoteattr(kind)}" if kind else ""
        self.parts.append(f'<text{extra} x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}">{_clean(words)}</text>')

    def render(self) -> str:
        """The file."""
        return "\n".join([*self.parts, "</svg>"]) + "\n"


def _n(value: float) -> str:
    """Two digits, without a tail of zeros and without a minus zero."""
    shown = f"{value + 0.0:.2f}".rstrip("0").rstrip(".")
    return "0" if shown == "-0" else shown


def _clean(words: str) -> str:
    spaced = words.replace("\u00a0", " ")
    return escape("".join(c if c.isprintable() else "\ufffd" for c in spaced))


def shorten(words: str, longest: int = 34) -> str:
    """At most so many characters."""
    return words if len(words) <= longest else f"{words[: longest - 1]}…"


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers from low to high."""
    step = 10 ** math.floor(math.log10(max(high - low, 1e-9) / count))
    step = next((step * k for k in (1, 2, 5, 10) if (high - low) / (step * k) <= count), step * 10)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 10) for k in range(first, math.floor(high / step + 1e-9) + 1)]


class Scale:
    """From a value to a place; logarithmic where asked.

    Args:
        low: value at `start`.
        high: value at `end`.
        start: place.
        end: place.
        log: whether equal ratios are equally far apart.
    """

    def __init__(self, low: float, high: float, start: float, end: float, *, log: bool = False) -> None:
        self.start, self.end, self.log = start, end, log
        self.low, self.high = (math.log10(low), math.log10(high)) if log else (low, high)
        if self.high - self.low < 1e-9:
            self.low, self.high = self.low - 0.5, self.high + 0.5

    def __call__(self, value: float) -> float:
        """The place of a value."""
        x = math.log10(value) if self.log else value
        return self.start + (x - self.low) / (self.high - self.low) * (self.end - self.start)
