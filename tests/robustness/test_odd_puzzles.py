"""Two hundred valid puzzles of every odd kind."""

from __future__ import annotations

import pytest

from tests.robustness.checks import check, compile_loops


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    compile_loops()


@pytest.mark.parametrize("seed", range(200))
def test_an_odd_puzzle_ends_in_time_and_what_is_reported_is_true(seed: int) -> None:
    check(seed)
