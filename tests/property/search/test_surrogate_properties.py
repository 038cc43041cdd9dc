"""The surrogate against the exact error, and the descent on it against plain evaluation."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairing.model.network import Network
from pairing.search.local_search import descend
from pairing.search.surrogate import Surrogate, linearize, surrogate_of
from tests.support.puzzles import Planted, plain_outputs, plant

SHAPES = (
    {"blocks": 5, "width": 4, "hidden": 6, "rows": 30},
    {"blocks": 7, "width": 3, "hidden": 8, "rows": 200, "outputs": 3},
    {"blocks": 2, "width": 5, "hidden": 2, "rows": 3},
    {"blocks": 9, "width": 6, "hidden": 4, "rows": 64},
)
SMOOTH = ("tanh", "gelu", "silu", "softplus")  # no kinks, so that second order is second order


@cache
def planted_of(shape: int, activation: str, scale: float) -> Planted:
    return plant(shape, activation=activation, scale=scale, **SHAPES[shape])


shapes = st.integers(0, len(SHAPES) - 1)
seeds = st.integers(0, 2**32 - 1)


def bits(order: np.ndarray) -> np.ndarray:
    """(P,) 1.0 for every pair of positions that ``order`` (positions as they are applied) inverts."""
    place = np.argsort(order)
    first, second = np.triu_indices(len(order), 1)
    return (place[first] > place[second]).astype(np.float64)


def predicted(model: Surrogate, order: np.ndarray) -> float:
    """The surrogate's error of an order of positions, in float64."""
    left = model.residual.astype(np.float64) - bits(order) @ model.changes.astype(np.float64)
    return float(np.mean(left**2))


def outputs_of(planted: Planted, order: np.ndarray, rows: np.ndarray) -> np.ndarray:
    some = replace(planted.puzzle, rows_in=planted.puzzle.rows_in[rows])
    return plain_outputs(some, order.tolist(), planted.pairs[order].tolist())


def with_target(planted: Planted, values: np.ndarray) -> Network:
    return Network(replace(planted.puzzle, targets={"pred": values}), planted.pairs)


@given(shapes, st.sampled_from(SMOOTH), seeds)
def test_the_predicted_error_of_any_order_is_right_to_first_order(shape: int, activation: str, seed: int) -> None:
    """Away from the target the error changes by −2 mean(r·ΣD), which small branches tell to about their size."""
    planted, rng = planted_of(shape, activation, 1e-4), np.random.default_rng(seed)
    puzzle = planted.puzzle
    network = with_target(planted, rng.normal(size=(puzzle.rows, puzzle.outputs)))
    base, order = rng.permutation(puzzle.blocks), rng.permutation(puzzle.blocks)
    rows = rng.permutation(puzzle.rows)[: rng.integers(1, puzzle.rows + 1)]
    model = linearize(network, base, rows)
    target = network.puzzle.target_values[rows]
    before, after = outputs_of(planted, base, rows), outputs_of(planted, base[order], rows)
    assert model.error == pytest.approx(np.mean((target - before) ** 2), rel=1e-5)
    exact = float(np.mean((after - before) * (after + before - 2 * target)))
    size = 2 * float(np.mean(np.abs(target - before) * np.abs(after - before)))
    assert predicted(model, order) - model.error == pytest.approx(exact, abs=0.02 * size + 1e-12)


@given(shapes, st.sampled_from(["tanh", "gelu", "silu"]), seeds)
def test_the_predicted_error_near_the_target_is_right_to_second_order(shape: int, activation: str, seed: int) -> None:
    """On the target only the quadratic part is left: mean((ΣD)²)."""
    planted, rng = planted_of(shape, activation, 0.02), np.random.default_rng(seed)
    puzzle = planted.puzzle
    base, order, rows = rng.permutation(puzzle.blocks), rng.permutation(puzzle.blocks), np.arange(puzzle.rows)
    before, after = outputs_of(planted, base, rows), outputs_of(planted, base[order], rows)
    model = linearize(with_target(planted, before), base, rows)
    exact = float(np.mean((after - before) ** 2))
    # Changes of one pair may cancel in the sum, so the allowance is a part of what they are without cancelling.
    alone = float(bits(order) @ np.mean(model.changes.astype(np.float64) ** 2, axis=1))
    assert model.error < 1e-10
    assert predicted(model, order) == pytest.approx(exact, rel=0.15, abs=0.02 * alone + 1e-11)


@given(shapes, st.sampled_from(SMOOTH), seeds)
def test_exchanging_neighbours_changes_the_output_by_their_commutator(shape: int, activation: str, seed: int) -> None:
    planted, rng = planted_of(shape, activation, 1e-4), np.random.default_rng(seed)
    puzzle = planted.puzzle
    network = with_target(planted, rng.normal(size=(puzzle.rows, puzzle.outputs)))
    base, rows = rng.permutation(puzzle.blocks), np.arange(puzzle.rows)
    model = linearize(network, base, rows)
    pairs = list(zip(*np.triu_indices(puzzle.blocks, 1), strict=True))
    before = outputs_of(planted, base, rows)
    residual = network.puzzle.target_values - before
    for position in range(puzzle.blocks - 1):
        swapped = base.copy()
        swapped[[position, position + 1]] = swapped[[position + 1, position]]
        change = outputs_of(planted, swapped, rows) - before
        index = pairs.index((position, position + 1))
        size = float(np.mean(np.abs(residual * change)))
        slope = np.mean(model.residual * model.changes[index])
        assert slope == pytest.approx(np.mean(residual * change), abs=0.05 * size)
        assert np.mean(model.changes[index] ** 2) == pytest.approx(np.mean(change**2), rel=0.1)


@given(shapes, st.sampled_from(["relu", "leaky_relu", "elu", "sigmoid", *SMOOTH]), seeds)
def test_crossings_are_inner_products_of_the_changes_of_one_block(shape: int, activation: str, seed: int) -> None:
    planted, rng = planted_of(shape, activation, 0.7), np.random.default_rng(seed)
    puzzle = planted.puzzle
    count, values = puzzle.blocks, puzzle.rows * puzzle.outputs
    model = linearize(Network(puzzle, planted.pairs), rng.permutation(count), np.arange(puzzle.rows))
    assert model.residual.shape == (values,)
    both = np.zeros((count, count, values))
    both[np.triu_indices(count, 1)] = model.changes
    both -= both.transpose(1, 0, 2)
    expected = np.einsum("abn,acn->abc", both, both) / values
    np.testing.assert_allclose(model.shared_block_gram, expected, rtol=1e-4, atol=1e-5 * max(1e-6, expected.max()))


def test_linearizing_a_single_block_leaves_nothing_to_order() -> None:
    planted = plant(0, blocks=1)
    model = linearize(Network(planted.puzzle, planted.pairs), np.array([0]), np.arange(10))
    assert model.changes.shape == (0, 10)
    assert descend(model, 5, 1e-9).tolist() == [[0]]


@given(shapes, seeds)
def test_rows_and_puzzle_are_left_as_they_were(shape: int, seed: int) -> None:
    planted = planted_of(shape, "relu", 0.7)
    rows = planted.puzzle.rows_in.copy()
    order = np.random.default_rng(seed).permutation(planted.puzzle.blocks)
    linearize(Network(planted.puzzle, planted.pairs), order, np.arange(planted.puzzle.rows))
    np.testing.assert_array_equal(planted.puzzle.rows_in, rows)


# ---- the descent


def insertions(order: np.ndarray) -> list[np.ndarray]:
    """Every order that one block put elsewhere makes."""
    count = len(order)
    return [
        np.insert(np.delete(order, taken), put, order[taken])
        for taken in range(count)
        for put in range(count)
        if taken != put
    ]


@st.composite
def models(draw: st.DrawFn) -> Surrogate:
    """A linearized network, or any quadratic form that is a mean of squares."""
    rng = np.random.default_rng(draw(seeds))
    if draw(st.booleans()):
        planted = planted_of(draw(shapes), draw(st.sampled_from(["relu", "tanh"])), draw(st.sampled_from([0.05, 0.7])))
        base = rng.permutation(planted.puzzle.blocks)
        return linearize(Network(planted.puzzle, planted.pairs), base, np.arange(planted.puzzle.rows))
    count = draw(st.integers(2, 8))
    changes = rng.normal(size=(40, count * (count - 1) // 2))
    residual = changes @ rng.integers(0, 2, changes.shape[1]) + rng.normal(size=40)
    return surrogate_of(residual.astype(np.float32), changes.T.astype(np.float32))


@given(models(), st.sampled_from([1e-2, 1e-4]), st.integers(0, 40))
def test_the_way_down(model: Surrogate, least: float, moves: int) -> None:
    """Every step is an insertion that lowers the error by its least gain, and the end is a local minimum."""
    least_gain = max(least * model.error, 1e-9)
    path = descend(model, moves, least_gain)
    count = path.shape[1]
    assert count * (count - 1) // 2 == len(model.changes)
    assert 1 <= len(path) <= moves + 1
    assert path[0].tolist() == list(range(count))
    energies = [predicted(model, order) for order in path]
    size = np.sqrt(np.mean(model.changes.astype(np.float64) ** 2, axis=1)).sum()
    rounding = 1e-5 * float((np.sqrt(model.error) + size) ** 2)
    for before, after, higher, lower in zip(path, path[1:], energies, energies[1:], strict=False):
        assert any(np.array_equal(after, order) for order in insertions(before))
        assert lower <= higher - least_gain + rounding
        assert lower < higher
    if len(path) <= moves:
        best = min((predicted(model, order) for order in insertions(path[-1])), default=np.inf)
        assert best > energies[-1] - least_gain - rounding


@given(models())
def test_a_descent_goes_on_where_a_shorter_one_ended(model: Surrogate) -> None:
    least_gain = max(1e-4 * model.error, 1e-9)
    whole = descend(model, 30, least_gain)
    for moves in range(len(whole)):
        np.testing.assert_array_equal(descend(model, moves, least_gain), whole[: moves + 1])
