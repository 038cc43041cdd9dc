"""What steps cost, in multiplications of matrix products, by the sizes of a puzzle and of a sample of its rows.

They are estimates for large networks, where products take nearly all of the time, and good to a factor of about two.
"""

from __future__ import annotations

from pairing.model.puzzle import Puzzle

Cost = float
"""Multiplications."""

FEWEST_ROWS = 16
"""Fewer rows take as long as these: the weights have to be read all the same."""

COPIED_ROWS = 128
"""Copying a block's weights takes as long as these."""

SIGNAL_COST: Cost = 4e9
"""What the hidden activations of a signal from data may cost: a quarter of a second."""
SIGNAL_ROWS = 500
"""A signal from data looks at so many rows at least, where there are so many."""
RIDGE_COST: Cost = 1e10
"""What the joint regression may cost: about as much."""
RIDGE_ROWS = 10_000
"""More rows tell it nothing more, and their hidden units take memory."""


def forward(puzzle: Puzzle, rows: int) -> Cost:
    """The exact error of one order."""
    return 2.0 * puzzle.blocks * puzzle.hidden * puzzle.width * max(rows, FEWEST_ROWS)


def trajectory(puzzle: Puzzle, rows: int) -> Cost:
    """The way of the rows through the network, and the gradients of all outputs back."""
    return (1 + puzzle.outputs) * forward(puzzle, rows)


def linearization(puzzle: Puzzle, rows: int) -> Cost:
    """A surrogate: the trajectory, every pair's changes, and the inner products among them."""
    return trajectory(puzzle, rows) + puzzle.outputs * rows * puzzle.blocks**2 * (puzzle.width + puzzle.blocks)


def window(puzzle: Puzzle, rows: int, pairs: int) -> Cost:
    """The surrogate's form over so many pairs."""
    changes = puzzle.outputs * rows * (puzzle.blocks**2 * puzzle.width + pairs**2)
    return trajectory(puzzle, rows) + changes


def relocations(puzzle: Puzzle, rows: int, candidates: int) -> Cost:
    """The residuals of orders with one block elsewhere: on average, half of the blocks are to be applied again."""
    return candidates * forward(puzzle, rows) / 2


def exchanges(puzzle: Puzzle, rows: int, screened: int, kept: int) -> Cost:
    """The prices of all exchanges on ``screened`` rows, and of ``kept`` of them on all rows."""
    blocks, pairs, outputs = puzzle.blocks, puzzle.blocks**2 / 2, puzzle.outputs

    def whitening(values: int, several: float) -> Cost:
        few, many = sorted((pairs, float(values)))
        return 2 * few * (few * many + several * (many if pairs < values else few))  # in float64, twice as slow

    screening = blocks * outputs * forward(puzzle, screened) + whitening(screened * outputs, 2 * pairs)
    return (
        screening
        + trajectory(puzzle, rows)
        + 2 * kept * forward(puzzle, rows) / blocks
        + whitening(rows * outputs, kept)
    )


def greedy(puzzle: Puzzle, rows: int) -> Cost:
    """The greedy start: every block that is left, at every place; its weights are copied each time."""
    return puzzle.blocks / 2 * forward(puzzle, rows + COPIED_ROWS)


def signal_rows(puzzle: Puzzle) -> int:
    """How many rows a signal from data looks at."""
    weights = puzzle.blocks * puzzle.width * puzzle.hidden
    return min(len(puzzle.rows_in), max(SIGNAL_ROWS, int(SIGNAL_COST / weights)))


def ridge_rows(puzzle: Puzzle) -> int:
    """How many rows the joint regression looks at: it costs S P min(S, P) for S rows and P hidden units in all."""
    units = puzzle.blocks * puzzle.hidden
    most = max(int((RIDGE_COST / units) ** 0.5), int(RIDGE_COST / units**2))
    return min(len(puzzle.rows_in), max(SIGNAL_ROWS, most), RIDGE_ROWS)


def signal(puzzle: Puzzle, name: str) -> Cost:
    """The similarity matrix of one of our own methods; 0 for others, of which nothing is known."""
    blocks, width, hidden = puzzle.blocks, puzzle.width, puzzle.hidden
    weights = float(blocks * width * hidden)
    products = blocks * weights  # an inner product of every inp and out piece
    grams = 2 * weights * hidden + float(blocks * hidden) ** 2
    rows, units, joint = signal_rows(puzzle), blocks * hidden, ridge_rows(puzzle)
    activations = weights * rows
    least = min(width, hidden)
    singular = 2 * weights * least + 20.0 * blocks * least**3
    known = {
        "trace": products,
        "transpose": products,
        "cosine": products,
        "aligned_cosine": products,
        "neuron_cosine": products,
        "dominance": products + grams,
        "product_norm": grams,
        "gram_cosine": grams + 2 * weights * width,
        "asymmetry": 2 * products * min(width, 64),
        "norm_balance": 2 * weights,
        "svd": singular,
        "activation": activations * (1 + hidden / width) + grams,
        "residual_cosine": activations * (2 + hidden / width) + grams + products,
        "error_alignment": 2 * activations + products,
        "nonlinear_alignment": 2 * activations + products + 4.0 * rows * width**2,
        "joint_ridge": weights * joint + float(joint) * units * min(joint, units) + min(joint, units) ** 3 * 2 / 3,
    }
    known["consensus"] = sum(known.values()) - known["asymmetry"] - known["svd"] + 3e6 * blocks**2  # about its sources
    return known.get(name, 0.0)
