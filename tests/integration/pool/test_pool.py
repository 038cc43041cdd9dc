"""The pool's contract, the same for SQLite and a real PostgreSQL."""

from __future__ import annotations

import itertools
import math
import stat
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pairing.errors import InputError
from tasks.contracts.errors import PoolError
from tasks.pool.index import enter
from tasks.pool.repository import LOCK_KEY, Inserted, PoolRow, RowError, checked_url, open_pool
from tasks.pool.tables import MIGRATION, OWN_TABLES
from tests.support.pools import (
    OTHER_PUZZLE,
    PUZZLE,
    PoolDatabase,
    PostgresPoolDatabase,
    SqlitePoolDatabase,
    in_processes,
    insert_after_fork,
    insert_at_once,
    provenance,
    winner,
)

# What another writer may do: it doubles the rows.
DOUBLE = """
INSERT INTO js_puzzle_pool (full_mse, inp_sigma, out_sigma, hash_match)
SELECT full_mse, inp_sigma, out_sigma, hash_match FROM js_puzzle_pool
"""

COUNT = "SELECT count(*) FROM js_puzzle_pool"


def test_an_empty_pool_has_no_candidates(any_pool: PoolDatabase) -> None:
    with any_pool.open() as pool:
        assert pool.candidates(3, PUZZLE) == []


def test_what_is_inserted_is_read_back(any_pool: PoolDatabase) -> None:
    with any_pool.open() as pool:
        inserted = pool.insert(winner(), provenance(note="früh", seed=7))
        assert inserted.new
        (row,) = pool.candidates(3, PUZZLE)
    assert asdict(row) == {"id": inserted.id, **winner().model_dump(), "run": "run1"}
    query = "SELECT pool_id, puzzle, run, method, seed, rows, error, seconds, versions, host, note"
    assert any_pool.execute(f"{query} FROM pairing_result") == [
        (inserted.id, PUZZLE, "run1", "trace", 7, 10_000, 0.1 + 0.2, 1.5, '{"numpy": "2.0"}', "host", "früh")
    ]
    assert any_pool.execute("SELECT run, puzzle FROM pairing_run") == [("run1", PUZZLE)]
    dated = "created_at IS NOT NULL"
    assert any_pool.execute(f"{COUNT} WHERE {dated}") == [(1,)]
    assert any_pool.execute(f"SELECT count(*) FROM pairing_result WHERE {dated}") == [(1,)]


_sigma = st.integers(1, 12).flatmap(lambda blocks: st.permutations(range(blocks)))
_finite = st.floats(allow_nan=False, allow_infinity=False)
_int32, _int64 = st.integers(-(2**31), 2**31 - 1), st.integers(-(2**63), 2**63 - 1)
_digests = (f"{number:064x}" for number in itertools.count())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None)
@given(data=st.data(), inp=_sigma, mse=_finite, match=st.booleans(), seed=_int64, text=st.text())
def test_anything_that_can_be_written_is_read_back(
    any_pool: PoolDatabase, data: st.DataObject, inp: list[int], mse: float, match: bool, seed: int, text: str
) -> None:
    written = winner(
        worker=text,
        full_mse=mse,
        inp_sigma=inp,
        out_sigma=data.draw(st.permutations(inp)),
        permutation=data.draw(st.lists(_int32)),
        hash=data.draw(st.text()),
        hash_match=match,
    )
    source = provenance(puzzle=next(_digests), seed=seed, error=mse, note=text, versions={text: data.draw(st.text())})
    with any_pool.open() as pool:
        inserted = pool.insert(written, source)
        assert inserted.new
        (row,) = pool.candidates(len(inp), source.puzzle)
        assert asdict(row) == {"id": inserted.id, **written.model_dump(), "run": source.run}
        assert not pool.insert(written, source).new


def test_a_pair_of_sigmas_is_stored_once(any_pool: PoolDatabase) -> None:
    with any_pool.open() as pool:
        first = pool.insert(winner(), provenance())
        again = pool.insert(winner(worker="somebody else", full_mse=0.5), provenance(run="run2", seed=2))
        assert (again.id, again.new) == (first.id, False)
        assert pool.insert(winner(inp_sigma=[1, 0, 2]), provenance()).new
        assert pool.insert(winner(out_sigma=[1, 0, 2]), provenance(run="run2")).new
    assert any_pool.execute(COUNT) == [(3,)]
    assert any_pool.execute("SELECT count(*) FROM pairing_result") == [(3,)]
    assert any_pool.execute("SELECT run FROM pairing_run ORDER BY run") == [("run1",), ("run2",)]


def test_another_writers_row_counts_as_stored(any_pool: PoolDatabase) -> None:
    with any_pool.open() as pool:
        there = any_pool.write(worker=None, hash=None)
        inserted = pool.insert(winner(), provenance())
        assert (inserted.id, inserted.new) == (there, False)
        assert [row.id for row in pool.candidates(3, PUZZLE)] == [there]


def test_the_same_sigmas_of_another_puzzle_are_another_solution(any_pool: PoolDatabase) -> None:
    with any_pool.open() as pool:
        other = pool.insert(winner(full_mse=0.0), provenance(puzzle=OTHER_PUZZLE))
        ours = pool.insert(winner(), provenance())
        assert other.new
        assert ours.new
        assert [row.id for row in pool.candidates(3, PUZZLE)] == [ours.id]
        assert [row.id for row in pool.candidates(3, OTHER_PUZZLE)] == [other.id]
        assert pool.candidates(3, "c" * 64) == []


def test_a_row_on_record_for_several_puzzles_belongs_to_each(any_pool: PoolDatabase) -> None:
    with any_pool.open() as pool:
        there = any_pool.write()
        for puzzle in (PUZZLE, OTHER_PUZZLE):
            any_pool.execute(
                "INSERT INTO pairing_result (pool_id, puzzle, run, method, seed, rows, error, seconds, versions,"
                " host, note) VALUES (%s, %s, 'run', 'trace', 0, 1, 0.5, 1, '{}', 'host', '')",
                [there, puzzle],
            )
        for _ in ("not taken up yet", "taken up"):
            assert [row.id for row in pool.candidates(3, OTHER_PUZZLE)] == [there]
            assert [row.id for row in pool.candidates(3, PUZZLE)] == [there]
            assert pool.candidates(3, "c" * 64) == []
            assert pool.insert(winner(), provenance(puzzle=OTHER_PUZZLE)).id == there


def test_a_row_that_is_as_good_keeps_a_winner_out(any_pool: PoolDatabase) -> None:
    with any_pool.open() as pool:
        best = pool.insert(winner(full_mse=0.1), provenance())
        any_pool.write(full_mse=0.2, out_sigma=[0, 1, 2])
        asked: list[list[tuple[int, str | None]]] = []

        def as_good(rows: list[PoolRow]) -> int | None:
            asked.append([(row.id, row.run) for row in rows])
            return rows[0].id

        beaten = pool.insert(winner(full_mse=0.3, inp_sigma=[1, 0, 2]), provenance(run="run2"), as_good)
        assert beaten == Inserted(id=best.id, new=False, beaten=True)
        assert asked == [[(best.id, "run1"), (best.id + 1, None)]]
    assert any_pool.execute(COUNT) == [(2,)]


def test_rows_of_one_run_can_be_passed_over(any_pool: PoolDatabase) -> None:
    with any_pool.open() as pool:
        pool.insert(winner(full_mse=0.1), provenance())
        other = pool.insert(winner(full_mse=0.2, inp_sigma=[1, 0, 2]), provenance(run="run2"))
        strange = any_pool.write(full_mse=0.3, out_sigma=[0, 1, 2])
        assert [row.id for row in pool.candidates(3, PUZZLE, but_run="run1")] == [other.id, strange]


def test_the_database_itself_refuses_a_second_row_of_a_solution(any_pool: PoolDatabase) -> None:
    with any_pool.open() as pool:
        first = pool.insert(winner(), provenance())
        with pool.transaction("Trying", write=True) as connection:
            sigmas = winner().inp_sigma, winner().out_sigma
            assert not enter(connection, first.id + 1, PUZZLE, 0.1, sigmas)
            assert enter(connection, first.id + 1, OTHER_PUZZLE, 0.1, sigmas)


def test_a_solution_whose_row_somebody_removed_is_stored_again(any_pool: PoolDatabase) -> None:
    with any_pool.open() as pool:
        both = winner(), winner(out_sigma=[0, 1, 2])
        first = [pool.insert(each, provenance()).id for each in both]
        any_pool.execute("DELETE FROM js_puzzle_pool")
        second = [pool.insert(each, provenance(run="run2")) for each in both]
        assert [inserted.new for inserted in second] == [True, True]
        assert not {inserted.id for inserted in second} & set(first)
        assert not pool.insert(winner(), provenance()).new


def test_rows_that_others_commit_late_are_found(any_pool: PoolDatabase) -> None:
    """An id is taken before the row is committed: lower ids may appear after higher ones."""
    with any_pool.open() as pool:
        any_pool.write(full_mse=0.5)
        pool.insert(winner(full_mse=0.4, inp_sigma=[1, 0, 2]), provenance())
        any_pool.execute("UPDATE js_puzzle_pool SET id = id + 500")
        any_pool.execute("UPDATE pairing_solution SET pool_id = pool_id + 500")
        any_pool.execute("UPDATE pairing_result SET pool_id = pool_id + 500")
        any_pool.write(full_mse=0.3, out_sigma=[0, 1, 2])
        for _ in ("not taken up yet", "taken up"):
            assert [row.full_mse for row in pool.candidates(3, PUZZLE)] == [0.3, 0.4, 0.5]
            pool.take_up()


UNSOUND: list[dict[str, Any]] = [
    {"full_mse": None},
    {"full_mse": math.inf},
    {"full_mse": -math.inf},
    {"inp_sigma": None},
    {"out_sigma": None},
    {"inp_sigma": []},
    {"inp_sigma": [0, 1]},
    {"out_sigma": [0, 1, 1]},
    {"out_sigma": [1, 2, 3]},
    {"inp_sigma": [0, None, 2]},
    {"inp_sigma": [0, 1, -1]},
    {"inp_sigma": [[0, 1, 2]]},
    {"inp_sigma": [0, 1, 2, 3], "out_sigma": [0, 1, 2, 3]},
]
ONLY_POSTGRES: list[dict[str, Any]] = [{"full_mse": math.nan}]
ONLY_SQLITE: list[dict[str, Any]] = [{"inp_sigma": "no JSON"}, {"inp_sigma": 5}, {"full_mse": "text"}]


def test_unsound_rows_are_passed_over(any_pool: PoolDatabase) -> None:
    more = ONLY_SQLITE if isinstance(any_pool, SqlitePoolDatabase) else ONLY_POSTGRES
    with any_pool.open() as pool:
        for row in UNSOUND + more:
            any_pool.write(**{"full_mse": 0.0, **row})
        sound = any_pool.write(worker=None, permutation=None, hash=None, full_mse=9.0)
        found = pool.candidates(3, PUZZLE)
        assert [row.id for row in found] == [sound]
        assert (found[0].worker, found[0].permutation, found[0].hash) == (None, None, None)


def test_the_limit_counts_only_what_is_sound(any_pool: PoolDatabase) -> None:
    orders = list(itertools.permutations(range(3)))
    with any_pool.open() as pool:
        any_pool.write(full_mse=0.0, out_sigma=[0, 0, 0])
        for _ in range(8):
            any_pool.execute(DOUBLE)  # 256 unsound rows
        pool.insert(winner(full_mse=0.0), provenance(puzzle=OTHER_PUZZLE))
        ids = [any_pool.write(full_mse=1.0 - k / 10, out_sigma=list(o)) for k, o in enumerate(orders)]
        assert [row.id for row in pool.candidates(3, PUZZLE)] == ids[::-1]
        assert [row.id for row in pool.candidates(3, PUZZLE, limit=2)] == ids[:-3:-1]
        assert pool.candidates(3, PUZZLE, limit=0) == []
        assert pool.insert(winner(inp_sigma=[2, 1, 0]), provenance()).new  # it was left usable


def test_at_most_32_rows_are_given(any_pool: PoolDatabase) -> None:
    with any_pool.open() as pool:
        any_pool.write(full_mse=2.0)
        any_pool.write(full_mse=1.0)
        for _ in range(5):
            any_pool.execute(DOUBLE)
        assert [row.full_mse for row in pool.candidates(3, PUZZLE)] == [1.0] * 32


def test_of_twenty_insertions_at_once_one_makes_a_row(any_pool: PoolDatabase) -> None:
    with any_pool.open():
        pass
    inserted = in_processes(insert_at_once, 20, any_pool.url, any_pool.password)
    assert len({row.id for row in inserted}) == 1
    assert [row.new for row in inserted].count(True) == 1
    assert any_pool.execute(COUNT) == [(1,)]
    assert any_pool.execute("SELECT count(*) FROM pairing_result") == [(1,)]


def test_an_insertion_waits_for_one_that_is_under_way(postgres_pool: PostgresPoolDatabase) -> None:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND wait_event = 'advisory'"
    with (
        postgres_pool.open() as pool,
        closing(postgres_pool.server.connect(postgres_pool.name)) as other,
        ThreadPoolExecutor(1) as thread,
    ):
        other.autocommit = False
        cursor = other.cursor()
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK_KEY])
        cursor.execute(
            "INSERT INTO js_puzzle_pool (inp_sigma, out_sigma, hash_match) VALUES (%s, %s, false) RETURNING id",
            [list(winner().inp_sigma), list(winner().out_sigma)],
        )
        there = cursor.fetchone()[0]
        insertion = thread.submit(pool.insert, winner(), provenance())
        while postgres_pool.execute(waiting) == [(0,)]:
            assert not insertion.done()
        other.commit()
        assert insertion.result() == Inserted(id=there, new=False)


def test_several_may_open_a_new_database_at_once(any_pool: PoolDatabase) -> None:
    assert len(in_processes(insert_at_once, 6, any_pool.url, any_pool.password)) == 6
    assert any_pool.execute(COUNT) == [(1,)]


def test_a_pool_survives_a_fork(any_pool: PoolDatabase) -> None:
    assert in_processes(insert_after_fork, 1, any_pool.url, any_pool.password) == [[True, True, True]]
    assert any_pool.execute(COUNT) == [(3,)]


def test_numpy_values_become_plain_ones(any_pool: PoolDatabase) -> None:
    scalars = winner(
        full_mse=np.float32(0.25),
        inp_sigma=np.array([0, 1, 2]),
        out_sigma=[np.int64(2), np.int32(0), np.uint8(1)],
        permutation=np.array([3, 5, 0, 4, 1, 2, 6], dtype=np.int16),
        hash_match=np.bool_(True),
    )
    source = provenance(seed=np.uint64(3), rows=np.int64(5), error=np.float64(0.25), seconds=np.float32(2))
    assert {type(index) for index in (*scalars.inp_sigma, *scalars.out_sigma, source.seed)} == {int}
    with any_pool.open() as pool:
        pool.insert(scalars, source)
        (row,) = pool.candidates(3, PUZZLE)
    assert (row.full_mse, row.hash_match, row.out_sigma) == (0.25, True, (2, 0, 1))


@pytest.mark.parametrize(
    "changes",
    [
        {"inp_sigma": [0, 1, 1]},
        {"out_sigma": [0, 1]},
        {"inp_sigma": [], "out_sigma": []},
        {"inp_sigma": [0.0, 1.0, 2.0]},
        {"permutation": [2**31]},
        {"permutation": ["1"]},
        {"full_mse": math.nan},
        {"full_mse": math.inf},
        {"full_mse": None},
        {"full_mse": "0.1"},
        {"hash_match": "False"},
        {"hash_match": 1},
        {"hash": None},
        {"worker": 5},
    ],
)
def test_a_winner_with_wrong_values_cannot_be_made(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(changes))):
        winner(**changes)


@pytest.mark.parametrize("changes", [{"seed": 2**63}, {"rows": 1.5}, {"error": math.nan}, {"note": None}])
def test_provenance_with_wrong_values_cannot_be_made(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(changes))):
        provenance(**changes)


def test_odd_characters_do_not_cost_the_winner(any_pool: PoolDatabase) -> None:
    with any_pool.open() as pool:
        assert pool.insert(winner(worker="a\0b\udc80c"), provenance(note="\0")).new
        assert pool.candidates(3, PUZZLE)[0].worker == "a?b?c"


def test_without_provenance_no_row_is_left(any_pool: PoolDatabase) -> None:
    with any_pool.open() as pool:
        _refuse(any_pool, "pairing_result")
        with pytest.raises(RowError):
            pool.insert(winner(), provenance())
        assert any_pool.execute(COUNT) == [(0,)]
        assert any_pool.execute("SELECT count(*) FROM pairing_run") == [(0,)]


def _refuse(database: PoolDatabase, table: str) -> None:
    if isinstance(database, SqlitePoolDatabase):
        database.execute(f"CREATE TRIGGER refuse BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'no'); END")
    else:
        database.execute(f"ALTER TABLE {table} ADD CHECK (false)")


def test_a_missing_table_says_so(any_pool: PoolDatabase) -> None:
    with any_pool.open() as pool:
        any_pool.execute("DROP TABLE js_puzzle_pool")
        with pytest.raises(PoolError, match="js_puzzle_pool"):
            pool.candidates(3, PUZZLE)
        pool.create_tables()
        assert pool.insert(winner(), provenance()).new


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:s3cret@host/name",
        "postgresql://user@host/name?password=s3cret",
        "postgresql://user@host/name?sslpassword=s3cret",
        "mysql://host/name",
        "sqlite://",
        "sqlite:///:memory:",
        "s3cret",
        "postgresql://user:s3cret@host:port/name",
    ],
)
def test_a_wrong_address_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(InputError) as caught:
        checked_url(url)
    assert "s3cret" not in "".join(traceback.format_exception(caught.value, limit=0))


def test_sqlite_makes_its_folder(sqlite_pool: SqlitePoolDatabase) -> None:
    assert not sqlite_pool.path.parent.exists()
    with sqlite_pool.open() as pool:
        assert pool.keeps_provenance
    assert stat.S_ISREG(sqlite_pool.path.stat().st_mode)


@pytest.mark.parametrize("broken", ["folder", "garbage", "below a file"])
def test_an_sqlite_file_that_is_none(tmp_path: Path, broken: str) -> None:
    path = tmp_path / "pool.sqlite"
    if broken == "folder":
        path.mkdir()
    else:
        path.write_bytes(b"no database" * 1000)
    with pytest.raises(PoolError, match=r"pool\.sqlite"):
        open_pool(f"sqlite:///{path / 'more.sqlite' if broken == 'below a file' else path}")


def test_the_shared_table_is_made_only_when_asked(postgres_pool: PostgresPoolDatabase) -> None:
    columns = "SELECT column_name, data_type, udt_name, is_nullable FROM information_schema.columns"
    query = f"{columns} WHERE table_name = 'js_puzzle_pool' ORDER BY ordinal_position"
    shared = postgres_pool.execute(query)
    postgres_pool.execute("DROP TABLE js_puzzle_pool")
    with postgres_pool.open() as pool:
        assert postgres_pool.execute(query) == []
        with pytest.raises(PoolError, match="--shared-table"):
            pool.insert(winner(), provenance())
        pool.create_tables()
        assert postgres_pool.execute(query) == shared
        assert pool.insert(winner(), provenance()).new


def test_the_migrations_make_the_tables_that_are_written_to(any_pool: PoolDatabase) -> None:
    with any_pool.open() as pool, pool.transaction("Looking") as connection:
        for table in (*OWN_TABLES, MIGRATION):
            there = {column["name"]: column for column in sa.inspect(connection).get_columns(table.name)}
            assert list(there) == list(table.columns.keys())
            for column in table.columns:
                assert there[column.name]["nullable"] == column.nullable
            key = sa.inspect(connection).get_pk_constraint(table.name)["constrained_columns"]
            assert key == [column.name for column in table.primary_key]


def test_tables_from_before_the_migrations_are_kept(any_pool: PoolDatabase) -> None:
    with any_pool.open() as pool:
        inserted = pool.insert(winner(), provenance(puzzle=OTHER_PUZZLE))
    any_pool.execute("DROP TABLE pairing_migration")
    with any_pool.open() as pool:
        assert [row.id for row in pool.candidates(3, OTHER_PUZZLE)] == [inserted.id]
        assert pool.candidates(3, PUZZLE) == []
    assert any_pool.execute("SELECT number FROM pairing_migration ORDER BY number") == [(1,), (2,), (3,)]


def test_tables_made_later_are_used_by_a_pool_that_is_open(postgres_pool: PostgresPoolDatabase) -> None:
    owner = postgres_pool.user, postgres_pool.password
    role = postgres_pool.become_guest()
    with postgres_pool.open() as pool:
        assert pool.insert(winner(), provenance()).new
        postgres_pool.user, postgres_pool.password = owner
        with postgres_pool.open():
            postgres_pool.execute(f"GRANT SELECT, INSERT ON pairing_result, pairing_run TO {role}")
        assert pool.insert(winner(out_sigma=[0, 1, 2]), provenance()).new
    assert postgres_pool.execute("SELECT count(*) FROM pairing_result") == [(1,)]
