"""What a synthetic puzzle is made from: everything that decides its bytes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from pairing.errors import InputError
from pairing.model.activations import ACTIVATIONS
from pairing.synthetic.datasets import INPUT_NAMES, TABLE_NAMES

ACTIVATION_NAMES: Final = tuple(ACTIVATIONS)
"""Activations a network can be trained with: ``gelu`` is the exact one, ``leaky_relu`` has slope 0.01."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A network's shape, its data, its training, and the seed of all three.

    Raises:
        InputError: a value is wrong or does not fit the others.
    """

    blocks: int = 8
    """Number of residual blocks, N; the puzzle has 2N + 1 pieces."""
    width: int | None = None
    """d, the network's number of inputs; 16 unless a table decides it."""
    hidden: int | None = None
    """h, hidden units of a block; twice the width when left out. Never equal to the width, or nobody could tell an
    inp piece (h, d) from an out piece (d, h)."""
    outputs: int = 1
    """Columns of ``pred``; never equal to ``hidden``, for the same reason."""
    activation: str = "relu"
    """One of :data:`ACTIVATION_NAMES`."""
    rows: int | None = None
    """Rows of data; 2,000 synthetic ones, or all of the table's."""
    epochs: int = 30
    """Passes over the rows; with 0 the network stays untrained."""
    learning_rate: float = 1e-3
    """AdamW's step size."""
    weight_decay: float = 0.0
    """AdamW's decoupled decay, per step and relative to the step size."""
    batch_size: int = 64
    """Rows in a step of the training."""
    branch_scale: float = 1.0
    """Factor on the out layers' initial weights and biases. With 1, torch's default, the states of a network of more
    than about 100 blocks grow so large that it hardly learns; 0.25 prevents it."""
    seed: int = 0
    """Decides data, initial weights, batches and the shuffle; 0 ≤ seed < 2**63."""
    inputs: str = "normal"
    """One of :data:`INPUT_NAMES`: what synthetic rows are like. A table has its own."""
    table: str | None = None
    """One of :data:`TABLE_NAMES` in place of synthetic rows, each column standardized. A table of classes is learned
    as the class's number, or with one output a class."""

    def __post_init__(self) -> None:
        """Checks what no table is needed for."""
        for name in ("blocks", "width", "hidden", "outputs", "rows", "epochs", "batch_size"):
            count, least = getattr(self, name), int(name != "epochs")
            if count is not None and count < least:
                raise InputError(f"{name} is {count}; give a whole number of at least {least}")
        if self.rows == 1:
            raise InputError("rows is 1; a network cannot be trained on fewer than 2 rows")
        for name, example in (("learning_rate", 0.001), ("branch_scale", 0.25)):
            if not (math.isfinite(rate := getattr(self, name)) and rate > 0):
                raise InputError(f"{name} is {rate}; give a number above 0, such as {example}")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise InputError(f"weight_decay is {self.weight_decay}; give 0 or a number above 0, such as 0.01")
        if not 0 <= self.seed < 2**63:
            raise InputError(f"seed is {self.seed}; give a number from 0 to 2**63 - 1")
        for name, names in (("activation", ACTIVATION_NAMES), ("inputs", INPUT_NAMES), ("table", (None, *TABLE_NAMES))):
            if (value := getattr(self, name)) not in names:
                choices = ", ".join(
                    choice or "none for synthetic rows" for choice in sorted(names, key=lambda n: not n)
                )
                raise InputError(f"unknown {name} {value!r}; choose one of {choices}")
        if self.table is not None and self.inputs != "normal":
            raise InputError(f"inputs is {self.inputs!r}, but a table has its own; leave one of the two out")
        if self.hidden is not None and self.hidden == self.width:
            raise InputError(
                f"hidden and width are both {self.width}: inp and out pieces would have the same shape; change one"
            )
        if self.outputs == self.hidden:
            raise InputError(
                f"outputs and hidden are both {self.hidden}: the last piece would look like an inp piece; change one"
            )
