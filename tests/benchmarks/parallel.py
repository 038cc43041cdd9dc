"""N processes on N cores: how much more refinement N of them do than one."""

from __future__ import annotations

import math
import multiprocessing
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pairing.search.driver import Limits
from pairing.search.refine import refine
from tests.benchmarks.case import Case, Sample, Values
from tests.benchmarks.networks import trained
from tests.benchmarks.recipes import HARD, fresh_seeds
from tests.benchmarks.record import Figure

EVALUATIONS = 200


def _throughput(sample: Sample) -> Values:
    """Wall seconds of one process's refinement alone, and of one in every core's process at once."""
    seed = fresh_seeds(sample.run_seed, "hard network", 1)[0]
    trained(HARD, seed, sample.networks)  # once, before the processes ask for it
    cores = os.cpu_count() or 1
    return {
        "cores": cores,
        "alone": _seconds(1, seed, sample.networks),
        "together": _seconds(cores, seed, sample.networks),
    }


def _seconds(processes: int, seed: int, networks: Path) -> float:
    """Wall seconds of the slowest of several equal refinements that begin together, each in a process of its own."""
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(processes), context.SimpleQueue()
    workers = [context.Process(target=_work, args=(barrier, answers, seed, networks)) for _ in range(processes)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        if worker.exitcode:
            raise RuntimeError(f"a process of {processes} ended with {worker.exitcode}")
    return float(max(answers.get() for _ in workers))


def _work(barrier: Any, answers: Any, seed: int, networks: Path) -> None:
    planted = trained(HARD, seed, networks)

    def work(evaluations: int) -> None:
        limits = Limits(seconds=math.inf, evaluations=evaluations, until_solved=False)
        refine(planted.puzzle, planted.pairs, seed=0, start="random", limits=limits)

    work(20)  # compiles
    barrier.wait(timeout=600)
    began = time.monotonic()
    work(EVALUATIONS)
    answers.put(time.monotonic() - began)


def _figures(values: Sequence[Values]) -> list[Figure]:
    cores = values[0]["cores"]
    ratio = float(np.median([v["cores"] * v["alone"] / v["together"] for v in values]))
    return [
        Figure(
            what=f"refinements a second: {cores} processes on {cores} cores / one",
            measured=ratio,
            unit="×",
            required=0.9 * cores,
            at_least=True,
            samples=len(values),
        )
    ]


CASES = (Case(name="parallel", measure=_throughput, figures=_figures, quick=1, full=5, published=False),)
