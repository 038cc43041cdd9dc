"""Exact evaluations of many candidates, beside the matrix products that they cannot do without."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from pairing.arrays import Indices
from pairing.model.puzzle import Puzzle
from pairing.search.batch_error import candidate_errors
from tests.benchmarks.case import Case, Sample, Values
from tests.benchmarks.engine import cpu
from tests.benchmarks.puzzles import disguised
from tests.benchmarks.record import Figure

CHUNKS = (200, 250, 500, 1000)


def _priced(changes: Callable[[Indices, Indices], tuple[Indices, Indices]], rows: int, sample: Sample) -> Values:
    """CPU seconds a row and block of pricing all ``changes`` of an order, and of the products alone by chunk.

    Counted are the blocks after each candidate's first change: 4·S·d·h operations each.
    """
    puzzle = disguised(sample.seed).puzzle
    rng = np.random.default_rng(sample.seed)
    inp, out = rng.permutation(puzzle.blocks), rng.permutation(puzzle.blocks)
    sigmas = changes(inp, out)
    changed = (sigmas[0] != inp) | (sigmas[1] != out)
    work = int((puzzle.blocks - changed.argmax(axis=1)).sum()) * rows
    chosen = rng.choice(puzzle.rows, rows, replace=False)
    candidate_errors(puzzle, *sigmas, chosen[:32])  # the caches filled
    seconds = cpu(lambda: candidate_errors(puzzle, *sigmas, chosen)) / work
    products = {str(chunk): _product_seconds(puzzle, chunk, int(0.1 * work / chunk)) for chunk in CHUNKS}
    return {"candidates": len(changed), "seconds": seconds, "products": products}


def _figures(values: Sequence[Values], what: str) -> list[Figure]:
    """Median speed of the pricing as a share of the median speed of the products alone with the best chunk."""
    products = min(float(np.median([v["products"][str(chunk)] for v in values])) for chunk in CHUNKS)
    share = products / float(np.median([v["seconds"] for v in values]))
    text = f"exact MSEs of all {values[0]['candidates']} {what} / products alone"
    return [Figure(what=text, measured=100 * share, unit="%", required=80, at_least=True, samples=len(values))]


def swaps(inp: Indices, out: Indices) -> tuple[Indices, Indices]:
    """(N − 1, N) each: every exchange of two blocks side by side."""
    lines = np.tile(np.arange(len(inp)), (len(inp) - 1, 1))
    place = np.arange(len(inp) - 1)
    lines[place, place], lines[place, place + 1] = place + 1, place
    return inp[lines], out[lines]


def exchanges(inp: Indices, out: Indices) -> tuple[Indices, Indices]:
    """(N(N − 1)/2, N) each: every exchange of two blocks' out pieces."""
    first, second = np.triu_indices(len(out), 1)
    lines, line = np.tile(out, (len(first), 1)), np.arange(len(first))
    lines[line, first], lines[line, second] = out[second], out[first]
    return np.tile(inp, (len(first), 1)), lines


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


CASES = (
    Case(
        name="candidates swapped",
        measure=partial(_priced, swaps, 1024),
        figures=partial(_figures, what="adjacent swaps"),
        quick=3,
        full=9,
    ),
    Case(
        name="candidates exchanged",
        measure=partial(_priced, exchanges, 256),
        figures=partial(_figures, what="exchanges of out pieces"),
        quick=3,
        full=9,
    ),
)
