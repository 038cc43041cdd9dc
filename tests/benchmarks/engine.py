"""How fast the engine is, as ratios to what bounds it, measured in the same run."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from pairing.annealing import descent_rows
from pairing.assignment import assign
from pairing.descent import descend
from pairing.loading import load_puzzle
from pairing.network import Network
from pairing.refinement import Limits, refine
from pairing.signals import methods, similarity
from pairing.solution import Solution
from pairing.surrogate import linearise
from tests.benchmarks.record import Figure
from tests.support.puzzles import Planted, reshuffled

REAL_PUZZLE = Path(__file__).parents[3] / "shared" / "puzzle"


def cpu(work: Callable[[], object]) -> float:
    """CPU seconds of one call."""
    began = time.process_time()
    work()
    return time.process_time() - began


def real_copies(count: int) -> Iterator[Planted]:
    """The real puzzle re-shuffled: pieces renumbered, hidden units permuted inside blocks, its hash withheld."""
    puzzle = replace(load_puzzle(REAL_PUZZLE), target_hash=None)
    pairs = assign(similarity(puzzle, "trace")).pairs
    found = refine(puzzle, pairs).solution
    planted = Planted(puzzle=puzzle, inp_sigma=found.inp_sigma, out_sigma=found.out_sigma)
    for seed in range(count):
        yield reshuffled(planted, np.random.default_rng(seed))


def is_answer(planted: Planted, solution: Solution) -> bool:
    """Whether a solution is the planted answer, block for block."""
    return (solution.inp_sigma, solution.out_sigma) == (planted.inp_sigma, planted.out_sigma)


def fast_on_the_real_puzzle() -> list[Figure]:
    """Similarity, assignment and refinement beside one full forward pass."""
    (planted,) = real_copies(1)
    puzzle = planted.puzzle
    network = Network(puzzle, assign(similarity(puzzle, "trace")).pairs)
    refine(puzzle, network.pairs)  # compiles
    ratios = []
    for seed in range(20):
        forward = cpu(lambda: network.full_mse(np.arange(puzzle.blocks)))
        began = time.process_time()
        found = refine(puzzle, assign(similarity(puzzle, "trace")).pairs, seed=seed)
        spent = time.process_time() - began - found.verification_seconds / 2  # the start's error is timed apart
        ratios.append(spent / forward if is_answer(planted, found.solution) else math.inf)
    signals = [cpu(lambda: [similarity(puzzle, name) for name in methods()]) for _ in range(5)]
    return [
        Figure(
            what="trace to checked answer / full forward pass",
            measured=float(np.median(ratios)),
            unit="×",
            required=2.5,
            samples=20,
        ),
        Figure(what="all similarity matrices", measured=float(np.median(signals)), unit="s", required=0.3, samples=5),
    ]


def proposals_priced() -> list[Figure]:
    """Proposals priced per second by the surrogate's descent, beside the classic annealer's."""
    puzzle = next(real_copies(1)).puzzle
    network = Network(puzzle, assign(similarity(puzzle, "trace")).pairs)
    rng = np.random.default_rng(0)
    order, blocks = rng.permutation(puzzle.blocks), puzzle.blocks
    model = linearise(network, order, rng.choice(puzzle.rows, descent_rows(blocks), replace=False))
    steps = len(descend(model, 2 * blocks, 0.0))
    surrogate = np.median(
        [blocks * (blocks - 1) * steps / cpu(lambda: descend(model, 2 * blocks, 0.0)) for _ in range(9)]
    )
    limits = Limits(seconds=math.inf, evaluations=100, until_solved=False)
    options = {"annealer": "classic", "start": "random"}
    few, many = (
        cpu(lambda n=n: refine(puzzle, network.pairs, limits=replace(limits, evaluations=n), **options))
        for n in (20, 120)
    )
    classic = 100 / (many - few)
    return [
        Figure(what="classic proposals a second", measured=classic, unit="/s", samples=100),
        Figure(
            what="surrogate / classic proposals a second",
            measured=float(surrogate / classic),
            unit="×",
            required=20_000,
            at_least=True,
            samples=9,
        ),
    ]


def orders_found(copies: int, seeds: int) -> list[Figure]:
    """Exact orders from the greedy and from a random start, on re-shuffled copies of the real puzzle."""
    solved: dict[str, list[bool]] = {"greedy": [], "random": []}
    times: dict[str, list[float]] = {"greedy": [], "random": []}
    for number, planted in enumerate(real_copies(copies)):
        puzzle = planted.puzzle
        pairs = assign(similarity(puzzle, "trace")).pairs
        for start, found in solved.items():
            for seed in range(seeds):
                began = time.process_time()
                refined = refine(puzzle, pairs, seed=1000 * number + seed, start=start, limits=Limits(seconds=60))
                times[start].append(time.process_time() - began)
                found.append(is_answer(planted, refined.solution))
    count = copies * seeds
    in_time = [ok and spent <= 10 for ok, spent in zip(solved["random"], times["random"], strict=True)]
    return [
        Figure(
            what="greedy start: exact",
            measured=100 * float(np.mean(solved["greedy"])),
            unit="%",
            required=100,
            at_least=True,
            samples=count,
        ),
        Figure(
            what="random start: exact within 10 CPU s",
            measured=100 * float(np.mean(in_time)),
            unit="%",
            required=95,
            at_least=True,
            samples=count,
        ),
        Figure(what="random start: median", measured=float(np.median(times["random"])), unit="s", samples=count),
    ]
