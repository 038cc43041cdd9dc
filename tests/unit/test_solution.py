"""The published hash formula, and what counts as solved."""

from __future__ import annotations

from typing import Any

import pytest

from pairing.errors import InputError
from pairing.solution import permutation_hash, sigmas_of, solution_of
from tests.support.puzzles import plant


def test_the_published_formula() -> None:
    # printf '3,17,85' | sha256sum
    assert permutation_hash([3, 17, 85]) == "7a69d341ddb21d3478627cd1413887941cd3fdb2a34b6902222cfba3c64a9aa5"


def test_the_planted_answer_is_recognized() -> None:
    planted = plant(0, blocks=6)
    right = solution_of(planted.puzzle, planted.inp_sigma, planted.out_sigma, 1e9)
    assert right.permutation == planted.permutation
    assert (right.hash, right.hash_match, right.solved) == (planted.puzzle.target_hash, True, True)
    assert right.full_mse == 1e9
    wrong = solution_of(planted.puzzle, planted.inp_sigma[::-1], planted.out_sigma, 0.0)
    assert (wrong.hash_match, wrong.solved) == (False, False)


def test_without_a_hash_the_error_decides() -> None:
    planted = plant(0, known=False)
    bound = planted.puzzle.solved_mse
    for error, solved in ((0.0, True), (bound, True), (1.01 * bound, False), (float("inf"), False)):
        found = solution_of(planted.puzzle, planted.inp_sigma, planted.out_sigma, error)
        assert (found.hash_match, found.solved) == (None, solved)


@pytest.mark.parametrize("wrong", [None, "1", [1], 1.5, 1.0, True], ids=repr)
def test_what_is_no_whole_number_is_refused_with_its_position(wrong: Any) -> None:
    planted = plant(0)
    permutation = [*planted.permutation[:3], wrong, *planted.permutation[4:]]
    with pytest.raises(InputError, match=f"position 3 .*{type(wrong).__name__}"):
        sigmas_of(planted.puzzle, permutation)
    with pytest.raises(InputError, match="inp_sigma"):
        solution_of(planted.puzzle, [wrong, *planted.inp_sigma[1:]], planted.out_sigma, 0.0)


def test_an_input_error_ends_with_status_2() -> None:
    with pytest.raises(InputError) as caught:
        sigmas_of(plant(0).puzzle, [])
    assert caught.value.exit_status == 2
