"""What refinements must hold in unfriendly conditions."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pairing.search.driver import Hooks
from pairing.search.initial_orders import STARTS
from pairing.search.local_search import descend
from pairing.search.policy import ANNEALERS
from pairing.search.refine import refine
from pairing.search.surrogate import surrogate_of
from pairing.signals.registry import similarity
from tests.support.puzzles import Planted, plant
from tests.support.refining import allowing, checkpoints_of, outcome, unreachable


@pytest.mark.usefixtures("talkative")
@pytest.mark.parametrize(("annealer", "evaluations", "rows"), [("surrogate", 400, 5000), ("classic", 150, 2500)])
@pytest.mark.slow
def test_a_resumed_search_draws_the_same_fixed_samples(annealer: str, evaluations: int, rows: int) -> None:
    planted = unreachable(6, 12, rows)
    options: dict[str, Any] = {"seed": 2, "annealer": annealer, "start": "random", "limits": allowing(evaluations)}
    undisturbed, saved = checkpoints_of(planted.puzzle, planted.pairs, **options)
    for k in sorted({int(k) for k in np.linspace(0, len(saved) - 1, 5)}):
        resumed, later = checkpoints_of(planted.puzzle, planted.pairs, checkpoint=json.loads(saved[k]), **options)
        assert outcome(resumed) == outcome(undisturbed)
        assert later == saved[k + 1 :]


@pytest.mark.parametrize("start", [*STARTS, "auto"])
@pytest.mark.parametrize("annealer", ANNEALERS)
@pytest.mark.parametrize("size", [1e3, 1e15, 1e30, 1e38])
def test_networks_that_overflow_are_refined_quietly(size: float, annealer: str, start: str) -> None:
    planted = plant(8, blocks=5)
    out = np.clip(planted.puzzle.out_weight * np.float64(size), -3e38, 3e38).astype(np.float32)
    puzzle = replace(planted.puzzle, out_weight=out, target_hash=None)
    saved: list[str] = []
    hooks = Hooks(checkpoint=lambda record: saved.append(json.dumps(record)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pairing.search.driver.CHECKPOINT_SECONDS", 0.0)
        found = refine(puzzle, planted.pairs, annealer=annealer, start=start, limits=allowing(20), hooks=hooks)
    assert not found.solution.solved


@pytest.mark.parametrize("seed", [17, 21])
@pytest.mark.slow
def test_small_networks_are_solved_from_random_orders(seed: int) -> None:
    planted = plant(seed, blocks=6, rows=30, known=False)
    for s in range(5):
        assert refine(planted.puzzle, planted.pairs, seed=s, start="random", limits=allowing(6000)).solution.solved


@pytest.mark.usefixtures("talkative")
@pytest.mark.parametrize("calls", range(6))
def test_a_stopped_refinement_leaves_a_checkpoint(calls: int) -> None:
    planted: Planted = unreachable(5, 9)
    saved: list[Any] = []
    count = iter(range(100))
    hooks = Hooks(checkpoint=saved.append, should_stop=lambda: "cancelled" if next(count) >= calls else None)
    refine(planted.puzzle, planted.pairs, start="random", limits=allowing(5000), hooks=hooks)
    assert saved


def test_the_first_step_is_saved_however_soon_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pairing.search.driver.CHECKPOINT_SECONDS", 1000.0)
    planted: Planted = unreachable(5, 9)
    found, saved = checkpoints_of(planted.puzzle, planted.pairs, start="random", limits=allowing(500))
    assert len(saved) == 1
    assert 0 < json.loads(saved[0])["evaluations"] < found.evaluations


def test_consensus_of_one_block() -> None:
    assert similarity(plant(0, blocks=1).puzzle, "consensus").shape == (1, 1)


def test_a_descent_with_nothing_to_gain_stays() -> None:
    model = surrogate_of(np.zeros(5, np.float32), np.eye(3, 5, dtype=np.float32))
    assert len(descend(model, 10, 0.0)) == 1
