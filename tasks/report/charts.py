"""The report's pictures, drawn with matplotlib: each as SVG that takes the page's colors, and as PNG on white."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from itertools import combinations_with_replacement, cycle
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from tasks.report.run_data import Course, Findings, Method, common
from tasks.report.verdict import searched

WIDTH = 4.0
"""Inches of a picture: a phone shows it at four fifths of its size, and its text can still be read."""
INK = "#1f2327"
"""Text and axes: in the SVG it becomes the page's own color of text."""
GREY = "#7d858d"
COLORS = ("#2f7fc1", "#c8681a", "#1f9068", "#b05aa8", "#a07c12", "#d04a5c")
"""Each with a contrast of 3 or more to white and to the page's dark ground; no two curves differ in color alone."""
STYLES = ("-", "--", "-.", ":")
MARKERS = "osD^vPX*"
MOST_ROWS = 48
"""Refinements in the picture of MSEs."""
MOST_CURVES = 24
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
    "legend.frameon": False,
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
    """The MSE of each refinement that was not interrupted, before and after, on a log axis."""
    shown = searched(found)[:MOST_ROWS]
    values = [e for m in shown for e in (m.start_mse, m.full_mse) if e]
    if not values:
        return None
    figure, axes = _figure(0.21 * len(shown) + 0.9, left=0.37)
    least, rows = min(values), np.arange(len(shown))
    starts, ends = (
        np.array([np.nan if e is None else max(e, least) for e in kind])
        for kind in ([m.start_mse for m in shown], [m.full_mse for m in shown])
    )
    axes.hlines(rows, starts, ends, color=GREY, linewidth=1.2)
    axes.plot(starts, rows, "o", markerfacecolor="none", color=INK, markersize=5)
    axes.plot(ends, rows, "D", color=COLORS[0], markersize=5)
    several, tips = found.summary.several_seeds, []
    for row, method in enumerate(shown):
        name = label_of(method, several)
        tips.append(f"{name}: MSE from {_error(method.start_mse)} to {_error(method.full_mse)}")
        line = axes.axhspan(row - 0.45, row + 0.45, facecolor=GREY, alpha=0.0)  # what a pointer finds
        _tipped(line, row)
        if np.isnan(ends[row]):
            axes.text(0.5, row, "overflow", transform=axes.get_yaxis_transform(), va="center", ha="center")
    axes.set(xscale="log", ylim=(len(shown) - 0.5, -0.5))
    _decades(axes, "x", values, 4)
    axes.set_xlabel("MSE over all samples (○ initial, ◆ final)")
    axes.set_yticks(rows, [label_of(m, several) for m in shown])
    axes.tick_params(axis="y", length=0)
    return _drawn("errors", "MSE before and after the search", figure, tips)


def times(found: Findings) -> Picture | None:
    """Each refinement's best MSE against its time, all on the same scale and each point over a sample."""
    curves = [
        (method, course, points)
        for method in found.summary.methods
        if (course := found.courses.get(method.part)) and (points := [p for p in course.points if p[2] > 0])
    ][:MOST_CURVES]
    if not curves:
        return None
    lines = -(-len(curves) // 2)
    figure, axes = _figure(3.0 + 0.19 * lines, left=0.19, bottom=(0.5 + 0.19 * lines) / (3.0 + 0.19 * lines))
    looks, tips = zip(cycle(COLORS), cycle(MARKERS), cycle(STYLES), strict=False), []
    for number, ((method, course, points), (color, marker, style)) in enumerate(zip(curves, looks, strict=False)):
        name = label_of(method, found.summary.several_seeds)
        seconds, _, mses = zip(*points, strict=True)
        axes.step(
            [*seconds, course.seconds], [*mses, mses[-1]], where="post", color=color, linestyle=style, linewidth=1.4
        )
        dots = axes.plot(seconds, mses, marker, color=color, markersize=3.5)
        axes.plot([], [], marker=marker, linestyle=style, color=color, markersize=3.5, linewidth=1.4, label=name)
        _tipped(dots[0], number)
        tips.append("\n".join([name, *(f"MSE {mse:.3g} after {s:.3g} s, {n:,} evaluations" for s, n, mse in points)]))
    axes.set(yscale="log", xlabel="seconds of the refinement", ylabel="best MSE so far", xlim=(0, None))
    _decades(axes, "y", [p[2] for _, _, points in curves for p in points], 6)
    figure.legend(loc="lower center", ncols=2, fontsize=8, handlelength=3, borderaxespad=0.1)
    return _drawn("times", "MSE during the search", figure, tips)


def way(name: str, title: str, course: Course, numbers: list[int]) -> Picture:
    """A refinement's orders from start (left) to end (right): a line a block, colored by its place at the end.

    ``numbers`` are the blocks' names.
    """
    places = np.argsort(np.array(course.orders), axis=1)  # places[k, block]
    stages, blocks = places.shape
    end, x = places[-1], np.arange(stages)
    figure, axes = _bare(3.0, (0.13, 0.09, 0.79, 0.86))
    colors = mpl.colormaps["viridis"](np.linspace(0.3, 0.65, blocks))[end]
    for block in range(blocks):
        (line,) = axes.plot(
            x, places[:, block], color=colors[block], linewidth=1.3, marker="o", markersize=2, clip_on=False
        )
        _tipped(line, block)
    tips = [
        f"inp piece {n}: position {first + 1}, then {last + 1}"
        for n, first, last in zip(numbers, places[0], end, strict=True)
    ]
    if blocks <= NAMED_ROWS:
        for block in range(blocks):
            where: Any = {"transform": axes.get_yaxis_transform(), "va": "center", "fontsize": 7}
            axes.text(-0.02, places[0, block], str(numbers[block]), ha="right", **where)
            axes.text(1.02, end[block], str(numbers[block]), **where)
    axes.set(xlim=(0, stages - 1), ylim=(blocks - 0.5, -0.5))
    axes.text(0, blocks, "initial", va="top", ha="center")
    axes.text(stages - 1, blocks, "final", va="top", ha="center")
    axes.text(-0.12, 0.5, "front ← position → back", transform=axes.transAxes, rotation=-90, va="center", ha="center")
    return _drawn(name, title, figure, tips)


def agreement(found: Findings) -> Picture | None:
    """How many pairs each two methods have in common."""
    paired = {m.method: m for m in found.summary.methods if m.pairs is not None}
    if len(paired) < 2:
        return None
    names = [label_of(method, False) for method in paired.values()]
    pairs = [method.pairs or [] for method in paired.values()]
    shared = np.array([[common(a, np.array(b, np.int64)) for b in pairs] for a in pairs])
    blocks = found.summary.blocks
    figure, axes = _figure(4.0, left=0.37, bottom=0.37)
    axes.imshow(shared, cmap="viridis", vmin=0, vmax=blocks, interpolation="none", aspect="auto")
    if len(names) <= NAMED_ROWS:
        axes.set_xticks(range(len(names)), names, rotation=90)
        axes.set_yticks(range(len(names)), names)
        for row, column in combinations_with_replacement(range(len(names)), 2):  # the other half is the same
            value = shared[row, column]
            color = ink_on(mpl.colormaps["viridis"](value / blocks))
            axes.text(column, row, str(value), ha="center", va="center", color=color, fontsize=6.5)
    axes.grid(False)
    return _drawn("agreement", "Shared pairs", figure, [])


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


def _decades(axes: Axes, which: Literal["x", "y"], values: list[float], most: int) -> None:
    """From a power of ten below all values to one above, and so many of them named at most, two at least."""
    low, high = int(np.floor(np.log10(min(values)))), int(np.ceil(np.log10(max(values)) + 1e-9))
    step = -(-(high - low) // most)
    high += -(high - low) % step
    axis = axes.xaxis if which == "x" else axes.yaxis
    axes.set(**{f"{which}lim": (10.0**low / 1.3, 10.0**high * 1.3)})
    axis.set_major_locator(FixedLocator([10.0**k for k in range(low, high + 1, step)]))
    axis.set_major_formatter(lambda value, _: f"{value:.0e}")
    axis.set_minor_locator(NullLocator())


def _error(value: float | None) -> str:
    return "overflow" if value is None else f"{value:.3g}"


def _tipped(artist: Artist, number: int) -> None:
    """Marks what shows the picture's tip of that number to a pointer; further lines of a tip are of its markers."""
    artist.set_gid(f"tip-{number}")


def _drawn(name: str, title: str, figure: Figure, tips: list[str]) -> Picture:
    vector, raster = io.StringIO(), io.BytesIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(vector, format="svg", transparent=True, metadata=nothing)
    figure.savefig(raster, format="png", dpi=DOTS_A_INCH, facecolor="white")
    return Picture(name=name, title=title, svg=_for_page(vector.getvalue(), name, tips), png=raster.getvalue())


def _for_page(svg: str, name: str, tips: list[str]) -> str:
    """The drawing as an element of a page: no prologue, the page's color of text, identifiers of its own, its tips."""

    def tipped(found: re.Match[str]) -> str:
        tip, _, points = tips[int(found[1])].partition("\n")
        data = f' data-points="{escape(points)}"' if points else ""
        return f'<g class="tip"{data}><title>{escape(tip)}</title>'

    element = svg[svg.index("<svg") :].replace(INK, "currentColor")
    element = re.sub(r'<g id="tip-(\d+)">', tipped, element)
    return re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", element)
