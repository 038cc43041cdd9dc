"""A soak of seconds: that it can find what it looks for is seen in what it says of a fleet that holds."""

from __future__ import annotations

import random
from pathlib import Path

from tests.soak.__main__ import told
from tests.soak.stream import soak


def test_runs_end_as_if_nothing_had_been(tmp_path: Path) -> None:
    soaked = soak(tmp_path / "site", 8.0, random.Random(2), evaluations=500, every=4.0)
    assert soaked.wrong == []
    assert soaked.runs > 0
    assert soaked.faults.total() > 0
    assert soaked.after is not None
    assert soaked.after.spooled == 0
    assert all(told(soaked, 0.25, 2))
