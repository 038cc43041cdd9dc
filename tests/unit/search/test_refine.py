"""The refinement: it finds what there is to find, keeps its allowance, and goes on exactly where it stopped."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
import pytest

from pairing.errors import InputError
from pairing.model.network import Network
from pairing.model.puzzle import Puzzle
from pairing.search.driver import Hooks, Limits, Progress, RefinementPaused
from pairing.search.initial_orders import STARTS, start_order
from pairing.search.policy import ANNEALERS
from pairing.search.refine import refine
from tests.support.puzzles import Planted, plain_mse, plant, reshuffled
from tests.support.refining import FOREVER, allowing, checkpoints_of, outcome, unreachable


def every_error(puzzle: Puzzle, pairs: np.ndarray) -> list[float]:
    network = Network(puzzle, pairs)
    return [network.full_mse(order) for order in permutations(range(puzzle.blocks))]


# ---- brute force for few blocks


@pytest.mark.parametrize("start", ["random", "norm"])
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("annealer", "blocks", "evaluations"), [("surrogate", 6, 2000), ("classic", 5, 3000)])
@pytest.mark.slow
def test_the_best_of_all_orders_is_found(annealer: str, blocks: int, evaluations: int, seed: int, start: str) -> None:
    planted = unreachable(seed, blocks)
    options = {"seed": seed, "annealer": annealer, "start": start, "limits": allowing(evaluations)}
    found = refine(planted.puzzle, planted.pairs, repair=False, **options)
    errors = every_error(planted.puzzle, planted.pairs)
    assert min(errors) < np.median(errors)
    assert found.solution.full_mse == pytest.approx(min(errors), rel=1e-6)


@pytest.mark.parametrize("annealer", ANNEALERS)
@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_very_few_blocks(blocks: int, annealer: str) -> None:
    planted = unreachable(blocks, blocks)
    found = refine(planted.puzzle, planted.pairs, annealer=annealer, start="random", repair=False, limits=allowing(300))
    assert found.solution.full_mse == pytest.approx(min(every_error(planted.puzzle, planted.pairs)), rel=1e-6)


def test_seven_blocks_by_the_surrogate() -> None:
    planted = unreachable(0, 7)
    found = refine(planted.puzzle, planted.pairs, start="random", repair=False, limits=allowing(2500))
    assert found.solution.full_mse == pytest.approx(min(every_error(planted.puzzle, planted.pairs)), rel=1e-6)


@pytest.mark.parametrize("annealer", ANNEALERS)
@pytest.mark.slow
def test_of_every_pairing_and_every_order_the_answer_is_best(annealer: str) -> None:
    planted = plant(3, blocks=3, rows=30, known=False)
    best = {
        pairs: refine(
            planted.puzzle, np.array(pairs), annealer=annealer, repair=False, limits=allowing(400, until_solved=False)
        ).solution.full_mse
        for pairs in permutations(range(3))
    }
    for pairs, error in best.items():
        assert error == pytest.approx(min(every_error(planted.puzzle, np.array(pairs))), rel=1e-4, abs=1e-12)
    assert min(best, key=lambda pairs: best[pairs]) == tuple(planted.pairs)


# ---- planted answers for more


@pytest.mark.parametrize("start", ["auto", "greedy", "norm", "delta", "random"])
def test_the_demo_puzzles_order_is_found_from_every_start(start: str, demo: Planted) -> None:
    found = refine(demo.puzzle, demo.pairs, start=start, limits=allowing(5000))
    assert found.solution.permutation == demo.permutation
    assert (found.solution.hash_match, found.solution.solved, found.stopped) == (True, True, "solved")
    assert found.solution.full_mse <= demo.puzzle.solved_mse
    assert found.annealer == "surrogate"
    assert found.start == start or (start == "auto" and found.start in ("greedy", "norm"))


@pytest.mark.parametrize("seed", range(2))
def test_a_disguise_and_a_missing_hash_make_no_difference(seed: int, demo: Planted) -> None:
    other = reshuffled(demo, np.random.default_rng(seed))
    found = refine(other.puzzle, other.pairs, seed=seed, start="random", limits=allowing(5000))
    assert found.solution.permutation == other.permutation
    assert (found.solution.hash_match, found.solution.solved, found.stopped) == (None, True, "solved")


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
@pytest.mark.parametrize("outputs", [1, 3])
def test_random_networks_are_put_in_order(outputs: int, activation: str) -> None:
    planted = plant(5, blocks=10, width=6, hidden=9, rows=400, scale=0.3, outputs=outputs, activation=activation)
    found = refine(planted.puzzle, planted.pairs, start="random", limits=allowing(8000))
    assert found.solution.permutation == planted.permutation
    assert found.stopped == "solved"


def test_several_targets_and_a_rounded_one_are_solved_without_a_hash() -> None:
    planted = plant(6, blocks=6, rows=3000, scale=0.4, known=False)
    rounded = replace(planted.puzzle, targets={"pred": np.round(planted.puzzle.targets["pred"], 3)})
    found = refine(rounded, planted.pairs, start="random", limits=allowing(4000))
    assert found.solution.permutation == planted.permutation
    assert (found.solution.solved, found.stopped) == (True, "solved")


# ---- what it claims


@pytest.mark.parametrize("annealer", ANNEALERS)
@pytest.mark.parametrize("evaluations", [0, 1, 2, 3, 7, 50])
def test_the_allowance_is_used_and_never_exceeded(evaluations: int, annealer: str) -> None:
    planted = unreachable(1, 8)
    found = refine(planted.puzzle, planted.pairs, annealer=annealer, limits=allowing(evaluations))
    assert (found.evaluations, found.stopped) == (evaluations, "budget")


@pytest.mark.parametrize("annealer", ANNEALERS)
@pytest.mark.slow
def test_without_an_allowance_the_search_ends_when_it_has_converged(annealer: str, monkeypatch: Any) -> None:
    monkeypatch.setattr("pairing.search.classic.STEPS", 200)
    planted = unreachable(2, 3)
    found = refine(planted.puzzle, planted.pairs, annealer=annealer, limits=Limits(seconds=FOREVER))
    assert found.stopped == "converged"
    assert found.evaluations > 0


@pytest.mark.parametrize("annealer", ANNEALERS)
@pytest.mark.parametrize("start", [*STARTS, "auto"])
def test_the_same_arguments_give_the_same_result(start: str, annealer: str) -> None:
    planted = unreachable(3, 7, rows=300)
    once, again = (
        refine(planted.puzzle, planted.pairs, seed=5, annealer=annealer, start=start, limits=allowing(60))
        for _ in range(2)
    )
    assert outcome(once) == outcome(again)


def test_seeds_differ() -> None:
    planted = unreachable(3, 9, rows=300)
    found = {
        refine(planted.puzzle, planted.pairs, seed=seed, start="random", limits=allowing(0)).solution.inp_sigma
        for seed in range(6)
    }
    assert len(found) == 6


@pytest.mark.parametrize("annealer", ANNEALERS)
def test_no_time_still_gives_an_answer(annealer: str) -> None:
    planted = unreachable(4, 6)
    found = refine(planted.puzzle, planted.pairs, annealer=annealer, limits=Limits(seconds=0.0))
    assert found.stopped == "budget"
    assert found.solution.full_mse <= found.start_mse
    error = plain_mse(planted.puzzle, found.solution.inp_sigma, found.solution.out_sigma)
    assert found.solution.full_mse == pytest.approx(error, rel=1e-4)


def test_a_solved_search_goes_on_when_it_is_told_to(demo: Planted) -> None:
    planted = plant(6, blocks=5, rows=50, scale=0.4)
    limits = allowing(400)
    ended = refine(planted.puzzle, planted.pairs, annealer="classic", start="random", limits=limits)
    assert ended.stopped == "solved"
    assert ended.evaluations < 400
    on = replace(limits, until_solved=False)
    whole = refine(planted.puzzle, planted.pairs, annealer="classic", start="random", limits=on)
    assert (whole.stopped, whole.evaluations) == ("budget", 400)
    assert whole.solution == ended.solution


def test_times_are_told_and_no_pairs_are_said_to_be_repaired() -> None:
    planted = unreachable(4, 4)
    found = refine(planted.puzzle, planted.pairs, limits=allowing(20))
    assert 0 <= found.verification_seconds <= found.seconds
    assert found.repaired_pairs == 0
    assert found.solution.out_sigma == tuple(planted.pairs[list(found.solution.inp_sigma)].tolist())


# ---- starts


@pytest.mark.parametrize("name", STARTS)
def test_every_start_is_an_order(name: str) -> None:
    planted = plant(7, blocks=9)
    order = start_order(Network(planted.puzzle, planted.pairs), name, np.random.default_rng(0))
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(9))


def test_norm_and_delta_ascend() -> None:
    planted = plant(7, blocks=9)
    network = Network(planted.puzzle, planted.pairs)
    norm = start_order(network, "norm", np.random.default_rng(0))
    sizes = [float(np.abs(network.out_weight[block]).sum()) for block in norm]
    assert sizes == sorted(sizes)
    branches = []
    for block in start_order(network, "delta", np.random.default_rng(0)):
        states = planted.puzzle.rows_in.copy()
        network.advance(states, [int(block)])
        branches.append(float(np.linalg.norm(states - planted.puzzle.rows_in)))
    np.testing.assert_allclose(branches, sorted(branches), rtol=1e-5)


def test_greedy_takes_the_smallest_branch_at_the_propagated_state() -> None:
    planted = plant(8, blocks=6)
    network = Network(planted.puzzle, planted.pairs)
    states, left = planted.puzzle.rows_in.copy(), set(range(6))
    for block in start_order(network, "greedy", np.random.default_rng(0)).tolist():
        after = {}
        for candidate in left:
            after[candidate] = states.copy()
            network.advance(after[candidate], [candidate])
        sizes = {candidate: float(np.linalg.norm(moved - states)) for candidate, moved in after.items()}
        assert sizes[block] == pytest.approx(min(sizes.values()), rel=1e-4)
        states = after[block]
        left.remove(block)


def test_the_pools_order_can_be_the_start() -> None:
    planted = plant(9, blocks=9)
    found = refine(planted.puzzle, planted.pairs, start="pool", pool_order=planted.order, limits=allowing(0))
    assert (found.start, found.solution.permutation) == ("pool", planted.permutation)
    assert found.start_mse == found.solution.full_mse < 1e-11
    auto = refine(planted.puzzle, planted.pairs, start="auto", pool_order=planted.order, limits=allowing(0))
    assert (auto.start, auto.solution.permutation) == ("pool", planted.permutation)


def test_auto_takes_the_start_of_least_error() -> None:
    for seed in range(6):
        planted = plant(seed, blocks=8, rows=50)
        worst = planted.order[::-1].copy()
        by_name = {
            name: refine(planted.puzzle, planted.pairs, seed=3, start=name, pool_order=worst, limits=allowing(0))
            for name in ("pool", "greedy", "norm")
        }
        found = refine(planted.puzzle, planted.pairs, seed=3, start="auto", pool_order=worst, limits=allowing(0))
        assert found.start_mse == min(start.start_mse for start in by_name.values())
        assert found.start_mse == by_name[found.start].start_mse


@pytest.mark.parametrize(
    ("options", "known"),
    [
        ({"annealer": "hot"}, "surrogate, classic"),
        ({"start": "hot"}, "auto, pool, greedy, norm, delta, random"),
        ({"start": "pool"}, "pool"),
    ],
    ids=str,
)
def test_unknown_names_are_refused(options: dict[str, str], known: str) -> None:
    planted = plant(0)
    with pytest.raises(InputError, match=known) as caught:
        refine(planted.puzzle, planted.pairs, limits=allowing(0), **options)  # type: ignore[arg-type]
    assert caught.value.exit_status == 2


# ---- stopping and going on


def after(calls: int, reason: str | None) -> Callable[[], Any]:
    """A ``should_stop`` that gives the reason from the ``calls``-th call on."""
    count = iter(range(10**9))
    return lambda: reason if next(count) >= calls else None


@pytest.mark.usefixtures("talkative")
@pytest.mark.parametrize("annealer", ANNEALERS)
@pytest.mark.parametrize("reason", ["cancelled", "solved_elsewhere"])
def test_a_search_that_is_told_to_stop_stops_and_says_why(reason: str, annealer: str) -> None:
    planted = unreachable(5, 7)
    stop = after(6, reason)
    found = refine(
        planted.puzzle, planted.pairs, annealer=annealer, limits=allowing(10_000), hooks=Hooks(should_stop=stop)
    )
    assert found.stopped == reason
    assert 0 < found.evaluations < 10_000
    assert found.solution.full_mse <= found.start_mse


@pytest.mark.usefixtures("talkative")
@pytest.mark.parametrize("reason", ["interrupted", "turn_over"])
def test_a_search_that_is_told_to_pause_has_given_its_checkpoint(reason: str) -> None:
    planted = unreachable(5, 7)
    saved: list[dict[str, Any]] = []
    hooks = Hooks(should_stop=after(6, reason), checkpoint=saved.append)
    with pytest.raises(RefinementPaused):
        refine(planted.puzzle, planted.pairs, limits=allowing(10_000), hooks=hooks)
    assert 0 < saved[-1]["evaluations"] < 10_000


@pytest.mark.usefixtures("talkative")
def test_the_budget_is_that_of_all_attempts_together() -> None:
    planted = unreachable(5, 7)
    _, saved = checkpoints_of(planted.puzzle, planted.pairs, limits=allowing(50))
    spent = {**json.loads(saved[-1]), "seconds": 59.9}
    found = refine(planted.puzzle, planted.pairs, limits=Limits(seconds=60.0), checkpoint=spent)
    assert found.stopped in ("budget", "converged")
    assert found.seconds > 59.9
    none_left = refine(planted.puzzle, planted.pairs, limits=Limits(seconds=59.0), checkpoint=spent)
    assert none_left.stopped == "budget"
    assert none_left.evaluations - spent["evaluations"] < 50


@pytest.mark.usefixtures("talkative")
def test_methods_with_the_same_pairs_search_in_different_ways() -> None:
    planted = unreachable(6, 12)
    states = set()
    for method in ("one", "another"):
        _, saved = checkpoints_of(planted.puzzle, planted.pairs, method=method, limits=allowing(50))
        states.add(json.dumps(json.loads(saved[-1])["rng"]))
    assert len(states) == 2


@pytest.mark.usefixtures("talkative")
@pytest.mark.parametrize("start", ["random", "auto"])
@pytest.mark.parametrize(("annealer", "evaluations"), [("surrogate", 150), ("classic", 100)])
@pytest.mark.parametrize("rows", [30, 500])
def test_a_resumed_search_ends_like_an_undisturbed_one(rows: int, annealer: str, evaluations: int, start: str) -> None:
    planted = unreachable(6, 12, rows)
    options: dict[str, Any] = {"seed": 2, "annealer": annealer, "start": start, "limits": allowing(evaluations)}
    undisturbed, saved = checkpoints_of(planted.puzzle, planted.pairs, **options)
    assert len(saved) > 3
    for k in sorted({int(k) for k in np.linspace(0, len(saved) - 1, 5)}):
        resumed, later = checkpoints_of(planted.puzzle, planted.pairs, checkpoint=json.loads(saved[k]), **options)
        assert outcome(resumed) == outcome(undisturbed)
        assert later == saved[k + 1 :]


@pytest.mark.usefixtures("talkative")
def test_a_search_may_be_resumed_again_and_again(demo: Planted) -> None:
    options: dict[str, Any] = {"seed": 1, "start": "random", "limits": allowing(300, until_solved=False)}
    undisturbed, _ = checkpoints_of(demo.puzzle, demo.pairs, **options)
    record = None
    for _ in range(1000):
        saved: list[str] = []
        hooks = Hooks(
            checkpoint=lambda state, saved=saved: saved.append(json.dumps(state)),  # type: ignore[misc]
            should_stop=lambda saved=saved: "cancelled" if saved else None,  # type: ignore[misc]
        )
        found = refine(demo.puzzle, demo.pairs, hooks=hooks, checkpoint=record and json.loads(record), **options)
        if found.stopped != "cancelled":
            break
        assert saved
        record = saved[-1]
    assert record is not None
    assert outcome(found) == outcome(undisturbed)


@pytest.mark.usefixtures("talkative")
@pytest.mark.parametrize("annealer", ANNEALERS)
def test_progress_is_told_in_plain_growing_numbers(annealer: str) -> None:
    told: list[Progress] = []
    planted = unreachable(7, 6)
    found = refine(
        planted.puzzle,
        planted.pairs,
        annealer=annealer,
        limits=Limits(seconds=3600, evaluations=100),
        hooks=Hooks(progress=told.append),
    )
    assert told
    counts = [progress.evaluations for progress in told]
    assert counts == sorted(counts)
    assert counts[-1] <= found.evaluations == 100
    errors = [progress.best_error for progress in told]
    assert errors == sorted(errors, reverse=True)
    for progress in told:
        assert progress.stage == "refinement"
        assert 0 < progress.seconds_left <= 3600
        assert {type(value) for value in (progress.best_error, progress.seconds_left)} == {float}
        assert {type(value) for value in (progress.evaluations, progress.steps)} == {int}


def test_an_exploding_network_ends_in_an_infinite_error() -> None:
    planted = plant(8, blocks=5)
    puzzle = replace(planted.puzzle, out_weight=planted.puzzle.out_weight * np.float32(1e30), target_hash=None)
    found = refine(puzzle, planted.pairs, start="random", limits=allowing(50))
    assert math.isinf(found.solution.full_mse)
    assert not found.solution.solved
