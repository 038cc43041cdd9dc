"""The library function: a puzzle in, its solution out."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import pairing
from pairing import FoundSolution, Puzzle, Solution, compare, load_puzzle, solve, solving, version
from pairing.arrays import Array64
from pairing.assignment import assign
from pairing.errors import InputError, MethodError
from pairing.model.network import pairs_of
from pairing.search.driver import Progress
from pairing.search.history import History
from pairing.signals.registry import similarity
from pairing.solution import solution_of
from tests.support.paths import EXAMPLES
from tests.support.puzzles import plain_mse, plant, with_answer


@pytest.fixture(scope="module")
def demo() -> Puzzle:
    return load_puzzle(EXAMPLES / "demo-puzzle")


def test_the_demo_puzzle_is_solved(demo: Puzzle) -> None:
    solution = solve(demo)
    assert isinstance(solution, Solution)
    assert solution.solved
    assert solution.hash == demo.target_hash
    assert solution.permutation == with_answer(demo, EXAMPLES / "demo-puzzle.answer.json").permutation


@pytest.mark.parametrize("methods", ["svd,norm_balance", ("norm_balance",)], ids=str)
def test_methods_are_tried_until_one_solves_the_puzzle(methods: str | Sequence[str], demo: Puzzle) -> None:
    assert solve(demo, methods, budget=1.0).solved


def test_the_data_alone_tell_pairs_and_order(demo: Puzzle) -> None:
    assert solve(demo, "logit_search").hash == demo.target_hash


def test_wrong_pairs_are_repaired_unless_told_otherwise(demo: Puzzle) -> None:
    pairs = assign(similarity(demo, "svd")).pairs
    kept = solve(demo, "svd", budget=1.0, repair=False)
    assert np.array_equal(pairs_of(kept.inp_sigma, kept.out_sigma), pairs)
    assert not kept.solved
    mended = solve(demo, "svd")
    assert mended.solved
    assert not np.array_equal(pairs_of(mended.inp_sigma, mended.out_sigma), pairs)


def test_the_error_told_is_the_solutions(demo: Puzzle) -> None:
    solution = solve(demo, "cosine", budget=0.2, start="random", seed=3, repair=False)
    assert not solution.solved
    error = plain_mse(demo, solution.inp_sigma, solution.out_sigma)
    assert solution.full_mse == pytest.approx(error, rel=1e-4)


@pytest.mark.parametrize("limits", [{"deadline": 0.0}, {"budget": 0.0}, {"deadline": -1.0}], ids=str)
def test_no_time_still_gives_an_answer(limits: dict[str, float]) -> None:
    puzzle = plant(1, known=False).puzzle
    solution = solve(puzzle, "trace,svd", **limits)
    assert solution.full_mse == pytest.approx(plain_mse(puzzle, solution.inp_sigma, solution.out_sigma), rel=1e-4)


@pytest.mark.parametrize(
    "options", [{"methods": "trace,none"}, {"methods": ""}, {"annealer": "hot"}, {"start": "hot"}], ids=str
)
def test_unknown_names_are_refused(options: dict[str, str]) -> None:
    with pytest.raises(InputError) as caught:
        solve(plant(0).puzzle, **options)  # type: ignore[arg-type]
    assert caught.value.exit_status == 2


def test_when_every_method_fails_the_reason_is_told() -> None:
    puzzle = plant(0).puzzle
    broken = replace(puzzle, inp_weight=np.full_like(puzzle.inp_weight, np.nan))
    with pytest.raises(MethodError):
        solve(broken, "trace,norm_balance", budget=0.0)


def test_a_failing_method_does_not_cost_the_others() -> None:
    planted = plant(2, blocks=2, scale=0.3)
    # Weights of 1e30 overflow the product's norm, but not its trace.
    huge = np.float32(1e25)
    puzzle = planted.puzzle
    loud = replace(puzzle, inp_weight=puzzle.inp_weight * huge, out_weight=puzzle.out_weight / huge)
    with pytest.raises(MethodError):
        solve(loud, "gram_cosine", budget=0.0)
    assert solve(loud, "gram_cosine,trace", budget=0.0).full_mse >= 0


def test_the_package_offers_its_names_and_no_others() -> None:
    assert {getattr(pairing, name) for name in pairing.__all__} == {
        FoundSolution,
        History,
        Progress,
        Puzzle,
        Solution,
        version.__version__,
        compare,
        load_puzzle,
        solve,
    }
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = pairing.nothing_like_it


def test_one_thread_works_and_all_are_there_again_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    def threads() -> set[int]:
        return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}

    seen = set[int]()

    def watched(puzzle: Puzzle, name: str, seconds: float) -> Array64:
        seen.update(threads())
        return similarity(puzzle, name, seconds)

    monkeypatch.setattr(solving, "similarity", watched)
    with threadpool_limits(2, user_api="blas"):
        before = threads()
        assert solve(plant(1, blocks=4, rows=100).puzzle, "trace").solved
        assert threads() == before
    assert seen == {1}


def test_what_is_public_is_told() -> None:
    assert dir(pairing) == sorted(pairing.__all__)
    assert pairing.__version__ == version.__version__
    assert (Path(pairing.__file__).parent / "py.typed").exists()


def test_a_folder_may_be_named_and_progress_be_seen() -> None:
    seen: list[str] = []
    found = solve(EXAMPLES / "demo-puzzle", "trace", progress=lambda method, _: seen.append(method))
    assert found.solved
    assert found.method == "trace"
    assert found.seconds > 0
    assert set(seen) <= {"trace"}


def test_reprs_take_a_line(demo: Puzzle) -> None:
    assert repr(demo) == "<Puzzle 'demo-puzzle': 12 blocks of 16 × 32, 1 output, 1,500 samples, relu>"
    found = solve(demo, "trace")
    line = r"<FoundSolution of 12 blocks: solved by trace in \d+\.\d s, MSE \S+, hash [0-9a-f]{12}…>"
    assert re.fullmatch(line, repr(found))
    assert re.fullmatch(r"<History of \d+ improvements: \d+ evaluations in \d+\.\d s>", repr(found.history))
    planted = plant(0)
    assert repr(solution_of(planted.puzzle, planted.inp_sigma, planted.out_sigma, 0.5)) == (
        f"<Solution of 4 blocks: solved, MSE 0.5, hash {planted.puzzle.target_hash[:12]}…>"  # type: ignore[index]
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"methods": "none"}, "unknown method"),
        ({"annealer": "none"}, "unknown annealer"),
        ({"start": "pool"}, "unknown start"),
        ({"seed": -1}, "seed is -1; give a whole number, 0 or more"),
        ({"seed": 0.5}, r"seed is 0\.5"),
        ({"progress": "yes"}, "progress is 'yes'; give True, False or a function"),
    ],
)
@pytest.mark.parametrize("call", [solve, compare])
def test_a_wrong_argument_is_one_error_before_anything_is_read(
    options: dict[str, Any], said: str, call: Callable[..., object]
) -> None:
    with pytest.raises(InputError, match=said):
        call("no such folder", **options)


def test_what_is_no_puzzle_is_refused() -> None:
    with pytest.raises(InputError, match="puzzle is a list; give a Puzzle, or the path"):
        solve([1, 2, 3])  # type: ignore[arg-type]


def test_the_same_seed_gives_the_same_solution(demo: Puzzle) -> None:
    first, again = (solve(demo, "svd", seed=5).history.points for _ in range(2))
    assert [(count, mse) for _, count, mse in first] == [(count, mse) for _, count, mse in again]
