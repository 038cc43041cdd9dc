"""Residuals with small changes of the order as a nuisance: what no inversion can explain, in units of its noise.

Each of the N(N−1)/2 changes D (:mod:`pairing.search.surrogate`) is taken as present with a random coefficient of
variance τ², and what no change explains as noise of variance σ². With ``K = (σ² I + τ² Σ D Dᵀ)⁻¹`` the log-likelihood
of a residual r is ``−r·K r / 2`` and a constant (generalized least squares, Aitken 1935).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pairing.arrays import Array32, Array64

INVERSION_VARIANCE = 0.03
"""τ²: that much of all pairs of blocks may be in the wrong order."""
NOISE = 0.1
"""σ² as a part of the residual's variance."""
CONDITION = 1e-4
"""Least noise, as a part of what inversions explain on average."""
PART_CHANGES = 4096
"""Changes that are held in float64 at once."""


class Whitening:
    """Inner products under K, in float64: a float32 root fails where few changes explain nearly everything."""

    def __init__(self, changes: Array32, error: float) -> None:
        """For changes (P, n) and a residual whose mean square is ``error``; P·n values of any scale, all finite.

        With fewer changes than values it is Woodbury's form, ``K = (I − τ² Dᵀ (σ² I + τ² D Dᵀ)⁻¹ D) / σ²``.
        """
        from scipy.linalg import cholesky

        pairs, values = changes.shape
        self._few = pairs < values
        self._changes = changes.astype(np.float64) if self._few else np.empty((0, values))
        matrix = self._changes @ self._changes.T if self._few else _gram(changes)
        matrix *= INVERSION_VARIANCE
        self._noise = max(NOISE * error, CONDITION * float(np.trace(matrix)) / values, float(np.finfo(np.float64).tiny))
        matrix[np.diag_indices_from(matrix)] += self._noise
        self._root = cholesky(matrix, lower=True, overwrite_a=True, check_finite=False) if len(matrix) else matrix

    def inner(self, one: NDArray[Any], other: NDArray[Any]) -> Array64:
        """(m, k) float64: ``oneᵀ K other`` for values (n, m) and (n, k)."""
        first = self._whitened(one)
        second = first if other is one else self._whitened(other)
        if not self._few:
            return np.asarray(first.T @ second)
        both = one.astype(np.float64).T @ other.astype(np.float64)
        return np.asarray((both - INVERSION_VARIANCE * (first.T @ second)) / self._noise)

    def squares(self, values: NDArray[Any]) -> Array64:
        """(m,) float64: ``v·K v`` for each column v of ``values`` (n, m)."""
        white = self._whitened(values)
        explained = np.einsum("nm,nm->m", white, white)
        if not self._few:
            return np.asarray(explained)
        whole = np.einsum("nm,nm->m", values, values, dtype=np.float64)
        return np.asarray((whole - INVERSION_VARIANCE * explained) / self._noise)

    def _whitened(self, values: NDArray[Any]) -> Array64:
        """Values (n, m), or what they share with the few changes, divided by the root."""
        from scipy.linalg import solve_triangular

        plain = np.asarray(values, np.float64)
        shared = self._changes @ plain if self._few else plain
        if not len(shared):
            return np.asarray(shared)
        return np.asarray(solve_triangular(self._root, shared, lower=True, check_finite=False))


def _gram(changes: Array32) -> Array64:
    """(n, n) float64: Σ D Dᵀ over the changes (P, n)."""
    total = np.zeros((changes.shape[1], changes.shape[1]))
    for start in range(0, len(changes), PART_CHANGES):
        part = changes[start : start + PART_CHANGES].astype(np.float64)
        total += part.T @ part
    return total
