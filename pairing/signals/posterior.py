"""What a similarity matrix says about every pair, as probabilities. ``docs/signals.md`` has the derivation.

Nearly all of the N² entries are wrong pairs, so the matrix itself shows how wrong pairs score: in those units they are
taken for N(0, 1), and the N right pairs, one in each row and column, for N(μ, 1 + (μ/3)²). How much a pairing is worth
is then the sum of its pairs' log-likelihood ratios, and a pair's probability the share of all N! pairings that hold it,
by their worth. Belief propagation gives these shares and the sum over all pairings. The strength μ is unknown: each of
``STRENGTHS`` is weighed by that sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from pairing.arrays import Array64, Indices

STRENGTHS = np.array([0.0, 1.0, 1.75, 2.5, 3.5, 5.0, 8.0, 14.0])
"""How far right pairs stand out, in standard deviations of wrong ones. 0: the matrix knows nothing."""

_SPREAD = 1 / 3  # of the right pairs' scores, as a part of the strength
_USELESS = 0.3  # how likely a signal is to know nothing, before looking
_ROUNDS = 8  # of belief propagation
_SCALINGS = 50
_FLOOR = 1e-15  # the least probability that float64 tells from 0 in a sum to 1
_UPPER = np.array([0.7, 0.8, 0.84, 0.9, 0.95, 0.975, 0.99])
_LOWER = np.array([0.3, 0.2, 0.1])


def _priors() -> Array64:
    """(strengths,): ``_USELESS`` for 0, the others by 1 / (1 + μ) times the width of their interval."""
    weight = np.gradient(STRENGTHS) / (1 + STRENGTHS)
    weight[0] = 0
    weight *= (1 - _USELESS) / weight.sum()
    weight[0] = _USELESS
    return np.asarray(weight)


_PRIORS = _priors()


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """What a matrix says about its pairs."""

    probabilities: Array64
    """(N, N) float64: how probable each pair is; rows and columns sum to nearly 1."""
    log_ratios: Array64
    """(N, N) float64: log of how much likelier a score is for a right pair than for a wrong one."""
    support: float
    """Log of how much likelier the matrix is with such right pairs in it than without any, in nats."""


def log_odds(similarity: Array64) -> Array64:
    """How much every pair adds to a pairing's log probability, (N, N) float64 in nats.

    The sum over a pairing's N pairs is its log probability but for a constant, so an exchange of two out pieces is as
    much likelier, by the matrix, as this sum rises. Rows and columns are moved by constants, on which no pairing's rank
    depends, so that the exponentials of each sum to 1: −log N everywhere for a matrix that knows nothing.
    ``similarity`` is (N, N), finite.
    """
    logs = _weigh_with_caution(similarity).log_ratios
    for _ in range(_SCALINGS):  # Sinkhorn and Knopp 1967
        logs = logs - np.logaddexp.reduce(logs, axis=0, keepdims=True)
        logs = logs - np.logaddexp.reduce(logs, axis=1, keepdims=True)
    return np.asarray(logs)


def confidence(similarity: Array64, pairs: Indices) -> Array64:
    """How probable each of the ``pairs`` (N,) is by a similarity matrix (N, N) alone: (N,) float64 in [0, 1]."""
    probabilities = _weigh_with_caution(similarity).probabilities
    return np.asarray(probabilities[np.arange(len(pairs)), pairs])


def weigh(scores: Array64, trust: float = 1.0) -> Evidence:
    """The evidence of a matrix (N, N) in null units; its log ratios are multiplied by ``trust``."""
    ratios = trust * _log_ratios(scores)
    probabilities, supports = marginals(ratios)
    posterior = _PRIORS * np.exp(supports - supports.max())
    support = float(np.log(posterior.sum()) + supports.max())
    posterior /= posterior.sum()
    return Evidence(
        probabilities=np.tensordot(posterior, probabilities, 1),
        log_ratios=np.tensordot(posterior, ratios, 1),
        support=support,
    )


def _weigh_with_caution(similarity: Array64) -> Evidence:
    """The fewer the blocks, the less is known of how wrong pairs score: trust is 1 − 2/(N − 1), or 0."""
    return weigh(null_units(similarity), max(0.0, 1 - 2 / max(len(similarity) - 1, 1)))


def null_units(similarity: Array64) -> Array64:
    """The matrix with row and column means taken off, in standard deviations of wrong pairs.

    Each half of the distribution has its own scale: upwards the largest that quantiles up to 1 − 1.5/N
    (the right pairs lie above) suggest, because absolute cosines and the like are skewed.
    """
    blocks = len(similarity)
    largest = float(np.abs(similarity).max())
    matrix = similarity / largest if largest > 0 else similarity
    for _ in range(2):
        usual = np.minimum(matrix, np.quantile(matrix, 1 - 1 / blocks))
        matrix = matrix - usual.mean(axis=0) - usual.mean(axis=1, keepdims=True) + usual.mean()
    matrix = matrix - np.median(matrix)
    upper = _UPPER[: np.searchsorted(_UPPER, max(1 - 1.5 / blocks, 0.84), side="right")]
    up = np.max(np.quantile(matrix, upper) / _normal_quantiles(upper))
    down = np.mean(np.quantile(matrix, _LOWER) / _normal_quantiles(_LOWER))
    rounding = 1e-12
    return np.asarray(np.where(matrix > 0, matrix / max(up, rounding), matrix / max(down, rounding)))


def _normal_quantiles(probabilities: Array64) -> Array64:
    """(n,) float64; of the standard library, because SciPy's take a sixth of a second to import."""
    return np.array([NormalDist().inv_cdf(float(probability)) for probability in probabilities])


def _log_ratios(scores: Array64) -> Array64:
    """(strengths, N, N): log N(x; μ, 1 + (μ/3)²) / N(x; 0, 1), level below its minimum: it never falls with x."""
    strength = STRENGTHS[:, None, None]
    extra = (_SPREAD * strength) ** 2
    lowest = -strength / np.where(extra > 0, extra, 1)
    x = np.maximum(scores, lowest)
    ratios: Array64 = (x**2 - (x - strength) ** 2 / (1 + extra) - np.log1p(extra)) / 2
    return ratios


def marginals(ratios: Array64) -> tuple[Array64, Array64]:
    """Probabilities (…, N, N) of the pairs, and log mean over all pairings of exp(sum of log ratios) (…,).

    Belief propagation for permanents (Huang and Jebara 2009); the mean is Bethe's approximation, divided by the same
    for ratios of 0.
    """
    blocks = ratios.shape[-1]
    top = ratios.max(axis=-1, keepdims=True)
    worth = np.exp(np.maximum(ratios - top, -80))
    down = np.ones_like(worth)
    for number in range(_ROUNDS):
        up = 1 / _others(worth * down, -1)
        new = 1 / _others(worth * up, -2)
        down = np.sqrt(down * new) if number else new
    odds = worth * up * down
    total = (
        top.sum(axis=(-1, -2))
        + np.log((worth * down).sum(axis=-1)).sum(axis=-1)
        + np.log((worth * up).sum(axis=-2)).sum(axis=-1)
        - np.log1p(odds).sum(axis=(-1, -2))
    )
    others = max(blocks - 1, 1)
    level = blocks * np.log(blocks**2 / others) - blocks**2 * np.log1p(1 / others)
    return odds / (1 + odds), total - level


def _others(terms: Array64, axis: int) -> Array64:
    """Each term's row (or column) sum without the term itself."""
    total = terms.sum(axis=axis, keepdims=True)
    return np.asarray(np.maximum(total - terms, _FLOOR * total))
