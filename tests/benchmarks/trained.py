"""Trained networks put together: every recipe by the command, and the hard one from a random order."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from functools import partial

import numpy as np

from pairing.model.network import Network
from pairing.search.driver import Limits
from pairing.search.initial_orders import start_order
from pairing.search.refine import refine
from pairing.signals.posterior import log_odds
from pairing.signals.registry import similarity
from tests.benchmarks.case import Case, Sample, Values
from tests.benchmarks.command import solved
from tests.benchmarks.networks import trained
from tests.benchmarks.puzzles import is_answer
from tests.benchmarks.recipes import HARD, RECIPES, SAMPLE_SEEDS, BenchmarkNetwork, fresh_seeds
from tests.benchmarks.record import Figure, share
from tests.support.puzzles import Planted

DEADLINE = 120
HARD_SECONDS = 90.0
HARD_NETWORKS = 8
"""Networks of the hard recipe that a run trains at most to find one that misleads the proxies."""

QUICK = ("brief", "sigmoid", "digits")
"""The recipes of a quick run: one that no signal pairs, one that trace does not, and a table."""


def case_name(recipe: BenchmarkNetwork) -> str:
    """The recipe's case; the seeds of its networks come from this name."""
    return f"recipe {recipe.name}"


def _solved(recipe: BenchmarkNetwork, sample: Sample) -> Values:
    """``pairing solve`` with all methods."""
    return solved(trained(recipe, sample.seed, sample.networks), DEADLINE)


def _solved_figures(values: Sequence[Values], recipe: BenchmarkNetwork) -> list[Figure]:
    in_time = [v["exact"] and v["seconds"] <= DEADLINE for v in values]
    median = float(np.median([v["seconds"] if v["exact"] else math.inf for v in values]))
    return [
        share(f"recipe {recipe.name}: exact within {DEADLINE} s", in_time, required=100),
        Figure(what=f"recipe {recipe.name}: median", measured=median, unit="s", samples=len(values)),
    ]


def _misled(sample: Sample) -> tuple[Planted, dict[str, float]]:
    """The first of the run's hard networks whose greedy and norm orders start above an error of 1, and these errors.

    Errors are in units of the target's variance: above 1 an order is worse than the mean of the target. Where none of
    them does, the last one: the figure of the errors is missed then.
    """
    for seed in fresh_seeds(sample.run_seed, "hard network", HARD_NETWORKS):
        planted = trained(HARD, seed, sample.networks)
        network, rng = Network(planted.puzzle, planted.pairs), np.random.default_rng(0)
        starts = {
            name: network.full_mse(start_order(network, name, rng)) / planted.puzzle.target_variance
            for name in ("greedy", "norm")
        }
        if min(starts.values()) > 1:
            break
    return planted, starts


def _hard(sample: Sample) -> Values:
    """The run's one hard network, ordered from a random start, its evidence with it, by a seed of its own."""
    planted, starts = _misled(sample)
    cpu_began, began = time.process_time(), time.monotonic()
    evidence = log_odds(similarity(planted.puzzle, "consensus"))
    options = {"seed": sample.seed, "start": "random", "evidence": evidence}
    found = refine(planted.puzzle, planted.pairs, limits=Limits(seconds=HARD_SECONDS), **options)
    return {
        "exact": is_answer(planted, found.solution),
        "seconds": time.monotonic() - began,
        "cpu": time.process_time() - cpu_began,
        **starts,
    }


def _hard_figures(values: Sequence[Values]) -> list[Figure]:
    least = min(min(v["greedy"], v["norm"]) for v in values)
    median = float(np.median([v["seconds"] if v["exact"] else math.inf for v in values]))
    return [
        Figure(
            what="hard network: MSE of its greedy and norm orders / target's variance",
            measured=least,
            unit="",
            required=1,
            at_least=True,
            samples=1,
        ),
        share("hard network, random start: exact within 90 s", [v["exact"] for v in values], required=80),
        Figure(what="hard network, random start: median", measured=median, unit="s", samples=len(values)),
    ]


CASES = (
    *(
        Case(
            name=case_name(recipe),
            measure=partial(_solved, recipe),
            figures=partial(_solved_figures, recipe=recipe),
            quick=int(recipe.name in QUICK),
            full=SAMPLE_SEEDS,
            published=False,
        )
        for recipe in RECIPES
    ),
    Case(name="hard", measure=_hard, figures=_hard_figures, quick=1, full=10, published=False),
)
