"""Logit search: its gradients against plain evaluation, and that it goes on from a record as if never stopped."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pairing.search.logit_search import Logits, LogitSearch, Tuning, begun, sinkhorn
from tests.support.puzzles import PLAIN_ACTIVATIONS, Planted, plant

Floats = NDArray[np.float64]

SHAPES = (
    {"blocks": 5, "width": 4, "hidden": 6, "rows": 30},
    {"blocks": 6, "width": 3, "hidden": 8, "rows": 50, "outputs": 3},
    {"blocks": 2, "width": 1, "hidden": 2, "rows": 3},
)
SMOOTH = ("tanh", "gelu", "silu", "softplus")  # no kinks, so that differences tell slopes

shapes, seeds = st.integers(0, len(SHAPES) - 1), st.integers(0, 2**32 - 1)


def log_mse(planted: Planted, order: NDArray[np.int64], out: Floats) -> float:
    """Of the network whose blocks have these out pieces (N, d, h + 1), in float64."""
    puzzle, act = planted.puzzle, PLAIN_ACTIVATIONS[planted.puzzle.activation]
    x = puzzle.rows_in.astype(np.float64)
    for i in order:
        x = x + act(x @ puzzle.inp_weight[i].T + puzzle.inp_bias[i]) @ out[i, :, :-1].T + out[i, :, -1]
    return float(np.log(np.mean((puzzle.target_values - x @ puzzle.last_weight.T - puzzle.last_bias) ** 2)))


def drawn(shape: int, activation: str, seed: int, scale: float) -> tuple[Planted, NDArray[np.int64], Floats, Floats]:
    """A puzzle, an order, the out pieces (N, d, h + 1) of some wrong pairs, and all of them by their index."""
    planted, rng = plant(shape, activation=activation, scale=scale, **SHAPES[shape]), np.random.default_rng(seed)
    puzzle = replace(planted.puzzle, target="true")  # with noise, beside which what is changed is small
    planted = replace(planted, puzzle=puzzle)
    pieces = np.concatenate([puzzle.out_weight, puzzle.out_bias[:, :, None]], axis=2).astype(np.float64)
    return planted, rng.permutation(puzzle.blocks), pieces[rng.permutation(puzzle.blocks)], pieces


@settings(deadline=None, max_examples=30)
@given(shapes, st.sampled_from(SMOOTH), seeds)
def test_prices_are_the_slopes_of_the_logarithm_of_the_mse(shape: int, activation: str, seed: int) -> None:
    planted, order, out, pieces = drawn(shape, activation, seed, 0.5)
    found = LogitSearch(planted.puzzle).gradients(order, out.astype(np.float32), np.arange(planted.puzzle.rows))
    assert found is not None
    step, exact = 1e-5, np.empty_like(found[0], np.float64)
    for i in range(len(order)):
        for j, piece in enumerate(pieces):
            ends = []
            for sign in (-1, 1):
                moved = out.copy()
                moved[i] += sign * step * piece
                ends.append(log_mse(planted, order, moved))
            exact[i, j] = (ends[1] - ends[0]) / (2 * step)
    np.testing.assert_allclose(found[0], exact, rtol=1e-2, atol=1e-3 * np.abs(exact).max() + 1e-6)


@settings(deadline=None, max_examples=30)
@given(shapes, st.sampled_from(SMOOTH), seeds)
def test_preferences_are_what_small_branches_gain_by_an_exchange_of_neighbours(
    shape: int, activation: str, seed: int
) -> None:
    planted, order, out, _ = drawn(shape, activation, seed, 1e-2)
    found = LogitSearch(planted.puzzle).gradients(order, out.astype(np.float32), np.arange(planted.puzzle.rows))
    assert found is not None
    now = log_mse(planted, order, out)
    gains, priced = [], []
    for place in range(len(order) - 1):
        swapped = order.copy()
        swapped[[place, place + 1]] = swapped[[place + 1, place]]
        gains.append(log_mse(planted, swapped, out) - now)
        priced.append(found[1][order[place], order[place + 1]])
    np.testing.assert_allclose(priced, gains, rtol=0.2, atol=0.1 * np.abs(gains).max() + 1e-7)


@settings(deadline=None, max_examples=15)
@given(shapes, st.sampled_from(sorted(PLAIN_ACTIVATIONS)), seeds, st.integers(0, 25))
def test_a_search_goes_on_from_its_record_as_if_it_had_never_stopped(
    shape: int, activation: str, seed: int, stop: int
) -> None:
    planted = plant(shape, activation=activation, **SHAPES[shape])
    search = LogitSearch(planted.puzzle, Tuning(samples=8))

    def finished(stop: int | None) -> tuple[list[int], list[int], int]:
        rng, steps = np.random.default_rng(seed), 0
        at = begun(rng, 20, planted.puzzle.blocks)
        while not search.is_over(at):
            search.step(at, rng)
            steps += 1
            if steps == stop:
                at = Logits.from_json(at.to_json(), planted.puzzle.blocks)
        pairs, order = at.solution()
        return pairs.tolist(), order.tolist(), steps

    undisturbed = finished(None)
    assert finished(stop) == undisturbed
    assert undisturbed[2] == 20 + 8
    assert sorted(undisturbed[0]) == sorted(undisturbed[1]) == list(range(planted.puzzle.blocks))


@given(st.integers(1, 6), seeds)
def test_a_mixture_takes_every_piece_once(blocks: int, seed: int) -> None:
    logits = np.random.default_rng(seed).normal(size=(blocks, blocks)).astype(np.float32)
    mixture = sinkhorn(logits, 50)
    np.testing.assert_allclose(mixture.sum(axis=0), 1, atol=1e-3)
    np.testing.assert_allclose(mixture.sum(axis=1), 1, atol=1e-3)


def test_evidence_alone_decides_where_the_data_says_nothing() -> None:
    planted = plant(0, blocks=6, scale=1e-6)
    evidence = np.full((6, 6), -9.0)
    evidence[np.arange(6), planted.pairs] = 0.0
    rng = np.random.default_rng(0)
    at, search = begun(rng, 50, 6, evidence), LogitSearch(planted.puzzle)
    while not search.is_over(at):
        search.step(at, rng)
    assert at.solution()[0].tolist() == planted.pairs.tolist()


def right_pairs(
    planted: Planted, steps: int, foothold: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None
) -> list[int]:
    """How many pairs five searches find of a network, in ascending order."""
    right, blocks = [], planted.puzzle.blocks
    for seed in range(5):
        rng = np.random.default_rng(seed)
        at, search = begun(rng, steps, blocks, foothold=foothold), LogitSearch(planted.puzzle)
        while not search.is_over(at):
            search.step(at, rng)
        right.append(int(np.sum(at.solution()[0] == planted.pairs)))
    return sorted(right)


@pytest.mark.slow
def test_pairs_and_order_of_a_network_are_found_from_nothing() -> None:
    planted = plant(3, blocks=10, width=12, hidden=24, rows=1000, scale=0.3)
    assert right_pairs(planted, 400)[2] == 10  # by most of the searches


def test_a_few_wrong_pairs_are_put_right_in_far_fewer_steps() -> None:
    planted = plant(3, blocks=10, width=12, hidden=24, rows=1000, scale=0.3)
    order, pairs = np.array(planted.inp_sigma), planted.pairs.copy()
    wrong = order[[2, 5, 8]]
    pairs[wrong] = pairs[np.roll(wrong, 1)]
    assert right_pairs(planted, 100, (pairs, order))[0] == 10
    assert right_pairs(planted, 100)[-1] < 10


DAMAGES = (
    {"values": "?"},
    {"values": ""},
    {"steps": -1},
    {"steps": 11},
    {"mean_field": 1},
    {"length": 0},
    {"number": 2**30},
)


@pytest.mark.parametrize("damage", DAMAGES, ids=str)
def test_a_damaged_record_is_refused(damage: dict[str, object]) -> None:
    record = begun(np.random.default_rng(0), 10, 3).to_json() | {"steps": 1} | damage
    with pytest.raises((ValueError, TypeError)):
        Logits.from_json(record, 3)
