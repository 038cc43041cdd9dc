"""Residuals with small changes of the order as a nuisance: what no inversion can explain, in units of its noise.

Each of the N(N−1)/2 changes D (:mod:`pairing.surrogate`) is taken as present with a random coefficient of variance τ²,
and what no change explains as noise of variance σ². With ``K = (σ² I + τ² Σ D Dᵀ)⁻¹`` the log-likelihood of a residual
r is ``−r·K r / 2`` and a constant (generalised least squares, Aitken 1935).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pairing.puzzle import Array32

INVERSION_VARIANCE = 0.03
"""τ²: that much of all pairs of blocks may be in the wrong order."""
NOISE = 0.1
"""σ² as a part of the residual's variance."""
CONDITION = 1e-4
"""Least noise, as a part of what inversions explain on average: float32 has no root of a matrix nearer to singular."""


def whitening_root(changes: Array32, error: float) -> Array32:
    """(n, n) float32: the lower root of K⁻¹ for changes (P, n) and a residual whose mean square is ``error``."""
    from scipy.linalg import cholesky

    covariance = np.float32(INVERSION_VARIANCE) * (changes.T @ changes)
    least = CONDITION * float(np.trace(covariance)) / len(covariance)
    covariance[np.diag_indices_from(covariance)] += np.float32(max(NOISE * error, least))
    return np.asarray(cholesky(covariance, lower=True, overwrite_a=True, check_finite=False), np.float32)


def whitened(root: Array32, values: NDArray[Any]) -> Array32:
    """Values (n,) or (n, m) divided by the root, of the same shape: their inner products are those under K."""
    from scipy.linalg import solve_triangular

    return np.asarray(solve_triangular(root, values, lower=True, check_finite=False), np.float32)
