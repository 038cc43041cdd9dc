"""How fast the engine is, as ratios to what bounds it, measured in the same run; and how often it finds the order."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from pairing.assignment import assign
from pairing.model.network import Network
from pairing.search.driver import Limits
from pairing.search.local_search import descend, descent_rows
from pairing.search.refine import refine
from pairing.search.surrogate import linearize
from pairing.signals.posterior import log_odds
from pairing.signals.registry import methods, similarity
from tests.benchmarks.case import Case, Sample, Values
from tests.benchmarks.puzzles import disguised, is_answer
from tests.benchmarks.record import Figure, share

ORDER_SECONDS = 60.0


def cpu(work: Callable[[], object]) -> float:
    """CPU seconds of one call."""
    began = time.process_time()
    work()
    return time.process_time() - began


def _trace_to_answer(sample: Sample) -> Values:
    """Similarity, assignment and refinement beside one full forward pass."""
    planted = disguised(sample.seed)
    puzzle = planted.puzzle
    network = Network(puzzle, planted.pairs)
    forward = cpu(lambda: network.full_mse(np.arange(puzzle.blocks)))
    began = time.process_time()
    found = refine(puzzle, assign(similarity(puzzle, "trace")).pairs, seed=sample.seed)
    spent = time.process_time() - began - forward  # the start's error on all rows, which is only reported
    return {"exact": is_answer(planted, found.solution), "forward": forward, "seconds": spent}


def _trace_figures(values: Sequence[Values]) -> list[Figure]:
    ratios = [v["seconds"] / v["forward"] if v["exact"] else math.inf for v in values]
    return [
        Figure(
            what="trace to verified solution / full forward pass",
            measured=float(np.median(ratios)),
            unit="×",
            required=2.5,
            samples=len(values),
        )
    ]


def _signals(sample: Sample) -> Values:
    puzzle = disguised(sample.seed).puzzle
    return {"seconds": cpu(lambda: [similarity(puzzle, name) for name in methods()])}


def _signals_figures(values: Sequence[Values]) -> list[Figure]:
    median = float(np.median([v["seconds"] for v in values]))
    return [Figure(what="all similarity matrices", measured=median, unit="CPU s", required=0.3, samples=len(values))]


def _proposals(sample: Sample) -> Values:
    """Proposals priced per second by the surrogate's descent, and by the classic annealer."""
    planted = disguised(sample.seed)
    puzzle, network = planted.puzzle, Network(planted.puzzle, planted.pairs)
    rng = np.random.default_rng(sample.seed)
    order, blocks = rng.permutation(puzzle.blocks), puzzle.blocks
    model = linearize(network, order, rng.choice(puzzle.rows, descent_rows(blocks, rng), replace=False))
    steps = len(descend(model, 2 * blocks, 0.0))  # compiles
    surrogate = blocks * (blocks - 1) * steps / cpu(lambda: descend(model, 2 * blocks, 0.0))
    limits = Limits(seconds=math.inf, until_solved=False)

    def classic(evaluations: int) -> float:
        few = replace(limits, evaluations=evaluations)
        return cpu(lambda: refine(puzzle, network.pairs, limits=few, annealer="classic", start="random"))

    return {"surrogate": surrogate, "classic": 100 / (classic(120) - classic(20))}


def _proposals_figures(values: Sequence[Values]) -> list[Figure]:
    classic = float(np.median([v["classic"] for v in values]))
    ratio = float(np.median([v["surrogate"] / v["classic"] for v in values]))
    return [
        Figure(what="classic proposals a second", measured=classic, unit="/s", samples=len(values)),
        Figure(
            what="surrogate / classic proposals a second",
            measured=ratio,
            unit="×",
            required=20_000,
            at_least=True,
            samples=len(values),
        ),
    ]


def _ordered(sample: Sample, start: str) -> Values:
    """The right pairs' order, with what the weights say of the pairs, as in a run; the time that it takes counts."""
    planted = disguised(sample.seed)
    began = time.process_time()
    evidence, limits = log_odds(similarity(planted.puzzle, "consensus")), Limits(seconds=ORDER_SECONDS)
    found = refine(planted.puzzle, planted.pairs, seed=sample.seed, start=start, limits=limits, evidence=evidence)
    return {"exact": is_answer(planted, found.solution), "seconds": time.process_time() - began}


def _greedy_figures(values: Sequence[Values]) -> list[Figure]:
    return [share("greedy start: exact", [v["exact"] for v in values], required=100)]


def _random_figures(values: Sequence[Values]) -> list[Figure]:
    times = [v["seconds"] if v["exact"] else math.inf for v in values]
    return [
        share("random start: exact within 10 CPU s", [spent <= 10 for spent in times], required=95),
        Figure(what="random start: median", measured=float(np.median(times)), unit="CPU s", samples=len(times)),
    ]


CASES = (
    Case(name="trace to answer", measure=_trace_to_answer, figures=_trace_figures, quick=7, full=20),
    Case(name="signals", measure=_signals, figures=_signals_figures, quick=5, full=20),
    Case(name="proposals", measure=_proposals, figures=_proposals_figures, quick=1, full=5),
    Case(name="greedy", measure=lambda s: _ordered(s, "greedy"), figures=_greedy_figures, quick=5, full=100),
    Case(name="random", measure=lambda s: _ordered(s, "random"), figures=_random_figures, quick=5, full=100),
)
