"""Signals from data: what a block's branch ``f_ij(x) = W_out[j] act(W_in[i] x + b_in[i]) + b_out[j]`` answers.

Norms and inner products of all N² branches need only moments of the N hidden activations, never the branches.
"""

from __future__ import annotations

import numpy as np

from pairing.activations import activation_of
from pairing.puzzle import Array32, Array64, Puzzle
from pairing.signals.weights import cosines

SAMPLE_ROWS = 500
"""The first rows of the data that these signals look at."""


def activation(puzzle: Puzzle) -> Array64:
    """Minus the norm of the branch's output on the first 500 rows (the old fleet's)."""
    rows = puzzle.rows_in[:SAMPLE_ROWS]
    return -np.sqrt(_squared_norms(puzzle, rows, _hidden(puzzle, rows)))


def residual_cosine(puzzle: Puzzle) -> Array64:
    """Absolute cosine of the first 500 rows and the branch's output on them, flattened."""
    rows = puzzle.rows_in[:SAMPLE_ROWS]
    hidden = _hidden(puzzle, rows)
    # ⟨X, f⟩ = ⟨W_out, Xᵀ H⟩ + b_out · Σ x
    moments = (rows.T @ hidden).reshape(puzzle.blocks, -1)  # (N, d·h)
    products = moments @ puzzle.out_weight.reshape(puzzle.blocks, -1).T + (puzzle.out_bias @ rows.sum(0))[None, :]
    norms = np.sqrt(_squared_norms(puzzle, rows, hidden)) * np.linalg.norm(rows)
    return np.asarray(np.abs(products) / np.maximum(norms, np.finfo(np.float64).tiny), np.float64)


def error_alignment(puzzle: Puzzle) -> Array64:
    """How well the branch's output reduces the error that the network has without its blocks."""
    rows = puzzle.rows_in[:SAMPLE_ROWS].astype(np.float64)
    target = puzzle.target_values[:SAMPLE_ROWS]
    return _alignment(puzzle, target - rows @ puzzle.last_weight.T)


def nonlinear_alignment(puzzle: Puzzle) -> Array64:
    """How well the branch's output fits what no linear function of the inputs tells of the target."""
    rows = puzzle.rows_in[:SAMPLE_ROWS].astype(np.float64)
    target = puzzle.target_values[:SAMPLE_ROWS]
    inputs = np.column_stack([rows, np.ones(len(rows))])
    error = target - inputs @ np.linalg.lstsq(inputs, target, rcond=None)[0]
    rounding = np.linalg.norm(error) <= 1e-6 * np.linalg.norm(target)  # and no error: few rows, or a linear target
    return _alignment(puzzle, np.zeros_like(error) if rounding else error)


def _alignment(puzzle: Puzzle, error: Array64) -> Array64:
    """(N, N) float64: cosine of Σ (e − ē) hᵀ and W_last W_out, flattened; e are the rows of ``error`` (S, o).

    Gradient descent on an error e adds a multiple of W_lastᵀ Σ e hᵀ to W_out in its first step.
    """
    blocks = puzzle.blocks
    hidden = _hidden(puzzle, puzzle.rows_in[:SAMPLE_ROWS])
    centred = (error - error.mean(axis=0)).astype(np.float32)
    told, read = centred.T @ hidden, puzzle.last_weight @ puzzle.out_weight  # (N, o, h) both
    return cosines(told.reshape(blocks, -1), read.reshape(blocks, -1))


def _hidden(puzzle: Puzzle, rows: Array32) -> Array32:
    """(N, S, h) float32: the hidden activations of every inp piece."""
    hidden: Array32 = rows @ puzzle.inp_weight.transpose(0, 2, 1)
    hidden += puzzle.inp_bias[:, None, :]
    activation_of(puzzle.activation).apply(hidden, hidden)
    return hidden


def _squared_norms(puzzle: Puzzle, rows: Array32, hidden: Array32) -> Array64:
    """(N, N) float64: ‖f_ij‖² = ⟨W_outᵀ W_out, Hᵀ H⟩ + 2 (b_outᵀ W_out) · Σ h + S ‖b_out‖²."""
    out, bias, blocks = puzzle.out_weight, puzzle.out_bias, puzzle.blocks
    inp_gram = (hidden.transpose(0, 2, 1) @ hidden).reshape(blocks, -1).astype(np.float64)
    out_gram = (out.transpose(0, 2, 1) @ out).reshape(blocks, -1).astype(np.float64)
    cross = hidden.sum(axis=1, dtype=np.float64) @ (bias[:, None, :] @ out)[:, 0, :].T.astype(np.float64)
    constant = len(rows) * np.square(bias, dtype=np.float64).sum(axis=1)
    return np.asarray(np.maximum(inp_gram @ out_gram.T + 2 * cross + constant, 0), np.float64)
