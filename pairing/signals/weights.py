"""Signals that look at weights alone. ``M = W_out[j] W_in[i]`` (d, d) throughout; none is ever a loop over pairs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pairing.arrays import Array32, Array64
from pairing.model.puzzle import Puzzle

ROUNDING = 8 * float(np.finfo(np.float32).eps)
"""The part of a row's norm that float32's rounding may make of equal numbers."""


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
    return cosines(_flat(_inp_gram(puzzle)), _flat(_out_gram(puzzle)))


def asymmetry(puzzle: Puzzle) -> Array64:
    """−‖M − Mᵀ‖ / ‖M‖: true products are nearer to symmetric."""
    squares = product_norm(puzzle) ** 2
    difference = np.maximum(2 * squares - 2 * _trace_of_square(puzzle), 0)
    return -_ratio(np.sqrt(difference), np.sqrt(squares))


def product_norm(puzzle: Puzzle) -> Array64:
    """‖M‖: weights trained together reinforce each other."""
    # ‖W_out W_in‖² = ⟨W_outᵀ W_out, W_in W_inᵀ⟩
    squares = _flat(_inp_gram(puzzle)).astype(np.float64) @ _flat(_out_gram(puzzle)).astype(np.float64).T
    return np.sqrt(np.maximum(squares, 0))


def norm_balance(puzzle: Puzzle) -> Array64:
    """Pearson correlation over hidden units of W_in's row norms and W_out's column norms."""
    return _correlations(np.linalg.norm(puzzle.inp_weight, axis=2), np.linalg.norm(puzzle.out_weight, axis=1))


def _transposed(puzzle: Puzzle) -> Array32:
    """(N, h, d): W_out transposed, laid out like W_in."""
    return np.ascontiguousarray(puzzle.out_weight.transpose(0, 2, 1))


def _inp_gram(puzzle: Puzzle) -> Array32:
    gram: Array32 = puzzle.inp_weight @ puzzle.inp_weight.transpose(0, 2, 1)
    return gram


def _out_gram(puzzle: Puzzle) -> Array32:
    gram: Array32 = puzzle.out_weight.transpose(0, 2, 1) @ puzzle.out_weight
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


def _trace_of_square(puzzle: Puzzle) -> Array64:
    """(N, N) float64: trace(M M) of every pair, inp pieces taken a few at a time to bound the memory."""
    blocks, width = puzzle.blocks, puzzle.width
    out = puzzle.out_weight.reshape(blocks * width, puzzle.hidden)
    result = np.empty((blocks, blocks))
    some = max(1, 2**24 // (blocks * width * width))
    for start in range(0, blocks, some):
        inp = puzzle.inp_weight[start : start + some]
        product = (out @ inp).reshape(len(inp), blocks, width, width)
        result[start : start + some] = np.einsum("ijab,ijba->ij", product, product)
    return result
