"""A puzzle with a known answer: a small residual network, trained and then dropped.

The network is ``x = x + out(act(inp(x)))`` for each block, then ``last(x)``, with linear layers in
torch's default initialisation: the family that published puzzles are of. The folder it is written to
has the published layout; the answer goes to a file beside the folder, never into it.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from pairing.errors import InputError

if TYPE_CHECKING:
    import torch

ACTIVATION_NAMES: Final = ("relu", "gelu", "silu", "tanh", "sigmoid", "leaky_relu", "elu", "softplus")
"""Activations a network can be trained with: ``gelu`` is the exact one, ``leaky_relu`` has slope 0.01."""

TABLE_NAMES: Final = ("digits", "diabetes", "wine", "breast_cancer", "iris")
"""The real tables, shipped inside scikit-learn, that a network can be trained on."""

ANSWER_SCHEMA: Final = 1
DEFAULT_WIDTH: Final = 16
DEFAULT_ROWS: Final = 2000
_NOISE: Final = 0.1  # of the synthetic target, in its standard deviations
_TARGET_WAVES: Final = 12  # smooth ridge functions that a synthetic target is the sum of


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
    seed: int = 0,
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
        seed: decides data, initial weights, batches and the shuffle; 0 ≤ seed < 2**63.
        table: one of :data:`TABLE_NAMES` in place of synthetic rows, each column standardised. A table
            of classes is learnt as the class's number, or with one output a class.

    Returns:
        The paths written, the answer, and how well the network learnt its target.

    Raises:
        InputError: an argument is wrong or does not fit the others, the folder is taken or cannot be
            written, or a table was asked for and scikit-learn is missing.
    """
    import torch

    folder = _checked_folder(folder)
    _check_choices(activation=activation, table=table)
    _check_positive(
        blocks=blocks,
        width=width,
        hidden=hidden,
        outputs=outputs,
        rows=rows,
        epochs=epochs,
        batch_size=batch_size,
    )
    _check_rates(learning_rate=learning_rate, weight_decay=weight_decay)
    if not 0 <= seed < 2**63:
        raise InputError(f"seed is {seed}; give a number from 0 to 2**63 - 1")

    with _private_torch(seed):
        if table is None:
            width = DEFAULT_WIDTH if width is None else width
            rows = DEFAULT_ROWS if rows is None else rows
        else:
            x_table, y_table = _load_table(table, width=width, outputs=outputs, rows=rows)
            rows = len(x_table) if rows is None else rows
            width = x_table.shape[1]
        if rows < 2:
            raise InputError("rows is 1; a network cannot be trained on fewer than 2 rows")
        hidden = 2 * width if hidden is None else hidden
        _check_shapes(width=width, hidden=hidden, outputs=outputs)

        if table is None:
            x, y = _synthetic_rows(rows, width, outputs)
        else:
            chosen = torch.randperm(len(x_table))[:rows]
            x, y = torch.from_numpy(x_table)[chosen], torch.from_numpy(y_table)[chosen]
        layers = _new_layers(blocks, width, hidden, outputs)
        _train(
            layers,
            x,
            y,
            activation=activation,
            epochs=epochs,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            batch_size=batch_size,
        )
        with torch.no_grad():
            pred = _forward(layers, activation, x)
        if not bool(torch.isfinite(pred).all()):
            raise InputError(
                f"the training diverged at a learning rate of {learning_rate}; give a smaller one, or fewer blocks"
            )
        numbers = [int(number) for number in torch.randperm(len(layers))]

    target_hash = hashlib.sha256(",".join(map(str, numbers)).encode()).hexdigest()
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
        "seed": seed,
        "table": table,
        "torch": str(torch.__version__).partition("+")[0],
    }
    answer_path = folder.with_name(f"{folder.name}.answer.json")
    about = {"name": folder.name, "activation": activation, "target_hash": target_hash}
    answer = {"schema": ANSWER_SCHEMA, "permutation": numbers, "recipe": recipe}
    with _appearing_whole(folder, answer_path) as (part, answer_part):
        (part / "pieces").mkdir()
        for number, layer in zip(numbers, layers, strict=True):
            piece = {"weight": layer.weight.detach().clone(), "bias": layer.bias.detach().clone()}
            torch.save(piece, part / "pieces" / f"piece_{number}.pth")
        _write_table(part / "historical_data.csv", x.numpy(), pred.numpy(), y.numpy())
        _write_json(part / "puzzle.json", about)
        _write_json(answer_part, answer)
    return SyntheticPuzzle(
        folder=folder,
        answer_path=answer_path,
        permutation=tuple(numbers),
        target_hash=target_hash,
        rows=rows,
        training_error=float(((pred - y).double() ** 2).mean()),
    )


# ---- the arguments


def _check_choices(*, activation: str, table: str | None) -> None:
    if activation not in ACTIVATION_NAMES:
        raise InputError(f"unknown activation {activation!r}; choose one of {', '.join(ACTIVATION_NAMES)}")
    if table is not None and table not in TABLE_NAMES:
        raise InputError(f"unknown table {table!r}; choose one of {', '.join(TABLE_NAMES)}, or none for synthetic rows")


def _check_positive(**counts: int | None) -> None:
    for name, count in counts.items():
        if count is not None and count < 1:
            raise InputError(f"{name} is {count}; give a whole number of at least 1")


def _check_rates(*, learning_rate: float, weight_decay: float) -> None:
    if not (math.isfinite(learning_rate) and learning_rate > 0):
        raise InputError(f"learning_rate is {learning_rate}; give a number above 0, such as 0.001")
    if not (math.isfinite(weight_decay) and weight_decay >= 0):
        raise InputError(f"weight_decay is {weight_decay}; give 0 or a number above 0, such as 0.01")


def _check_shapes(*, width: int, hidden: int, outputs: int) -> None:
    if hidden == width:
        raise InputError(f"hidden and width are both {width}: inp and out pieces would have the same shape; change one")
    if outputs == hidden:
        raise InputError(
            f"outputs and hidden are both {hidden}: the last piece would look like an inp piece; change one"
        )


def _checked_folder(folder: Path) -> Path:
    """The folder's absolute path, when a puzzle can be put there."""
    folder = folder.expanduser().resolve()
    if folder.is_dir():
        if any(folder.iterdir()):
            raise InputError(f"{folder} is not empty; name a new folder, or empty this one")
    elif folder.exists():
        raise InputError(f"{folder} is a file; name a new folder")
    if not folder.name:
        raise InputError(f"{folder} cannot hold a puzzle with its answer beside it; name a folder below it")
    return folder


# ---- the rows


def _synthetic_rows(rows: int, width: int, outputs: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Standard normal rows (rows, width) and a smooth, noisy target (rows, outputs), both float32."""
    import torch

    x = torch.randn(rows, width)
    directions = torch.randn(width, _TARGET_WAVES) / math.sqrt(width)
    ridges = torch.cat([torch.tanh(2 * x @ directions), torch.sin(3 * x @ directions), (x @ directions) ** 2], dim=1)
    y = _standardised(ridges @ torch.randn(3 * _TARGET_WAVES, outputs))
    return x, _standardised(y + _NOISE * torch.randn(rows, outputs))


def _standardised(columns: torch.Tensor) -> torch.Tensor:
    """Columns (rows, k) moved and scaled to mean 0 and variance 1; constant ones become 0."""
    import torch

    wide = columns.double()
    spread = wide.std(dim=0, correction=0)
    spread = torch.where(spread > 0, spread, torch.ones_like(spread))
    return ((wide - wide.mean(dim=0)) / spread).float()


def _load_table(
    name: str, *, width: int | None, outputs: int, rows: int | None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The named table: columns (rows, width) and targets (rows, outputs), standardised, float32."""
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
    x, y = (_standardised(torch.from_numpy(columns)).numpy() for columns in (data, targets))
    return x, y


# ---- the network


@contextmanager
def _private_torch(seed: int) -> Iterator[None]:
    """Torch seeded and on one thread, so that sums have one order; both as before afterwards."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(threads)


def _new_layers(blocks: int, width: int, hidden: int, outputs: int) -> list[torch.nn.Linear]:
    """Untrained layers in the order of application: ``inp, out, inp, out, …, last``."""
    from torch import nn

    layers = []
    for _ in range(blocks):
        layers += [nn.Linear(width, hidden), nn.Linear(hidden, width)]
    return [*layers, nn.Linear(width, outputs)]


def _activation(name: str) -> Callable[[torch.Tensor], torch.Tensor]:
    import torch
    from torch.nn import functional

    bounded = {"tanh": torch.tanh, "sigmoid": torch.sigmoid}
    function: Callable[[torch.Tensor], torch.Tensor] = bounded.get(name) or getattr(functional, name)
    return function


def _forward(layers: list[torch.nn.Linear], activation: str, x: torch.Tensor) -> torch.Tensor:
    """The network's answer (rows, outputs) to ``x`` (rows, width)."""
    act = _activation(activation)
    for inp, out in zip(layers[:-1:2], layers[1:-1:2], strict=True):
        x = x + out(act(inp(x)))
    answer: torch.Tensor = layers[-1](x)
    return answer


def _train(
    layers: list[torch.nn.Linear],
    x: torch.Tensor,
    y: torch.Tensor,
    *,
    activation: str,
    epochs: int,
    learning_rate: float,
    weight_decay: float,
    batch_size: int,
) -> None:
    """Fit the layers to ``y``, in place: AdamW on the mean squared error, reshuffled each epoch."""
    import torch

    weights = [weight for layer in layers for weight in layer.parameters()]
    optimiser = torch.optim.AdamW(weights, lr=learning_rate, weight_decay=weight_decay, fused=True)
    for _ in range(epochs):
        for batch in torch.split(torch.randperm(len(x)), batch_size):
            optimiser.zero_grad()
            loss = ((_forward(layers, activation, x[batch]) - y[batch]) ** 2).mean()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()


# ---- the files


@contextmanager
def _appearing_whole(folder: Path, answer_path: Path) -> Iterator[tuple[Path, Path]]:
    """Give paths to write to; put both in place when all is written, and leave nothing when it fails."""
    mark = f".{folder.name}.{uuid.uuid4().hex}.part"
    part, answer_part = folder.with_name(mark), folder.with_name(f"{mark}.json")
    try:
        try:
            part.mkdir(parents=True)  # not tempfile: its folders can be read by their owner alone
            yield part, answer_part
            # The answer first: a puzzle that lacks its answer could not be told from a real one.
            answer_part.replace(answer_path)
            if folder.exists():
                folder.rmdir()
            part.rename(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
            answer_part.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot write the puzzle to {folder}: {error.strerror or error}; name another folder"
        ) from error


def _write_table(path: Path, x: NDArray[np.float32], pred: NDArray[np.float32], true: NDArray[np.float32]) -> None:
    """Write the rows as CSV, each number in the fewest digits that give the same float32 back."""
    names = [f"measurement_{column}" for column in range(x.shape[1])]
    for name, columns in (("pred", pred), ("true", true)):
        several = columns.shape[1] > 1
        names += [f"{name}_{column}" for column in range(columns.shape[1])] if several else [name]
    with path.open("w", encoding="ascii", newline="\n") as file:
        file.write(",".join(names) + "\n")
        for row in np.concatenate([x, pred, true], axis=1):
            file.write(",".join(map(str, row)) + "\n")


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
