"""Starting orders of a network whose pairs are fixed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pairing.arrays import Indices
from pairing.errors import InputError
from pairing.model.activations import activation_of
from pairing.model.network import Network

GREEDY_ROWS = 64
DELTA_ROWS = 500
NEAR_TRIES = 100
NEAR_CHILD = 3
"""Which child of a seed's SeedSequence draws its start near another; the refinement itself draws from those before."""

Start = Callable[[Network, np.random.Generator], Indices]


def greedy(network: Network, rng: np.random.Generator, most_rows: int = GREEDY_ROWS) -> Indices:
    """Always the block next whose branch is smallest at the state that the ones before it have made."""
    puzzle = network.puzzle
    rows = rng.choice(puzzle.rows, min(most_rows, puzzle.rows), replace=False)
    states = puzzle.rows_in[rows]
    left = np.arange(puzzle.blocks)
    order = []
    act = activation_of(puzzle.activation).apply
    inp, out = puzzle.inp_weight.transpose(0, 2, 1), network.out_weight.transpose(0, 2, 1)
    while len(left):
        hidden = states @ inp[left]
        hidden += puzzle.inp_bias[left, None, :]
        act(hidden, hidden)
        branches = hidden @ out[left]
        branches += network.out_bias[left, None, :]
        nearest = int(np.einsum("bsd,bsd->b", branches, branches).argmin())
        states = states + branches[nearest]
        order.append(left[nearest])
        left = np.delete(left, nearest)
    return np.array(order, np.int64)


def norm(network: Network, _rng: np.random.Generator) -> Indices:
    """Ascending entrywise 1-norm of W_out."""
    return np.argsort(np.abs(network.out_weight).sum(axis=(1, 2)), kind="stable").astype(np.int64)


def delta(network: Network, _rng: np.random.Generator) -> Indices:
    """Ascending norm of the branch at the raw input."""
    rows = network.puzzle.rows_in[:DELTA_ROWS]
    sizes = []
    for block in range(network.puzzle.blocks):
        states = rows.copy()
        network.advance(states, [block])
        sizes.append(float(np.linalg.norm(states - rows)))
    return np.argsort(sizes, kind="stable").astype(np.int64)


def random(network: Network, rng: np.random.Generator) -> Indices:
    """A random order."""
    return rng.permutation(network.puzzle.blocks).astype(np.int64)


STARTS: dict[str, Start] = {"greedy": greedy, "norm": norm, "delta": delta, "random": random}
"""Name → starting order, in the order in which they are tried; ``pool`` needs the pool's best and comes first."""


def near(order: Indices, moves: int, first_seed: int, seed: int) -> Indices:
    """The order that ``seed`` starts from, (N,) int64, where several start near the same ``order``, (N,) int64.

    The first seed has the order itself; each later one has it with ``moves`` times a block taken out and put in at
    another place, and no two seeds have the same (unless there are fewer such orders than seeds). ``moves`` 0: all
    have the order itself.
    """
    found = order
    seen = {order.tobytes()}
    if moves == 0 or len(order) < 2:
        return order
    for each in range(first_seed + 1, seed + 1):  # the ones before, too: this one must differ from them
        rng = np.random.default_rng(np.random.SeedSequence(each).spawn(NEAR_CHILD + 1)[NEAR_CHILD])
        for _ in range(NEAR_TRIES):
            found = _moved(order, moves, rng)
            if found.tobytes() not in seen:
                break
        seen.add(found.tobytes())
    return found


def _moved(order: Indices, moves: int, rng: np.random.Generator) -> Indices:
    blocks = order.tolist()
    for _ in range(moves):
        block = blocks.pop(taken := int(rng.integers(len(blocks))))
        place = int(rng.integers(len(blocks)))
        blocks.insert(place + (place >= taken), block)  # anywhere but where it was
    return np.array(blocks, np.int64)


def start_order(
    network: Network,
    name: str,
    rng: np.random.Generator,
    pool_order: Indices | None = None,
    greedy_rows: int = GREEDY_ROWS,
) -> Indices:
    """The starting order of that name, (N,) int64: block indices as they are applied.

    ``greedy_rows`` is how many rows the greedy order looks at.

    Raises:
        InputError: there is no such start, or ``pool`` was asked for and the pool holds nothing for this puzzle.
    """
    if name == "pool":
        if pool_order is None:
            raise InputError("--start pool: the pool holds no sound row for this puzzle; choose another start")
        return pool_order
    if name not in STARTS:
        raise InputError(f"unknown start '{name}'; known: auto, pool, {', '.join(STARTS)}")
    return greedy(network, rng, greedy_rows) if name == "greedy" else STARTS[name](network, rng)
