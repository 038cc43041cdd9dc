"""Whether what a solution leaves unexplained is noise that knows nothing of the network.

A target may carry noise of its own: then even the right solution has an MSE above rounding. What a wrong one leaves is
a function of the inputs, which shows in three tests, the cheapest first; noise passes them all.

1. Each output's residual is regressed on the inputs, their squares, and what every block adds to the output: an F-test.
2. It is regressed on the changes that all exchanges of two blocks make to first order, the commutators of
   :mod:`pairing.search.surrogate` (where they are many, on random combinations of them): another F-test.
3. No exchange of two blocks, inp or out pieces, computed exactly, lowers the MSE by more than noise would.

Each is to be passed at the level ``LEVEL``, all of its comparisons together (Bonferroni): the right solution under
noise fails one in about three hundred times.
"""

from __future__ import annotations

import time

import numpy as np

from pairing.arrays import Array64, Indices
from pairing.model import costs
from pairing.model.network import Network
from pairing.model.pace import OutOfTimeError, Pace
from pairing.search.batch_error import candidate_residuals
from pairing.search.identifiability import alike_exchanges
from pairing.search.surrogate import commutators, trajectory

LEVEL = 1e-3
ROWS = 4096
"""Rows, of all outputs together, that are looked at."""
HIDDEN = 2**26
"""Hidden units of all rows and blocks at most, which bound the memory."""
VALUES_PER_FEATURE = 4
"""Fewer values of the target than so many for each feature tell nothing: then nothing is said."""
FEWEST_VALUES = 100
MOST_FEATURES = 1024
"""Commutators, or combinations of them, at most."""
EXPLAINED = 0.5
"""A solution whose MSE is more of the target's variance explains nothing that could be tested."""
MOST_NEIGHBOURS = 400
"""Exchanges that might lower the MSE are computed exactly; if there are more, the question stays open."""


@np.errstate(over="ignore", invalid="ignore")
def noise_of(network: Network, order: Indices, full_mse: float, seconds: float = float("inf")) -> float | None:
    """The standard deviation of the noise with which the error of ``order`` (N,), ``full_mse``, is consistent.

    ``None`` where it is not, where the data are too few to tell, or where it takes longer than ``seconds``.
    """
    puzzle = network.puzzle
    if not full_mse <= EXPLAINED * puzzle.target_variance:
        return None
    most = min(ROWS // puzzle.outputs, HIDDEN // (puzzle.blocks * puzzle.hidden))
    rows = np.random.default_rng(0).permutation(puzzle.rows)[: max(1, most)]
    pace = Pace(puzzle, time.monotonic() + seconds)
    try:
        pace.check(costs.linearization(puzzle, len(rows)))
        consistent = _is_independent(network, order, rows) and not _is_bettered(network, order, rows, full_mse, pace)
    except OutOfTimeError:
        return None
    return float(np.sqrt(full_mse)) if consistent else None


def _is_independent(network: Network, order: Indices, rows: Indices) -> bool:
    """Whether neither F-test finds anything of the network in the residual."""
    puzzle = network.puzzle
    way = trajectory(network, order, rows)
    residuals = way.residual.reshape(puzzle.outputs, -1).astype(np.float64)
    inputs = puzzle.rows_in[rows].astype(np.float64)
    level = LEVEL / puzzle.outputs
    for output, residual in enumerate(residuals):
        added = (way.branches @ puzzle.last_weight[output]).T.astype(np.float64)  # (S, N)
        if not _passes(residual, np.column_stack([inputs, np.square(inputs), added]), level):
            return False
    if len(order) < 2:
        return True
    changes = commutators(way).reshape(-1, puzzle.outputs, len(rows))
    most = min(MOST_FEATURES, len(rows) // VALUES_PER_FEATURE - 1)
    for output, residual in enumerate(residuals):
        features = changes[:, output].T.astype(np.float64)
        scale = np.sqrt(np.mean(np.square(features), axis=0))
        features = features[:, scale > 0] / scale[scale > 0]
        if features.shape[1] > most:
            mixture = np.random.default_rng(output).normal(size=(features.shape[1], most))
            features = features @ mixture
        if features.shape[1] and not _passes(residual, features, level):
            return False
    return True


def _passes(residual: Array64, features: Array64, level: float) -> bool:
    """Whether a regression of the residual (S,) on features (S, m) and a constant explains no more than of noise."""
    from scipy.linalg import lstsq
    from scipy.special import fdtrc

    values, count = features.shape
    if values < max(FEWEST_VALUES, VALUES_PER_FEATURE * (count + 1)) or not np.isfinite(features).all():
        return False
    centred = features - features.mean(axis=0)
    scale = np.sqrt(np.mean(np.square(centred), axis=0))
    centred = centred[:, scale > 0] / scale[scale > 0]
    told = residual - residual.mean()
    total = float(told @ told)
    if not centred.shape[1] or total == 0:
        return True
    fit, _, rank, _ = lstsq(centred, told, cond=1e-6, lapack_driver="gelsy", check_finite=False)
    left = float(np.sum(np.square(told - centred @ fit)))
    freedom = values - 1 - int(rank)
    ratio = (total - left) / int(rank) / (left / freedom)
    return float(fdtrc(int(rank), freedom, ratio)) >= level


def _is_bettered(network: Network, order: Indices, rows: Indices, error: float, pace: Pace) -> bool:
    """Whether an exchange of two blocks or pieces betters the error by more than noise would let it.

    One that changes the predictions by a mean square of more than four times the error betters none.
    """
    from scipy.special import ndtri

    puzzle = network.puzzle
    alike = alike_exchanges(network, order, rows, 4 * error, pace)
    if len(alike) > MOST_NEIGHBOURS:
        return True
    if not len(alike):
        return False
    pace.check(len(alike) * costs.forward(puzzle, len(rows)))
    inp = np.tile(order, (len(alike) + 1, 1))
    out = network.pairs[inp]
    for line, (first, second, kind) in enumerate(alike, start=1):
        for sigma in [sigma for sigma, kept in ((inp, 2), (out, 1)) if kind != kept]:
            sigma[line, [first, second]] = sigma[line, [second, first]]
    residuals = candidate_residuals(puzzle, inp, out, rows).astype(np.float64)
    here, there = residuals[0], residuals[1:]
    changes = here - there  # of the predictions
    falls = changes @ here
    sizes = np.sqrt(np.einsum("cn,cn->c", changes, changes) * float(np.mean(np.square(here))))
    better = np.square(there).sum(axis=1) < here @ here
    limit = -float(ndtri(LEVEL / len(alike)))
    return bool((better & (falls > limit * sizes)).any())
