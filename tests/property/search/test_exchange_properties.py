"""Exchanges of pieces: what they do to pairs and order, and what they are said to gain against what they gain."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairing.arrays import Indices
from pairing.model.activations import ACTIVATIONS
from pairing.model.network import Network
from pairing.search import whitening
from pairing.search.moves.exchange import Exchange, Prices, price_exchanges
from pairing.search.surrogate import linearize
from tests.support.puzzles import Planted, altered, plain_outputs, plant

SHAPES = (
    {"blocks": 5, "width": 4, "hidden": 6, "rows": 30},
    {"blocks": 7, "width": 3, "hidden": 8, "rows": 150, "outputs": 3},
    {"blocks": 2, "width": 5, "hidden": 2, "rows": 3},
    {"blocks": 4, "width": 6, "hidden": 4, "rows": 230, "outputs": 2},
)
SMOOTH = ("tanh", "gelu", "silu", "softplus", "sigmoid")  # no kinks, so that first order is first order


@cache
def planted_of(shape: int, activation: str, scale: float) -> Planted:
    return plant(shape, activation=activation, scale=scale, **SHAPES[shape])


shapes = st.integers(0, len(SHAPES) - 1)
seeds = st.integers(0, 2**32 - 1)


# ---- what an exchange does


@st.composite
def arrangements(draw: st.DrawFn) -> tuple[Indices, Indices, Exchange]:
    count = draw(st.integers(2, 9))
    pairs, order = (np.array(draw(st.permutations(range(count))), np.int64) for _ in range(2))
    first, second = sorted(draw(st.lists(st.integers(0, count - 1), min_size=2, max_size=2, unique=True)))
    return pairs, order, Exchange(first, second, draw(st.booleans()))


@given(arrangements())
def test_an_exchange_moves_two_pieces_of_one_kind_and_nothing_else(made: tuple[Indices, Indices, Exchange]) -> None:
    pairs, order, exchange = made
    was_pairs, was_order = pairs.copy(), order.copy()
    new_pairs, new_order = exchange.applied(pairs, order)
    np.testing.assert_array_equal(pairs, was_pairs)
    np.testing.assert_array_equal(order, was_order)
    assert sorted(new_pairs.tolist()) == sorted(new_order.tolist()) == list(range(len(order)))
    assert {new_pairs.dtype, new_order.dtype} == {np.dtype(np.int64)}
    two = [exchange.first, exchange.second]
    swapped = np.arange(len(order))
    swapped[two] = swapped[two[::-1]]
    inp, out = (swapped, np.arange(len(order))) if exchange.inp else (np.arange(len(order)), swapped)
    np.testing.assert_array_equal(new_order, order[inp])  # the inp piece at each position
    np.testing.assert_array_equal(new_pairs[new_order], pairs[order][out])  # the out piece at each position


@given(arrangements())
def test_both_kinds_make_the_same_pairs_and_twice_gives_back(made: tuple[Indices, Indices, Exchange]) -> None:
    pairs, order, exchange = made
    changed, _ = exchange.applied(pairs, order)
    other, _ = replace(exchange, inp=not exchange.inp).applied(pairs, order)
    np.testing.assert_array_equal(changed, other)
    again, back = exchange.applied(*exchange.applied(pairs, order))
    np.testing.assert_array_equal(again, pairs)
    np.testing.assert_array_equal(back, order)


# ---- gains where the order is taken as right: the fall of the sum of squares over twice the noise's variance


@contextmanager
def order_taken_as_right() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(whitening, "INVERSION_VARIANCE", 0.0)
        yield


def outputs_of(network: Network, inp_sigma: Indices, out_sigma: Indices, rows: Indices) -> np.ndarray:
    some = replace(network.puzzle, rows_in=network.puzzle.rows_in[rows])
    return plain_outputs(some, inp_sigma.tolist(), out_sigma.tolist())


def with_noise(planted: Planted, rng: np.random.Generator) -> Network:
    """The network with pairs at random and a target that nothing reproduces."""
    puzzle = planted.puzzle
    values = rng.normal(size=(puzzle.rows, puzzle.outputs))
    return Network(replace(puzzle, targets={"pred": values}), rng.permutation(puzzle.blocks))


def gains_of(prices: Prices | None) -> dict[Exchange, float]:
    assert prices is not None
    assert len(prices.exchanges) == len(prices.gains) == len(set(prices.exchanges)) > 0
    return dict(zip(prices.exchanges, prices.gains.tolist(), strict=True))


def assert_gains_are_falls(
    network: Network, order: Indices, rows: Indices, gains: dict[Exchange, float], part: float
) -> None:
    """Each gain is what the sum of squares falls by, but for a ``part`` of its size before anything cancels."""
    target = network.puzzle.target_values[rows]
    inp, out = order, network.pairs[order]
    before = outputs_of(network, inp, out, rows)
    noise = whitening.NOISE * float(np.mean((target - before) ** 2))
    for exchange, gain in gains.items():
        pairs, new_inp = exchange.applied(network.pairs, order)
        new_out = pairs[new_inp]
        change = outputs_of(network, new_inp, new_out, rows) - before
        fall = float(np.sum(change * (2 * (target - before) - change)))
        alone = []  # what each of the two blocks changes
        for position in (exchange.first, exchange.second):
            here = np.arange(len(order)) == position
            one = outputs_of(network, np.where(here, new_inp, inp), np.where(here, new_out, out), rows)
            alone.append(np.abs(one - before))
        size = float(np.sum(sum(alone) * (2 * np.abs(target - before) + sum(alone))))
        assert gain == pytest.approx(fall / (2 * noise), abs=part * size / (2 * noise) + 1e-6)


@given(shapes, st.sampled_from(sorted(ACTIVATIONS)), seeds)
@pytest.mark.slow
def test_where_branches_are_small_every_gain_is_the_exact_one(shape: int, activation: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = with_noise(planted_of(shape, activation, 1e-4), rng)
    order = rng.permutation(network.puzzle.blocks)
    rows = rng.permutation(network.puzzle.rows)[: rng.integers(1, network.puzzle.rows + 1)]
    with order_taken_as_right():
        gains = gains_of(price_exchanges(network, order, rows))
    assert_gains_are_falls(network, order, rows, gains, 0.02)


@given(shapes, st.sampled_from(SMOOTH), seeds)
def test_an_exchange_of_similar_pieces_is_priced_right_however_large_branches_are(
    shape: int, activation: str, seed: int
) -> None:
    """The change then flows through all the blocks behind it, so this is what tells the gradients."""
    rng = np.random.default_rng(seed)
    planted, puzzle = planted_of(shape, activation, 0.4), planted_of(shape, activation, 0.4).puzzle
    order, pairs = rng.permutation(puzzle.blocks), rng.permutation(puzzle.blocks)
    first, second = sorted(rng.choice(puzzle.blocks, 2, replace=False).tolist())
    pieces = {}
    for kind, (one, other) in (("inp", order[[first, second]]), ("out", pairs[order][[first, second]])):
        for part in ("weight", "bias"):
            array = getattr(puzzle, f"{kind}_{part}").copy()
            array[other] = array[one] + 1e-3 * rng.normal(size=array[one].shape)
            pieces[f"{kind}_{part}"] = array
    noisy = with_noise(altered(planted, **pieces), rng)
    network, rows = Network(noisy.puzzle, pairs), np.arange(puzzle.rows)
    with order_taken_as_right():
        gains = gains_of(price_exchanges(network, order, rows))
    similar = {e: gain for e, gain in gains.items() if (e.first, e.second) == (first, second)}
    assert similar
    assert_gains_are_falls(network, order, rows, similar, 0.02)


# ---- gains where the order may be wrong


def one_wrong_pair(seed: int, activation: str, outputs: int) -> tuple[Planted, Indices]:
    """A network of twelve blocks, and its pairs with two out pieces exchanged."""
    planted = plant(
        seed, blocks=12, width=8, hidden=12, rows=800 // outputs, scale=0.3, outputs=outputs, activation=activation
    )
    wrong = planted.pairs.copy()
    two = np.random.default_rng(seed).choice(12, 2, replace=False)
    wrong[two] = wrong[two[::-1]]
    return planted, wrong


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("outputs", [1, 4])
@pytest.mark.parametrize("seed", range(3))
def test_the_exchange_that_puts_a_wrong_pair_right_gains_most(seed: int, outputs: int, activation: str) -> None:
    planted, wrong = one_wrong_pair(seed, activation, outputs)
    rows = np.arange(planted.puzzle.rows)
    prices = price_exchanges(Network(planted.puzzle, wrong), planted.order, rows)
    assert prices is not None
    assert prices.gains[0] == max(prices.gains) > 0
    pairs, _ = prices.exchanges[0].applied(wrong, planted.order)
    np.testing.assert_array_equal(pairs, planted.pairs)


@given(shapes, st.sampled_from(["relu", "tanh"]), seeds)
def test_gains_are_those_of_generalized_least_squares(shape: int, activation: str, seed: int) -> None:
    """With every effect and change as the exact outputs tell them: branches so small that first order is all."""
    rng = np.random.default_rng(seed)
    noisy = with_noise(planted_of(shape, activation, 1e-3), rng)
    order, rows = rng.permutation(noisy.puzzle.blocks), np.arange(noisy.puzzle.rows)
    model = linearize(noisy, order, rows)
    residual, changes = model.residual.astype(np.float64), model.changes.astype(np.float64)
    inverted = whitening.INVERSION_VARIANCE * changes.T @ changes
    least = whitening.CONDITION * np.trace(inverted) / len(inverted)
    noise = max(whitening.NOISE * model.error, least)
    inverse = np.linalg.inv(inverted + noise * np.eye(len(inverted)))
    before = outputs_of(noisy, order, noisy.pairs[order], rows)
    for exchange, gain in gains_of(price_exchanges(noisy, order, rows)).items():
        pairs, inp = exchange.applied(noisy.pairs, order)
        effect = (outputs_of(noisy, inp, pairs[inp], rows) - before).T.reshape(-1)
        expected = effect @ inverse @ residual - effect @ inverse @ effect / 2
        size = np.sqrt(effect @ inverse @ effect) * (np.sqrt(residual @ inverse @ residual) + 1)
        assert gain == pytest.approx(expected, abs=0.03 * size)


@given(shapes, seeds)
def test_evidence_adds_its_difference_of_log_odds(shape: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = with_noise(planted_of(shape, "relu", 0.7), rng)
    order, rows = rng.permutation(network.puzzle.blocks), np.arange(network.puzzle.rows)
    evidence = rng.normal(0, 5, (network.puzzle.blocks, network.puzzle.blocks))
    without = gains_of(price_exchanges(network, order, rows))
    told = gains_of(price_exchanges(network, order, rows, evidence))
    assert without.keys() & told.keys()

    def odds(pairs: Indices) -> float:
        return float(evidence[np.arange(len(pairs)), pairs].sum())

    for exchange in without.keys() & told.keys():
        pairs, _ = exchange.applied(network.pairs, order)
        more = odds(pairs) - odds(network.pairs)
        assert told[exchange] - without[exchange] == pytest.approx(more, abs=1e-3 * (1 + abs(without[exchange])))


def test_strong_evidence_decides() -> None:
    planted, wrong = one_wrong_pair(0, "relu", 1)
    evidence = np.zeros((12, 12))
    evidence[3, wrong[7]] = evidence[7, wrong[3]] = 1e6
    prices = price_exchanges(Network(planted.puzzle, wrong), planted.order, np.arange(400), evidence)
    assert prices is not None
    best = prices.exchanges[0]
    assert set(planted.order[[best.first, best.second]].tolist()) == {3, 7}


@given(shapes, seeds, st.floats(-2, 5))
def test_exchanges_made_together_share_no_position(shape: int, seed: int, least_gain: float) -> None:
    rng = np.random.default_rng(seed)
    network = with_noise(planted_of(shape, "gelu", 0.7), rng)
    prices = price_exchanges(network, rng.permutation(network.puzzle.blocks), np.arange(network.puzzle.rows))
    gains = gains_of(prices)
    assert prices is not None
    together = prices.together(least_gain)
    positions = [position for exchange in together for position in (exchange.first, exchange.second)]
    assert len(positions) == len(set(positions))
    if max(gains.values()) >= least_gain:
        assert gains[together[0]] == max(gains.values())
    else:
        assert together == []


def test_the_best_come_first() -> None:
    planted, wrong = one_wrong_pair(1, "silu", 1)
    prices = price_exchanges(Network(planted.puzzle, wrong), planted.order[::-1].copy(), np.arange(300))
    assert prices is not None
    assert prices.gains.tolist() == sorted(prices.gains, reverse=True)


@pytest.mark.parametrize("factor", [1e20, 1e30])
def test_where_the_network_overflows_there_are_no_prices(factor: float) -> None:
    planted = plant(0, blocks=5)
    puzzle = replace(planted.puzzle, out_weight=planted.puzzle.out_weight * np.float32(factor))
    with np.errstate(over="ignore", invalid="ignore"):
        assert price_exchanges(Network(puzzle, planted.pairs), planted.order, np.arange(40)) is None


@pytest.mark.parametrize("blocks", [2, 3])
@pytest.mark.parametrize("seed", range(12))
def test_blocks_that_nearly_coincide_have_prices(seed: int, blocks: int) -> None:
    """Few changes then explain nearly everything, and their covariance is singular but for the noise."""
    planted = plant(seed, blocks=blocks, width=6, hidden=9, rows=2000)
    out = planted.puzzle.out_weight.copy()
    out[1:] = out[0] + np.float32(1e-5) * np.random.default_rng(seed).normal(size=out[1:].shape).astype(np.float32)
    noisy = with_noise(altered(planted, out_weight=out), np.random.default_rng(seed))
    prices = price_exchanges(noisy, planted.order, np.arange(2000))
    assert prices is not None
    assert np.isfinite(prices.gains).all()


@pytest.mark.parametrize("blocks", [3, 12])
@pytest.mark.parametrize("factor", [1e3, 1e6, 1e9])
def test_large_weights_have_finite_prices_or_none(factor: float, blocks: int) -> None:
    planted = plant(1, blocks=blocks, rows=800)
    puzzle = replace(planted.puzzle, out_weight=planted.puzzle.out_weight * np.float32(factor))
    prices = price_exchanges(Network(puzzle, planted.pairs), planted.order, np.arange(800))
    assert prices is None or np.isfinite(prices.gains).all()
    assert (factor, blocks) != (1e3, 3) or prices is not None


def test_a_single_block_has_nothing_to_exchange() -> None:
    planted = plant(0, blocks=1)
    assert price_exchanges(Network(planted.puzzle, planted.pairs), planted.order, np.arange(40)) is None
