"""What a benchmark case is: samples that are measured one by one, and figures made of their records."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.record import Figure

Values = dict[str, Any]
"""What one sample gave: plain, finite JSON values."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One sample to be measured."""

    index: int
    seed: int
    """Its own seed, decided by the run's."""
    run_seed: int
    networks: Path
    """The folder that keeps trained networks."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One thing that is measured."""

    name: str
    measure: Callable[[Sample], Values]
    figures: Callable[[Sequence[Values]], list[Figure]]
    """The figures of the samples that there are, at least one."""
    full: int
    """Samples of a full run."""
    quick: int = 0
    """Samples of a quick run; none where it leaves the case out."""
    published: bool = True
    """Whether it needs the published puzzle."""


def finite(number: float) -> float | None:
    """The number, or ``None`` for one that JSON does not know."""
    return number if math.isfinite(number) else None
