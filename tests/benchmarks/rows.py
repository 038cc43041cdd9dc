"""A puzzle with a million rows: the memory that solving it takes."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from pairing.loading import load_puzzle
from tests.benchmarks.engine import REAL_PUZZLE
from tests.benchmarks.record import Figure

COPIES = 100
"""How often the real puzzle's 10,000 rows are repeated."""

MEASURED = """
import resource, sys
from tasks.cli import main
try:
    main()
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""


def million_rows() -> list[Figure]:
    """Peak memory and CPU seconds of ``solve --inline --methods trace``, packed and from CSV; infinite if unsolved."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        return [
            figure
            for what, source in (("packed", _packed(folder)), ("CSV", _with_csv(folder)))
            for figure in _solved(what, source, folder)
        ]


def _packed(folder: Path) -> Path:
    puzzle = load_puzzle(REAL_PUZZLE)
    targets = {name: np.tile(values, (COPIES, 1)) for name, values in puzzle.targets.items()}
    file = folder / "long.safetensors"
    file.write_bytes(replace(puzzle, rows_in=np.tile(puzzle.rows_in, (COPIES, 1)), targets=targets).pack())
    return file


def _with_csv(folder: Path) -> Path:
    source = folder / "long"
    source.mkdir()
    (source / "pieces").symlink_to(REAL_PUZZLE / "pieces")
    header, rows = (REAL_PUZZLE / "historical_data.csv").read_text().split("\n", 1)
    with (source / "historical_data.csv").open("w") as text:
        text.write(f"{header}\n")
        for _ in range(COPIES):
            text.write(f"{rows.rstrip()}\n")
    return source


def _solved(what: str, source: Path, folder: Path) -> list[Figure]:
    environment = os.environ | {"PAIRING_DATA_DIR": str(folder / f"data-{what}")}
    command = [sys.executable, "-c", MEASURED, "solve", str(source), "--inline", "--methods", "trace"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = subprocess.run(
        [*command, "--out", str(folder / f"results-{what}")],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, else KiB
    peak = int(ended.stderr.split()[-1]) * unit / 1e9 if ended.returncode == 0 else np.inf
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return [
        Figure(what=f"1,000,000 rows, {what}: peak memory", measured=peak, unit="GB", required=1.5, samples=1),
        Figure(what=f"1,000,000 rows, {what}: CPU time", measured=spent, unit="s", samples=1),
    ]
