"""Relocations are the order with one block put elsewhere; whitening is generalized least squares."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pairing.model.network import Network
from pairing.search.moves.relocate import CANDIDATES, relocations
from pairing.search.surrogate import linearize
from pairing.search.whitening import INVERSION_VARIANCE, NOISE, Whitening
from tests.support.puzzles import plant


@given(st.integers(1, 30), st.integers(0, 2**16))
def test_a_relocation_moves_one_block_beyond_its_neighbours(blocks: int, seed: int) -> None:
    planted = plant(seed % 100, blocks=blocks, rows=20)
    order = np.random.default_rng(seed).permutation(blocks)
    network, rows = Network(planted.puzzle, planted.pairs), np.arange(planted.puzzle.rows)
    lines = relocations(network, order, linearize(network, order, rows), rows, np.random.default_rng(seed))
    assert lines.shape[1] == blocks
    assert len(lines) <= CANDIDATES + blocks
    assert len({line.tobytes() for line in lines}) == len(lines)
    for line in lines:
        far = np.abs(np.argsort(line) - np.argsort(order))
        taken = order[np.argmax(far[order])]
        assert far[taken] >= 2
        assert np.array_equal(line[line != taken], order[order != taken])


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**16))
def test_whitened_values_have_the_inner_products_of_generalized_least_squares(
    pairs: int, values: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    changes, several = rng.normal(size=(pairs, values)).astype(np.float32), rng.normal(size=(values, 3))
    error = float(rng.uniform(0.1, 10))
    covariance = INVERSION_VARIANCE * changes.T.astype(float) @ changes + NOISE * error * np.eye(values)
    plain = several.T @ np.linalg.solve(covariance, several)
    model = Whitening(changes, error)
    np.testing.assert_allclose(model.inner(several, several), plain, rtol=1e-3, atol=1e-3 * np.abs(plain).max())
    np.testing.assert_allclose(model.squares(several), np.diag(plain), rtol=1e-3, atol=1e-3 * np.abs(plain).max())
