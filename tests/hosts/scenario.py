"""What a scenario is: a line of the table in docs/services.md and docs/reliability.md."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.hosts.fleet import Fleet


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """That it holds is said by its having come to its end; ``work`` gives the figure that the table shows, if any."""

    name: str
    what: str
    holds: str
    work: Callable[[Fleet], str]
    fault: bool = False
    """Whether it is damage, and so stands in docs/reliability.md too."""
