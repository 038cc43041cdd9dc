"""Pairing reassembles a trained residual network from its shuffled linear layers.

>>> from pairing import load_puzzle, solve
>>> solution = solve(load_puzzle("examples/demo-puzzle"))

``solve`` gives the best solution, ``compare`` a table of all methods. Each name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from pairing.version import __version__

if _TYPE_CHECKING:
    from pairing.comparison import compare
    from pairing.found import FoundSolution
    from pairing.io.load import load_puzzle
    from pairing.model.puzzle import Puzzle
    from pairing.search.driver import Progress
    from pairing.search.history import History
    from pairing.solution import Solution
    from pairing.solving import solve

__all__ = [
    "FoundSolution",
    "History",
    "Progress",
    "Puzzle",
    "Solution",
    "__version__",
    "compare",
    "load_puzzle",
    "solve",
]

_HOMES = {
    "FoundSolution": "found",
    "History": "search.history",
    "Progress": "search.driver",
    "Puzzle": "model.puzzle",
    "Solution": "solution",
    "compare": "comparison",
    "load_puzzle": "io.load",
    "solve": "solving",
}


def __getattr__(name: str) -> _Any:
    if name in _HOMES:
        return getattr(_import_module(f"pairing.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'pairing' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
