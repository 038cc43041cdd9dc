"""Which activation a network has, if it is not given: the one with the smallest MSE."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from pairing.arrays import Indices
from pairing.assignment import assign
from pairing.errors import MethodError
from pairing.model import costs
from pairing.model.activations import ACTIVATIONS, AUTO
from pairing.model.network import Network, pairs_of
from pairing.model.puzzle import Puzzle
from pairing.search.driver import Limits
from pairing.search.refine import refine
from pairing.signals.registry import similarity

METHODS = ("consensus", "trace")
"""The methods whose pairs are tried: those that tell most networks apart."""

ROWS = 2048
"""Rows that the trials see (all where there are fewer) …"""
FEWEST_ROWS = 64
MOST_COST = 5e9
"""… and in large networks so many that an error costs no more multiplications, but 64 at least."""

ROUNDS = (40, 160)
"""Evaluations that each trial gets in a round."""
CLOSE = 4.0
"""Trials of at most so many times the smallest MSE go on to the next round."""

Trial = tuple[Puzzle, Indices]
"""A puzzle of a certain activation, and pairs (N,) int64."""


def with_activation(puzzle: Puzzle, seconds: float = float("inf")) -> Puzzle:
    """The puzzle with an activation chosen if its own is ``auto``; else the puzzle itself."""
    return puzzle if puzzle.activation != AUTO else puzzle.with_options(activation=choose_activation(puzzle, seconds))


def choose_activation(puzzle: Puzzle, seconds: float = float("inf")) -> str:
    """The activation with the smallest MSE after a short refinement; the puzzle's own is not considered.

    A trial is an activation with the pairs of one method; trials whose error is near the least are refined
    further, and one that leaves no error but float32's rounding ends the search. The choice
    is the same every time, unless it takes longer than ``seconds``: then it is the best so far.

    Raises:
        MethodError: no method gives pairs; the last one's reason.
    """
    ends = time.monotonic() + seconds
    sample = _sample(puzzle)
    exact = 1e-9 * sample.target_variance
    trials: Iterable[Trial] = _trials(sample, ends)
    for evaluations in ROUNDS:
        tried: list[tuple[float, Trial]] = []
        for trial, pairs in trials:
            limits = Limits(seconds=max(0.0, ends - time.monotonic()), evaluations=evaluations)
            error = refine(trial, pairs, limits=limits).solution.full_mse
            if error <= exact:
                return trial.activation
            tried.append((error, (trial, pairs)))
            if time.monotonic() >= ends:
                break
        tried.sort(key=lambda entry: entry[0])
        trials = [trial for error, trial in tried if error <= CLOSE * tried[0][0]]
    return tried[0][1][0].activation


def activation_of_answer(puzzle: Puzzle, inp_sigma: Sequence[int], out_sigma: Sequence[int]) -> str:
    """The activation with which this solution's MSE over all samples is smallest."""

    def error(name: str) -> float:
        return Network(puzzle.with_options(activation=name), pairs_of(inp_sigma, out_sigma)).full_mse(inp_sigma)

    return min(ACTIVATIONS, key=error)


def _sample(puzzle: Puzzle) -> Puzzle:
    """Some samples of the puzzle, and no hash: a wrong activation may lead to the right solution."""
    some = min(ROWS, max(FEWEST_ROWS, int(MOST_COST * ROWS / costs.forward(puzzle, ROWS))))
    rows = np.random.default_rng(0).permutation(puzzle.rows)[:some]
    targets = {puzzle.target: puzzle.target_values[rows]}
    return replace(puzzle, rows_in=puzzle.rows_in[rows], targets=targets, target_hash=None)


def _trials(sample: Puzzle, ends: float) -> Iterator[Trial]:
    """Every activation with the pairs of every method that gives any, each pairing once.

    Raises:
        MethodError: no method gave any.
    """
    known: set[tuple[str, bytes]] = set()
    failure: MethodError | None = None
    for method in METHODS:
        for name in ACTIVATIONS:
            trial = sample.with_options(activation=name)
            try:
                pairs = assign(similarity(trial, method, ends - time.monotonic())).pairs
            except MethodError as error:
                failure = error
                continue
            if (name, pairs.tobytes()) not in known:
                known.add((name, pairs.tobytes()))
                yield trial, pairs
    if failure is not None and not known:
        raise failure
