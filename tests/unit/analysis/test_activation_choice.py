"""``auto``: the activation is found by the error that it leaves, the same one every time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pairing import load_puzzle, solve
from pairing.analysis.activation_choice import activation_of_answer, choose_activation, with_activation
from pairing.errors import InputError, MethodError
from pairing.io.packed import pack_puzzle
from pairing.model.activations import ACTIVATIONS, AUTO, activation_of, checked_activation
from pairing.synthetic.make import make_puzzle
from pairing.synthetic.recipe import Recipe
from tests.support.puzzles import Planted, plant, with_answer, write_puzzle


@pytest.fixture(scope="module", params=ACTIVATIONS)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Planted:
    """A trained network of one activation, dropped; it says nothing of its activation."""
    folder = tmp_path_factory.mktemp("trained") / "network"
    shape = {"blocks": 5, "width": 10, "rows": 500, "seed": 1}
    recipe = Recipe(**shape, activation=request.param, epochs=60, learning_rate=0.01, weight_decay=0.1)
    made = make_puzzle(folder, recipe)
    return with_answer(load_puzzle(folder), made.answer_path)


def unknown(planted: Planted, **changes: object) -> Planted:
    """The same, of an activation that nobody knows."""
    return replace(planted, puzzle=replace(planted.puzzle, activation=AUTO, **changes))  # type: ignore[arg-type]


@pytest.mark.slow
def test_the_networks_own_activation_is_found(trained: Planted) -> None:
    solution = solve(unknown(trained).puzzle, "consensus")
    assert solution.puzzle.activation == trained.puzzle.activation
    assert solution.solved
    assert solution.full_mse < 1e-9 * trained.puzzle.target_variance


@pytest.mark.slow
def test_it_is_found_when_the_target_is_rounded(trained: Planted) -> None:
    rounded = unknown(trained, targets={"pred": trained.puzzle.target_values.round(3)}, target_hash=None)
    assert choose_activation(rounded.puzzle) == trained.puzzle.activation


@pytest.mark.slow
def test_it_is_known_of_an_answer(trained: Planted) -> None:
    found = activation_of_answer(unknown(trained).puzzle, trained.inp_sigma, trained.out_sigma)
    assert found == trained.puzzle.activation


def test_a_known_activation_is_left_alone() -> None:
    puzzle = plant(0, activation="tanh").puzzle
    assert with_activation(puzzle) is puzzle


def test_no_time_still_gives_an_activation() -> None:
    assert choose_activation(unknown(plant(0)).puzzle, seconds=0.0) in ACTIVATIONS


def test_wrong_pairs_still_give_the_same_activation_every_time() -> None:
    puzzle = unknown(plant(2, blocks=5, rows=200, known=False)).puzzle
    assert choose_activation(puzzle) == choose_activation(puzzle) in ACTIVATIONS


def test_without_any_pairs_the_reason_is_told() -> None:
    puzzle = plant(0).puzzle
    broken = replace(puzzle, inp_weight=np.full_like(puzzle.inp_weight, np.nan), activation=AUTO)
    with pytest.raises(MethodError):
        choose_activation(broken)


def test_auto_is_a_name_but_no_function() -> None:
    assert checked_activation(AUTO) == AUTO
    with pytest.raises(InputError, match=r"unknown activation 'sin'; known: auto, relu"):
        checked_activation("sin")
    with pytest.raises(InputError, match="still to be chosen"):
        activation_of(AUTO)


def test_a_puzzles_description_may_leave_it_open(tmp_path: Path) -> None:
    folder = write_puzzle(plant(0).puzzle, tmp_path / "open")
    (folder / "puzzle.json").write_text('{"activation": "auto"}')
    packed = tmp_path / "packed"
    packed.write_bytes(pack_puzzle(load_puzzle(folder)))
    assert load_puzzle(folder).activation == load_puzzle(packed).activation == AUTO
