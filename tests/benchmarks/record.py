"""One measured figure, and the table of them all."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure of one benchmark; ``required`` is ``None`` for one that is only reported."""

    what: str
    measured: float
    unit: str
    samples: int
    required: float | None = None
    at_least: bool = False
    """Whether more is better; else less is."""

    @property
    def held(self) -> bool:
        """Whether it is as required."""
        if self.required is None:
            return True
        return self.measured >= self.required if self.at_least else self.measured <= self.required

    @property
    def cells(self) -> tuple[str, ...]:
        """The row that the table shows."""
        if self.required is None:
            return self.what, f"{self.measured:.4g} {self.unit}", "", "", str(self.samples), ""
        sign = "≥" if self.at_least else "≤"
        ratio = self.measured / self.required if self.required else float("inf")
        verdict = "held" if self.held else "MISSED"
        required = f"{sign} {self.required:g}"
        return self.what, f"{self.measured:.4g} {self.unit}", required, f"{ratio:.2f}", str(self.samples), verdict


def machine() -> str:
    """The processor and the libraries that the figures were measured with."""
    model = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        lines = information.read_text().splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    return f"{model}, Python {platform.python_version()}, NumPy {np.__version__}, one thread"
