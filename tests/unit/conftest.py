"""What several tests of the engine begin with."""

from __future__ import annotations

import pytest

from pairing.io.load import load_puzzle
from pairing.search import driver
from tests.support.paths import EXAMPLES
from tests.support.puzzles import Planted, with_answer


@pytest.fixture(scope="session")
def demo() -> Planted:
    """The demo puzzle with its answer: 12 trained blocks."""
    return with_answer(load_puzzle(EXAMPLES / "demo-puzzle"), EXAMPLES / "demo-puzzle.answer.json")


@pytest.fixture
def talkative(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hooks are called whenever they can be."""
    for name in ("PROGRESS_SECONDS", "CHECKPOINT_SECONDS", "POLL_SECONDS"):
        monkeypatch.setattr(driver, name, 0.0)
