"""The report's pictures, drawn with matplotlib: each as SVG that takes the page's colours, and as PNG on white."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pairing.puzzle import Array64
from tasks.findings import Course, Findings, Method, common

WIDTH = 4.6
"""Inches of a picture: a phone shows it at three quarters of its size, and its text can still be read."""
INK = "#1f2327"
"""Text and axes: in the SVG it becomes the page's own colour of text."""
GREY = "#7d858d"
COLOURS = ("#2f7fc1", "#c8681a", "#1f9068", "#b05aa8", "#a07c12", "#d04a5c")
"""Each with a contrast of 3 or more to white and to the page's dark ground; no two curves differ in colour alone."""
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
    several = len({m.seed for m in shown}) > 1
    figure, axes = _figure(0.21 * len(shown) + 0.8, left=0.34, right=0.15)
    least, most = min(values), max(values)
    for row, method in enumerate(shown):
        start, end = (None if e is None else max(e, least) for e in (method.start_mse, method.full_mse))
        if start is not None and end is not None:
            axes.plot([start, end], [row, row], color=GREY, linewidth=1.2)
        if start is not None:
            axes.plot(start, row, "o", markerfacecolor="none", color=INK, markersize=5)
        if method.ok and end is not None:
            axes.plot(end, row, "D", color=COLOURS[0], markersize=5)
        else:
            text = "overflow" if method.ok else "failed"
            axes.text(0.5, row, text, transform=axes.get_yaxis_transform(), va="center", ha="center")
        right = summary.right(method)
        if right is not None:
            axes.text(1.02, row, f"{right}/{summary.blocks}", transform=axes.get_yaxis_transform(), va="center")
    axes.set(xscale="log", xlim=(least / 3, most * 3), ylim=(len(shown) - 0.5, -0.5))
    axes.set_xlabel("mean squared error (○ start, ◆ result)")
    axes.set_yticks(range(len(shown)), [f"{label_of(m, several)}  {row}" for row, m in enumerate(shown, 1)])
    axes.tick_params(axis="y", length=0)
    if summary.solution is not None:
        axes.text(1.02, -0.8, "right", transform=axes.get_yaxis_transform(), va="bottom")
    return _drawn("errors", "Error of each method", figure)


def times(found: Findings) -> Picture | None:
    """Each refinement's best error against its time; the number at a curve's end is its rank."""
    curves = [
        (rank, course)
        for rank, method in enumerate(found.summary.methods, 1)
        if (course := found.courses.get(method.part)) is not None and any(e > 0 for _, _, e in course.points)
    ][:MOST_CURVES]
    if not curves:
        return None
    figure, axes = _figure(3.1, left=0.15)
    looks = zip(cycle(COLOURS), cycle(MARKERS), cycle(STYLES), strict=False)
    for (rank, course), (colour, marker, style) in zip(curves, looks, strict=False):
        points = [(seconds, error) for seconds, _, error in course.points if error > 0]
        x, y = [*(p[0] for p in points), course.seconds], [*(p[1] for p in points), points[-1][1]]
        axes.step(x, y, where="post", color=colour, linestyle=style, linewidth=1.4)
        axes.plot(x[:-1], y[:-1], marker, color=colour, markersize=3.5, markevery=max(1, len(x) // 12))
        axes.annotate(str(rank), (x[-1], y[-1]), (3, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set(yscale="log", xlabel="seconds", ylabel="best error so far", xlim=(0, None))
    return _drawn("times", "Error against time", figure)


def way(name: str, title: str, course: Course) -> Picture:
    """A refinement's orders from start (left) to end (right): a line a block, coloured by its place at the end."""
    places = np.argsort(np.array(course.orders), axis=1)  # places[k, block]
    stages, blocks = places.shape
    end = places[-1]
    x = np.arange(stages)
    figure, axes = _figure(3.1, left=0.13, right=0.13)
    lines = [np.column_stack([x, places[:, block]]) for block in range(blocks)]
    colours = mpl.colormaps["viridis"](np.linspace(0.05, 0.85, blocks))[end]
    axes.add_collection(LineCollection(lines, colors=colours, linewidths=1.3))
    for block, colour in enumerate(colours):
        axes.plot(x, places[:, block], "o", color=colour, markersize=2.5)
        if blocks <= NAMED_ROWS:
            axes.text(-0.15, places[0, block], str(block), ha="right", va="center", fontsize=7)
            axes.text(stages - 0.85, end[block], str(block), va="center", fontsize=7)
    axes.set(xlim=(-0.1, max(stages - 1, 0) + 0.1), ylim=(blocks - 0.3, -0.7), ylabel="position in the network")
    axes.set_xticks([0, stages - 1] if stages > 1 else [0], ["start", "end"] if stages > 1 else ["start = end"])
    if blocks <= NAMED_ROWS:
        axes.set_yticks([])
    axes.grid(False)
    return _drawn(name, title, figure)


def similarity(name: str, title: str, matrix: Array64, method: Method | None) -> Picture:
    """A method's similarities as a heat map, its assignment as rings, and beside it each row's margin."""
    blocks = len(matrix)
    figure, (axes, side) = _halves(3.4)
    cells = _reduced(np.where(np.isfinite(matrix), matrix, np.nan))
    low, high = np.nanpercentile(cells, [1, 99]) if np.isfinite(cells).any() else (0.0, 1.0)
    extent = (-0.5, blocks - 0.5, blocks - 0.5, -0.5)
    image = axes.imshow(cells, cmap="viridis", vmin=low, vmax=high, extent=extent, interpolation="none", aspect="auto")
    axes.set(xlabel="out piece", ylabel="inp piece")
    axes.grid(False)
    side.set_ylim(axes.get_ylim())
    side.set_yticks([])
    side.set_xlabel("margin")
    if method is not None and method.pairs is not None:
        size = float(np.clip(600.0 / blocks**1.3, 1.0, 40.0))
        rows = np.arange(blocks)
        axes.scatter(method.pairs, rows, s=3 * size, facecolors="none", edgecolors="black", linewidths=1.8)
        axes.scatter(method.pairs, rows, s=3 * size, facecolors="none", edgecolors="white", linewidths=0.9)
        margins = np.array([np.nan if m is None else m for m in method.margins or []])
        if len(margins) and np.isfinite(margins).any():
            colours = [COLOURS[1] if margin < 0 else COLOURS[0] for margin in margins]
            side.barh(rows, np.nan_to_num(margins), height=0.8, color=colours)
    side.axvline(0.0, color=INK, linewidth=0.8)
    side.locator_params(axis="x", nbins=2)
    bar = figure.colorbar(image, cax=figure.add_axes((0.13, 0.945, 0.6, 0.025)), orientation="horizontal")
    bar.ax.tick_params(labelsize=7, pad=1, length=2)
    bar.ax.xaxis.set_ticks_position("bottom")
    bar.outline.set_visible(False)
    return _drawn(name, title, figure)


def agreement(found: Findings) -> Picture | None:
    """How many pairs each two methods have in common."""
    pairs = {m.method: m.pairs for m in found.summary.methods if m.pairs is not None}
    if len(pairs) < 2:
        return None
    names = list(pairs)
    shared = np.array([[common(pairs[a], np.array(pairs[b], np.int64)) for b in names] for a in names])
    blocks = found.summary.blocks
    figure, axes = _figure(4.4, left=0.33, bottom=0.3)
    axes.imshow(shared, cmap="viridis", vmin=0, vmax=blocks, interpolation="none", aspect="auto")
    if len(names) <= NAMED_ROWS:
        labels = [label_of(m, False) for m in {m.method: m for m in found.summary.methods if m.pairs}.values()]
        axes.set_xticks(range(len(names)), labels, rotation=90)
        axes.set_yticks(range(len(names)), labels)
        for (row, column), value in np.ndenumerate(shared):
            colour = "black" if value > 0.55 * blocks else "white"
            axes.text(column, row, str(value), ha="center", va="center", color=colour, fontsize=6.5)
    axes.grid(False)
    return _drawn("agreement", "Pairs in common", figure)


def _figure(
    height: float, *, left: float = 0.15, right: float = 0.05, bottom: float | None = None
) -> tuple[Figure, Axes]:
    """A figure with one set of axes; the margins are parts of its width, at the bottom of its height."""
    figure = Figure((WIDTH, height))
    low = 0.5 / height if bottom is None else bottom
    return figure, figure.add_axes((left, low, 1 - left - right, 1 - low - 0.2 / height))


def _halves(height: float) -> tuple[Figure, tuple[Axes, Axes]]:
    figure = Figure((WIDTH, height))
    return figure, (figure.add_axes((0.13, 0.14, 0.6, 0.74)), figure.add_axes((0.76, 0.14, 0.21, 0.74)))


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
    """The drawing as an element of a page: no prologue, the page's colour of text, identifiers of its own."""
    element = svg[svg.index("<svg") :].replace(INK, "currentColor")
    return re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", element)
