"""How long the whole command takes, processes and imports included."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pairing.loading import load_puzzle
from tests.benchmarks.engine import REAL_PUZZLE, real_copies
from tests.benchmarks.record import Figure
from tests.support.puzzles import write_puzzle

PAIRING = (sys.executable, "-c", "from tasks.cli import main; main()")


def run(arguments: Sequence[str], folder: Path) -> tuple[float, float, dict[str, Any]]:
    """Runs ``pairing`` with a data folder of its own: wall seconds, CPU seconds of its process, its JSON."""
    environment = os.environ | {"PAIRING_DATA_DIR": str(folder / "data"), "OMP_NUM_THREADS": "1"}
    before, began = os.times(), time.monotonic()
    command = [*PAIRING, *arguments, "--json", "--out", str(folder / "results")]
    ended = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    wall, after = time.monotonic() - began, os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, spent, json.loads(ended.stdout) if ended.returncode == 0 else {"solved": False}


def imports(modules: Sequence[str]) -> float:
    """CPU seconds of a Python that only imports ``modules``."""
    before = os.times()
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", f"import {', '.join(modules)}"], env=environment, check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


USED = ("numpy", "numba", "scipy.optimize", "sqlalchemy", "pydantic_settings", "rich.table", "click")


def whole_command() -> list[Figure]:
    """Wall time of the two documented calls, and the inline one's CPU time beside its imports."""
    inline = ["--inline", "--methods", "trace"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        packed = folder / "packed.safetensors"
        packed.write_bytes(load_puzzle(REAL_PUZZLE).pack())
        run(["solve", str(REAL_PUZZLE), *inline], folder)  # warms the caches
        figures = []
        for what, source, extra in (
            ("packed puzzle", packed, ()),
            (".pth and CSV", REAL_PUZZLE, ("torch", "pandas", "pyarrow.csv")),
        ):
            ended = [run(["solve", str(source), *inline], folder / f"{what}-{k}") for k in range(5)]
            base = [imports([*USED, *extra]) for _ in range(5)]
            ratio = [
                spent / bare if end["solved"] else np.inf for (_, spent, end), bare in zip(ended, base, strict=True)
            ]
            text = f"whole process from {what} / its imports"
            figures.append(Figure(what=text, measured=float(np.median(ratio)), unit="×", required=1.6, samples=5))
        wall = [run(["solve", str(REAL_PUZZLE), *inline], folder / f"inline-{k}") for k in range(3)]
        figures.append(_wall("solve --inline --methods trace", wall, 8))
        wall = [run(["solve", str(REAL_PUZZLE)], folder / f"all-{k}") for k in range(3)]
        figures.append(_wall("solve, all methods, embedded fleet", wall, 25))
        solved = []
        for number, planted in enumerate(real_copies(5)):
            copy = write_puzzle(planted.puzzle, folder / f"copy-{number}")
            solved.append(run(["solve", str(copy)], folder / f"copy-{number}-out")[2]["solved"])
        share = 100 * float(np.mean(solved))
        figures.append(
            Figure(what="re-shuffled copies solved", measured=share, unit="%", required=100, at_least=True, samples=5)
        )
    return figures


def _wall(what: str, runs: list[tuple[float, float, dict[str, Any]]], required: float) -> Figure:
    times = [wall if end["solved"] else np.inf for wall, _, end in runs]
    return Figure(what=what, measured=float(np.median(times)), unit="s", required=required, samples=len(runs))
