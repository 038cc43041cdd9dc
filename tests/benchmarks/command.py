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

PAIRING = (sys.executable, "-c", "from tasks.cli import main; main()")
INLINE = ("--inline", "--methods", "trace")
IMPORTED = ("numpy", "numba", "scipy.optimize", "sqlalchemy", "pydantic_settings", "rich.table", "click")
IMPORTED_FOR_PTH = ("torch", "pandas", "pyarrow.csv")


def run(arguments: Sequence[str], folder: Path) -> tuple[float, float, dict[str, Any]]:
    """Runs ``pairing`` with a data folder of its own, so an empty pool: wall seconds, its CPU seconds, its JSON."""
    environment = os.environ | {"PAIRING_DATA_DIR": str(folder / "data"), "OMP_NUM_THREADS": "1"}
    before, began = os.times(), time.monotonic()
    command = [*PAIRING, *arguments, "--json", "--out", str(folder / "results")]
    ended = subprocess.run(command, env=environment, capture_output=True, check=False)
    wall = time.monotonic() - began
    if not ended.stdout:
        raise RuntimeError(f"pairing ended with {ended.returncode}: {ended.stderr.decode()[-500:]}")
    return wall, _children_since(before), json.loads(ended.stdout)


def imports(modules: Sequence[str]) -> float:
    """CPU seconds of a Python that only imports ``modules``."""
    before = os.times()
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", f"import {', '.join(modules)}"], env=environment, check=True)
    return _children_since(before)


def _children_since(before: os.times_result) -> float:
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


@cache
def _warm() -> None:
    """The caches of files and of compiled loops filled."""
    with tempfile.TemporaryDirectory() as name:
        run(["solve", str(PUBLISHED_PUZZLE), *INLINE], Path(name))


def _beside_imports(packed: bool) -> Values:
    _warm()
    with tempfile.TemporaryDirectory() as name:
        source = PUBLISHED_PUZZLE
        if packed:
            source = Path(name) / "packed.safetensors"
            source.write_bytes(published().puzzle.pack())
        _, spent, found = run(["solve", str(source), *INLINE], Path(name))
    bare = imports(IMPORTED if packed else (*IMPORTED, *IMPORTED_FOR_PTH))
    return {"solved": found["solved"], "seconds": spent, "imports": bare}


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
