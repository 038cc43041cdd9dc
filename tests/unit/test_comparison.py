"""The methods side by side on one puzzle."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pairing import compare
from pairing.assignment import assign
from pairing.signals.registry import similarity
from tests.support.paths import EXAMPLES
from tests.support.puzzles import plant

COLUMNS = ["method", "pairs shared with best", "initial MSE", "MSE", "status", "evaluations", "seconds", "error"]


def test_a_row_per_method_the_best_first() -> None:
    frame = compare(EXAMPLES / "demo-puzzle", "cosine,trace,svd", budget=0.5, repair=False)
    assert list(frame.columns) == COLUMNS
    assert set(frame["method"]) == {"cosine", "trace", "svd"}
    assert frame["MSE"].is_monotonic_increasing
    best = frame.iloc[0]
    assert (best["method"], best["status"], best["pairs shared with best"]) == ("trace", "solved", 12)
    assert (frame["status"][1:] != "solved").all()
    assert (frame["pairs shared with best"][1:] < 12).all()
    assert (frame["MSE"] <= frame["initial MSE"]).all()
    assert (frame["evaluations"] > 0).all()
    assert frame["error"].isna().all()


@pytest.mark.slow
def test_pairs_are_those_of_the_assignment_not_of_the_repair() -> None:
    planted = plant(1, blocks=4, rows=200)
    pairs = assign(similarity(planted.puzzle, "svd")).pairs
    frame = compare(planted.puzzle, ("svd", "trace"))
    assert (frame["status"] == "solved").any()
    shared = frame.set_index("method")["pairs shared with best"]
    assert shared["svd"] == np.count_nonzero(pairs == planted.pairs)


@pytest.mark.parametrize("methods", ["gram_cosine", "gram_cosine,trace"])
def test_a_method_that_fails_has_its_reason(methods: str) -> None:
    puzzle = plant(2, blocks=2, scale=0.3).puzzle
    huge = np.float32(1e25)  # overflows the product's norm, but not its trace
    loud = replace(puzzle, inp_weight=puzzle.inp_weight * huge, out_weight=puzzle.out_weight / huge)
    last = compare(loud, methods, budget=0.1).iloc[-1]
    assert (last["method"], last["status"]) == ("gram_cosine", "failed")
    assert "gram_cosine" in last["error"]
    assert np.isnan(last["MSE"])
