"""Small valid puzzles of every odd kind, by their seeds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pairing.model.puzzle import Puzzle
from tests.support.puzzles import PLAIN_ACTIVATIONS, Planted, plain_outputs, plant, with_hash

Rng = np.random.Generator
Change = Callable[[dict[str, NDArray[np.float32]], Rng], None]
"""Makes the layers and inputs of a network, its blocks in their order, odd in one way."""


def _constant_column(arrays: dict[str, Any], rng: Rng) -> None:
    arrays["rows_in"][:, rng.integers(arrays["rows_in"].shape[1])] = rng.normal()


def _doubled_column(arrays: dict[str, Any], rng: Rng) -> None:
    one, other = rng.integers(arrays["rows_in"].shape[1], size=2)
    arrays["rows_in"][:, one] = arrays["rows_in"][:, other]


def _equal_rows(arrays: dict[str, Any], rng: Rng) -> None:
    arrays["rows_in"][:] = arrays["rows_in"][0]


def _twin_blocks(arrays: dict[str, Any], rng: Rng) -> None:
    one, other = rng.integers(len(arrays["inp_weight"]), size=2)
    for name in ("inp_weight", "inp_bias", "out_weight", "out_bias"):
        arrays[name][one] = arrays[name][other]


def _near_twins(arrays: dict[str, Any], rng: Rng) -> None:
    _twin_blocks(arrays, rng)
    arrays["out_weight"] *= 1 + np.float32(1e-6) * rng.normal(size=arrays["out_weight"].shape).astype(np.float32)


def _zero_block(arrays: dict[str, Any], rng: Rng) -> None:
    block = rng.integers(len(arrays["out_weight"]))
    arrays["out_weight"][block], arrays["out_bias"][block] = 0, 0


def _zero_weights(arrays: dict[str, Any], rng: Rng) -> None:
    arrays["inp_weight"][:], arrays["out_weight"][:] = 0, 0


def _dead_units(arrays: dict[str, Any], rng: Rng) -> None:
    dead = rng.random(arrays["inp_bias"].shape) < 0.5
    arrays["inp_weight"][dead], arrays["inp_bias"][dead] = 0, -1


def _equal_norms(arrays: dict[str, Any], rng: Rng) -> None:
    for name, axis in (("inp_weight", 2), ("out_weight", 1)):
        arrays[name] /= np.maximum(np.linalg.norm(arrays[name], axis=axis, keepdims=True), 1e-30)


def _scale(rng: Rng) -> np.float32:
    return np.float32(10.0 ** rng.uniform(-6, 6))


def _scaled_inputs(arrays: dict[str, Any], rng: Rng) -> None:
    arrays["rows_in"] *= _scale(rng)


def _scaled_outputs(arrays: dict[str, Any], rng: Rng) -> None:
    arrays["last_weight"] *= _scale(rng)


def _scaled_branches(arrays: dict[str, Any], rng: Rng) -> None:
    arrays["out_weight"] *= np.float32(10.0 ** rng.uniform(-6, 3))


def _unbalanced(arrays: dict[str, Any], rng: Rng) -> None:
    factor = _scale(rng)
    arrays["inp_weight"] *= factor
    arrays["inp_bias"] *= factor
    arrays["out_weight"] /= factor


def _offset_outputs(arrays: dict[str, Any], rng: Rng) -> None:
    arrays["last_bias"] += rng.choice([-1, 1]) * _scale(rng)


def _offset_inputs(arrays: dict[str, Any], rng: Rng) -> None:
    arrays["rows_in"] += rng.choice([-1, 1]) * np.float32(10.0 ** rng.uniform(0, 4))


CHANGES: tuple[Change, ...] = (
    _constant_column,
    _doubled_column,
    _equal_rows,
    _twin_blocks,
    _near_twins,
    _zero_block,
    _zero_weights,
    _dead_units,
    _equal_norms,
    _scaled_inputs,
    _scaled_outputs,
    _scaled_branches,
    _unbalanced,
    _offset_outputs,
    _offset_inputs,
)

LAYERS = ("inp_weight", "inp_bias", "out_weight", "out_bias", "last_weight", "last_bias", "rows_in")

NOISY = "noise"
FOREIGN = "foreign"
TARGETS = ("float64", "float64", "float64", "float32", "float16", "bfloat16", "decimals", "decimals", NOISY, FOREIGN)
"""How the network's outputs became the target; a foreign target has nothing to do with them."""


def odd_puzzle(seed: int) -> tuple[Planted, str]:
    """The puzzle of that seed with its answer, and which of ``TARGETS`` it has. All of it is finite in float32."""
    rng = np.random.default_rng(seed)
    while True:
        planted, kind = _drawn(rng)
        values = planted.puzzle.target_values
        labels = kind not in ("float64", NOISY, FOREIGN) and np.mean(values == np.rint(values)) > 0.9
        if np.isfinite(values.astype(np.float32)).all() and float(np.abs(values).max()) < 1e15 and not labels:
            return planted, kind


@np.errstate(over="ignore", invalid="ignore")
def _drawn(rng: Rng) -> tuple[Planted, str]:
    planted = plant(
        int(rng.integers(2**31)),
        blocks=int(rng.choice([1, 2, 3, 4, 5, 7, 12])),
        width=int(rng.choice([1, 2, 4, 6])),
        hidden=int(rng.choice([1, 2, 5, 8])),
        outputs=int(rng.choice([1, 1, 2, 8])),
        rows=int(rng.choice([1, 2, 3, 4, 5, 6, 30, 200])),
        activation=str(rng.choice(sorted(PLAIN_ACTIVATIONS))),
        scale=float(rng.choice([0.01, 0.3, 0.7])),
        bias=bool(rng.random() < 0.8),
        known=False,
    )
    arrays = {name: getattr(planted.puzzle, name).copy() for name in LAYERS}
    for change in rng.choice(len(CHANGES), int(rng.integers(0, 4)), replace=False):
        CHANGES[change](arrays, rng)
    kind = str(rng.choice(TARGETS))
    puzzle = replace(planted.puzzle, **arrays)
    pred = plain_outputs(puzzle, planted.inp_sigma, planted.out_sigma)
    whole = replace(planted, puzzle=replace(puzzle, targets={"pred": _stored(pred, kind, rng)}))
    return (with_hash(whole) if rng.random() < 0.3 else whole), kind


def _stored(pred: NDArray[np.float64], kind: str, rng: Rng) -> NDArray[np.float64]:
    if not np.isfinite(pred).all():
        return pred  # and another is drawn
    if kind == FOREIGN:
        return rng.normal(size=pred.shape) * (1 + float(np.std(pred)))
    if kind == NOISY:
        return pred + rng.normal(size=pred.shape) * 10.0 ** rng.uniform(-5, 0) * float(np.std(pred))
    if kind == "decimals":
        decimals = int(rng.integers(1, 5)) - int(np.floor(np.log10(max(float(np.std(pred)), 1e-30))))
        rounded = np.round(pred, min(max(decimals, 1), 12))
        return rounded.astype(np.float32).astype(np.float64) if rng.random() < 0.5 else rounded
    if kind == "bfloat16":
        bits = (pred.astype(np.float32).view(np.uint32).astype(np.uint64) + 0x8000) & 0xFFFF0000
        return bits.astype(np.uint32).view(np.float32).astype(np.float64)
    return pred.astype(kind).astype(np.float64)


def description(puzzle: Puzzle) -> str:
    """The puzzle's sizes, for a failure's text."""
    sizes = f"{puzzle.blocks} × {puzzle.width} × {puzzle.hidden} × {puzzle.outputs}, {puzzle.rows} rows"
    return f"{sizes}, {puzzle.activation}, target up to {np.abs(puzzle.target_values).max():.3g}"
