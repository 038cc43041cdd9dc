"""What is no similarity matrix is refused; other number types are taken."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from pairing import assignment
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


def test_the_solver_is_scipys_without_all_that_is_beside_it() -> None:
    code = (
        "import sys, numpy as np\n"
        "import pairing.search.driver\n"
        "from pairing.assignment import assign\n"
        "matrix = np.random.default_rng(0).normal(size=(50, 50))\n"
        "pairs = assign(matrix).pairs\n"
        "assert 'scipy.optimize' not in sys.modules\n"
        "from scipy.optimize import linear_sum_assignment\n"
        "assert (linear_sum_assignment(matrix, maximize=True)[1] == pairs).all()\n"
        "assert (assign(matrix).pairs == pairs).all()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_where_it_cannot_be_had_alone_all_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assignment, "PathFinder", SimpleNamespace(find_spec=lambda *_: None))
    assignment._solver.cache_clear()
    assert assign(np.eye(3)).pairs.tolist() == [0, 1, 2]
    assignment._solver.cache_clear()
