"""Log-odds and confidence: brute force over all pairings, symmetries, noise, planted pairs; and the consensus."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairing.assignment import agreement, assign
from pairing.signals.consensus import combine
from pairing.signals.posterior import STRENGTHS, confidence, log_odds, marginals, null_units, weigh

SEEDS = st.integers(0, 2**32 - 1)
NOISES = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "folded": lambda rng, shape: np.abs(rng.normal(size=shape)),
    "uniform": lambda rng, shape: rng.uniform(size=shape),
    "rank one": lambda rng, shape: np.outer(rng.normal(size=shape[0]), rng.normal(size=shape[1])),
}


def planted(rng: np.random.Generator, blocks: int, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """A matrix of standard normal scores, those of the right pairs higher by ``strength``, and the right pairs."""
    pairs = rng.permutation(blocks)
    matrix = rng.normal(size=(blocks, blocks))
    matrix[np.arange(blocks), pairs] += strength
    return matrix, pairs


def stated(matrix: np.ndarray) -> np.ndarray:
    return confidence(matrix, assign(matrix).pairs)


@given(SEEDS, st.integers(4, 6), st.sampled_from([0.1, 1.0, 3.0]))
def test_marginals_are_near_the_sums_over_all_pairings(seed: int, blocks: int, spread: float) -> None:
    ratios = np.random.default_rng(seed).normal(scale=spread, size=(blocks, blocks))
    every = np.array(list(permutations(range(blocks))))
    worth = np.exp(ratios[np.arange(blocks), every].sum(axis=1))
    exact = np.zeros((blocks, blocks))
    for pairing, share in zip(every, worth / worth.sum(), strict=True):
        exact[np.arange(blocks), pairing] += share
    probabilities, mean = marginals(ratios)
    # Bethe's approximation: as close as that for matrices as small as these
    assert np.abs(probabilities - exact).mean() < 0.12
    assert abs(float(mean) - np.log(worth.mean())) < 1.5


@given(SEEDS, st.integers(1, 12), st.sampled_from([0.0, 3.0, 30.0]))
def test_log_odds_are_normalized_and_rank_pairings_as_the_ratios_do(seed: int, blocks: int, strength: float) -> None:
    rng = np.random.default_rng(seed)
    matrix, _ = planted(rng, blocks, strength)
    logs = log_odds(matrix)
    np.testing.assert_allclose(np.exp(logs).sum(axis=1), 1, atol=1e-9)
    np.testing.assert_allclose(np.exp(logs).sum(axis=0), 1, atol=0.02)
    ratios = weigh(null_units(matrix), max(0.0, 1 - 2 / max(blocks - 1, 1))).log_ratios
    rows, one, other = np.arange(blocks), rng.permutation(blocks), rng.permutation(blocks)
    difference = (ratios[rows, one] - ratios[rows, other]).sum()
    np.testing.assert_allclose((logs[rows, one] - logs[rows, other]).sum(), difference, atol=1e-8)


@given(SEEDS, st.integers(1, 12))
def test_permuting_pieces_permutes_the_result(seed: int, blocks: int) -> None:
    rng = np.random.default_rng(seed)
    matrix, _ = planted(rng, blocks, 3.0)
    rows, columns = rng.permutation(blocks), rng.permutation(blocks)
    np.testing.assert_allclose(log_odds(matrix[rows][:, columns]), log_odds(matrix)[rows][:, columns], atol=1e-6)


@given(SEEDS, st.integers(1, 12), st.floats(-30, 30), st.floats(-1e3, 1e3))
def test_units_of_a_signal_and_levels_of_its_rows_and_columns_do_not_matter(
    seed: int, blocks: int, power: float, level: float
) -> None:
    rng = np.random.default_rng(seed)
    matrix, _ = planted(rng, blocks, 3.0)
    np.testing.assert_allclose(log_odds(matrix * 10.0**power), log_odds(matrix), atol=1e-6)
    np.testing.assert_allclose(stated(matrix + level), stated(matrix), atol=1e-6)


@pytest.mark.parametrize("noise", NOISES)
def test_noise_is_seldom_stated_to_be_sure(noise: str) -> None:
    rng = np.random.default_rng(0)
    for blocks, share in ((2, 0), (3, 0), (6, 0.06), (12, 0.06), (24, 0.03)):
        sure = [stated(NOISES[noise](rng, (blocks, blocks))) >= 0.9 for _ in range(60)]
        assert np.mean(np.concatenate(sure)) <= share


@pytest.mark.parametrize("blocks", [1, 2, 5, 24])
def test_a_matrix_that_knows_nothing_is_uniform(blocks: int) -> None:
    matrix = np.full((blocks, blocks), 7.0)
    np.testing.assert_allclose(log_odds(matrix), -np.log(blocks), atol=1e-6)
    np.testing.assert_allclose(stated(matrix), 1 / blocks, atol=1e-6)


@given(SEEDS, st.integers(8, 24))
def test_strong_planted_pairs_are_sure(seed: int, blocks: int) -> None:
    matrix, pairs = planted(np.random.default_rng(seed), blocks, 20.0)
    assert confidence(matrix, pairs).min() >= 0.9
    assert log_odds(matrix).argmax(axis=1).tolist() == pairs.tolist()


@pytest.mark.parametrize("strength", STRENGTHS[2:6])
@pytest.mark.parametrize("blocks", [12, 24, 48])
def test_of_pairs_stated_at_nine_tenths_nine_tenths_are_right(blocks: int, strength: float) -> None:
    rng = np.random.default_rng(blocks)
    sure, right = 0, 0
    for _ in range(600 // blocks):
        matrix, truth = planted(rng, blocks, strength)
        pairs = assign(matrix).pairs
        said = confidence(matrix, pairs) >= 0.9
        sure += np.count_nonzero(said)
        right += agreement(pairs[said], truth[said])
    assert sure < 30 or right >= 0.9 * sure
    assert strength < 5 or sure > 300


@given(SEEDS, st.integers(8, 20))
def test_a_consensus_is_right_where_one_signal_is_and_the_others_are_noise(seed: int, blocks: int) -> None:
    rng = np.random.default_rng(seed)
    matrix, pairs = planted(rng, blocks, 9.0)
    twin = rng.normal(size=(blocks, blocks))
    twins = [twin + 0.1 * rng.normal(size=(blocks, blocks)) for _ in range(3)]  # noise that agrees with itself
    noise = [make(rng, (blocks, blocks)) for make in NOISES.values()]
    assert agreement(assign(combine([*noise, matrix, *twins])).pairs, pairs) >= blocks - 1


@given(SEEDS)
def test_a_consensus_of_weak_signals_is_better_than_each(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pairs = rng.permutation(20)
    signals = [rng.normal(size=(20, 20)) for _ in range(6)]
    for signal in signals:
        signal[np.arange(20), pairs] += 2.5
    best = max(agreement(assign(signal).pairs, pairs) for signal in signals)
    assert agreement(assign(combine(signals)).pairs, pairs) >= best


@given(SEEDS, st.integers(2, 12))
def test_a_consensus_follows_the_pieces_and_not_the_units(seed: int, blocks: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.permutation(blocks)
    signals = [rng.normal(size=(blocks, blocks)) for _ in range(3)]
    for signal in signals:
        signal[np.arange(blocks), truth] += 4
    rows, columns = rng.permutation(blocks), rng.permutation(blocks)
    moved = [(10.0**k * signal)[rows][:, columns] for k, signal in enumerate(signals)]
    np.testing.assert_allclose(combine(moved), combine(signals)[rows][:, columns], atol=1e-5)
