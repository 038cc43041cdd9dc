"""Sigmas, permutation and hash: one goes into the other and back, and what is none is refused."""

from __future__ import annotations

import hashlib
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairing.errors import InputError
from pairing.model.puzzle import Puzzle
from pairing.solution import permutation_hash, permutation_of, sigmas_of, solution_of
from tests.support.puzzles import plant


@cache
def puzzle_of(blocks: int, seed: int) -> Puzzle:
    return plant(seed, blocks=blocks, rows=5, known=False).puzzle


@st.composite
def answers(draw: st.DrawFn) -> tuple[Puzzle, list[int], list[int]]:
    """A puzzle and any sigmas that it can have."""
    puzzle = puzzle_of(draw(st.integers(1, 7)), draw(st.integers(0, 3)))
    blocks = range(puzzle.blocks)
    return puzzle, draw(st.permutations(blocks)), draw(st.permutations(blocks))


@given(answers())
def test_sigmas_to_permutation_and_back(answer: tuple[Puzzle, list[int], list[int]]) -> None:
    puzzle, inp_sigma, out_sigma = answer
    permutation = permutation_of(puzzle, inp_sigma, out_sigma)
    assert sorted(permutation) == list(range(2 * puzzle.blocks + 1))
    assert all(type(number) is int for number in permutation)
    assert permutation[-1] == puzzle.last_number
    assert [puzzle.inp_numbers[i] for i in inp_sigma] == list(permutation[:-1:2])
    assert [puzzle.out_numbers[j] for j in out_sigma] == list(permutation[1:-1:2])
    assert sigmas_of(puzzle, permutation) == (tuple(inp_sigma), tuple(out_sigma))


@given(answers())
def test_numpys_numbers_become_plain_ones(answer: tuple[Puzzle, list[int], list[int]]) -> None:
    puzzle, inp_sigma, out_sigma = answer
    solution = solution_of(puzzle, np.array(inp_sigma), np.array(out_sigma), 0.5)
    assert solution == solution_of(puzzle, inp_sigma, out_sigma, 0.5)
    for numbers in (solution.inp_sigma, solution.out_sigma, solution.permutation):
        assert type(numbers) is tuple
        assert all(type(number) is int for number in numbers)


@given(answers())
def test_the_record_agrees_with_itself(answer: tuple[Puzzle, list[int], list[int]]) -> None:
    puzzle, inp_sigma, out_sigma = answer
    solution = solution_of(puzzle, inp_sigma, out_sigma, 0.5)
    assert solution.permutation == permutation_of(puzzle, inp_sigma, out_sigma)
    assert solution.hash == permutation_hash(solution.permutation)
    assert solution.hash_match is None
    right = solution_of(puzzle.with_options(target_hash=solution.hash), inp_sigma, out_sigma, 0.5)
    assert (right.hash_match, right.solved) == (True, True)
    wrong = solution_of(puzzle.with_options(target_hash="0" * 64), inp_sigma, out_sigma, 0.0)
    assert (wrong.hash_match, wrong.solved) == (False, False)


@given(st.lists(st.integers(0, 1000)))
def test_the_hash_is_that_of_the_numbers_joined_by_commas(numbers: list[int]) -> None:
    text = ",".join(str(number) for number in numbers)
    assert permutation_hash(numbers) == hashlib.sha256(text.encode("ascii")).hexdigest()
    assert permutation_hash(np.array(numbers, np.int64)) == permutation_hash(numbers)


@given(answers(), st.data())
def test_exchanging_two_different_kinds_names_the_first_wrong_position(
    answer: tuple[Puzzle, list[int], list[int]], data: st.DataObject
) -> None:
    puzzle, inp_sigma, out_sigma = answer
    permutation = list(permutation_of(puzzle, inp_sigma, out_sigma))
    first = data.draw(st.integers(0, len(permutation) - 2))
    second = data.draw(st.integers(first + 1, len(permutation) - 1))
    permutation[first], permutation[second] = permutation[second], permutation[first]
    same_kind = second != len(permutation) - 1 and (second - first) % 2 == 0
    if same_kind:
        assert permutation_of(puzzle, *sigmas_of(puzzle, permutation)) == tuple(permutation)
    else:
        with pytest.raises(InputError, match=rf"position {first} .*piece {permutation[first]} "):
            sigmas_of(puzzle, permutation)


@given(answers(), st.data())
def test_a_piece_that_does_not_exist_is_refused_with_its_position(
    answer: tuple[Puzzle, list[int], list[int]], data: st.DataObject
) -> None:
    puzzle, inp_sigma, out_sigma = answer
    permutation = list(permutation_of(puzzle, inp_sigma, out_sigma))
    place = data.draw(st.integers(0, len(permutation) - 1))
    permutation[place] = data.draw(st.integers(2 * puzzle.blocks + 1, 10_000) | st.integers(-1000, -1))
    with pytest.raises(InputError, match=rf"position {place} .*piece {permutation[place]},"):
        sigmas_of(puzzle, permutation)


@given(answers(), st.data())
def test_a_doubled_piece_is_refused_with_both_positions(
    answer: tuple[Puzzle, list[int], list[int]], data: st.DataObject
) -> None:
    puzzle, inp_sigma, out_sigma = answer
    permutation = list(permutation_of(puzzle, inp_sigma, out_sigma))
    places = st.integers(0, puzzle.blocks - 1)
    one, other, kind = data.draw(places), data.draw(places), data.draw(st.integers(0, 1))
    if one != other:
        permutation[2 * one + kind] = permutation[2 * other + kind]
        first, second = sorted((2 * one + kind, 2 * other + kind))
        name = f"piece {permutation[first]} "
        with pytest.raises(InputError, match=rf"{name}.*twice, at position {first} and at position {second}$"):
            sigmas_of(puzzle, permutation)


@given(answers(), st.integers(-3, 3).filter(bool))
def test_a_list_of_another_length_is_refused(answer: tuple[Puzzle, list[int], list[int]], more: int) -> None:
    puzzle, inp_sigma, out_sigma = answer
    permutation = (*permutation_of(puzzle, inp_sigma, out_sigma), *range(3))
    length = max(0, 2 * puzzle.blocks + 1 + more)
    with pytest.raises(InputError, match=rf"{length} piece numbers.* {2 * puzzle.blocks + 1} pieces"):
        sigmas_of(puzzle, permutation[:length])


@given(answers(), st.sampled_from(["inp_sigma", "out_sigma"]), st.data())
def test_sigmas_that_are_no_permutations_are_refused_by_name(
    answer: tuple[Puzzle, list[int], list[int]], name: str, data: st.DataObject
) -> None:
    puzzle, inp_sigma, out_sigma = answer
    sigmas = {"inp_sigma": inp_sigma, "out_sigma": out_sigma}
    place = data.draw(st.integers(0, puzzle.blocks - 1))
    wrong = list(sigmas[name])
    wrong[place] = data.draw(st.integers(-9, 20).filter(lambda k: k != sigmas[name][place]))
    for bad in (wrong, sigmas[name][:-1], [*sigmas[name], puzzle.blocks]):
        with pytest.raises(InputError, match=name):
            permutation_of(puzzle, **{**sigmas, name: bad})
        with pytest.raises(InputError, match=name):
            solution_of(puzzle, **{**sigmas, name: bad}, full_mse=0.0)
