"""What a run puts into the pool: what beats the pool best at that moment, and nothing twice."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pairing.model.network import Network, pairs_of
from pairing.solution import solution_of
from tasks.contracts.run_request import Request
from tasks.pool.engine import checked_url
from tasks.pool.location import PoolAddress
from tasks.pool.spool_flush import flush_all
from tasks.pool.winner_selection import Candidate, store_winners
from tests.support.pools import OTHER_PUZZLE, PoolDatabase, provenance, winner
from tests.support.puzzles import plant
from tests.support.servers import free_port

PLANTED = plant(5, blocks=4, width=4)
PUZZLE = PLANTED.puzzle
RIGHT = PLANTED.inp_sigma, PLANTED.out_sigma
ROWS = "SELECT worker, full_mse FROM js_puzzle_pool ORDER BY id"


def swapped(first: int, second: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The right answer with two blocks exchanged."""
    order = list(range(PUZZLE.blocks))
    order[first], order[second] = order[second], order[first]
    inp, out = RIGHT
    return tuple(inp[k] for k in order), tuple(out[k] for k in order)


WRONG = sorted(
    (swapped(first, second) for first in range(4) for second in range(first)),
    key=lambda sigmas: Network(PUZZLE, pairs_of(*sigmas)).full_mse(sigmas[0]),
)
"""Some wrong answers, the best first."""


def candidate(method: str, sigmas: tuple[tuple[int, ...], tuple[int, ...]]) -> Candidate:
    error = Network(PUZZLE, pairs_of(*sigmas)).full_mse(sigmas[0])
    return Candidate(method=method, seed=0, host="host", seconds=1.0, solution=solution_of(PUZZLE, *sigmas, error))


def request(run: str, **changes: object) -> Request:
    return Request(run=run, puzzle=f"sha256:{'a' * 64}", **changes)


def at(pool: PoolDatabase, folder: Path) -> PoolAddress:
    return PoolAddress(url=pool.url, password=pool.password, data_dir=folder)


def workers(pool: PoolDatabase) -> list[str]:
    return [worker for worker, _ in pool.execute(ROWS)]


def test_a_run_adds_its_best(any_pool: PoolDatabase, tmp_path: Path) -> None:
    found = [candidate("trace", WRONG[1]), candidate("svd", RIGHT), candidate("cosine", WRONG[0])]
    for _ in range(2):
        stored = store_winners(at(any_pool, tmp_path), PUZZLE, request("run"), None, found)
        assert stored.best == pytest.approx(found[1].solution.full_mse)
        assert workers(any_pool) == ["weight_pair_svd@host"]


def test_each_method_is_kept_where_that_is_asked_for(any_pool: PoolDatabase, tmp_path: Path) -> None:
    found = [candidate("trace", WRONG[1]), candidate("svd", RIGHT), candidate("cosine", WRONG[0])]
    before = candidate("", WRONG[1]).solution.full_mse
    for _ in range(2):
        store_winners(at(any_pool, tmp_path), PUZZLE, request("run", insert="each"), before, found)
        assert workers(any_pool) == ["weight_pair_svd@host", "weight_pair_cosine@host"]


def test_what_the_pool_has_got_since_the_run_was_planned_counts(any_pool: PoolDatabase, tmp_path: Path) -> None:
    address = at(any_pool, tmp_path)
    assert store_winners(address, PUZZLE, request("fast"), None, [candidate("trace", RIGHT)]).inserted
    slow = store_winners(address, PUZZLE, request("slow"), None, [candidate("svd", WRONG[0])])
    assert (slow.inserted, slow.stored_later, slow.error) == ([], [], None)
    assert slow.best == candidate("", RIGHT).solution.full_mse
    assert len(workers(any_pool)) == 1


def test_what_others_say_of_their_rows_is_taken_again(any_pool: PoolDatabase, tmp_path: Path) -> None:
    with any_pool.open():
        any_pool.write(full_mse=0.0, inp_sigma=list(WRONG[1][0]), out_sigma=list(WRONG[1][1]))
    assert store_winners(at(any_pool, tmp_path), PUZZLE, request("run"), None, [candidate("svd", WRONG[0])]).inserted


@pytest.mark.parametrize("each", [False, True])
def test_a_winner_that_waited_is_stored_if_it_still_is_one(any_pool: PoolDatabase, tmp_path: Path, each: bool) -> None:
    away = PoolAddress(url=f"postgresql://nobody@127.0.0.1:{free_port()}/pool", password=None, data_dir=tmp_path)
    insert = "each" if each else "best"
    found = [candidate("svd", WRONG[1]), candidate("trace", WRONG[0])]
    stored = store_winners(away, PUZZLE, request("waits", insert=insert), None, found)
    assert [entry["method"] for entry in stored.stored_later] == (["trace", "svd"] if each else ["trace"])
    paths = list(away.spool.glob("*.json"))
    here = at(any_pool, tmp_path)
    with any_pool.open() as pool:
        # What is of another puzzle, or of an origin that nobody knows, beats nothing.
        pool.insert(winner(full_mse=0.0), provenance(puzzle=OTHER_PUZZLE))
        any_pool.write(full_mse=0.0, inp_sigma=list(WRONG[-1][0]), out_sigma=list(WRONG[-1][1]))
    spooled = [json.loads(path.read_bytes()) | {"url": checked_url(here.url).render_as_string()} for path in paths]
    assert spooled
    for path in paths:
        path.unlink()
    for content in spooled:
        keep(here.spool, content)
    results = flush_all(here)
    assert sorted(r.inserted.new for r in results if r.inserted) == [True] * len(spooled)

    for content in spooled:
        keep(here.spool, content)
    any_pool.execute("DELETE FROM js_puzzle_pool WHERE worker LIKE 'weight_pair_%' AND id > 2")
    store_winners(replace(here, data_dir=tmp_path / "other"), PUZZLE, request("better"), None, [candidate("a", RIGHT)])
    results = flush_all(here)
    assert [(r.inserted.new, r.inserted.beaten) for r in results if r.inserted] == [(False, True)] * len(spooled)
    assert not list(here.spool.glob("*.json"))


def keep(folder: Path, content: dict[str, Any]) -> None:
    from tasks.pool.spool import _digest

    text = json.dumps(content, sort_keys=True).encode()
    (folder / f"{_digest(text)}.json").write_bytes(text)
