"""The pictures of methods.md, drawn from runs that this script makes.

``python docs/pictures.py ../shared/puzzle`` writes them to ``docs/pictures``; any other puzzle that can be solved
will do, and another folder may follow. It takes about four minutes of a core.
"""

from __future__ import annotations

import copy
import io
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from pairing import Puzzle, load_puzzle, solve
from pairing.arrays import Array64, Indices
from pairing.assignment import agreement, assign
from pairing.model.network import Network, pairs_of
from pairing.search.driver import Limits
from pairing.search.initial_orders import start_order
from pairing.search.logit_search import Logits, LogitSearch, begun, sinkhorn
from pairing.search.refine import Refinement, refine
from pairing.search.schedule import Schedule
from pairing.search.surrogate import linearize, pair_index
from pairing.signals.posterior import null_units
from pairing.signals.registry import similarity
from tasks.report.charts import COLORS, GREY, INK, MARKERS, drawing

WIDTH = 4.4
"""Inches: a phone shows the text at three quarters of its size."""
PANELS = ("trace", "consensus", "norm_balance", "cosine")
STARTS = ("greedy", "norm", "delta", "random")
MOVED = (1, 4, 16, 64)
"""Inversions, at most, of the orders whose errors are predicted."""
ROWS = 400
WRONG = (2, 4, 8)
"""Wrong pairs."""
SEARCHES = 5
"""Logit searches of which the right pairs are counted …"""
EVERY = 20
"""… after so many steps each."""
ALLOWANCE = 2500
"""Evaluations of a refinement that need not end by itself."""

_COLORS = """<style>
:root { --ink: %s; --ground: #ffffff }
@media (prefers-color-scheme: dark) { :root { --ink: #d5dade; --ground: #1a1d21 } }
</style><rect width="100%%" height="100%%" style="fill: var(--ground)"/>"""


def signals(puzzle: Puzzle, right: Indices, order: Indices) -> Figure:
    """Similarity matrices with the pieces in the order of the blocks that they belong to."""
    figure, panels = _panels(2, 2, 4.9)
    for axes, method in zip(panels, PANELS, strict=True):
        matrix = similarity(puzzle, method)
        found = agreement(assign(matrix).pairs, right)
        shown = matrix[np.ix_(order, right[order])]
        low, high = np.percentile(shown, [1, 99])
        _matrix(axes, shown, low, high, f"{method}: {found} of {puzzle.blocks} right")
    return figure


def evidence(puzzle: Puzzle, right: Indices, order: Indices) -> Figure:  # noqa: ARG001 - as the others
    """How right and wrong pairs score, in standard deviations of wrong ones."""
    figure, panels = _panels(2, 1, 2.5)
    here = np.zeros((puzzle.blocks, puzzle.blocks), bool)
    here[np.arange(puzzle.blocks), right] = True
    for axes, method in zip(panels, ("trace", "norm_balance"), strict=True):
        scores = null_units(similarity(puzzle, method))
        edges = np.arange(np.floor(scores.min()), np.ceil(scores.max()) + 0.5, 0.5)
        axes.hist(scores[~here], edges.tolist(), color=GREY, label="wrong pairs")
        axes.hist(scores[here], edges.tolist(), color=COLORS[1], alpha=0.85, label="right pairs")
        x = np.linspace(edges[0], edges[-1], 300)
        expected = 0.5 * np.count_nonzero(~here) * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
        axes.plot(x, expected, color=INK, linewidth=1, label="N(0, 1)")
        axes.set(yscale="log", ylim=(0.5, 2 * expected.max()), title=method, xlabel="score, in std. deviations")
    panels[0].set_ylabel("pairs")
    panels[0].legend(frameon=False, fontsize=7, loc="upper right")
    return figure


def surrogate(puzzle: Puzzle, right: Indices, order: Indices) -> Figure:  # noqa: ARG001 - as the others
    """What the surrogate predicts of orders near the start ``delta``, and what is so."""
    rng = np.random.default_rng(1)
    network = Network(puzzle, right)
    begin = start_order(network, "delta", rng)
    rows = rng.permutation(puzzle.rows)[:ROWS]
    model = linearize(network, begin, rows)
    figure, (axes,) = _panels(1, 1, 3.4)
    least, most = 1.0, 1.0
    for layer, (limit, color, marker) in enumerate(zip(MOVED, COLORS, MARKERS, strict=False)):
        predicted, exact = [], []
        for _ in range(60):
            places = _moved(len(begin), limit, rng)
            change = model.changes[_inverted(places)].sum(axis=0)
            predicted.append(float(np.mean((model.residual - change) ** 2)) / model.error)
            exact.append(_error(network, begin[places], rows) / model.error)
        label = "1 inversion" if limit == 1 else f"up to {limit} inversions"
        axes.plot(predicted, exact, marker, color=color, markersize=3, label=label, zorder=3 - layer / 10)
        least, most = min(least, *predicted, *exact), max(most, *predicted, *exact)
    axes.plot([least, most], [least, most], color=INK, linewidth=0.8)
    axes.plot(1, 1, "o", color=INK, markersize=7, markerfacecolor="none", label="the linearized order", zorder=4)
    axes.set(xscale="log", yscale="log", xlabel="MSE that the surrogate model predicts", ylabel="exact MSE")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.set_minor_locator(NullLocator())
    axes.legend(frameon=False, fontsize=7)
    return figure


def descents(puzzle: Puzzle, right: Indices, order: Indices) -> Figure:  # noqa: ARG001 - as the others
    """Errors on the way from each start."""
    figure, (axes,) = _panels(1, 1, 3.0)
    for start, color, marker in zip(STARTS, COLORS, MARKERS, strict=False):
        found = refine(puzzle, right, start=start, repair=False, limits=Limits(seconds=np.inf, evaluations=ALLOWANCE))
        _curve(axes, puzzle, found, color=color, marker=marker, label=start)
    axes.set(xscale="log", yscale="log", xlabel="evaluations", ylabel="MSE / variance of the target")
    axes.legend(frameon=False, fontsize=7, title="initial order", title_fontsize=7)
    return figure


def way(puzzle: Puzzle, right: Indices, order: Indices) -> Figure:
    """The places of the blocks on the way from a random order to the right one."""
    limits = Limits(seconds=np.inf, evaluations=ALLOWANCE)
    orders = np.array(refine(puzzle, right, start="random", repair=False, limits=limits).history.orders)
    places = np.argsort(orders, axis=1)
    last = np.argsort(order)
    figure, (axes,) = _panels(1, 1, 3.0)
    x = np.arange(len(orders))
    lines = [np.column_stack([x, places[:, block]]) for block in range(puzzle.blocks)]
    colors = _ramp(last / max(puzzle.blocks - 1, 1))
    axes.add_collection(LineCollection(lines, colors=colors, linewidths=1.3))
    axes.set(xlim=(0, len(orders) - 1), ylim=(puzzle.blocks - 0.5, -0.5), ylabel="position")
    axes.set(xlabel="block orders from the initial (left) to the final one", xticks=[])
    axes.grid(False)
    return figure


def repair(puzzle: Puzzle, right: Indices, order: Indices) -> Figure:  # noqa: ARG001 - as the others
    """Errors on the way from pairs of which some are wrong, with and without the repair."""
    figure, (axes,) = _panels(1, 1, 3.0)
    for wrong, color, marker in zip(WRONG, COLORS, MARKERS, strict=False):
        rng = np.random.default_rng(wrong)
        some = rng.permutation(puzzle.blocks)[:wrong]
        pairs = right.copy()
        pairs[some] = right[np.roll(some, 1)]
        for repairs, style in ((False, ":"), (True, "-")):
            limits = Limits(seconds=np.inf, evaluations=ALLOWANCE)
            found = refine(puzzle, pairs, start="greedy", repair=repairs, limits=limits)
            label = f"{wrong} wrong pairs" + ("" if repairs else ", kept")
            _curve(axes, puzzle, found, color=color, marker=marker, label=label, style=style)
    axes.set(xscale="log", yscale="log", xlabel="evaluations", ylabel="MSE / variance of the target")
    axes.legend(frameon=False, fontsize=7)
    return figure


def logits(puzzle: Puzzle, right: Indices, order: Indices) -> Figure:
    """The mixtures of a logit search, inp and out pieces in the order of the blocks, and how many pairs are right."""
    figure, panels = _panels(2, 2, 4.9)
    searched = _searched(puzzle)
    for axes, place in zip(panels, (4, 19, 23, 27), strict=True):
        at = searched[place]
        mixture = sinkhorn(at.logits, 20)[np.ix_(order, right[order])]
        found = agreement(at.solution()[0], right)
        _matrix(axes, mixture, 0, 1, f"{EVERY * (place + 1)} steps: {found} of {puzzle.blocks} right")
    return figure


def scores(puzzle: Puzzle, right: Indices, order: Indices) -> Figure:
    """The pairs of logit searches that are right, and the blocks' scores in one of them."""
    figure, (upper, lower) = _panels(1, 2, 4.6)
    for seed, color in zip(range(SEARCHES), COLORS, strict=False):
        searched = _searched(puzzle, seed)
        steps = [at.steps + (at.length if at.mean_field else 0) for at in searched]
        upper.plot(steps, [agreement(at.solution()[0], right) for at in searched], color=color, linewidth=1.4)
        if seed == 0:
            places = np.array([np.argsort(np.argsort(at.scores)) for at in searched])
            lines = [np.column_stack([steps, places[:, block]]) for block in range(puzzle.blocks)]
            colors = _ramp(np.argsort(order) / max(puzzle.blocks - 1, 1))
            lower.add_collection(LineCollection(lines, colors=colors, linewidths=1.0))
            lower.set(xlim=(steps[0], steps[-1]), ylim=(puzzle.blocks - 0.5, -0.5))
    for axes in (upper, lower):
        axes.axvline(Schedule().logit_steps, color=GREY, linewidth=0.8)
    upper.set(ylabel="right pairs", ylim=(0, 1.05 * puzzle.blocks), xlim=lower.get_xlim())
    lower.set(ylabel="position by score", xlabel="steps")
    lower.grid(False)
    return figure


def _searched(puzzle: Puzzle, seed: int = 0) -> list[Logits]:
    """Where a logit search from nothing stands after every so many steps."""
    rng, search = np.random.default_rng(seed), LogitSearch(puzzle)
    at = begun(rng, Schedule().logit_steps, puzzle.blocks)
    searched = []
    while not search.is_over(at):
        search.step(at, rng)
        if at.steps % EVERY == 0:
            searched.append(copy.deepcopy(at))
    return searched


PICTURES = {
    "signals": signals,
    "evidence": evidence,
    "surrogate": surrogate,
    "descents": descents,
    "way": way,
    "repair": repair,
    "logits": logits,
    "scores": scores,
}
"""Name of a file → what draws it, given the puzzle, the right pairs (N,) and the right order (N,)."""


def draw(puzzle: Puzzle, folder: Path) -> None:
    """Solves the puzzle and writes its pictures to the folder."""
    solution = solve(puzzle)
    if not solution.solved:
        sys.exit("the puzzle was not solved, so nobody knows which pairs are right")
    right = pairs_of(solution.inp_sigma, solution.out_sigma)
    order = np.array(solution.inp_sigma, np.int64)
    folder.mkdir(exist_ok=True)
    with drawing(), mpl.rc_context({"text.parse_math": True}):  # powers of ten; the names are ours
        for name, picture in PICTURES.items():
            (folder / f"{name}.svg").write_text(_svg(picture(puzzle, right, order)), encoding="utf-8")


def _panels(columns: int, rows: int, height: float) -> tuple[Figure, list[Axes]]:
    figure = Figure((WIDTH, height), layout="constrained")
    return figure, list(np.ravel(figure.subplots(rows, columns)))


def _matrix(axes: Axes, matrix: Array64, low: float, high: float, title: str) -> None:
    """A panel of a matrix of inp and out pieces, in the order of the blocks."""
    axes.imshow(matrix, cmap="viridis", vmin=low, vmax=high, interpolation="none")
    axes.set(title=title, xticks=[], yticks=[])
    axes.set(xlabel="out piece of block 0, 1, 2, …", ylabel="inp piece of block 0, 1, 2, …")
    axes.label_outer()
    axes.grid(False)


def _curve(axes: Axes, puzzle: Puzzle, found: Refinement, *, label: str, style: str = "-", **look: Any) -> None:
    """A refinement's best errors, its start's before them and its result's after them."""
    points = [(1, found.start_mse), *((evaluations, error) for _, evaluations, error in found.history.points)]
    points.append((found.evaluations, found.solution.full_mse))
    errors = np.minimum.accumulate([max(error / puzzle.target_variance, 1e-15) for _, error in points])
    color, marker = look["color"], look["marker"]
    axes.step([p[0] for p in points], errors, where="post", color=color, linestyle=style, linewidth=1.4)
    axes.plot([points[-1][0]], errors[-1:], marker, color=color, markersize=5)
    axes.plot([], [], marker, color=color, linestyle=style, label=label, markersize=4)


def _moved(count: int, inversions: int, rng: np.random.Generator) -> Indices:
    """(N,): the positions in an order that inverts at most so many pairs of them, and at least one."""
    places = list(range(count))
    left = int(rng.integers(inversions // 2, inversions) + 1)
    while left:
        distance = int(rng.integers(1, min(left, count - 1) + 1))
        start = int(rng.integers(count - distance))
        places.insert(start + distance, places.pop(start))
        left -= distance
    return np.array(places, np.int64) if places != sorted(places) else _moved(count, inversions, rng)


def _inverted(places: Indices) -> Indices:
    """The indices of the pairs of positions that are inverted."""
    index = pair_index(len(places))
    first, second = np.triu_indices(len(places), 1)
    here = places[first] > places[second]
    return index[places[first][here], places[second][here]]


def _error(network: Network, order: Indices, rows: Indices) -> float:
    """The order's exact error on the rows."""
    residual = network.puzzle.target_values[rows] - network.predict(order, network.puzzle.rows_in[rows])
    return float(np.mean(np.square(residual)))


def _ramp(values: Array64) -> Array64:
    """(n, 4) colors that are seen on light ground and on dark, of values between 0 and 1."""
    return np.asarray(mpl.colormaps["viridis"](0.3 + 0.35 * values))


def _svg(figure: Figure) -> str:
    """The drawing, in the colors that the reader's light or dark setting wants."""
    vector = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(vector, format="svg", transparent=True, metadata=nothing)
    text = vector.getvalue()
    start = text.index(">", text.index("<svg")) + 1
    lines = (text[:start] + _COLORS % INK + text[start:].replace(INK, "var(--ink)")).splitlines()
    return "\n".join(line.rstrip() for line in lines) + "\n"


if __name__ == "__main__":
    place = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).with_name("pictures")
    draw(load_puzzle(sys.argv[1]), place)
