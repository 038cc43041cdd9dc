"""A consensus of the other signals, each weighted by how decisive it is on this very puzzle."""

from __future__ import annotations

import numpy as np

from pairing.assignment import assign
from pairing.puzzle import Array64, Puzzle
from pairing.signals import branches, weights

SOURCES = (
    weights.trace,
    weights.dominance,
    weights.aligned_cosine,
    weights.neuron_cosine,
    weights.gram_cosine,
    weights.asymmetry,
    weights.product_norm,
    weights.norm_balance,
    branches.residual_cosine,
)
"""The signals that take part: the old fleet's four are left out."""


def consensus(puzzle: Puzzle) -> Array64:
    """Sum of the other signals, standardised and weighted by how decisive each is."""
    total = np.zeros((puzzle.blocks, puzzle.blocks))
    for source in SOURCES:
        standard = standardise(source(puzzle))
        total += decisiveness(standard) * standard
    return total


def standardise(matrix: Array64) -> Array64:
    """The matrix with row and column means taken off, divided by what is left's standard deviation."""
    centred = matrix - matrix.mean(axis=0) - matrix.mean(axis=1, keepdims=True) + matrix.mean()
    return np.asarray(centred / max(float(centred.std()), np.finfo(np.float64).tiny))


def decisiveness(standard: Array64) -> float:
    """How clearly a standardised matrix tells pairs apart: the median margin of its assignment, at least 0.

    In standard deviations; a matrix of noise has hardly any, since an assigned pair's best rival is as good.
    """
    margin = float(np.median(assign(standard).margins))
    return max(0.0, margin) if np.isfinite(margin) else 1.0
