"""Charts as plain data, in the units of an SVG: what a template only has to write down.

Colours and dashes belong to the style sheet; a mark names its series and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

WIDTH, HEIGHT = 380, 280
LEFT, RIGHT, TOP, BOTTOM = 50, 12, 12, 42


@dataclass(frozen=True)
class Axis:
    """One axis: its label and range, rising; logarithmic ones begin above 0.

    Attributes:
        at: pixels of its beginning and its end.
    """

    label: str
    low: float
    high: float
    at: tuple[float, float]
    is_log: bool = False

    def __call__(self, values: ArrayLike) -> list[float]:
        """Pixels of values; those beyond the range lie at its border."""
        scaled = np.clip(np.atleast_1d(np.asarray(values, float)), self.low, self.high)
        low, high = self.low, self.high
        if self.is_log:
            scaled, low, high = np.log(scaled), math.log(low), math.log(high)
        start, end = self.at
        pixels = start + (scaled - low) / (high - low) * (end - start)
        return [round(float(pixel), 1) for pixel in pixels]

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Pixel and text of each tick."""
        values = _log_ticks(self.low, self.high) if self.is_log else _ticks(self.low, self.high)
        return [(self(value)[0], _short(value)) for value in values]


def _short(value: float) -> str:
    """A number that fits beside an axis: 1.5e10, not 1.5e+10."""
    digits, power, exponent = f"{value:.6g}".partition("e")
    return digits + power + (str(int(exponent)) if power else "")


def _ticks(low: float, high: float) -> list[float]:
    """Four to eight round numbers."""
    step = 10.0 ** math.floor(math.log10(high - low))
    for part in (2, 1, 0.5, 0.2):
        if (high - low) / (step * part) >= 4:
            step *= part
            break
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [0.0 if k == 0 else k * step for k in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for parts in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9)):
        ticks = [part * 10.0**power for power in powers for part in parts]
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) >= 4:
            step = -(-len(inside) // 8)
            return inside[::step]
    return _ticks(low, high)


@dataclass(frozen=True)
class Mark:
    """A path of one series: ``line``, ``band``, ``area`` or ``dot``, which may say what it is."""

    kind: str
    series: str
    path: str
    title: str = ""


@dataclass(frozen=True)
class Rule:
    """A straight line across the plot; the control of the page moves those of a ``role``."""

    role: str
    x1: float
    y1: float
    x2: float
    y2: float


@dataclass(frozen=True)
class Chart:
    """One chart.

    Attributes:
        name: of its elements' ids.
        title: what it shows, in a few words.
        description: what is to be seen, for those who do not see it.
        legend: series and text.
        texts: x, y and words written into the plot.
        in_rows: whether rows with a text each take the place of a vertical scale.
    """

    name: str
    title: str
    description: str
    x: Axis
    y: Axis
    marks: Sequence[Mark]
    legend: Sequence[tuple[str, str]] = ()
    rules: Sequence[Rule] = ()
    texts: Sequence[tuple[float, float, str]] = ()
    note: str = ""
    role: str = ""
    in_rows: bool = False
    height: int = HEIGHT
    width: int = field(default=WIDTH, init=False)


def across(label: str, low: float, high: float, is_log: bool = False) -> Axis:
    """The horizontal axis; a range of nothing is widened."""
    low, high = _widened(low, high)
    return Axis(label, low, high, (LEFT, WIDTH - RIGHT), is_log)


def upward(label: str, low: float, high: float, height: int = HEIGHT) -> Axis:
    """The vertical axis."""
    low, high = _widened(low, high)
    return Axis(label, low, high, (height - BOTTOM, TOP))


def _widened(low: float, high: float) -> tuple[float, float]:
    """The range, or one around it where it is too narrow for its ticks to differ."""
    half = max(0.5, abs(low) * 1e-6)
    return (low, high) if high - low > abs(high) * 1e-9 else (low - half, high + half)


def line(x: Axis, y: Axis, xs: ArrayLike, ys: ArrayLike) -> str:
    """A path through points; it is broken where one is not finite."""
    path, pen = [], "M"
    for px, py, there in zip(x(xs), y(ys), np.isfinite(np.asarray(ys, float)), strict=True):
        if there:
            path.append(f"{pen}{px:g} {py:g}")
        pen = "L" if there else "M"
    return "".join(path)


def band(x: Axis, y: Axis, xs: ArrayLike, low: ArrayLike, high: ArrayLike) -> str:
    """The closed path between two curves."""
    down = line(x, y, np.asarray(xs)[::-1], np.asarray(low)[::-1]).replace("M", "L", 1)
    return f"{line(x, y, xs, high)}{down}Z"


def bars(x: Axis, edges: ArrayLike, heights: ArrayLike, base: float, height: float) -> str:
    """Adjacent bars on a base line; the tallest has that height, in pixels."""
    values = np.asarray(heights, float)
    tallest = values.max() or 1.0
    at = x(edges)
    path = [f"M{at[0]:g} {base:g}"]
    for left, right, value in zip(at[:-1], at[1:], values, strict=True):
        top = round(base - height * float(value) / tallest, 1)
        path.append(f"L{left:g} {top:g}L{right:g} {top:g}")
    return "".join([*path, f"L{at[-1]:g} {base:g}Z"])


def dot(series: str, px: float, py: float) -> str:
    """A point, whose shape tells the series where colours do not."""
    if series == "seen":
        return f"M{px:g} {py - 3.4:g}l3.2 5.6h-6.4z"
    if series == "unseen":
        return f"M{px:g} {py - 3.6:g}l3.6 3.6l-3.6 3.6l-3.6 -3.6z"
    return f"M{px - 2:g} {py:g}a2 2 0 1 0 4 0a2 2 0 1 0 -4 0z"
