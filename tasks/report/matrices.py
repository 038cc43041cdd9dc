"""Similarity matrices as heat maps in the order of the solution, whose pairs are then the diagonal."""

from __future__ import annotations

import io
from base64 import b64encode
from dataclasses import dataclass

import numpy as np
from matplotlib.image import imsave

from pairing.arrays import Array64, Indices
from pairing.signals.registry import LEGACY
from tasks.report.run_data import Findings

MOST_CELLS = 256
"""Cells of a heat map in each direction; larger matrices are shown by the greatest value of each cell's part."""
MOST_READ = 128
"""Blocks up to which a pointer reads the scores off."""
STEPS = 2**16 - 1
"""Steps between a matrix's least and greatest score, as a pointer reads them."""
CLEAR, FAINT = 3.0, 1.0
"""Standard deviations by which a diagonal stands out, and by which it can be guessed."""
FILE_WIDTH = 480
"""Pixels of the PNG file, about."""


@dataclass(frozen=True, kw_only=True)
class HeatMap:
    """One method's similarity matrix."""

    method: str
    to_see: str
    legacy: bool
    image: str
    """A PNG as a data address, a pixel a cell."""
    png: bytes
    """The same for a file."""
    low: float
    high: float
    """The scores at the ends of the colors."""
    wrong: list[tuple[int, int]]
    """(row, column) of the assignment's pairs that are not the solution's."""
    scores: str
    """Base64 of N² little-endian uint16 from the least to the greatest score; empty where there are too many."""
    least: float
    greatest: float


def heat_maps(found: Findings) -> list[HeatMap]:
    """Of every method that has a matrix, in the order of the summary's methods."""
    best, blocks = found.summary.best, found.summary.blocks
    piece_order = list(range(blocks))
    inp, out = (piece_order, piece_order) if best is None else (best.inp_sigma, best.out_sigma)
    column_of = np.argsort(out)
    names = dict.fromkeys(method.method for method in found.summary.methods)
    drawn = []
    for name in (name for name in names if name in found.matrices):
        matrix = found.matrices[name][np.ix_(inp, out)]
        matrix = np.where(np.isfinite(matrix), matrix, np.nan)
        pairs = next((m.pairs for m in found.summary.methods if m.method == name and m.pairs is not None), None)
        columns = np.arange(blocks) if pairs is None else column_of[np.array(pairs)[inp]]
        any_finite = bool(np.isfinite(matrix).any())
        low, high = np.nanpercentile(matrix, [1, 99]) if any_finite else (0.0, 1.0)
        least, greatest = (np.nanmin(matrix), np.nanmax(matrix)) if any_finite else (0.0, 1.0)
        cells, scale = _reduced(matrix), -(-FILE_WIDTH // min(blocks, MOST_CELLS))
        drawn.append(
            HeatMap(
                method=name,
                to_see="" if best is None else _to_see(matrix, columns, found.summary.solved),
                legacy=name in LEGACY,
                image="data:image/png;base64," + b64encode(_png(cells, low, high)).decode(),
                png=_png(cells.repeat(scale, axis=0).repeat(scale, axis=1), low, high),
                low=float(low),
                high=float(high),
                wrong=[] if best is None else [(r, int(c)) for r, c in enumerate(columns) if r != c],
                scores=_scores(matrix, least, greatest) if blocks <= MOST_READ and any_finite else "",
                least=float(least),
                greatest=float(greatest),
            )
        )
    return drawn


def _to_see(matrix: Array64, columns: Indices, solved: bool) -> str:
    """How many pairs of the assignment are on the diagonal, and how far that stands out."""
    count = len(matrix)
    told = f"{int((columns == np.arange(count)).sum())}/{count} {'right' if solved else 'shared'}"
    others = matrix[~np.eye(count, dtype=bool)]
    spread = np.nanstd(others) if np.isfinite(others).any() else 0.0
    if not spread or not np.isfinite(np.diag(matrix)).any():
        return told
    out = float((np.nanmean(np.diag(matrix)) - np.nanmean(others)) / spread)
    if abs(out) < FAINT:
        return f"{told}, no bright diagonal"
    return f"{told}, {'bright' if out >= CLEAR else 'faint' if out > 0 else 'dark'} diagonal ({out:.1f} σ)"


def _png(cells: Array64, low: float, high: float) -> bytes:
    buffer = io.BytesIO()
    imsave(buffer, cells, cmap="viridis", vmin=low, vmax=high, format="png", metadata={"Software": ""})
    return buffer.getvalue()


def _scores(matrix: Array64, least: float, greatest: float) -> str:
    steps = np.nan_to_num((matrix - least) / ((greatest - least) or 1.0)) * STEPS
    return b64encode(np.rint(steps).astype("<u2").tobytes()).decode()


def _reduced(matrix: Array64) -> Array64:
    """The matrix, or where it is larger than ``MOST_CELLS`` the greatest value of each part of it."""
    step = -(-len(matrix) // MOST_CELLS)
    if step == 1:
        return matrix
    edges = np.arange(0, len(matrix), step)
    low = np.where(np.isnan(matrix), -np.inf, matrix)
    most: Array64 = np.maximum.reduceat(np.maximum.reduceat(low, edges, axis=0), edges, axis=1)
    return np.where(np.isinf(most), np.nan, most)
