"""Refinements that only an allowance of evaluations ends, and what is compared of them."""

from __future__ import annotations

import json
from collections.abc import Generator
from dataclasses import fields, replace
from typing import Any, TypeVar

import numpy as np

from pairing.arrays import Indices
from pairing.model.puzzle import Puzzle
from pairing.search.driver import Hooks, Limits
from pairing.search.refine import Refinement, refine
from tests.support.puzzles import Planted, plant

FOREVER = float("inf")

Result = TypeVar("Result")


def finished(steps: Generator[Any, None, Result]) -> Result:
    """What a step returns at its end."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


def allowing(evaluations: int, **limits: Any) -> Limits:
    """Limits that the clock has no part in."""
    return Limits(seconds=FOREVER, evaluations=evaluations, **limits)


def outcome(found: Refinement) -> dict[str, Any]:
    """All of a result but its times."""
    values = {field.name: getattr(found, field.name) for field in fields(found)}
    timeless = {name: value for name, value in values.items() if not name.endswith("seconds")}
    return timeless | {"history": _timeless(found.history.to_json())}


def _timeless(history: dict[str, Any]) -> dict[str, Any]:
    """The history that a clock which stands still would have given."""
    return history | {"seconds": 0.0, "points": [[0.0, *point[1:]] for point in history["points"]]}


def unreachable(seed: int, blocks: int, rows: int = 30) -> Planted:
    """A puzzle whose target no order reproduces, so that only its least error tells what is best."""
    planted = plant(seed, blocks=blocks, rows=rows, known=False)
    noise = np.random.default_rng(seed).normal(size=planted.puzzle.targets["pred"].shape)
    return replace(planted, puzzle=replace(planted.puzzle, targets={"pred": noise}))


def checkpoints_of(puzzle: Puzzle, pairs: Indices, **options: Any) -> tuple[Refinement, list[str]]:
    """An undisturbed refinement and all its checkpoints, as JSON, without their times."""
    saved: list[str] = []

    def save(record: dict[str, Any]) -> None:
        timeless = {"seconds": 0.0, "history": _timeless(record["history"])}
        saved.append(json.dumps(record | timeless, allow_nan=False))

    hooks = Hooks(checkpoint=save)
    return refine(puzzle, pairs, hooks=hooks, **options), saved
