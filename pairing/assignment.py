"""From a similarity matrix to a pairing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from typing import Any, cast

import numpy as np
import scipy
from numpy.typing import NDArray

from pairing.arrays import Array64, Indices


@dataclass(frozen=True, kw_only=True, eq=False)
class Assignment:
    """A pairing of maximum total similarity."""

    pairs: Indices
    """(N,) int64: the out piece's index for every inp piece's."""
    scores: Array64
    """(N,) float64: the similarity of each pair."""
    margins: Array64
    """(N,) float64: each pair's similarity less that of the best other pair with one of its two pieces.

    Below zero where only the assignment as a whole speaks for a pair; infinite for a single block.
    """

    @property
    def total_similarity(self) -> float:
        """The sum of the pairs' similarities, the largest that any pairing has."""
        return float(self.scores.sum())

    @property
    def mean_similarity(self) -> float:
        """The mean of the pairs' similarities."""
        return float(self.scores.mean())

    def top_pairs(self, count: int = 5) -> list[tuple[int, int, float]]:
        """The ``count`` pairs of largest similarity: (inp index, out index, similarity)."""
        best = np.argsort(-self.scores, kind="stable")[:count]
        return [(int(i), int(self.pairs[i]), float(self.scores[i])) for i in best]


def assign(similarity: NDArray[np.floating]) -> Assignment:
    """The pairing of maximum total similarity (Kuhn 1955; SciPy's Jonker-Volgenant solver).

    ``similarity`` is (N, N), finite: row = inp piece, column = out piece.

    Raises:
        ValueError: the matrix is not square or has values that are not finite.
    """
    matrix = np.asarray(similarity, np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not np.isfinite(matrix).all():
        raise ValueError(f"a similarity matrix is square and finite, not of shape {matrix.shape}")
    pairs = best_pairs(matrix)
    rows = np.arange(len(pairs))
    rivals = matrix.copy()
    rivals[rows, pairs] = -np.inf
    scores = matrix[rows, pairs]
    best_rival = np.maximum(rivals.max(axis=1), rivals.max(axis=0)[pairs])
    return Assignment(pairs=pairs, scores=scores, margins=scores - best_rival)


def best_pairs(similarity: NDArray[np.floating]) -> Indices:
    """The pairing (N,) int64 of maximum total similarity, of a matrix (N, N) that is known to be finite."""
    return _solver()(similarity, maximize=True)[1].astype(np.int64, copy=False)


@cache
def _solver() -> Callable[..., tuple[Indices, Indices]]:
    """``scipy.optimize.linear_sum_assignment``, alone where that can be had: to import all beside it takes 0.4 s."""
    spec = PathFinder.find_spec("scipy.optimize._lsap", [str(Path(scipy.__path__[0]) / "optimize")])
    module = None
    if spec and spec.loader:
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
    if not hasattr(module, "linear_sum_assignment"):
        module = import_module("scipy.optimize")
    return cast(Any, module).linear_sum_assignment  # type: ignore[no-any-return]


def agreement(pairs: Indices, others: Indices) -> int:
    """How many pairs two pairings share."""
    return int(np.count_nonzero(np.asarray(pairs) == np.asarray(others)))
