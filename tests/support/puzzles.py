"""Small puzzles with known answers, made with NumPy alone, and a plain float64 network to check against."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pairing.model.puzzle import Puzzle

Floats = NDArray[np.float64]

_erf = np.vectorize(math.erf, otypes=[np.float64])

PLAIN_ACTIVATIONS: dict[str, Callable[[Floats], Floats]] = {
    "relu": lambda z: np.where(z > 0, z, 0.0),
    "gelu": lambda z: z * 0.5 * (1 + _erf(z / math.sqrt(2))),
    "silu": lambda z: z / (1 + np.exp(-z)),
    "tanh": np.tanh,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
    "elu": lambda z: np.where(z > 0, z, np.exp(np.minimum(z, 0)) - 1),
    "softplus": lambda z: np.log(1 + np.exp(z)),
}
"""Every activation by its textbook formula, in float64, for moderate z."""


@dataclass(frozen=True, kw_only=True)
class Planted:
    """A puzzle and its answer."""

    puzzle: Puzzle
    inp_sigma: tuple[int, ...]
    out_sigma: tuple[int, ...]

    @property
    def pairs(self) -> NDArray[np.int64]:
        """(N,) the out piece's index for every inp piece's."""
        return np.array([self.out_sigma[self.inp_sigma.index(i)] for i in range(len(self.inp_sigma))], np.int64)

    @property
    def order(self) -> NDArray[np.int64]:
        """(N,) the blocks (by inp index) as they are applied."""
        return np.array(self.inp_sigma, np.int64)

    @property
    def permutation(self) -> tuple[int, ...]:
        """Piece numbers as they are applied."""
        numbers: list[int] = []
        for i, j in zip(self.inp_sigma, self.out_sigma, strict=True):
            numbers += [self.puzzle.inp_numbers[i], self.puzzle.out_numbers[j]]
        return (*numbers, self.puzzle.last_number)


def plant(
    seed: int,
    *,
    blocks: int = 4,
    width: int = 4,
    hidden: int = 6,
    outputs: int = 1,
    rows: int = 40,
    activation: str = "relu",
    scale: float = 0.7,
    bias: bool = True,
    known: bool = True,
    alike: float = 0.0,
) -> Planted:
    """A random network, dropped: branches about ``scale`` times the size of what they are added to.

    ``known`` puts the answer's hash into the puzzle; ``alike`` is the correlation of any two columns of its rows.
    """
    rng = np.random.default_rng(seed)
    at = math.sqrt(scale)

    def normal(*shape: int, size: float) -> NDArray[np.float32]:
        return rng.normal(0, size, shape).astype(np.float32)

    in_order = Puzzle(
        inp_weight=normal(blocks, hidden, width, size=at / math.sqrt(width)),
        inp_bias=normal(blocks, hidden, size=0.3 * at * bias),
        out_weight=normal(blocks, width, hidden, size=at / math.sqrt(hidden)),
        out_bias=normal(blocks, width, size=0.3 * scale * bias),
        last_weight=normal(outputs, width, size=1 / math.sqrt(width)),
        last_bias=normal(outputs, size=0.3 * bias),
        inp_numbers=tuple(range(0, 2 * blocks, 2)),
        out_numbers=tuple(range(1, 2 * blocks, 2)),
        last_number=2 * blocks,
        rows_in=normal(rows, width, size=1.0),
        targets={},
        activation=activation,
        name="planted",
    )
    if alike:
        common = math.sqrt(alike) * normal(rows, 1, size=1.0)
        in_order = replace(in_order, rows_in=math.sqrt(1 - alike) * in_order.rows_in + common)
    sigma = tuple(range(blocks))
    pred = plain_outputs(in_order, sigma, sigma)
    true = pred + rng.normal(0, 0.1, pred.shape)
    whole = replace(in_order, targets={"pred": pred, "true": true})
    answer = renumbered(Planted(puzzle=whole, inp_sigma=sigma, out_sigma=sigma), rng)
    return with_hash(answer) if known else answer


def renumbered(planted: Planted, rng: np.random.Generator) -> Planted:
    """The same network, its pieces under other numbers; without a hash."""
    puzzle, blocks = planted.puzzle, planted.puzzle.blocks
    numbers = rng.permutation(2 * blocks + 1)
    inp, out = np.argsort(numbers[:blocks]), np.argsort(numbers[blocks : 2 * blocks])
    inp_place, out_place = np.argsort(inp), np.argsort(out)
    shuffled = replace(
        puzzle,
        inp_weight=puzzle.inp_weight[inp],
        inp_bias=puzzle.inp_bias[inp],
        out_weight=puzzle.out_weight[out],
        out_bias=puzzle.out_bias[out],
        inp_numbers=tuple(numbers[:blocks][inp].tolist()),
        out_numbers=tuple(numbers[blocks : 2 * blocks][out].tolist()),
        last_number=int(numbers[-1]),
        target_hash=None,
    )
    return Planted(
        puzzle=shuffled,
        inp_sigma=tuple(int(inp_place[i]) for i in planted.inp_sigma),
        out_sigma=tuple(int(out_place[j]) for j in planted.out_sigma),
    )


def reshuffled(planted: Planted, rng: np.random.Generator) -> Planted:
    """The same network, harder to recognize: pieces renumbered, hidden units of each block permuted, no hash."""
    puzzle = planted.puzzle
    inp_weight, inp_bias, out_weight = puzzle.inp_weight.copy(), puzzle.inp_bias.copy(), puzzle.out_weight.copy()
    for i, j in zip(planted.inp_sigma, planted.out_sigma, strict=True):
        units = rng.permutation(puzzle.hidden)
        inp_weight[i], inp_bias[i], out_weight[j] = inp_weight[i][units], inp_bias[i][units], out_weight[j][:, units]
    disguised = replace(puzzle, inp_weight=inp_weight, inp_bias=inp_bias, out_weight=out_weight)
    return renumbered(replace(planted, puzzle=disguised), rng)


def with_hash(planted: Planted) -> Planted:
    """The same, its puzzle told the answer's hash."""
    text = ",".join(map(str, planted.permutation))
    target_hash = hashlib.sha256(text.encode()).hexdigest()
    return replace(planted, puzzle=replace(planted.puzzle, target_hash=target_hash))


def altered(planted: Planted, **pieces: NDArray[np.float32]) -> Planted:
    """The network with other pieces, its predictions made anew."""
    puzzle = replace(planted.puzzle, **pieces)  # type: ignore[arg-type]
    pred = plain_outputs(puzzle, planted.inp_sigma, planted.out_sigma)
    return replace(planted, puzzle=replace(puzzle, targets={"pred": pred}))


def twins(planted: Planted, first: int, second: int, kinds: str) -> Planted:
    """The block at position ``second`` gets the inp or out piece ("inp", "out" or both) of the one at ``first``."""
    puzzle, pieces = planted.puzzle, {}
    for kind, sigma in (("inp", planted.inp_sigma), ("out", planted.out_sigma)):
        for part in ("weight", "bias") if kind in kinds else ():
            array = getattr(puzzle, f"{kind}_{part}").copy()
            array[sigma[second]] = array[sigma[first]]
            pieces[f"{kind}_{part}"] = array
    return altered(planted, **pieces)


def with_answer(puzzle: Puzzle, answer_file: Path) -> Planted:
    """A loaded synthetic puzzle with the answer in the file that was written beside it."""
    permutation = json.loads(answer_file.read_text())["permutation"]
    return Planted(
        puzzle=puzzle,
        inp_sigma=tuple(puzzle.inp_numbers.index(n) for n in permutation[:-1:2]),
        out_sigma=tuple(puzzle.out_numbers.index(n) for n in permutation[1:-1:2]),
    )


def plain_outputs(puzzle: Puzzle, inp_sigma: Sequence[int], out_sigma: Sequence[int]) -> Floats:
    """(R, o) the network's answer in float64, written down as it is defined."""
    act = PLAIN_ACTIVATIONS[puzzle.activation]
    x = puzzle.rows_in.astype(np.float64)
    for i, j in zip(inp_sigma, out_sigma, strict=True):
        hidden = act(x @ puzzle.inp_weight[i].astype(np.float64).T + puzzle.inp_bias[i])
        x = x + hidden @ puzzle.out_weight[j].astype(np.float64).T + puzzle.out_bias[j]
    return np.asarray(x @ puzzle.last_weight.astype(np.float64).T + puzzle.last_bias)


def plain_mse(puzzle: Puzzle, inp_sigma: Sequence[int], out_sigma: Sequence[int]) -> float:
    """The mean squared error over all rows and outputs, in float64."""
    return float(np.mean((puzzle.target_values - plain_outputs(puzzle, inp_sigma, out_sigma)) ** 2))


def columns_of(puzzle: Puzzle) -> dict[str, NDArray[np.floating]]:
    """The data table's columns in the published layout."""
    columns: dict[str, NDArray[np.floating]] = {f"measurement_{k}": puzzle.rows_in[:, k] for k in range(puzzle.width)}
    for name, values in puzzle.targets.items():
        for k in range(puzzle.outputs):
            columns[name if puzzle.outputs == 1 else f"{name}_{k}"] = values[:, k]
    return columns


def pieces_of(puzzle: Puzzle) -> dict[int, dict[str, NDArray[np.float32]]]:
    """Every piece by its number."""
    pieces = {n: {"weight": puzzle.inp_weight[k], "bias": puzzle.inp_bias[k]} for k, n in enumerate(puzzle.inp_numbers)}
    for k, n in enumerate(puzzle.out_numbers):
        pieces[n] = {"weight": puzzle.out_weight[k], "bias": puzzle.out_bias[k]}
    return pieces | {puzzle.last_number: {"weight": puzzle.last_weight, "bias": puzzle.last_bias}}


def csv_of(columns: dict[str, NDArray[np.floating]]) -> str:
    """The columns as CSV, every number so that it is read back exactly."""
    rows = zip(*(map(str, values) for values in columns.values()), strict=True)
    return "".join(",".join(row) + "\n" for row in [tuple(columns), *rows])


def write_data(puzzle: Puzzle, folder: Path) -> Path:
    """Writes ``historical_data.csv``."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "historical_data.csv"
    file.write_text(csv_of(columns_of(puzzle)), encoding="ascii")
    return file


def write_puzzle(puzzle: Puzzle, folder: Path) -> Path:
    """Writes the puzzle in the published layout, its pieces as safetensors, without ``puzzle.json``."""
    from safetensors.numpy import save_file

    write_data(puzzle, folder)
    (folder / "pieces").mkdir()
    for number, arrays in pieces_of(puzzle).items():
        contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        save_file(contiguous, folder / "pieces" / f"piece_{number}.safetensors")
    return folder
