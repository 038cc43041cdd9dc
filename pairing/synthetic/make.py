"""A puzzle with a known answer: a small residual network, trained and then dropped.

The network has the form and the initialization of the published puzzles' (see :mod:`pairing.synthetic.training`).
The folder it is written to has the published layout; the answer goes to a file beside the folder,
never into it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pairing.errors import InputError
from pairing.io.write import appearing_whole, checked_folder, write_data, write_json, write_pieces
from pairing.model.activations import ACTIVATIONS
from pairing.solution import permutation_hash
from pairing.synthetic.datasets import INPUT_NAMES, TABLE_NAMES, synthetic_rows, table_rows
from pairing.synthetic.training import make_linear_layers, private_torch, train
from pairing.torch_missing import require_torch

__all__ = ["ACTIVATION_NAMES", "INPUT_NAMES", "TABLE_NAMES", "SyntheticPuzzle", "make_puzzle"]

ACTIVATION_NAMES: Final = tuple(ACTIVATIONS)
"""Activations a network can be trained with: ``gelu`` is the exact one, ``leaky_relu`` has slope 0.01."""

ANSWER_SCHEMA: Final = 1
DEFAULT_WIDTH: Final = 16
DEFAULT_ROWS: Final = 2000


@dataclass(frozen=True, kw_only=True)
class SyntheticPuzzle:
    """What was made, and where it lies."""

    folder: Path
    """The puzzle: ``pieces/``, ``historical_data.csv``, ``puzzle.json``."""
    answer_path: Path
    """The answer and its recipe, beside the folder."""
    permutation: tuple[int, ...]
    """Piece numbers in the order of application: ``inp, out, inp, out, …, last``."""
    target_hash: str
    """SHA-256 of the permutation's numbers joined by commas."""
    rows: int
    """Rows of data."""
    training_error: float
    """Mean squared difference of ``pred`` and ``true``; the latter have variance 1."""


def make_puzzle(
    folder: Path,
    *,
    blocks: int = 8,
    width: int | None = None,
    hidden: int | None = None,
    outputs: int = 1,
    activation: str = "relu",
    rows: int | None = None,
    epochs: int = 30,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.0,
    batch_size: int = 64,
    branch_scale: float = 1.0,
    seed: int = 0,
    inputs: str = "normal",
    table: str | None = None,
) -> SyntheticPuzzle:
    """Train a residual network, shuffle its layers, and write them as a puzzle.

    The same arguments, version of torch and type of processor give the same bytes. The folder appears
    whole or not at all; torch's random state and thread count are afterwards what they were.

    Args:
        folder: where to put the puzzle. Must not exist, or be empty; its name becomes the puzzle's.
        blocks: number of residual blocks, N; the puzzle has 2N + 1 pieces.
        width: d, the network's number of inputs; 16 unless a table decides it.
        hidden: h, hidden units of a block; twice the width when left out. Never equal to the width,
            or nobody could tell an inp piece (h, d) from an out piece (d, h).
        outputs: columns of ``pred``; never equal to ``hidden``, for the same reason.
        activation: one of :data:`ACTIVATION_NAMES`.
        rows: rows of data; 2,000 synthetic ones, or all of the table's.
        epochs: passes over the rows.
        learning_rate: AdamW's step size.
        weight_decay: AdamW's decoupled decay, per step and relative to the step size.
        batch_size: rows in a step of the training.
        branch_scale: factor on the out layers' initial weights and biases. With 1, torch's default, the states
            of a network of more than about 100 blocks grow so large that it hardly learns; 0.25 prevents it.
        seed: decides data, initial weights, batches and the shuffle; 0 ≤ seed < 2**63.
        inputs: one of :data:`INPUT_NAMES`: what synthetic rows are like. A table has its own.
        table: one of :data:`TABLE_NAMES` in place of synthetic rows, each column standardized. A table
            of classes is learnt as the class's number, or with one output a class.

    Returns:
        The paths written, the answer, and how well the network learnt its target.

    Raises:
        InputError: an argument is wrong or does not fit the others, the folder is taken or cannot be
            written, torch is missing, or a table was asked for and scikit-learn is missing.
    """
    require_torch("training a network")
    import torch

    folder = checked_folder(folder)
    _check_choices(activation=activation, inputs=inputs, table=table)
    _check_positive(
        blocks=blocks, width=width, hidden=hidden, outputs=outputs, rows=rows, epochs=epochs, batch_size=batch_size
    )
    if rows == 1:
        raise InputError("rows is 1; a network cannot be trained on fewer than 2 rows")
    _check_rates(learning_rate=learning_rate, weight_decay=weight_decay, branch_scale=branch_scale)
    if not 0 <= seed < 2**63:
        raise InputError(f"seed is {seed}; give a number from 0 to 2**63 - 1")

    with private_torch(seed):
        if table is None:
            x, y = synthetic_rows(rows or DEFAULT_ROWS, width or DEFAULT_WIDTH, outputs, inputs)
        else:
            x, y = table_rows(table, rows, width, outputs)
        rows, width = x.shape
        hidden = 2 * width if hidden is None else hidden
        _check_shapes(width=width, hidden=hidden, outputs=outputs)
        layers = make_linear_layers(blocks, width, hidden, outputs, branch_scale)
        pred = train(
            layers,
            x,
            y,
            activation=activation,
            epochs=epochs,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            batch_size=batch_size,
        )
        if not bool(torch.isfinite(pred).all()):
            raise InputError(
                f"the training diverged at a learning rate of {learning_rate}; give a smaller one, or fewer blocks"
            )
        numbers = [int(number) for number in torch.randperm(len(layers))]

    target_hash = permutation_hash(numbers)
    recipe = {
        "blocks": blocks,
        "width": width,
        "hidden": hidden,
        "outputs": outputs,
        "activation": activation,
        "rows": rows,
        "epochs": epochs,
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
        "batch_size": batch_size,
        "branch_scale": branch_scale,
        "seed": seed,
        "inputs": inputs,
        "table": table,
        "torch": str(torch.__version__).partition("+")[0],
    }
    answer_path = folder.with_name(f"{folder.name}.answer.json")
    about = {"name": folder.name, "activation": activation, "target_hash": target_hash}
    answer = {"schema": ANSWER_SCHEMA, "permutation": numbers, "recipe": recipe}
    with appearing_whole(folder, answer_path) as (part, answer_part):
        write_pieces(part / "pieces", dict(zip(numbers, layers, strict=True)))
        write_data(part / "historical_data.csv", x.numpy(), pred.numpy(), y.numpy())
        write_json(part / "puzzle.json", about)
        write_json(answer_part, answer)
    return SyntheticPuzzle(
        folder=folder,
        answer_path=answer_path,
        permutation=tuple(numbers),
        target_hash=target_hash,
        rows=rows,
        training_error=float(((pred - y).double() ** 2).mean()),
    )


def _check_choices(*, activation: str, inputs: str, table: str | None) -> None:
    if activation not in ACTIVATION_NAMES:
        raise InputError(f"unknown activation {activation!r}; choose one of {', '.join(ACTIVATION_NAMES)}")
    if inputs not in INPUT_NAMES:
        raise InputError(f"unknown inputs {inputs!r}; choose one of {', '.join(INPUT_NAMES)}")
    if table is not None and inputs != "normal":
        raise InputError(f"inputs is {inputs!r}, but a table has its own; leave one of the two out")
    if table is not None and table not in TABLE_NAMES:
        raise InputError(f"unknown table {table!r}; choose one of {', '.join(TABLE_NAMES)}, or none for synthetic rows")


def _check_positive(**counts: int | None) -> None:
    for name, count in counts.items():
        if count is not None and count < 1:
            raise InputError(f"{name} is {count}; give a whole number of at least 1")


def _check_rates(*, learning_rate: float, weight_decay: float, branch_scale: float) -> None:
    if not (math.isfinite(learning_rate) and learning_rate > 0):
        raise InputError(f"learning_rate is {learning_rate}; give a number above 0, such as 0.001")
    if not (math.isfinite(weight_decay) and weight_decay >= 0):
        raise InputError(f"weight_decay is {weight_decay}; give 0 or a number above 0, such as 0.01")
    if not (math.isfinite(branch_scale) and branch_scale > 0):
        raise InputError(f"branch_scale is {branch_scale}; give a number above 0, such as 0.25")


def _check_shapes(*, width: int, hidden: int, outputs: int) -> None:
    if hidden == width:
        raise InputError(f"hidden and width are both {width}: inp and out pieces would have the same shape; change one")
    if outputs == hidden:
        raise InputError(
            f"outputs and hidden are both {hidden}: the last piece would look like an inp piece; change one"
        )
