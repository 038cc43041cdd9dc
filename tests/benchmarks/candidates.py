"""Exact evaluations of many candidates, beside the matrix products that they cannot do without."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from pairing.candidates import candidate_errors
from pairing.loading import load_puzzle
from pairing.puzzle import Indices, Puzzle
from tests.benchmarks.engine import REAL_PUZZLE, cpu
from tests.benchmarks.record import Figure

CHUNKS = (250, 500, 1000)
SAMPLES = 9


def candidates_priced() -> list[Figure]:
    """All adjacent swaps and all exchanges of two out pieces, as a share of the core's speed in products alone.

    Counted are the blocks after each candidate's first change: 4·S·d·h operations each.
    """
    puzzle = load_puzzle(REAL_PUZZLE)
    rng = np.random.default_rng(0)
    inp, out = rng.permutation(puzzle.blocks), rng.permutation(puzzle.blocks)
    figures = []
    for what, sigmas, rows in (
        ("adjacent swaps", _swaps(inp, out), 1024),
        ("exchanges of out pieces", _exchanges(inp, out), 256),
    ):
        sample = rng.choice(puzzle.rows, rows, replace=False)
        changed = (sigmas[0] != inp) | (sigmas[1] != out)
        work = int((puzzle.blocks - changed.argmax(axis=1)).sum()) * rows
        share = _share_of_products(puzzle, work, lambda s=sigmas, r=sample: candidate_errors(puzzle, *s, r))
        text = f"exact errors of all {len(changed)} {what} / products alone"
        figures.append(Figure(what=text, measured=100 * share, unit="%", required=80, at_least=True, samples=SAMPLES))
    return figures


def _swaps(inp: Indices, out: Indices) -> tuple[Indices, Indices]:
    """(N − 1, N) each: every exchange of two blocks side by side."""
    lines = np.tile(np.arange(len(inp)), (len(inp) - 1, 1))
    place = np.arange(len(inp) - 1)
    lines[place, place], lines[place, place + 1] = place + 1, place
    return inp[lines], out[lines]


def _exchanges(inp: Indices, out: Indices) -> tuple[Indices, Indices]:
    """(N(N − 1)/2, N) each: every exchange of two blocks' out pieces."""
    first, second = np.triu_indices(len(out), 1)
    lines, line = np.tile(out, (len(first), 1)), np.arange(len(first))
    lines[line, first], lines[line, second] = out[second], out[first]
    return np.tile(inp, (len(first), 1)), lines


def _share_of_products(puzzle: Puzzle, work: int, evaluate: Callable[[], object]) -> float:
    """Median speed of ``evaluate`` / median speed of the products alone with the best chunk, taken in turns."""
    evaluate()
    times: list[float] = []
    products: dict[int, list[float]] = {rows: [] for rows in CHUNKS}
    for _ in range(SAMPLES):
        times.append(cpu(evaluate) / work)
        for rows, seconds in products.items():
            seconds.append(_product_seconds(puzzle, rows, int(0.1 * work / rows)))
    return min(map(float, map(np.median, products.values()))) / float(np.median(times))


def _product_seconds(puzzle: Puzzle, rows: int, blocks: int) -> float:
    """CPU seconds a row of one block's two products, over ``blocks`` blocks."""
    states = puzzle.rows_in[:rows].copy()
    hidden, branch = np.empty((rows, puzzle.hidden), np.float32), np.empty_like(states)
    began = time.process_time()
    for block in range(blocks):
        k = block % puzzle.blocks
        np.matmul(states, puzzle.inp_weight[k].T, out=hidden)
        np.matmul(hidden, puzzle.out_weight[k].T, out=branch)
    return (time.process_time() - began) / (blocks * rows)
