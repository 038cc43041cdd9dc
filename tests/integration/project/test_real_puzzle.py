"""The published puzzle, wherever it lies beside the project: every good method alone, the whole, and copies of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from pairing import load_puzzle
from pairing.arrays import Indices
from pairing.assignment import agreement, assign
from pairing.model.network import Network
from pairing.model.puzzle import Puzzle
from pairing.search.driver import Limits
from pairing.search.identifiability import undecidable_exchanges
from pairing.search.refine import refine
from pairing.signals.posterior import confidence
from pairing.signals.registry import methods, similarity
from pairing.solution import Solution, permutation_of
from tests.support.fleet import Command
from tests.support.paths import ROOT
from tests.support.puzzles import write_puzzle

pytestmark = pytest.mark.real_puzzle

PLACE = ROOT.parent / "shared" / "puzzle"
ROUNDING = 1e-12
"""An error that float32 makes of the right answer is well below."""

RIGHT_PAIRS = {
    "cosine": 0,
    "transpose": 0,
    "svd": 4,
    "activation": 0,
    "trace": 48,
    "dominance": 48,
    "aligned_cosine": 48,
    "neuron_cosine": 48,
    "gram_cosine": 48,
    "asymmetry": 48,
    "product_norm": 48,
    "residual_cosine": 48,
    "norm_balance": 27,
    "error_alignment": 39,
    "nonlinear_alignment": 48,
    "joint_ridge": 9,
    "consensus": 48,
    "logit_search": 1,  # it says nothing: the identity
}
"""Of 48: what the field's table says that each method is worth here."""


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """As in the fleet: at these sizes two threads take several times as long as one."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def puzzle() -> Puzzle:
    if not (PLACE / "historical_data.csv").exists():
        pytest.skip(f"the published puzzle is not at {PLACE}; the README says where to get it")
    return load_puzzle(PLACE)


@pytest.fixture(scope="module")
def answer(puzzle: Puzzle) -> Solution:
    """The published answer, found by the surest method and known by its hash."""
    found = refine(puzzle, assign(similarity(puzzle, "trace")).pairs, limits=Limits(seconds=60)).solution
    assert found.hash_match
    assert found.full_mse < ROUNDING
    return found


@pytest.fixture(scope="module")
def right_pairs(answer: Solution) -> Indices:
    pairs = np.empty(48, np.int64)
    pairs[list(answer.inp_sigma)] = answer.out_sigma
    return pairs


def test_every_method_is_known() -> None:
    assert set(RIGHT_PAIRS) == set(methods())


@pytest.mark.parametrize("method", RIGHT_PAIRS)
def test_right_pairs_of_a_method(puzzle: Puzzle, right_pairs: Indices, method: str) -> None:
    assert agreement(assign(similarity(puzzle, method)).pairs, right_pairs) == RIGHT_PAIRS[method]


def test_pairs_stated_at_nine_tenths_are_right(puzzle: Puzzle, right_pairs: Indices) -> None:
    stated, right = 0, 0
    for method in RIGHT_PAIRS:
        matrix = similarity(puzzle, method)
        pairs = assign(matrix).pairs
        sure = confidence(matrix, pairs) >= 0.9
        stated += np.count_nonzero(sure)
        right += agreement(pairs[sure], right_pairs[sure])
        if method == "consensus":
            assert sure.all()
    assert right >= 0.9 * stated


@pytest.mark.parametrize("method", [name for name, right in RIGHT_PAIRS.items() if right == 48])
def test_a_good_method_alone_solves_it(puzzle: Puzzle, method: str) -> None:
    found = refine(puzzle, assign(similarity(puzzle, method)).pairs, limits=Limits(seconds=60))
    assert found.stopped == "solved"
    assert found.solution.solved
    assert found.solution.hash_match
    assert found.solution.full_mse < ROUNDING


@pytest.mark.parametrize("decimals", [None, 3, 2, 1])
def test_the_data_decides_everything_however_it_was_rounded(
    puzzle: Puzzle, answer: Solution, right_pairs: Indices, decimals: int | None
) -> None:
    if decimals is not None:
        rounded = {"pred": puzzle.targets["pred"].round(decimals)}
        puzzle = replace(puzzle, targets=rounded, target_hash=None)
    found = refine(puzzle, right_pairs, limits=Limits(seconds=60)).solution
    assert found.solved
    assert found.permutation == answer.permutation
    assert not undecidable_exchanges(puzzle, found)


def test_labels_cannot_tell_neighbours_apart(puzzle: Puzzle, answer: Solution, right_pairs: Indices) -> None:
    labelled = puzzle.with_options(target="true")
    error = Network(labelled, right_pairs).full_mse(answer.inp_sigma)
    found = undecidable_exchanges(labelled, replace(answer, full_mse=error))
    assert found.blocks
    assert not found.inp
    assert not found.out


def test_the_command_solves_it_in_one_process(puzzle: Puzzle, tmp_path: Path) -> None:
    ended = Command(tmp_path)("solve", PLACE, "--inline", "--methods", "trace", "--json")
    assert ended.status == 0, ended.errors
    assert ended.json["best"]["hash_match"] is True


def test_the_fleet_solves_it_and_stores_it_once(puzzle: Puzzle, answer: Solution, tmp_path: Path) -> None:
    pairing = Command(tmp_path)
    first = pairing("solve", PLACE, "--workers", 2, "--json")
    assert first.status == 0, first.errors
    summary = first.json
    assert summary["best"]["hash_match"] is True
    assert summary["best"]["permutation"] == list(answer.permutation)
    assert summary["best"]["full_mse"] < ROUNDING
    assert len(summary["methods"]) == len(RIGHT_PAIRS)
    assert all(method["ok"] for method in summary["methods"])
    assert answer.full_mse == pytest.approx(summary["pool"]["best_after"])

    second = pairing("solve", PLACE, "--workers", 2, "--json")
    assert second.status == 0, second.errors
    assert second.json["pool"]["inserted"] == second.json["pool"]["stored_later"] == []
    matching = {method["method"]: method["pairs_matching_pool_best"] for method in second.json["methods"]}
    assert matching == RIGHT_PAIRS


@dataclass
class Copy:
    """The puzzle shuffled anew, and what its right answer is."""

    puzzle: Puzzle
    permutation: tuple[int, ...]


def shuffled(puzzle: Puzzle, answer: Solution, seed: int) -> Copy:
    """A copy with its pieces renumbered and the hidden units of every block permuted; it knows no answer."""
    rng = np.random.default_rng(seed)
    number = rng.permutation(2 * puzzle.blocks + 1)  # old → new
    inp_weight, inp_bias = puzzle.inp_weight.copy(), puzzle.inp_bias.copy()
    out_weight = puzzle.out_weight.copy()
    for i, j in zip(answer.inp_sigma, answer.out_sigma, strict=True):
        units = rng.permutation(puzzle.hidden)
        inp_weight[i], inp_bias[i] = inp_weight[i][units], inp_bias[i][units]
        out_weight[j] = out_weight[j][:, units]

    def sorted_anew(old: tuple[int, ...]) -> tuple[NDArray[np.int64], tuple[int, ...]]:
        new = number[list(old)]
        return np.argsort(new), tuple(int(n) for n in np.sort(new))

    inp, inp_numbers = sorted_anew(puzzle.inp_numbers)
    out, out_numbers = sorted_anew(puzzle.out_numbers)
    copy = replace(
        puzzle,
        inp_weight=inp_weight[inp],
        inp_bias=inp_bias[inp],
        out_weight=out_weight[out],
        out_bias=puzzle.out_bias[out],
        inp_numbers=inp_numbers,
        out_numbers=out_numbers,
        last_number=int(number[puzzle.last_number]),
        target_hash=None,
    )
    right = permutation_of(puzzle, answer.inp_sigma, answer.out_sigma)
    return Copy(copy, tuple(int(number[n]) for n in right))


@pytest.mark.parametrize("seed", [1, 2])
def test_the_whole_solves_a_shuffled_copy(puzzle: Puzzle, answer: Solution, seed: int, tmp_path: Path) -> None:
    copy = shuffled(puzzle, answer, seed)
    assert copy.puzzle.digest != puzzle.digest
    folder = write_puzzle(copy.puzzle, tmp_path / "copy")
    shutil.copyfile(PLACE / "historical_data.csv", folder / "historical_data.csv")
    ended = Command(tmp_path)("solve", folder, "--workers", 2, "--json")
    assert ended.status == 0, ended.errors
    best = ended.json["best"]
    assert best["hash_match"] is None
    assert best["full_mse"] < ROUNDING
    assert best["permutation"] == list(copy.permutation)
    assert ended.json["pool"]["best_before"] is None
