"""Signals that look at weights alone. ``M = W_out[j] W_in[i]`` (d, d) throughout; none is ever a loop over pairs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pairing.arrays import Array32, Array64
from pairing.model.puzzle import Puzzle

ROUNDING = 8 * float(np.finfo(np.float32).eps)
"""The part of a row's norm that float32's rounding may make of equal numbers."""
PROBES = 64
"""Vectors that tell a norm of a wide matrix to a percent or two; 16 paired the published puzzle as well as all 48."""
GRAM_VALUES = 2**22
"""Of Gram matrices that are held at once."""


def cosine(puzzle: Puzzle) -> Array64:
    """Cosine of the two matrices, flattened as stored (legacy)."""
    return cosines(_flat(puzzle.inp_weight), _flat(puzzle.out_weight))


def transpose(puzzle: Puzzle) -> Array64:
    """trace(M), the inner product of W_in and the transposed W_out: of the wrong sign (legacy)."""
    return (_flat(puzzle.inp_weight) @ _flat(_transposed(puzzle)).T).astype(np.float64)


def svd(puzzle: Puzzle) -> Array64:
    """Pearson correlation of the two descending singular-value spectra (legacy)."""
    return _correlations(_spectra(puzzle.inp_weight), _spectra(puzzle.out_weight))


def trace(puzzle: Puzzle) -> Array64:
    """Minus trace(M): trained blocks tend to contract what they read."""
    return -transpose(puzzle)


def dominance(puzzle: Puzzle) -> Array64:
    """|trace(M)| / ‖M‖: how much M is a multiple of the identity, whatever its sign."""
    return _ratio(np.abs(transpose(puzzle)), product_norm(puzzle))


def aligned_cosine(puzzle: Puzzle) -> Array64:
    """Absolute cosine of W_in and the transposed W_out, flattened."""
    return np.abs(cosines(_flat(puzzle.inp_weight), _flat(_transposed(puzzle))))


def neuron_cosine(puzzle: Puzzle) -> Array64:
    """Mean over hidden units of the absolute cosine of the unit's inp row and out column."""
    inp = _normalized(puzzle.inp_weight).transpose(1, 0, 2)  # (h, N, d)
    out = _normalized(_transposed(puzzle)).transpose(1, 2, 0)  # (h, d, N)
    return np.asarray(np.abs(inp @ out).mean(axis=0), np.float64)


def gram_cosine(puzzle: Puzzle) -> Array64:
    """Cosine of the hidden units' Gram matrices, W_in W_inᵀ and W_outᵀ W_out."""
    # Their inner product is ‖M‖², and ‖A Aᵀ‖ = ‖Aᵀ A‖.
    inp, out = (np.linalg.norm(_flat(_width_gram(stack)), axis=1) for stack in (puzzle.inp_weight, _transposed(puzzle)))
    return _ratio(product_norm(puzzle) ** 2, inp[:, None].astype(np.float64) * out)


def asymmetry(puzzle: Puzzle) -> Array64:
    """−‖M − Mᵀ‖ / ‖M‖: true products are nearer to symmetric.

    Where d is more than 64 both norms are told from 64 random vectors.
    """
    # ‖A‖² is the mean of ‖A z‖² over normal z (Hutchinson 1990), and the sum of it over unit vectors z.
    blocks, width = puzzle.blocks, puzzle.width
    vectors = np.eye(width, dtype=np.float32)
    if width > PROBES:
        vectors = np.random.default_rng(0).standard_normal((width, PROBES)).astype(np.float32)
    out = puzzle.out_weight.reshape(blocks * width, -1)
    out_of_vectors = _transposed(puzzle) @ vectors  # W_outᵀ z
    result = np.empty((blocks, blocks))
    for block, inp in enumerate(puzzle.inp_weight):
        products = (out @ (inp @ vectors)).reshape(blocks, -1)  # M z
        difference = products - (inp.T @ out_of_vectors).reshape(blocks, -1)
        result[block] = -_ratio(np.linalg.norm(difference, axis=1), np.linalg.norm(products, axis=1))
    return result


def product_norm(puzzle: Puzzle) -> Array64:
    """‖M‖: weights trained together reinforce each other."""
    # ‖W_out W_in‖² = ⟨W_in W_inᵀ, W_outᵀ W_out⟩
    inp = puzzle.inp_weight
    return np.sqrt(np.maximum(with_out_grams(puzzle, lambda units: inp[:, units] @ inp.transpose(0, 2, 1)), 0))


def with_out_grams(puzzle: Puzzle, grams: Callable[[slice], Array32]) -> Array64:
    """(N, N) float64: inner products of N Gram matrices (N, h, h) of hidden units and every out piece's W_outᵀ W_out.

    ``grams`` gives some rows of them, (N, units, h) float32: all together may be more than the memory holds.
    """
    blocks, hidden, out = puzzle.blocks, puzzle.hidden, puzzle.out_weight
    total, some = np.zeros((blocks, blocks)), max(1, GRAM_VALUES // (blocks * hidden))
    for start in range(0, hidden, some):
        units = slice(start, start + some)
        total += _flat(grams(units)) @ _flat(out[:, :, units].transpose(0, 2, 1) @ out).T
    return total


def norm_balance(puzzle: Puzzle) -> Array64:
    """Pearson correlation over hidden units of W_in's row norms and W_out's column norms."""
    return _correlations(np.linalg.norm(puzzle.inp_weight, axis=2), np.linalg.norm(puzzle.out_weight, axis=1))


def _transposed(puzzle: Puzzle) -> Array32:
    """(N, h, d): W_out transposed, laid out like W_in."""
    return np.ascontiguousarray(puzzle.out_weight.transpose(0, 2, 1))


def _width_gram(stack: Array32) -> Array32:
    """(N, d, d): Aᵀ A of every A (h, d)."""
    gram: Array32 = stack.transpose(0, 2, 1) @ stack
    return gram


def _flat(stack: Array32) -> Array32:
    return stack.reshape(len(stack), -1)


def _ratio(above: Array64, below: Array64) -> Array64:
    return above / np.maximum(below, np.finfo(np.float64).tiny)


def _normalized(stack: NDArray[np.floating]) -> Array32:
    """Rows (last axis) divided by their norms; rows of zeros stay zeros."""
    norms = np.linalg.norm(stack, axis=-1, keepdims=True)
    return np.asarray(stack / np.maximum(norms, np.finfo(np.float32).tiny), np.float32)


def cosines(a: NDArray[np.floating], b: NDArray[np.floating]) -> Array64:
    """Cosine of every row of a (N, n) with every row of b (N, n); 0 with a row of zeros."""
    return (_normalized(a) @ _normalized(b).T).astype(np.float64)


def _correlations(a: NDArray[np.floating], b: NDArray[np.floating]) -> Array64:
    """Pearson correlation of every row of a (N, n) with every row of b (N, n); 0 where a row is one number."""
    return cosines(_deviations(a), _deviations(b))


def _deviations(rows: NDArray[np.floating]) -> Array64:
    """Rows (N, n) less their means; zeros where float32's rounding is all that the row's numbers differ by."""
    plain = rows.astype(np.float64)
    left = plain - plain.mean(axis=1, keepdims=True)
    rounding = ROUNDING * np.linalg.norm(plain, axis=1, keepdims=True)
    return np.where(np.linalg.norm(left, axis=1, keepdims=True) <= rounding, 0.0, left)


def _spectra(stack: Array32) -> Array64:
    """(N, min(h, d)) float64: descending singular values, from the smaller Gram matrix of each."""
    wide = stack.astype(np.float64)
    if wide.shape[1] > wide.shape[2]:
        wide = wide.transpose(0, 2, 1)
    squares = np.linalg.eigvalsh(wide @ wide.transpose(0, 2, 1))
    return np.asarray(np.sqrt(np.maximum(squares, 0))[:, ::-1])
