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

from pairing.io.packed import pack_puzzle
from tests.benchmarks.case import Case, Sample, Values
from tests.benchmarks.puzzles import PUBLISHED_PUZZLE, disguised, published
from tests.benchmarks.record import Figure, share
from tests.support.puzzles import Planted, write_puzzle

PAIRING = "from tasks.commands.main import run_command; run_command()"
INLINE = ("--inline", "--methods", "trace")

BESIDE = ("torch", "pandas", "scipy.optimize")
"""What the published solvers of this puzzle import before they do anything: a process that does no more is the base."""


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


def solved(planted: Planted, deadline: int, *options: str) -> Values:
    """``pairing solve`` with an empty pool: its permutation compared with the planted one, and what it took."""
    with tempfile.TemporaryDirectory() as name:
        packed = Path(name) / "puzzle.safetensors"
        packed.write_bytes(pack_puzzle(planted.puzzle))
        limits = ("--deadline", str(deadline), "--budget", str(deadline))
        wall, spent, found = run(["solve", str(packed), *limits, *options], Path(name))
    best = found["best"] or {"permutation": [], "method": None, "full_mse": None}
    return {
        "exact": tuple(best["permutation"]) == planted.permutation,
        "seconds": wall,
        "cpu": spent,
        "method": best["method"],
        "full_mse": best["full_mse"],
        "pairs_right": pairs_right(planted.permutation, best["permutation"]),
    }


def pairs_right(true: Sequence[int], found: Sequence[int]) -> int:
    """How many (inp, out) pairs of a permutation of piece numbers are also in another."""
    pairs, others = (set(zip(numbers[:-1:2], numbers[1:-1:2], strict=True)) for numbers in (true, found))
    return len(pairs & others)


def imports(modules: Sequence[str]) -> float:
    """CPU seconds of a Python that only imports ``modules``."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    before = os.times()
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


def _source(packed: bool, folder: Path) -> Path:
    """The published puzzle as a folder, or packed into one file below ``folder``."""
    if not packed:
        return PUBLISHED_PUZZLE
    source = folder / "packed.safetensors"
    source.write_bytes(pack_puzzle(published().puzzle))
    return source


def _beside_imports(packed: bool) -> Values:
    """CPU seconds of the whole process, and of one that only imports what others import."""
    _warm()
    with tempfile.TemporaryDirectory() as name:
        source = str(_source(packed, Path(name)))
        _, spent, found = run(["solve", source, *INLINE, "--no-report"], Path(name))
    return {"solved": found["solved"], "seconds": spent, "imports": imports(BESIDE)}


def _beside_imports_figures(values: Sequence[Values], what: str) -> list[Figure]:
    ratios = [v["seconds"] / v["imports"] if v["solved"] else math.inf for v in values]
    seconds = [v["seconds"] if v["solved"] else math.inf for v in values]
    text, count = f"whole process from {what}", len(values)
    return [
        Figure(what=f"{text}, CPU", measured=float(np.median(seconds)), unit="s", required=1.3, samples=count),
        Figure(
            what=f"{text} / import {', '.join(BESIDE)}",
            measured=float(np.median(ratios)),
            unit="×",
            required=0.7,
            samples=count,
        ),
    ]


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
        figures=lambda values: _wall_figures(values, "solve --inline --methods trace", 2),
        quick=3,
        full=10,
    ),
    Case(
        name="solve",
        measure=lambda _: _whole(()),
        figures=lambda values: _wall_figures(values, "solve, all methods, embedded fleet", 3.5),
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
