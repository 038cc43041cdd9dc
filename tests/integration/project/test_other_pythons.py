"""Under the newest other Python that ``make test`` found: the real puzzle, a worker, and a part of the unit tests."""

from __future__ import annotations

from tests.pythons import SMOKE, environments, found, run_tests


def test_the_real_puzzle_a_worker_and_some_units() -> None:
    made = environments()
    assert made or not found(), "another Python is there, but its environment could not be made"
    for environment in made:
        assert run_tests(environment, *SMOKE) == 0
