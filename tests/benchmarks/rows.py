"""A puzzle with a million rows: the memory that solving it takes."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from pairing.io.load import load_puzzle
from pairing.io.packed import pack_puzzle
from tests.benchmarks.case import Case, Sample, Values
from tests.benchmarks.command import INLINE, run
from tests.benchmarks.machine import ROOT
from tests.benchmarks.puzzles import PUBLISHED_PUZZLE
from tests.benchmarks.record import Figure

COPIES = 100
"""How often the published puzzle's 10,000 rows are repeated."""

MEASURED = """
import sys
from pathlib import Path
from tasks.commands.main import main
try:
    main()
finally:
    sys.path.append({project!r})
    from tests.benchmarks.machine import peak_memory
    Path({file!r}).write_text(str(peak_memory()))
"""


def _solved(written: Callable[[Path], Path], _: Sample) -> Values:
    """Peak memory in bytes and CPU seconds of ``solve --inline --methods trace``."""
    with tempfile.TemporaryDirectory() as name:
        peak = Path(name) / "peak"
        arguments = ["solve", str(written(Path(name))), *INLINE]
        _, spent, found = run(arguments, Path(name), MEASURED.format(file=str(peak), project=str(ROOT)))
        return {"solved": found["solved"], "peak": int(peak.read_text()), "cpu": spent}


def _packed(folder: Path) -> Path:
    puzzle = load_puzzle(PUBLISHED_PUZZLE)
    targets = {name: np.tile(values, (COPIES, 1)) for name, values in puzzle.targets.items()}
    file = folder / "long.safetensors"
    file.write_bytes(pack_puzzle(replace(puzzle, rows_in=np.tile(puzzle.rows_in, (COPIES, 1)), targets=targets)))
    return file


def _with_csv(folder: Path) -> Path:
    source = folder / "long"
    source.mkdir()
    (source / "pieces").symlink_to(PUBLISHED_PUZZLE / "pieces")
    header, rows = (PUBLISHED_PUZZLE / "historical_data.csv").read_text().split("\n", 1)
    with (source / "historical_data.csv").open("w") as text:
        text.write(f"{header}\n")
        for _ in range(COPIES):
            text.write(f"{rows.rstrip()}\n")
    return source


def _figures(values: Sequence[Values], what: str) -> list[Figure]:
    peak = max(v["peak"] / 1e9 if v["solved"] else math.inf for v in values)
    spent = float(np.median([v["cpu"] for v in values]))
    return [
        Figure(
            what=f"1,000,000 rows, {what}: peak memory", measured=peak, unit="GB", required=1.5, samples=len(values)
        ),
        Figure(what=f"1,000,000 rows, {what}: whole process", measured=spent, unit="CPU s", samples=len(values)),
    ]


CASES = tuple(
    Case(name=f"million rows {what}", measure=partial(_solved, written), figures=partial(_figures, what=what), full=1)
    for what, written in (("packed", _packed), ("CSV", _with_csv))
)
