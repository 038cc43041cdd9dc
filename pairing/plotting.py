"""A solution as a picture. Importing this module imports matplotlib."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

_BLUE, _ORANGE = "#0072b2", "#d55e00"  # told apart by every eye (Okabe and Ito 2008)


class SolutionFigure(Figure):
    """A matplotlib figure that notebooks show, without pyplot and its global state."""

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        file = io.BytesIO()
        self.savefig(file, format="png")
        return file.getvalue()


def solution_figure(
    title: str, evaluations: Sequence[int], mses: Sequence[float], changes: Sequence[float]
) -> SolutionFigure:
    """Two panels: the search's MSE over evaluations, and what each block changes.

    ``mses`` are those of the improvements after so many ``evaluations``; ``changes`` (N,) in the order of the blocks.
    """
    figure = SolutionFigure(figsize=(9, 3.4), layout="constrained")
    figure.suptitle(title, parse_math=False)
    search, blocks = figure.subplots(1, 2)
    search.plot(evaluations, mses, color=_BLUE, marker="o", markersize=3, drawstyle="steps-post")
    search.set(title="Search", xlabel="evaluations", ylabel="MSE, at most 1,024 samples")
    search.set_yscale("log" if min(mses, default=0) > 0 else "linear")
    heights = [change if math.isfinite(change) else 0.0 for change in changes]  # states that overflow have no bar
    blocks.bar(range(len(heights)), heights, color=_ORANGE)
    blocks.set(title="Blocks", xlabel="position", ylabel="relative change")
    for axes in (search, blocks):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
    return figure
