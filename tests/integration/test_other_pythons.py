"""Under every other Python that ``make test`` found: the real puzzle, a worker, and a part of the unit tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pythons import SMOKE, environments, run_tests


@pytest.mark.parametrize("environment", environments(), ids=lambda folder: folder.name)
def test_the_real_puzzle_a_worker_and_some_units(environment: Path) -> None:
    assert run_tests(environment, *SMOKE) == 0
