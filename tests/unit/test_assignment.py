"""What is no similarity matrix is refused; other number types are taken."""

from __future__ import annotations

import numpy as np
import pytest

from pairing.assignment import assign


@pytest.mark.parametrize(
    "matrix",
    [np.zeros((2, 3)), np.zeros(4), np.zeros((2, 2, 2)), np.array([[1.0, np.nan], [0, 0]]), np.full((2, 2), np.inf)],
    ids=["not square", "flat", "deep", "nan", "infinite"],
)
def test_what_is_no_similarity_matrix_is_refused(matrix: np.ndarray) -> None:
    with pytest.raises(ValueError, match="square and finite"):
        assign(matrix)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int64])
def test_other_numbers_are_taken(dtype: type) -> None:
    found = assign(np.array([[0, 5, 1], [7, 6, 1], [0, 1, 2]], dtype))
    assert found.pairs.tolist() == [1, 0, 2]
    assert found.scores.dtype == found.margins.dtype == np.float64
    assert found.margins.tolist() == [5 - 6, 7 - 6, 2 - 1]
