"""What a scenario is: a line of the table in docs/services.md."""

from __future__ import annotations

from collections.abc import Callable
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


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """That it holds is said by its having come to its end; ``work`` gives the figure that the table shows, if any."""

    name: str
    what: str
    holds: str
    work: Callable[[Site], str]
