"""The repair of wrong pairs: it ends exact, says what it changed, and goes on where it was interrupted."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from pairing.arrays import Indices
from pairing.model.network import Network, pairs_of
from pairing.model.puzzle import Puzzle
from pairing.search.moves.repair import repair
from pairing.search.refine import Refinement, refine
from pairing.search.state import Search, State
from tests.support.puzzles import Planted, plain_mse, plant, reshuffled
from tests.support.refining import allowing, checkpoints_of, outcome, unreachable


def permuted(pairs: Indices, wrong: int, seed: int) -> Indices:
    """The pairs with the out pieces of ``wrong`` blocks passed round in a ring."""
    ring = np.random.default_rng(seed).choice(len(pairs), wrong, replace=False)
    changed = pairs.copy()
    changed[ring] = pairs[np.roll(ring, 1)]
    return changed


def ended_pairs(found: Refinement) -> Indices:
    return pairs_of(found.solution.inp_sigma, found.solution.out_sigma)


# ---- wrong pairs are put right


@pytest.mark.parametrize("start", ["auto", "random"])
@pytest.mark.parametrize("wrong", [2, 3, 4])
def test_the_demo_puzzles_pairs_are_put_right(wrong: int, start: str, demo: Planted) -> None:
    pairs = permuted(demo.pairs, wrong, seed=wrong)
    found = refine(demo.puzzle, pairs, start=start, limits=allowing(6000))
    assert found.solution.permutation == demo.permutation
    assert (found.repaired_pairs, found.stopped, found.solution.hash_match) == (wrong, "solved", True)


def test_without_a_hash_the_error_alone_tells(demo: Planted) -> None:
    other = reshuffled(demo, np.random.default_rng(0))
    found = refine(other.puzzle, permuted(other.pairs, 2, seed=1), limits=allowing(6000))
    assert found.solution.permutation == other.permutation
    assert (found.repaired_pairs, found.stopped, found.solution.hash_match) == (2, "solved", None)


@pytest.mark.parametrize(
    ("blocks", "outputs", "activation"), [(8, 1, "relu"), (10, 3, "gelu"), (12, 1, "tanh")], ids=str
)
@pytest.mark.parametrize("wrong", [2, 4])
@pytest.mark.slow
def test_random_networks_pairs_are_put_right(wrong: int, blocks: int, outputs: int, activation: str) -> None:
    planted = plant(5, blocks=blocks, width=6, hidden=9, rows=600, scale=0.3, outputs=outputs, activation=activation)
    pairs = permuted(planted.pairs, wrong, seed=1)
    found = refine(planted.puzzle, pairs, seed=1, limits=allowing(6000))
    assert found.solution.permutation == planted.permutation
    assert (found.repaired_pairs, found.stopped) == (wrong, "solved")


def test_evidence_for_the_true_pairs_is_no_hindrance(demo: Planted) -> None:
    evidence = np.full((12, 12), -5.0)
    evidence[np.arange(12), demo.pairs] = 5.0
    found = refine(demo.puzzle, permuted(demo.pairs, 4, seed=3), evidence=evidence, limits=allowing(6000))
    assert found.solution.permutation == demo.permutation


# ---- what it claims


def about_to_repair(puzzle: Puzzle, pairs: Indices, seed: int) -> dict[str, Any]:
    """The checkpoint of a first step, which goes on with the repair; on its own a small network has logit searches."""
    saved = checkpoints_of(puzzle, pairs, seed=seed, limits=allowing(50))[1]
    return {**json.loads(saved[0]), "phase": "repair"}


@pytest.mark.parametrize("annealer", ["surrogate", "classic"])
@pytest.mark.slow
def test_unless_it_may_be_repaired_no_pair_is_changed(annealer: str, demo: Planted) -> None:
    """Nor does the classic annealer change any, which only orders."""
    pairs = permuted(demo.pairs, 2, seed=0)
    repair = annealer == "classic"
    found = refine(demo.puzzle, pairs, annealer=annealer, repair=repair, limits=allowing(800))
    np.testing.assert_array_equal(ended_pairs(found), pairs)
    assert (found.repaired_pairs, found.solution.solved) == (0, False)


@pytest.mark.usefixtures("talkative")
@pytest.mark.parametrize("evaluations", [200, 271, 400])
@pytest.mark.parametrize("seed", range(2))
def test_where_nothing_can_be_repaired_the_report_is_true_all_the_same(seed: int, evaluations: int) -> None:
    """No pairs reproduce the target, so every exchange is a mistake or luck; wherever the allowance cuts it short."""
    planted = unreachable(seed, 8)
    limits = allowing(evaluations)
    checkpoint = about_to_repair(planted.puzzle, planted.pairs, seed=seed)
    found, saved = checkpoints_of(planted.puzzle, planted.pairs, seed=seed, limits=limits, checkpoint=checkpoint)
    assert any(json.loads(text)["phase"] == "repair" for text in saved)
    assert (found.evaluations, found.stopped) == (evaluations, "budget")
    assert found.solution.full_mse <= found.start_mse
    error = plain_mse(planted.puzzle, found.solution.inp_sigma, found.solution.out_sigma)
    assert found.solution.full_mse == pytest.approx(error, rel=1e-4)
    assert found.repaired_pairs == np.count_nonzero(ended_pairs(found) != planted.pairs)


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_very_few_blocks_have_few_pairs_to_repair(blocks: int) -> None:
    planted = plant(blocks, blocks=blocks, rows=50)
    found = refine(planted.puzzle, np.roll(planted.pairs, 1), limits=allowing(2000))
    assert found.solution.permutation == planted.permutation
    assert found.repaired_pairs == (blocks if blocks > 1 else 0)


# ---- the same again, and going on


def wrong_for_long() -> tuple[Planted, dict[str, Any]]:
    """A puzzle without a solution, so that repairing has no end before the allowance has."""
    return unreachable(6, 10, 300), {"seed": 2, "limits": allowing(700)}


@pytest.mark.usefixtures("talkative")
@pytest.mark.slow
def test_repairing_gives_the_same_again_and_when_it_is_resumed() -> None:
    planted, options = wrong_for_long()
    undisturbed, saved = checkpoints_of(planted.puzzle, planted.pairs, **options)
    again, saved_again = checkpoints_of(planted.puzzle, planted.pairs, **options)
    assert (outcome(again), saved_again) == (outcome(undisturbed), saved)
    records = [json.loads(text) for text in saved]
    repairing = [k for k, record in enumerate(records) if record["phase"] == "repair"]
    changed = [k for k in repairing if records[k]["pairs"] != planted.pairs.tolist()]
    assert changed
    for k in sorted({repairing[0], changed[0], changed[len(changed) // 2], changed[-1]}):
        resumed, later = checkpoints_of(planted.puzzle, planted.pairs, checkpoint=records[k], **options)
        assert outcome(resumed) == outcome(undisturbed)
        assert later == saved[k + 1 :]


@pytest.mark.usefixtures("talkative")
def test_a_repair_that_is_resumed_ends_exact(demo: Planted) -> None:
    pairs = permuted(demo.pairs, 3, seed=0)
    options: dict[str, Any] = {"seed": 0, "limits": allowing(6000)}
    begun = about_to_repair(demo.puzzle, pairs, seed=0)
    undisturbed, saved = checkpoints_of(demo.puzzle, pairs, checkpoint=begun, **options)
    assert undisturbed.solution.permutation == demo.permutation
    records = [json.loads(text) for text in saved]
    record = next(record for record in records if record["phase"] == "repair" and record["step"] > begun["step"])
    resumed, _ = checkpoints_of(demo.puzzle, pairs, checkpoint=record, **options)
    assert outcome(resumed) == outcome(undisturbed)
    assert resumed.repaired_pairs == 3


# ---- one step


def test_exchanges_that_promise_much_are_made_together(demo: Planted) -> None:
    """Two exchanges of about the same gain are both undone by one step, at the true order."""
    blocks = np.random.default_rng(5).choice(demo.puzzle.blocks, 4, replace=False)
    wrong = demo.pairs.copy()
    for one, other in (blocks[:2], blocks[2:]):
        wrong[[one, other]] = demo.pairs[[other, one]]
    state = State(
        pairs=wrong,
        order=demo.order.copy(),
        error=float("nan"),
        best_pairs=wrong,
        best=demo.order.copy(),
        best_error=float("inf"),
        rng=np.random.default_rng(1),
        phase="repair",
    )
    search = Search(Network(demo.puzzle, wrong), demo.order, state, np.random.default_rng(2), 10**6, repair=True)
    state.error = search.error(search.present, state.order, search.yardstick)
    assert all(step is False for step in repair(search))
    assert (state.pairs == demo.pairs).all()
