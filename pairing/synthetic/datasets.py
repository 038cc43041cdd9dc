"""Rows that a network can be trained on: synthetic ones, or one of scikit-learn's tables."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pairing.errors import InputError

if TYPE_CHECKING:
    import torch

TABLE_NAMES: Final = ("digits", "diabetes", "wine", "breast_cancer", "iris")
"""The real tables, shipped inside scikit-learn, that a network can be trained on."""

INPUT_NAMES: Final = ("normal", "signs")
"""What synthetic inputs are like: standard normal, or +1 and −1 with a little normal noise."""

_SIGN_NOISE: Final = 0.1  # standard deviation about +1 and −1
_NOISE: Final = 0.1  # of the synthetic target, in its standard deviations
_TARGET_WAVES: Final = 12  # directions that a synthetic target's smooth ridge functions run in


def synthetic_rows(rows: int, width: int, outputs: int, inputs: str = "normal") -> tuple[torch.Tensor, torch.Tensor]:
    """Rows (rows, width) of one of :data:`INPUT_NAMES` and a smooth, noisy target (rows, outputs), both float32."""
    import torch

    x = torch.randn(rows, width)
    if inputs == "signs":
        x = torch.sign(x) + _SIGN_NOISE * torch.randn(rows, width)
    directions = torch.randn(width, _TARGET_WAVES) / math.sqrt(width)
    ridges = torch.cat([torch.tanh(2 * x @ directions), torch.sin(3 * x @ directions), (x @ directions) ** 2], dim=1)
    y = _standardized(ridges @ torch.randn(3 * _TARGET_WAVES, outputs))
    return x, _standardized(y + _NOISE * torch.randn(rows, outputs))


def table_rows(name: str, rows: int | None, width: int | None, outputs: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The named table's columns (rows, width) and target (rows, outputs), shuffled, both float32.

    Columns are standardized over the whole table, of which ``rows`` are given, or all when left out.

    Raises:
        InputError: the table has fewer rows, another width or no such outputs, or scikit-learn is missing.
    """
    import torch

    try:
        from sklearn import datasets
    except ImportError as error:
        raise InputError(
            "the tables come with scikit-learn, which is missing here; install pairing-fleet[tables], "
            "or leave the table out for synthetic rows"
        ) from error

    table: Any = getattr(datasets, f"load_{name}")()
    data = np.asarray(table.data, dtype=np.float64)
    target = np.asarray(table.target, dtype=np.float64)
    classes = len(table.target_names) if "target_names" in table else 0
    if width is not None and width != data.shape[1]:
        raise InputError(f"width is {width}, but the table {name} has {data.shape[1]} columns; leave the width out")
    if rows is not None and rows > len(data):
        raise InputError(f"rows is {rows}, but the table {name} has {len(data)}; ask for at most that many")
    if outputs == 1:
        targets = target[:, None]
    elif outputs == classes:
        targets = (target[:, None] == np.arange(classes)).astype(np.float64)
    else:
        choices = f"1 or {classes} (one a class)" if classes else "1"
        raise InputError(f"outputs is {outputs}, but the table {name} allows {choices}")
    chosen = torch.randperm(len(data))[:rows]
    return _standardized(torch.from_numpy(data))[chosen], _standardized(torch.from_numpy(targets))[chosen]


def _standardized(columns: torch.Tensor) -> torch.Tensor:
    """Columns (rows, k) moved and scaled to mean 0 and variance 1, float32; constant ones become 0."""
    import torch

    wide = columns.double()
    spread = wide.std(dim=0, correction=0)
    spread = torch.where(spread > 0, spread, torch.ones_like(spread))
    return ((wide - wide.mean(dim=0)) / spread).float()
