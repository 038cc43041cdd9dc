"""How long the whole command takes, processes and imports included."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.case import Case, Sample, Values
from tests.benchmarks.puzzles import PUBLISHED_PUZZLE, disguised, published
from tests.benchmarks.record import Figure, share
from tests.support.puzzles import write_puzzle

PAIRING = "from tasks.cli import run_command; run_command()"
INLINE = ("--inline", "--methods", "trace")

OWN = {"pairing", "tasks", "config", "__main__"}
"""The packages whose imports are no part of the base that the whole process is compared with."""

LISTED = """
import sys
from pathlib import Path
from tasks.cli import main
try:
    main()
finally:
    names = list(sys.modules)
    Path({file!r}).write_text("\\n".join(names))
"""
IMPORTED = """
import sys
from importlib import import_module
for name in sys.stdin.read().split():
    import_module(name)
"""
TRIED = """
import sys
from importlib import import_module
imported = []
for name in sys.stdin.read().split():
    try:
        import_module(name)
    except Exception:
        continue
    imported.append(name)
print()
print(*imported)
"""


def run(arguments: Sequence[str], folder: Path, code: str = PAIRING) -> tuple[float, float, dict[str, Any]]:
    """Runs ``pairing`` with a data folder of its own, so an empty pool: wall seconds, its CPU seconds, its JSON.

    ``code`` is the Python that starts it.
    """
    environment = os.environ | {"PAIRING_DATA_DIR": str(folder / "data"), "OMP_NUM_THREADS": "1"}
    before, began = os.times(), time.monotonic()
    command = [sys.executable, "-c", code, *arguments, "--json", "--out", str(folder / "results")]
    ended = subprocess.run(command, env=environment, capture_output=True, check=False)
    wall = time.monotonic() - began
    if not ended.stdout:
        raise RuntimeError(f"pairing ended with {ended.returncode}: {ended.stderr.decode()[-500:]}")
    return wall, _children_since(before), json.loads(ended.stdout)


def imports(modules: Sequence[str]) -> float:
    """CPU seconds of a Python that only imports ``modules``."""
    before = os.times()
    _with_names(IMPORTED, modules)
    return _children_since(before)


def importable(modules: Sequence[str]) -> list[str]:
    """Those of the modules that can be imported by their names, one after the other, and are not our own.

    What cannot are names that packages have put into ``sys.modules`` themselves.
    """
    theirs = [name for name in modules if name.partition(".")[0] not in OWN]
    return _with_names(TRIED, theirs).splitlines()[-1].split()


def _with_names(code: str, modules: Sequence[str]) -> str:
    """Runs Python that reads the names of modules: its standard output."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command, names = [sys.executable, "-c", code], "\n".join(modules)
    done = subprocess.run(command, input=names, env=environment, capture_output=True, text=True, check=True)
    return done.stdout


def _children_since(before: os.times_result) -> float:
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


@cache
def _warm() -> None:
    """The caches of files and of compiled loops filled."""
    with tempfile.TemporaryDirectory() as name:
        run(["solve", str(PUBLISHED_PUZZLE), *INLINE], Path(name))


def _source(packed: bool, folder: Path) -> Path:
    """The published puzzle as a folder, or packed into one file below ``folder``."""
    if not packed:
        return PUBLISHED_PUZZLE
    source = folder / "packed.safetensors"
    source.write_bytes(published().puzzle.pack())
    return source


@cache
def _base(packed: bool) -> tuple[str, ...]:
    """The modules of the standard library and of others that a run has imported when it ends, in its order."""
    with tempfile.TemporaryDirectory() as name:
        listed = Path(name) / "modules"
        arguments = ["solve", str(_source(packed, Path(name))), *INLINE]
        run(arguments, Path(name), LISTED.format(file=str(listed)))
        return tuple(importable(listed.read_text().split()))


def _beside_imports(packed: bool) -> Values:
    """CPU seconds of the whole process, and of one that does no more than import what the first one had imported.

    The base is found, not chosen: a run like the measured one lists ``sys.modules`` as it ends, in the order in which
    they came. Off that list go our own packages (``pairing``, ``tasks``, ``config``), so that all their code counts as
    ours, and the names that cannot be imported alone. A process that imports just those is the base.
    """
    _warm()
    base = _base(packed)
    with tempfile.TemporaryDirectory() as name:
        _, spent, found = run(["solve", str(_source(packed, Path(name))), *INLINE], Path(name))
    return {"solved": found["solved"], "seconds": spent, "imports": imports(base), "modules": len(base)}


def _beside_imports_figures(values: Sequence[Values], what: str) -> list[Figure]:
    ratios = [v["seconds"] / v["imports"] if v["solved"] else math.inf for v in values]
    text = f"whole process from {what} / its imports"
    median = float(np.median(ratios))
    return [Figure(what=text, measured=median, unit="×", required=1.6, samples=len(values))]


def _whole(options: Sequence[str]) -> Values:
    _warm()
    with tempfile.TemporaryDirectory() as name:
        wall, _, found = run(["solve", str(PUBLISHED_PUZZLE), *options], Path(name))
    return {"solved": found["solved"], "seconds": wall}


def _wall_figures(values: Sequence[Values], what: str, required: float) -> list[Figure]:
    median = float(np.median([v["seconds"] if v["solved"] else math.inf for v in values]))
    return [Figure(what=what, measured=median, unit="s", required=required, samples=len(values))]


def _copy(sample: Sample) -> Values:
    planted = disguised(sample.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = write_puzzle(planted.puzzle, Path(name) / "copy")
        found = run(["solve", str(folder)], Path(name))[2]
    return {"exact": tuple((found["best"] or {}).get("permutation", ())) == planted.permutation}


CASES = (
    Case(
        name="process packed",
        measure=lambda _: _beside_imports(packed=True),
        figures=lambda values: _beside_imports_figures(values, "packed puzzle"),
        quick=3,
        full=20,
    ),
    Case(
        name="process pth",
        measure=lambda _: _beside_imports(packed=False),
        figures=lambda values: _beside_imports_figures(values, ".pth and CSV"),
        quick=3,
        full=20,
    ),
    Case(
        name="solve inline",
        measure=lambda _: _whole(INLINE),
        figures=lambda values: _wall_figures(values, "solve --inline --methods trace", 8),
        quick=3,
        full=10,
    ),
    Case(
        name="solve",
        measure=lambda _: _whole(()),
        figures=lambda values: _wall_figures(values, "solve, all methods, embedded fleet", 25),
        quick=2,
        full=10,
    ),
    Case(
        name="copies",
        measure=_copy,
        figures=lambda values: [share("re-shuffled copies solved", [v["exact"] for v in values], required=100)],
        quick=2,
        full=10,
    ),
)
