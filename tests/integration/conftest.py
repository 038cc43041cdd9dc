"""The command ``pairing`` in a folder of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.fleet import Command


@pytest.fixture
def pairing(tmp_path: Path) -> Command:
    return Command(tmp_path)
