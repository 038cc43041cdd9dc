"""What the fleet adds to the stages' own work: broker, canvas, turns, checkpoints, records."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np

from pairing.io.packed import pack_puzzle
from pairing.signals.registry import methods
from tasks.store.redis import Redis
from tasks.store.run_store import Store
from tests.benchmarks.case import Case, Sample, Values
from tests.benchmarks.puzzles import disguised
from tests.benchmarks.record import Figure
from tests.support.fleet import clean_environment, wait_for
from tests.support.servers import run_redis

METHODS, SEEDS, BUDGET, WORKERS = 12, 8, 5, 2
DEADLINE = 1000


def _run(sample: Sample) -> Values:
    """Wall seconds from enqueuing to the end, and the stages' CPU seconds, of a run that no method can solve."""
    puzzle = disguised(sample.seed).puzzle
    noise = np.random.default_rng(sample.seed).normal(size=puzzle.target_values.shape)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(run_redis())
        environment = clean_environment(
            PAIRING_BROKER_URL=url, PAIRING_DATA_DIR=str(folder / "data"), PAIRING_CACHE_DIR=str(folder / "cache")
        )
        command = [sys.executable, "-c", "from tasks.commands.main import run_command; run_command()"]
        for number in range(WORKERS):
            log = folder / f"{number}.log"
            process = subprocess.Popen(
                [*command, "worker", "--concurrency", "1", "--logfile", str(log)],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            stack.callback(process.wait)
            stack.callback(process.terminate)
            wait_for("the worker", lambda log=log: log.exists() and " ready." in log.read_text())
        packed = folder / "puzzle.safetensors"
        packed.write_bytes(pack_puzzle(replace(puzzle, targets={puzzle.target: noise})))
        chosen = ",".join(sorted(methods())[:METHODS])
        options = ["--methods", chosen, "--seeds", str(SEEDS), "--budget", str(BUDGET), "--deadline", str(DEADLINE)]
        began = time.monotonic()
        said = subprocess.run(
            [*command, "enqueue", str(packed), *options], env=environment, capture_output=True, text=True, check=True
        )
        store, run = Store(Redis(url)), said.stdout.strip()
        wait_for("the run's end", lambda: store.record(run, "end"), DEADLINE)
        wall = time.monotonic() - began
        summary = store.record(run, "summary") or {}
    assert len(summary["methods"]) == METHODS * SEEDS
    ended = {method["stopped"] for method in summary["methods"]}
    return {"wall": wall, "cpu": summary["seconds"]["cpu"], "ended": sorted(ended), "cores": os.cpu_count()}


def _figures(values: Sequence[Values]) -> list[Figure]:
    ratio = float(np.median([v["wall"] / (v["cpu"] / WORKERS) for v in values]))
    what = f"{METHODS} methods × {SEEDS} seeds × {BUDGET} s on {WORKERS} workers: wall time / half the stages' CPU time"
    return [Figure(what=what, measured=ratio, unit="", required=1.1, samples=len(values))]


CASES = (Case(name="overhead", measure=_run, figures=_figures, quick=0, full=1),)
