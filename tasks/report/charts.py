"""The report's pictures, drawn with matplotlib: each as SVG that takes the page's colors, and as PNG on white."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations_with_replacement, cycle
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from numpy.typing import NDArray

from pairing.arrays import Array64
from tasks.report.run_data import Course, Findings, Method, common

WIDTH = 4.0
"""Inches of a picture: a phone shows it at four fifths of its size, and its text can still be read."""
INK = "#1f2327"
"""Text and axes: in the SVG it becomes the page's own color of text."""
GREY = "#7d858d"
COLORS = ("#2f7fc1", "#c8681a", "#1f9068", "#b05aa8", "#a07c12", "#d04a5c")
"""Each with a contrast of 3 or more to white and to the page's dark ground; no two curves differ in color alone."""
RING = (("black", 1.8), ("white", 0.9))
"""(color, width in points): a ring is seen on every cell."""
STYLES = ("-", "--", "-.", ":")
MARKERS = "osD^vPX*"
MOST_ROWS = 48
"""Refinements in the picture of errors."""
MOST_CURVES = 24
MOST_CELLS = 256
"""Cells of a heat map in each direction; larger matrices are shown by the greatest value of each cell's part."""
NAMED_ROWS = 24
"""Blocks or methods that are named or numbered one by one."""
DOTS_A_INCH = 150
EQUAL = 0.179
"""The luminance at which black and white are equally well read: by 4.58 to 1."""

_STYLE: Any = {
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GREY,
    "grid.alpha": 0.3,
    "grid.linewidth": 0.6,
    "text.parse_math": False,  # names of methods come from outside
    "svg.fonttype": "none",
    "svg.hashsalt": "pairing",
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
}


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A drawn picture."""

    name: str
    """Of its file, without ``.png``."""
    title: str
    svg: str
    """An element for an HTML page."""
    png: bytes


@contextmanager
def drawing() -> Iterator[None]:
    """The pictures' style, for the calls within; every function below wants it."""
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing", category=UserWarning)
        yield


def printable(text: str) -> str:
    """The text without what is no character to be seen: control characters, marks that turn its direction, …"""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def ink_on(color: tuple[float, float, float, float]) -> Literal["black", "white"]:
    """What is read better on a color, by its relative luminance (WCAG 2.2); the color's parts are between 0 and 1."""
    parts = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in color[:3])
    luminance = sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True))
    return "black" if luminance > EQUAL else "white"


def label_of(method: Method, several_seeds: bool) -> str:
    """A short name for a refinement."""
    name = printable(method.method)
    name = name if len(name) <= NAMED_ROWS else name[: NAMED_ROWS - 1] + "…"
    return f"{name} s{method.seed}" if several_seeds else name


def errors(found: Findings) -> Picture | None:
    """Each refinement's error before and after on a log axis, and how many of its pairs are right."""
    summary = found.summary
    shown = summary.methods[:MOST_ROWS]
    values = [e for m in shown for e in (m.start_mse, m.full_mse) if e]
    if not values:
        return None
    figure, axes = _figure(0.21 * len(shown) + 0.8, left=0.385, right=0.15)
    least, most, rows = min(values), max(values), np.arange(len(shown))
    starts, ends = (
        np.array([np.nan if e is None else max(e, least) for e in kind])
        for kind in ([m.start_mse for m in shown], [m.full_mse if m.ok else None for m in shown])
    )
    axes.hlines(rows, starts, ends, color=GREY, linewidth=1.2)
    axes.plot(starts, rows, "o", markerfacecolor="none", color=INK, markersize=5)
    axes.plot(ends, rows, "D", color=COLORS[0], markersize=5)
    beside = axes.get_yaxis_transform()
    for row, method in enumerate(shown):
        if np.isnan(ends[row]):
            why = "failed" if not method.ok else "overflow" if method.evaluations else "not begun"
            axes.text(0.5, row, why, transform=beside, va="center", ha="center")
        right = summary.right(method)
        if right is not None:
            axes.text(1.02, row, f"{right}/{summary.blocks}", transform=beside, va="center")
    axes.set(xscale="log", xlim=(least / 3, most * 3), ylim=(len(shown) - 0.5, -0.5))
    _decades(axes.xaxis, 4)
    axes.set_xlabel("MSE (○ initial, ◆ final)")
    several = len({m.seed for m in summary.methods}) > 1
    axes.set_yticks(rows, [f"{label_of(m, several)}  {rank}" for rank, m in enumerate(shown, 1)])
    axes.tick_params(axis="y", length=0)
    if summary.solution is not None:
        axes.text(1.02, -0.8, "right", transform=beside, va="bottom")
    return _drawn("errors", "MSE of each method", figure)


def times(found: Findings) -> Picture | None:
    """Each refinement's best error against its time; the number at a curve's end is its rank.

    Those that found nothing better than their start are left out.
    """
    curves = [
        (rank, method, found.courses[method.part])
        for rank, method in enumerate(found.summary.methods, 1)
        if method.part in found.courses and any(e > 0 for _, _, e in found.courses[method.part].points)
    ][:MOST_CURVES]
    if not curves:
        return None
    figure, axes = _figure(2.9, left=0.19, right=0.1)
    looks = zip(cycle(COLORS), cycle(MARKERS), cycle(STYLES), strict=False)
    ends = []
    for (rank, method, course), (color, marker, style) in zip(curves, looks, strict=False):
        start = [(0.0, method.start_mse)] if method.start_mse else []
        points = [*start, *((seconds, error) for seconds, _, error in course.points if error > 0)]
        x, y = [*(p[0] for p in points), course.seconds], [*(p[1] for p in points), points[-1][1]]
        axes.step(x, y, where="post", color=color, linestyle=style, linewidth=1.4)
        axes.plot(x[:-1], y[:-1], marker, color=color, markersize=3.5, markevery=max(1, len(x) // 12))
        ends.append((y[-1], x[-1], str(rank)))
    axes.set(yscale="log", xlabel="seconds", ylabel="best MSE so far", xlim=(0, None))
    _decades(axes.yaxis, 6)
    low, high = np.log(axes.get_ylim())
    place = -1.0
    for y_end, x_end, text in sorted(ends):  # in a column of their own, so that no two are in one place
        place = max(place + 0.045, (np.log(y_end) - low) / (high - low))
        where: Any = {"textcoords": axes.transAxes, "arrowprops": {"arrowstyle": "-", "color": GREY}}
        axes.annotate(text, (x_end, y_end), (1.03, place), va="center", fontsize=8, **where)
    return _drawn("times", "MSE against time", figure)


def way(name: str, title: str, course: Course) -> Picture:
    """A refinement's orders from start (left) to end (right): a line a block, colored by its place at the end."""
    places = np.argsort(np.array(course.orders), axis=1)  # places[k, block]
    stages, blocks = places.shape
    end, x = places[-1], np.arange(stages)
    figure, axes = _bare(3.0, (0.13, 0.09, 0.79, 0.86))
    lines = [np.column_stack([x, places[:, block]]) for block in range(blocks)]
    colors = mpl.colormaps["viridis"](np.linspace(0.3, 0.65, blocks))[end]
    axes.add_collection(LineCollection(lines, colors=colors, linewidths=1.3))
    axes.scatter(np.tile(x, blocks), places.T.ravel(), s=5, c=np.repeat(colors, stages, axis=0))
    if blocks <= NAMED_ROWS:
        for block in range(blocks):
            where: Any = {"transform": axes.get_yaxis_transform(), "va": "center", "fontsize": 7}
            axes.text(-0.02, places[0, block], str(block), ha="right", **where)
            axes.text(1.02, end[block], str(block), **where)
    axes.set(xlim=(0, stages - 1), ylim=(blocks - 0.5, -0.5))
    axes.text(0, blocks, "start", va="top", ha="center")
    axes.text(stages - 1, blocks, "end", va="top", ha="center")
    axes.text(-0.12, 0.5, "front ← position → back", transform=axes.transAxes, rotation=-90, va="center", ha="center")
    return _drawn(name, title, figure)


def similarities(found: Findings) -> list[Picture]:
    """Each method's similarities as a heat map, its assignment as rings, and beside it each pair's margin."""
    blocks = found.summary.blocks
    assigned: dict[str, Method] = {}
    for method in found.summary.methods:  # the best of each method's seeds first
        assigned.setdefault(method.method, method)
    rows, scale = np.arange(blocks), blocks / 3
    # One figure for all: making axes takes longer than drawing them.
    figure, axes = _bare(3.1, (0.1, 0.1, 0.88, 0.81))
    nothing, extent = np.zeros((1, 1)), (-0.5, blocks - 0.5, blocks - 0.5, -0.5)
    image = axes.imshow(nothing, cmap="viridis", extent=extent, interpolation="none", aspect="auto")
    size = float(np.clip(600.0 / blocks**1.3, 1.0, 40.0)) * 3
    rings = [axes.scatter([], [], s=size, facecolors="none", edgecolors=c, linewidths=w) for c, w in RING]
    zero = blocks + 0.75 * scale
    bars = axes.hlines(rows, zero, zero, linewidth=min(6.0, 160.0 / blocks), color=COLORS[0])
    axes.vlines(zero, -0.5, blocks - 0.5, color=INK, linewidth=0.8)
    axes.set(xlim=(-0.5, blocks + 1.5 * scale), ylim=(blocks - 0.5, -0.5))
    range_text = axes.text(-0.5, -0.8, "", va="bottom")
    margin_text = axes.text(zero, -0.8, "", va="bottom", ha="center")
    for place in (0, blocks - 1):
        axes.text(place, blocks - 0.3, str(place), va="top", ha="center", fontsize=8)
        axes.text(-0.7, place, str(place), va="center", ha="right", fontsize=8)
    axes.text((blocks - 1) / 2, blocks - 0.3, "out piece", va="top", ha="center")
    axes.text(-0.7, (blocks - 1) / 2, "inp piece", va="center", ha="right", rotation=90)
    drawn = []
    for number, name in enumerate((name for name in assigned if name in found.matrices), 1):
        matrix, method = found.matrices[name], assigned[name]
        cells = _reduced(np.where(np.isfinite(matrix), matrix, np.nan))
        low, high = np.nanpercentile(cells, [1, 99]) if np.isfinite(cells).any() else (0.0, 1.0)
        image.set(data=cells, clim=(low, high))
        range_text.set_text(f"{low:.2g} (dark) to {high:.2g}")
        pairs = [] if method.pairs is None else method.pairs
        for ring in rings:
            ring.set_offsets(np.column_stack([pairs, rows[: len(pairs)]]))
        margins = np.array([np.nan if m is None else m for m in method.margins or []], np.float64)
        widest = np.nanmax(np.abs(margins)) if np.isfinite(margins).any() else 0.0
        lengths = np.nan_to_num(margins) / (widest or 1.0) * 0.7 * scale
        bars.set_segments([np.array([[zero, row], [zero + length, row]]) for row, length in enumerate(lengths)])
        bars.set_color([COLORS[1] if margin < 0 else COLORS[0] for margin in margins])
        margin_text.set_text(f"margin, to {widest:.2g}" if widest else "")
        drawn.append(_drawn(f"similarity-{number:02}", printable(name), figure))
    return drawn


def agreement(found: Findings) -> Picture | None:
    """How many pairs each two methods have in common."""
    pairs = {m.method: m.pairs for m in found.summary.methods if m.pairs is not None}
    if len(pairs) < 2:
        return None
    names = list(pairs)
    shared = np.array([[common(pairs[a], np.array(pairs[b], np.int64)) for b in names] for a in names])
    blocks = found.summary.blocks
    figure, axes = _figure(4.4, left=0.35, bottom=0.33)
    axes.imshow(shared, cmap="viridis", vmin=0, vmax=blocks, interpolation="none", aspect="auto")
    if len(names) <= NAMED_ROWS:
        labels = [label_of(m, False) for m in {m.method: m for m in found.summary.methods if m.pairs}.values()]
        axes.set_xticks(range(len(names)), labels, rotation=90)
        axes.set_yticks(range(len(names)), labels)
        for row, column in combinations_with_replacement(range(len(names)), 2):  # the other half is the same
            value = shared[row, column]
            color = ink_on(mpl.colormaps["viridis"](value / blocks))
            axes.text(column, row, str(value), ha="center", va="center", color=color, fontsize=6.5)
    axes.grid(False)
    return _drawn("agreement", "Shared pairs", figure)


def _figure(
    height: float, *, left: float = 0.15, right: float = 0.05, bottom: float | None = None
) -> tuple[Figure, Axes]:
    """A figure with one set of axes; the margins are parts of its width, at the bottom of its height."""
    figure = Figure((WIDTH, height))
    low = 0.5 / height if bottom is None else bottom
    return figure, figure.add_axes((left, low, 1 - left - right, 1 - low - 0.2 / height))


def _bare(height: float, place: tuple[float, float, float, float]) -> tuple[Figure, Axes]:
    """A figure whose axes, at ``place`` (left, bottom, width, height; parts of it), show nothing of themselves."""
    figure = Figure((WIDTH, height))
    axes = figure.add_axes(place)
    axes.set_axis_off()
    return figure, axes


def _decades(axis: Axis, most: int) -> None:
    """Powers of ten in plain text, at most so many."""
    axis.set_major_locator(LogLocator(numticks=most))
    axis.set_major_formatter(lambda value, _: f"{value:.0e}")
    axis.set_minor_locator(NullLocator())


def _reduced(matrix: Array64) -> Array64:
    """The matrix, or where it is larger than ``MOST_CELLS`` the greatest value of each part of it."""
    step = -(-len(matrix) // MOST_CELLS)
    if step == 1:
        return matrix
    edges = np.arange(0, len(matrix), step)
    low = np.where(np.isnan(matrix), -np.inf, matrix)
    most: NDArray[Any] = np.maximum.reduceat(np.maximum.reduceat(low, edges, axis=0), edges, axis=1)
    return np.where(np.isinf(most), np.nan, most)


def _drawn(name: str, title: str, figure: Figure) -> Picture:
    vector, raster = io.StringIO(), io.BytesIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(vector, format="svg", transparent=True, metadata=nothing)
    figure.savefig(raster, format="png", dpi=DOTS_A_INCH, facecolor="white")
    return Picture(name=name, title=title, svg=_for_page(vector.getvalue(), name), png=raster.getvalue())


def _for_page(svg: str, name: str) -> str:
    """The drawing as an element of a page: no prologue, the page's color of text, identifiers of its own."""
    element = svg[svg.index("<svg") :].replace(INK, "currentColor")
    return re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", element)
