"""A puzzle with a known solution: a small residual network, trained and then dropped.

The network has the form and the initialization of the published puzzles' (see :mod:`pairing.synthetic.training`).
The folder it is written to has the published layout; the solution goes to a file beside the folder,
never into it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from pairing.errors import InputError
from pairing.io.write import appearing_whole, checked_folder, write_data, write_json, write_pieces
from pairing.solution import permutation_hash
from pairing.synthetic.datasets import synthetic_rows, table_rows
from pairing.synthetic.recipe import Recipe
from pairing.synthetic.training import make_linear_layers, private_torch, train
from pairing.torch_missing import require_torch

ANSWER_SCHEMA: Final = 1
DEFAULT_WIDTH: Final = 16
DEFAULT_ROWS: Final = 2000


@dataclass(frozen=True, kw_only=True)
class SyntheticPuzzle:
    """What was made, and where it lies."""

    folder: Path
    """The puzzle: ``pieces/``, ``historical_data.csv``, ``puzzle.json``."""
    answer_path: Path
    """The solution and its recipe, beside the folder."""
    permutation: tuple[int, ...]
    """Piece numbers in the order of application: ``inp, out, inp, out, …, last``."""
    target_hash: str
    """SHA-256 of the permutation's numbers joined by commas."""
    rows: int
    """Rows of data."""
    training_error: float
    """Mean squared difference of ``pred`` and ``true``; the latter have variance 1."""


def make_puzzle(folder: Path, recipe: Recipe) -> SyntheticPuzzle:
    """Train a residual network, shuffle its layers, and write them as a puzzle.

    The same recipe, version of torch and type of processor give the same bytes. The folder appears
    whole or not at all; torch's random state and thread count are afterwards what they were.

    Args:
        folder: where to put the puzzle. Must not exist, or be empty; its name becomes the puzzle's.
        recipe: what it is made from.

    Returns:
        The paths written, the solution, and how well the network learned its target.

    Raises:
        InputError: the recipe does not fit its table, the training diverges, the folder is taken or cannot be
            written, torch is missing, or a table was asked for and scikit-learn is missing.
    """
    require_torch("training a network")
    import torch

    folder = checked_folder(folder)
    with private_torch(recipe.seed):
        if recipe.table is None:
            width = recipe.width or DEFAULT_WIDTH
            x, y = synthetic_rows(recipe.rows or DEFAULT_ROWS, width, recipe.outputs, recipe.inputs)
        else:
            x, y = table_rows(recipe.table, recipe.rows, recipe.width, recipe.outputs)
        rows, width = x.shape
        recipe = replace(recipe, rows=rows, width=width, hidden=recipe.hidden or 2 * width)
        layers = make_linear_layers(recipe.blocks, width, recipe.hidden or 0, recipe.outputs, recipe.branch_scale)
        pred = train(layers, x, y, recipe)
        if not bool(torch.isfinite(pred).all()):
            raise InputError(
                f"the training diverged at a learning rate of {recipe.learning_rate};"
                " give a smaller one, or fewer blocks"
            )
        numbers = [int(number) for number in torch.randperm(len(layers))]

    target_hash = permutation_hash(numbers)
    answer_path = folder.with_name(f"{folder.name}.answer.json")
    about = {"name": folder.name, "activation": recipe.activation, "target_hash": target_hash}
    made_from = asdict(recipe) | {"torch": str(torch.__version__).partition("+")[0]}
    answer = {"schema": ANSWER_SCHEMA, "permutation": numbers, "recipe": made_from}
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
