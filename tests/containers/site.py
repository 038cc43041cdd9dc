"""What scenarios of containers work with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.containers.engine import Engine
from tests.containers.fleet import Fleet


@dataclass(frozen=True)
class Site:
    """What scenarios work with."""

    engine: Engine
    project: Path
    """A copy of the project, which may be changed."""
    folder: Path
    """For whatever else there is to write."""
    fleet: Fleet
