"""A consensus of the other signals, each weighted by how decisive it is on this very puzzle.

Found by expectation and maximization: which pairs are how probable by the combined score, and by how much each signal
sets these pairs apart from the others. ``docs/signals.md`` has the derivation and what was measured.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pairing.arrays import Array64
from pairing.model.puzzle import Puzzle
from pairing.signals import data, weights
from pairing.signals.posterior import Evidence, null_units, weigh

SOURCES = (
    weights.trace,
    weights.aligned_cosine,
    weights.neuron_cosine,
    weights.gram_cosine,
    weights.product_norm,
    weights.norm_balance,
    data.error_alignment,
    data.nonlinear_alignment,
    data.joint_ridge,
)
"""The signals that take part. The others add nothing to these, or agree with one of them where both are wrong."""

_STARTS = 3  # signals whose own evidence a search starts from, beside that from all together
_LEAST_SUPPORT = 3.0  # of such a signal alone, in nats: from one that knows nothing, a search finds what it began with
_ROUNDS = 3  # of expectation and maximization
_SHRINKAGE = 0.6  # of the signals' correlations towards 0
_SWEEPS = 50  # over the weights; with correlations of at most 1 - _SHRINKAGE, they stay the same long before


def consensus(puzzle: Puzzle, known: Callable[[str], Array64 | None] = lambda _: None) -> Array64:
    """Weighted sum of the other signals; the puzzle itself shows how decisive each is.

    ``known`` gives what is known already of a signal by its name.
    """
    matrices = [(known(source.__name__), source) for source in SOURCES]
    return combine([source(puzzle) if matrix is None else matrix for matrix, source in matrices])


def combine(matrices: list[Array64]) -> Array64:
    """The weighted sum (N, N) float64 of similarity matrices that has the most support, in null units.

    Each search starts from another idea of the right pairs, so that a few useless signals that happen to agree do not
    outvote a decisive one.
    """
    scores = np.array([null_units(matrix) for matrix in matrices])
    alone = [weigh(score) for score in scores]
    decisive = sorted((e for e in alone if e.support >= _LEAST_SUPPORT), key=lambda evidence: -evidence.support)
    starts = [_together(scores, alone), *decisive[:_STARTS]]
    found = [_search(scores, start) for start in starts]
    return max(found, key=lambda pair: pair[1].support)[0]


def _together(scores: Array64, alone: list[Evidence]) -> Evidence:
    """The evidence of all signals, each weighted by how far and how surely it sets its own pairs apart."""
    certainty = np.array([np.square(evidence.probabilities).sum() for evidence in alone])
    separation = np.array([_mean(evidence.probabilities, score) for evidence, score in zip(alone, scores, strict=True)])
    return weigh(null_units(np.tensordot(separation * certainty, scores, 1)))


def _search(scores: Array64, evidence: Evidence) -> tuple[Array64, Evidence]:
    """The combined score, and its evidence, that expectation and maximization come to from a start."""
    combined = scores[0]
    for _ in range(_ROUNDS):
        combined = null_units(np.tensordot(_weights(scores, evidence.probabilities), scores, 1))
        evidence = weigh(combined)
    return combined, evidence


def _weights(scores: Array64, probabilities: Array64) -> Array64:
    """(signals,) float64, at least 0: those of the least ½ wᵀCw − w·μ, which set probable pairs apart best.

    Fisher's linear discriminant (1936), without negative weights.
    μ is the signals' mean over right pairs less that over wrong ones, C their covariance over wrong ones, shrunk: by
    it, signals that tell the same share a weight.
    """
    wrong = 1 - probabilities
    level = np.array([_mean(wrong, score) for score in scores])
    separation = np.array([_mean(probabilities, score) for score in scores]) - level
    centred = (scores - level[:, None, None]).reshape(len(scores), -1)
    covariance = (centred * wrong.ravel()) @ centred.T / max(float(wrong.sum()), 1e-9)
    variance = np.diag(np.diag(covariance) + 1e-9)
    shrunk = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * variance
    found = np.zeros(len(scores))
    for _ in range(_SWEEPS):  # coordinate descent (Hildreth 1957)
        for number, row in enumerate(shrunk):
            found[number] = max(0.0, found[number] + (separation[number] - row @ found) / row[number])
    return found


def _mean(probabilities: Array64, score: Array64) -> float:
    return float((probabilities * score).sum() / max(float(probabilities.sum()), 1e-9))
