"""The assignment against every pairing there is."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pairing.assignment import agreement, assign

few_values = st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0])  # so that ties happen
any_values = st.floats(-100, 100)


def matrices(least: int = 1, most: int = 6) -> st.SearchStrategy[np.ndarray]:
    return st.integers(least, most).flatmap(
        lambda n: st.sampled_from([few_values, any_values]).flatmap(lambda v: arrays(np.float64, (n, n), elements=v))
    )


@given(matrices())
def test_no_pairing_has_a_larger_total(matrix: np.ndarray) -> None:
    found = assign(matrix)
    count = len(matrix)
    assert sorted(found.pairs.tolist()) == list(range(count))
    assert found.pairs.dtype == np.int64
    totals = [sum(matrix[i, j] for i, j in enumerate(pairs)) for pairs in permutations(range(count))]
    assert found.total_similarity == pytest.approx(max(totals), abs=1e-9)
    assert found.mean_similarity == pytest.approx(max(totals) / count, abs=1e-9)
    assert found.scores.tolist() == [matrix[i, j] for i, j in enumerate(found.pairs)]


@given(matrices())
def test_a_margin_is_the_lead_over_the_best_rival(matrix: np.ndarray) -> None:
    found = assign(matrix)
    count = len(matrix)
    for i, j in enumerate(found.pairs.tolist()):
        rivals = [matrix[i, other] for other in range(count) if other != j]
        rivals += [matrix[other, j] for other in range(count) if other != i]
        assert found.margins[i] == (matrix[i, j] - max(rivals) if rivals else float("inf"))


@given(matrices(), st.integers(0, 8))
def test_top_pairs_are_the_largest(matrix: np.ndarray, count: int) -> None:
    found = assign(matrix)
    top = found.top_pairs(count)
    assert len(top) == min(count, len(matrix))
    assert [score for _, _, score in top] == sorted(found.scores.tolist(), reverse=True)[:count]
    assert len({i for i, _, _ in top}) == len(top)
    for i, j, score in top:
        assert type(i) is int
        assert type(j) is int
        assert found.pairs[i] == j
        assert matrix[i, j] == score


@given(st.permutations(range(6)), st.permutations(range(6)))
def test_agreement_counts_the_pairs_shared(one: list[int], other: list[int]) -> None:
    shared = set(enumerate(one)) & set(enumerate(other))
    assert agreement(np.array(one), np.array(other)) == len(shared)
    assert agreement(np.array(one), np.array(one)) == 6


@given(matrices())
def test_the_matrix_is_left_as_it_was(matrix: np.ndarray) -> None:
    before = matrix.copy()
    assign(matrix)
    np.testing.assert_array_equal(matrix, before)
