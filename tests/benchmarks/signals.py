"""What the pairing methods are worth on networks of known answers: right pairs, and how true their confidence is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pairing.arrays import Array64, Indices
from pairing.assignment import assign
from pairing.model.puzzle import Puzzle
from pairing.signals.posterior import confidence
from pairing.signals.registry import methods, similarity
from tests.benchmarks.case import Case, Sample, Values
from tests.benchmarks.networks import trained
from tests.benchmarks.recipes import RECIPES, SAMPLE_SEEDS, fresh_seeds
from tests.benchmarks.record import Figure
from tests.benchmarks.trained import QUICK, case_name

ORDERED = tuple(sorted(RECIPES, key=lambda recipe: recipe.name not in QUICK))
"""The recipes, those of a quick run first."""

STRONG = 0.9
"""The share of right pairs from which on a signal is strong: there the consensus must be as right."""

SURE = 0.9
"""The confidence at which a pair is stated to be sure; at least this share of such pairs must be right."""

BINS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 1.0)
"""Limits of the reliability table's bins of confidence."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """One method's pairing of one network, beside the truth."""

    network: str
    method: str
    right: np.ndarray
    """(N,) bool: which of its pairs are right."""
    stated: Array64
    """(N,) float64: the confidence of each."""


def judge(network: str, puzzle: Puzzle, truth: Indices) -> list[Judged]:
    """Every method's pairing of a puzzle whose right pairs (N,) int64 are known."""
    judged = []
    for method in methods():
        if method == "logit_search":  # says nothing of pairs
            continue
        matrix = similarity(puzzle, method)
        pairs = assign(matrix).pairs
        stated = confidence(matrix, pairs)
        judged.append(Judged(network=network, method=method, right=pairs == truth, stated=stated))
    return judged


def signal_figures(judged: Iterable[Judged]) -> list[Figure]:
    """Whether the consensus is right wherever a strong signal is, and sure pairs are as right as stated."""
    results = list(judged)
    behind, total, best_total = 0, 0, 0
    networks = list(dict.fromkeys(result.network for result in results))
    for network in networks:
        rights = {r.method: int(r.right.sum()) for r in results if r.network == network}
        blocks = next(len(r.right) for r in results if r.network == network)
        ours, best = rights.pop("consensus"), max(rights.values())
        behind += ours < best and best >= STRONG * blocks
        total, best_total = total + ours, best_total + best
    stated, right = _pooled(results)
    sure = stated >= SURE
    share = 100 * float(right[sure].mean()) if sure.any() else 100.0
    return [
        Figure(what="consensus behind a strong signal", measured=behind, unit="", required=0, samples=len(networks)),
        Figure(
            what="right pairs: consensus / best single signal of each network",
            measured=total / best_total,
            unit="×",
            samples=len(networks),
        ),
        Figure(
            what=f"pairs stated at {SURE} or more that are right, all methods",
            measured=share,
            unit="%",
            required=100 * SURE,
            at_least=True,
            samples=int(sure.sum()),
        ),
        *_reliability(stated, right),
    ]


def _reliability(stated: Array64, right: np.ndarray) -> Iterator[Figure]:
    """Per bin of confidence that pairs were stated in: the share of them that is right."""
    for low, high in pairwise(BINS):
        within = (stated >= low) & ((stated < high) | (high == BINS[-1]))
        if within.any():
            share = 100 * float(right[within].mean())
            what = f"pairs stated at {low:g} to {high:g} that are right"
            yield Figure(what=what, measured=share, unit="%", samples=int(within.sum()))


def _pooled(results: list[Judged]) -> tuple[Array64, np.ndarray]:
    return np.concatenate([r.stated for r in results]), np.concatenate([r.right for r in results])


def _judged(sample: Sample) -> Values:
    """A network of the recipes that the command is measured on, with the seed that it has there, by every method."""
    recipe = ORDERED[sample.index % len(ORDERED)]
    seed = fresh_seeds(sample.run_seed, case_name(recipe), SAMPLE_SEEDS)[sample.index // len(ORDERED)]
    planted = trained(recipe, seed, sample.networks)
    network = f"{recipe.name} {seed}"
    judged = {
        result.method: {"right": result.right.tolist(), "stated": result.stated.tolist()}
        for result in judge(network, planted.puzzle, planted.pairs)
    }
    return {"network": network, "judged": judged}


def _figures(values: Sequence[Values]) -> list[Figure]:
    return signal_figures(
        Judged(network=v["network"], method=name, right=np.array(found["right"]), stated=np.array(found["stated"]))
        for v in values
        for name, found in v["judged"].items()
    )


CASES = (
    Case(
        name="signals judged",
        measure=_judged,
        figures=_figures,
        quick=len(QUICK),
        full=len(ORDERED) * SAMPLE_SEEDS,
        published=False,
    ),
)
