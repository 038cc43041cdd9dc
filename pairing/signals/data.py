"""Signals from data: what a block's branch ``f_ij(x) = W_out[j] act(W_in[i] x + b_in[i]) + b_out[j]`` answers.

Norms and inner products of all N² branches need only moments of the N hidden activations, never the branches. They are
taken over as many rows as :mod:`pairing.model.costs` allows, drawn at random: the first rows of a table may be of one
kind.
"""

from __future__ import annotations

import numpy as np

from pairing.arrays import Array32, Array64, Indices
from pairing.model import costs
from pairing.model.activations import activation_of
from pairing.model.puzzle import Puzzle
from pairing.signals.weights import cosines, with_out_grams

FIRST_ROWS = 500
"""What the legacy signal looks at, which stays as it was."""

PENALTY = 0.1
"""Of the joint regression, as a part of the mean square of all hidden activations of a row."""

_PART_ROWS = 500


def activation(puzzle: Puzzle) -> Array64:
    """Minus the norm of the branch's output on the first 500 samples (legacy)."""
    return -np.sqrt(_squared_norms(puzzle, np.arange(min(FIRST_ROWS, len(puzzle.rows_in))))[0])


def residual_cosine(puzzle: Puzzle) -> Array64:
    """Absolute cosine of the samples and the branch's output on them, flattened."""
    rows = _drawn(puzzle, costs.signal_rows(puzzle))
    squares, moments = _squared_norms(puzzle, rows)
    # ⟨X, f⟩ = ⟨W_out, Xᵀ H⟩ + b_out · Σ x
    inputs = puzzle.rows_in[rows]
    products = moments.reshape(puzzle.blocks, -1) @ puzzle.out_weight.reshape(puzzle.blocks, -1).T
    products += (puzzle.out_bias @ inputs.sum(0))[None, :]
    norms = np.sqrt(squares) * np.linalg.norm(inputs)
    return np.asarray(np.abs(products) / np.maximum(norms, np.finfo(np.float64).tiny), np.float64)


def error_alignment(puzzle: Puzzle) -> Array64:
    """How well the branch's output reduces the error that the network has without its blocks."""
    rows = _drawn(puzzle, costs.signal_rows(puzzle))
    return _alignment(puzzle, rows, puzzle.target_values[rows] - puzzle.rows_in[rows] @ puzzle.last_weight.T)


def nonlinear_alignment(puzzle: Puzzle) -> Array64:
    """How well the branch's output fits the part of the target that no linear function of the inputs explains."""
    rows = _drawn(puzzle, costs.signal_rows(puzzle))
    return _alignment(puzzle, rows, _nonlinear_part(puzzle, rows))


def joint_ridge(puzzle: Puzzle) -> Array64:
    """How well the out layer agrees with a regression of the target on all blocks' hidden units together."""
    rows = _drawn(puzzle, costs.ridge_rows(puzzle))
    hidden = np.concatenate(_hidden(puzzle, puzzle.rows_in[rows]), axis=1)  # (S, N·h)
    hidden -= hidden.mean(axis=0)
    return _readout_cosines(puzzle, _ridge(hidden, _nonlinear_part(puzzle, rows)))


def logit_search(puzzle: Puzzle) -> Array64:
    """Nothing: no pair before another, so that logit search finds pairs and block order from the data alone."""
    return np.zeros((puzzle.blocks, puzzle.blocks))


def _ridge(features: Array32, error: Array64) -> Array64:
    """(o, P) float64: coefficients of the ridge regression of errors (S, o) on features (S, P).

    The smaller of two forms, ``(FᵀF + λ I)⁻¹ Fᵀ e = Fᵀ (F Fᵀ + λ I)⁻¹ e`` (Hoerl and Kennard 1970).
    """
    rows, units = features.shape
    gram = (features.T @ features if units < rows else features @ features.T).astype(np.float64)
    penalty = PENALTY * float(np.trace(gram)) / rows
    if penalty == 0:
        return np.zeros((error.shape[1], units))
    gram[np.diag_indices_from(gram)] += penalty
    if units < rows:
        return np.asarray(np.linalg.solve(gram, features.T @ error).T)
    return np.asarray(np.linalg.solve(gram, error).T @ features)


def _drawn(puzzle: Puzzle, most: int) -> Indices:
    """(S,) int64: rows drawn at random, in their order, the same whenever it is asked; all where there are no more."""
    count = len(puzzle.rows_in)
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, most, replace=False))


def _nonlinear_part(puzzle: Puzzle, rows: Indices) -> Array64:
    """(S, o) float64: of the target what no linear function of the inputs tells; 0 where that is rounding.

    So it is with as few rows as inputs, or a linear target.
    """
    target = puzzle.target_values[rows]
    inputs = np.column_stack([puzzle.rows_in[rows].astype(np.float64), np.ones(len(rows))])
    error = np.asarray(target - inputs @ np.linalg.lstsq(inputs, target, rcond=None)[0])
    return np.zeros_like(error) if np.linalg.norm(error) <= 1e-6 * np.linalg.norm(target) else error


def _alignment(puzzle: Puzzle, rows: Indices, error: Array64) -> Array64:
    """(N, N) float64: cosine of Σ (e − ē) hᵀ and W_last W_out, flattened; e are the rows of ``error`` (S, o).

    Gradient descent on an error e adds a multiple of W_lastᵀ Σ e hᵀ to W_out in its first step.
    """
    centred = (error - error.mean(axis=0)).astype(np.float32)
    covariance = np.zeros((puzzle.blocks, puzzle.outputs, puzzle.hidden))
    for part in _parts(len(rows)):
        covariance += centred[part].T @ _hidden(puzzle, puzzle.rows_in[rows[part]])
    return _readout_cosines(puzzle, covariance.transpose(1, 0, 2))


def _readout_cosines(puzzle: Puzzle, covariance: Array64) -> Array64:
    """(N, N) float64: cosines of every inp piece's covariance with the target and W_last W_out of every out piece.

    ``covariance`` has o·N·h values in that order.
    """
    blocks, readout = puzzle.blocks, puzzle.last_weight @ puzzle.out_weight  # (N, o, h)
    each = covariance.reshape(puzzle.outputs, blocks, -1).transpose(1, 0, 2)
    return cosines(each.reshape(blocks, -1), readout.reshape(blocks, -1))


def _parts(count: int) -> list[slice]:
    return [slice(begin, begin + _PART_ROWS) for begin in range(0, count, _PART_ROWS)]


def _hidden(puzzle: Puzzle, rows: Array32) -> Array32:
    """(N, S, h) float32: the hidden activations of every inp piece."""
    hidden: Array32 = rows @ puzzle.inp_weight.transpose(0, 2, 1)
    hidden += puzzle.inp_bias[:, None, :]
    activation_of(puzzle.activation).apply(hidden, hidden)
    return hidden


def _squared_norms(puzzle: Puzzle, rows: Indices) -> tuple[Array64, Array64]:
    """(N, N) float64, ‖f_ij‖² = ⟨W_outᵀ W_out, Hᵀ H⟩ + 2 (b_outᵀ W_out) · Σ h + S ‖b_out‖², and Xᵀ H, (N, d, h)."""
    blocks, hidden_units = puzzle.blocks, puzzle.hidden
    out, bias = puzzle.out_weight, puzzle.out_bias
    gram = np.zeros((blocks, hidden_units, hidden_units), np.float32)
    moments = np.zeros((blocks, puzzle.width, hidden_units))
    total = np.zeros((blocks, hidden_units))
    for part in _parts(len(rows)):
        inputs = puzzle.rows_in[rows[part]]
        hidden = _hidden(puzzle, inputs)
        gram += hidden.transpose(0, 2, 1) @ hidden
        moments += inputs.T @ hidden
        total += hidden.sum(axis=1, dtype=np.float64)
    cross = total @ (bias[:, None, :] @ out)[:, 0, :].T.astype(np.float64)
    constant = len(rows) * np.square(bias, dtype=np.float64).sum(axis=1)
    squares = with_out_grams(puzzle, lambda units: gram[:, units]) + 2 * cross + constant
    return np.asarray(np.maximum(squares, 0), np.float64), moments
