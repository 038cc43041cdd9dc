"""What the page of the solution pool shows. Everything here reads the pool, and so runs in a thread."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.contracts.errors import PoolError
from tasks.pool.by_puzzle import PuzzleInPool, Stored, puzzles_in, solutions_of
from tasks.pool.engine import checked_url, place
from tasks.pool.history import recorded_runs
from tasks.pool.location import PoolAddress, opened
from tasks.runs.recording import read_facts

MOST_PUZZLES = 100
MOST_RUNS = 500
"""Runs on record that are looked through for the names of puzzles, the newest."""
MOST_SOLUTIONS = 500

WIDTH, HEIGHT = 640, 150
"""Of the drawing of a puzzle's history, in its own units."""


@dataclass(frozen=True)
class PoolFound:
    """The pool, or the pools of this host."""

    where: str
    puzzles: list[PuzzleInPool]
    names: dict[str, str]
    """Puzzle → its name, where a run on record has one."""
    troubles: list[str]
    """Why some of it could not be read."""


@dataclass(frozen=True)
class History:
    """A puzzle's solutions in the order in which they came, and the best MSE as a line that falls."""

    puzzle: str
    solutions: list[Stored]
    best: Stored | None
    records: frozenset[int]
    """The rows that were the best when they came."""
    line: str
    """The points of an SVG polyline."""
    troubles: list[str]


def pool_found(address: PoolAddress) -> PoolFound:
    """The puzzles that have solutions, and who found the best."""
    puzzles: list[PuzzleInPool] = []
    troubles = []
    for url in address.urls():
        try:
            with opened(address, url, read_only=True) as pool:
                puzzles += puzzles_in(pool, MOST_PUZZLES)
        except PoolError as error:
            troubles.append(str(error))
    puzzles.sort(key=lambda found: -(found.newest_at or 0.0))
    where = place(checked_url(address.url)) if address.url else ""
    return PoolFound(where, puzzles[:MOST_PUZZLES], _names(address), troubles)


def _names(address: PoolAddress) -> dict[str, str]:
    try:
        with opened(address, address.history_url, read_only=True) as pool:
            recorded = [facts for row in recorded_runs(pool, MOST_RUNS) if (facts := read_facts(row)) is not None]
    except PoolError:
        return {}
    return {facts.pool_puzzle: facts.puzzle_name for facts in reversed(recorded) if facts.puzzle_name}


def history(address: PoolAddress, puzzle: str) -> History:
    """A puzzle's solutions."""
    solutions: list[Stored] = []
    troubles = []
    for url in address.urls():
        try:
            with opened(address, url, read_only=True) as pool:
                solutions += solutions_of(pool, puzzle, MOST_SOLUTIONS)
        except PoolError as error:
            troubles.append(str(error))
    least, records = math.inf, []
    for found in solutions:
        if found.mse < least:
            least = found.mse
            records.append(found)
    best = records[-1] if records else None
    return History(puzzle, solutions, best, frozenset(r.id for r in records), falling_line(records), troubles)


def falling_line(records: Sequence[Stored]) -> str:
    """A step down at each record, the time to the right and the logarithm of the MSE upwards."""
    points = [(found.at, math.log10(max(found.mse, 1e-300))) for found in records if found.at is not None]
    if len(points) < 2:
        return ""
    (first, _), (last, low) = points[0], points[-1]
    high = points[0][1]
    corners: list[tuple[float, float]] = []
    for at, level in points:
        x = WIDTH * (at - first) / max(last - first, 1e-9)
        y = 6 + (HEIGHT - 12) * (high - level) / max(high - low, 1e-9)
        if corners:
            corners.append((x, corners[-1][1]))
        corners.append((x, y))
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
