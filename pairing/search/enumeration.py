"""Where a target hash is known and the data cannot tell solutions apart, the hash can: they are tried one by one."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from pairing.arrays import Indices
from pairing.model.network import Network, pairs_of
from pairing.model.pace import OutOfTimeError, Pace
from pairing.model.puzzle import Puzzle
from pairing.search.identifiability import NOISY_ROWS, alike_exchanges
from pairing.solution import permutation_hash, permutation_of

MOST_HASHES = 50_000
"""Solutions that are tried at most, those of fewest exchanges first."""
MOST_LOOKS = 64
"""Solutions at which exchanges are computed anew: blocks that have changed places have other neighbors."""

Answer = tuple[tuple[int, ...], tuple[int, ...]]
"""``(inp_sigma, out_sigma)``."""
Moves = list[tuple[int, int, int]]
"""What may be exchanged: two blocks' inp pieces and a 0, two inp pieces and a 1, or two out pieces and a 2."""


def matching_answer(network: Network, order: Indices, most: float, pace: Pace) -> tuple[Network, Indices] | None:
    """The solution with the target hash among those that exchanges lead to from ``order`` (N,): its network and order.

    An exchange may change the predictions by a mean square of ``most``. ``None`` where the hash is none of theirs, as
    far as time and ``MOST_HASHES`` allow.
    """
    puzzle = network.puzzle
    begin = network.sigmas(order)
    seen, waiting = {begin}, deque([(begin, True)])
    moves: Moves = []
    looks = 0
    while waiting:
        answer, anew = waiting.popleft()
        if anew and looks < MOST_LOOKS:
            looks += 1
            try:
                moves = _moves(puzzle, answer, most, pace)
            except OutOfTimeError:
                if not moves:
                    return None
        for move in moves:
            found = _moved(answer, move)
            if found in seen:
                continue
            if permutation_hash(permutation_of(puzzle, *found)) == puzzle.target_hash:
                return Network(puzzle, pairs_of(*found)), np.array(found[0], np.int64)
            if len(seen) >= MOST_HASHES or pace.left <= 0:
                return None
            seen.add(found)
            waiting.append((found, move[2] == 0))
    return None


def _moves(puzzle: Puzzle, answer: Answer, most: float, pace: Pace) -> Moves:
    """The exchanges that leave a solution's predictions as they are, by pieces and not by places."""
    network, order = Network(puzzle, pairs_of(*answer)), np.array(answer[0], np.int64)
    rows = np.random.default_rng(0).permutation(puzzle.rows)[:NOISY_ROWS]
    inp, out = answer
    return [
        (out[first], out[second], 2) if kind == 2 else (inp[first], inp[second], int(kind))
        for first, second, kind in alike_exchanges(network, order, rows, most, pace)
    ]


def _moved(answer: Answer, move: tuple[int, int, int]) -> Answer:
    one, other, kind = move
    inp, out = answer
    if kind == 2:
        return inp, _exchanged(out, out.index(one), out.index(other))
    first, second = inp.index(one), inp.index(other)
    return _exchanged(inp, first, second), _exchanged(out, first, second) if kind == 0 else out


def _exchanged(sigma: Sequence[int], first: int, second: int) -> tuple[int, ...]:
    changed = list(sigma)
    changed[first], changed[second] = changed[second], changed[first]
    return tuple(changed)
