"""The commands ``pairing pool …``, on SQLite and a real PostgreSQL."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from config.settings import settings
from pairing import load_puzzle
from pairing.solution import Solution, sigmas_of, solution_of
from tasks.commands.main import main
from tasks.contracts.errors import PoolError
from tasks.pool.location import PoolAddress
from tasks.pool.repository import Winner, open_pool
from tasks.pool.spool import spool_winner
from tests.support.fleet import DEMO
from tests.support.pools import (
    OTHER_PUZZLE,
    PUZZLE,
    PoolDatabase,
    PostgresPoolDatabase,
    SqlitePoolDatabase,
    provenance,
    winner,
)
from tests.support.results import ANSWER
from tests.support.servers import free_port

PERMUTATION = {"inp_sigma": list(range(12)), "out_sigma": list(range(12))}


@dataclass
class Said:
    """What a command said, and its exit status."""

    status: int
    output: str
    errors: str

    @property
    def json(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.output)
        return value


Run = Callable[..., Said]


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data-folder"


@pytest.fixture
def run(data_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Runs ``pairing pool …`` in this process, with settings of its own; with a database, for that."""
    for name in ("PAIRING_POOL_URL", "PAIRING_POOL_PASSWORD", "CHEROKEE_DB_HOST", "CHEROKEE_DB_PASS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PAIRING_DATA_DIR", str(data_dir))

    def call(*arguments: object, database: PoolDatabase | None = None) -> Said:
        words = [str(word) for word in arguments]
        if database is not None:
            words += ["--pool", database.url]
            monkeypatch.setenv("PAIRING_POOL_PASSWORD", database.password or "")
        settings.cache_clear()
        monkeypatch.setattr(sys, "argv", ["pairing", "pool", *words])
        status = 0
        try:
            main()
        except SystemExit as ended:
            status = int(ended.code or 0)
        said = capsys.readouterr()
        return Said(status, said.out, said.err)

    yield call
    settings.cache_clear()


def answer() -> Solution:
    puzzle = load_puzzle(DEMO)
    return solution_of(puzzle, *sigmas_of(puzzle, ANSWER), 0.0)


def solved(**changes: Any) -> Winner:
    """The right answer to the demonstration puzzle, but for the changes."""
    names = ("inp_sigma", "out_sigma", "permutation", "hash", "hash_match")
    values = {name: getattr(answer(), name) for name in names}
    return winner(**{**values, "full_mse": 1e-14, **changes})


def test_the_tables_are_made_once(any_pool: PoolDatabase, run: Run) -> None:
    for _ in range(2):
        said = run("init", database=any_pool)
        assert said.status == 0, said.errors
        assert any_pool.execute("SELECT number FROM pairing_migration ORDER BY number") == [(1,), (2,), (3,)]
    assert any_pool.execute("SELECT count(*) FROM pairing_result") == [(0,)]


def test_without_the_right_to_tables_that_is_said(postgres_pool: PostgresPoolDatabase, run: Run) -> None:
    owner = postgres_pool.user, postgres_pool.password
    guest = postgres_pool.become_guest()
    said = run("init", database=postgres_pool)
    assert said.status == 1
    assert "SELECT and INSERT on pairing_run, pairing_result and pairing_solution" in said.errors
    guests = postgres_pool.user, postgres_pool.password
    postgres_pool.user, postgres_pool.password = owner
    assert run("init", database=postgres_pool).status == 0
    postgres_pool.execute(f"GRANT SELECT, INSERT ON pairing_run, pairing_result TO {guest}")
    postgres_pool.user, postgres_pool.password = guests
    assert run("init", database=postgres_pool).status == 0


def test_the_shared_table_is_made_when_asked(postgres_pool: PostgresPoolDatabase, run: Run) -> None:
    postgres_pool.execute("DROP TABLE js_puzzle_pool")
    said = run("init", database=postgres_pool)
    assert said.status == 3
    assert "--shared-table" in said.errors
    assert run("init", "--shared-table", database=postgres_pool).status == 0
    assert run("list", database=postgres_pool).status == 0


def test_an_empty_pool_has_no_best(any_pool: PoolDatabase, run: Run) -> None:
    for call in (["best", "--json"], ["best", DEMO, "--json"]):
        said = run(*call, database=any_pool)
        assert (said.status, said.json) == (0, {"schema": 1, "best": None})
    assert run("list", "--json", database=any_pool).json == {"schema": 1, "rows": []}


def test_best_takes_the_error_again(any_pool: PoolDatabase, run: Run) -> None:
    with any_pool.open() as pool:
        lie = pool.insert(winner(**PERMUTATION, full_mse=0.0), provenance(puzzle=load_puzzle(DEMO).digest)).id
        right = pool.insert(solved(full_mse=9.0, hash="stale"), provenance(puzzle=load_puzzle(DEMO).digest)).id
        pool.insert(winner(full_mse=-1.0), provenance(puzzle=OTHER_PUZZLE))
    any_pool.write(full_mse=-2.0, inp_sigma=[0, 0, 0])
    best = run("best", DEMO, "--json", database=any_pool).json["best"]
    assert best["id"] == right
    assert best["permutation"] == ANSWER
    assert (best["hash"], best["hash_match"]) == (answer().hash, True)
    assert best["full_mse"] < 1e-9
    assert best["records"][0]["puzzle"] == load_puzzle(DEMO).digest
    assert run("best", "--json", database=any_pool).json["best"]["full_mse"] == -1.0
    shown = run("best", DEMO, database=any_pool)
    assert ",".join(map(str, ANSWER)) in shown.output
    listed = run("list", "--puzzle", DEMO, "--json", database=any_pool).json["rows"]
    assert [row["id"] for row in listed] == [lie, right]


def test_rows_are_listed_and_shown_whatever_is_in_them(any_pool: PoolDatabase, run: Run) -> None:
    with any_pool.open() as pool:
        known = pool.insert(winner(full_mse=0.5), provenance(note="a note")).id
    odd = any_pool.write(full_mse=None, worker=None, inp_sigma=None, permutation=None, hash=None)
    endless = any_pool.write(full_mse=float("inf"))
    rows = run("list", "--json", database=any_pool).json["rows"]
    assert [(row["id"], row["full_mse"]) for row in rows] == [(known, 0.5), (endless, None), (odd, None)]
    assert [row["id"] for row in run("list", "--limit", 1, "--json", database=any_pool).json["rows"]] == [known]
    listed = run("list", database=any_pool).output.splitlines()
    assert len(listed) == 4
    assert re.search(r"\d\d:\d\d:\d\d[+-]\d\d:\d\d ", listed[1])
    shown = run("show", known, "--json", database=any_pool).json["row"]
    assert (shown["full_mse"], shown["records"][0]["note"]) == (0.5, "a note")
    assert "a note" in run("show", known, database=any_pool).output
    assert run("show", odd, database=any_pool).status == 0
    for _ in ("not taken up yet", "taken up"):
        page, seen = run("list", "--limit", 1, "--json", database=any_pool).json["rows"], []
        while page:
            seen += [row["id"] for row in page]
            page = run("list", "--limit", 1, "--after", seen[-1], "--json", database=any_pool).json["rows"]
        assert seen == [known, endless, odd]
        assert run("init", database=any_pool).status == 0
    assert run("list", "--after", 999, database=any_pool).status == 2
    missing = run("show", 999, database=any_pool)
    assert missing.status == 2
    assert "999" in missing.errors


def test_verify_reports_what_is_not_as_stored(any_pool: PoolDatabase, run: Run) -> None:
    with any_pool.open() as pool:
        pool.insert(solved(), provenance(puzzle=load_puzzle(DEMO).digest))
    clean = run("verify", DEMO, "--json", database=any_pool)
    assert clean.status == 0, clean.output
    assert (clean.json["rows"], clean.json["wrong"], clean.json["unsound"]) == (1, [], [])

    before = solved(full_mse=0.25).model_dump()
    stale = any_pool.write(**before)
    hashed = any_pool.write(**{**before, "full_mse": 1e-14, "hash": "json", "hash_match": False})
    blocks = any_pool.write(**{**before, "full_mse": 1e-14, "permutation": sorted(ANSWER)})
    silent = any_pool.write(**{**before, "full_mse": 1e-14, "permutation": None, "hash": None})
    useless = any_pool.write(full_mse=0.0, inp_sigma=[0, 0, 0])
    rows = any_pool.execute("SELECT * FROM js_puzzle_pool ORDER BY id")
    said = run("verify", DEMO, "--json", database=any_pool)
    assert said.status == 1
    wrong = {row["id"]: set(row["faults"]) for row in said.json["wrong"]}
    assert wrong == {stale: {"full_mse"}, hashed: {"hash", "hash_match"}, blocks: {"permutation"}}
    assert said.json["unsound"] == [useless]
    assert silent not in wrong
    told = run("verify", DEMO, database=any_pool)
    assert told.status == 1
    assert f"row {stale}: full_mse is stored as 0.25" in told.output
    assert any_pool.execute("SELECT * FROM js_puzzle_pool ORDER BY id") == rows


READING = [["best"], ["best", DEMO], ["list"], ["list", "--puzzle", DEMO], ["verify", DEMO], ["export", "file.jsonl"]]


def test_looking_at_a_pool_makes_no_tables(
    postgres_pool: PostgresPoolDatabase, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    row = postgres_pool.write(**solved(hash="stale").model_dump())
    tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    for call in [*READING, ["show", row]]:
        said = run(*call, database=postgres_pool)  # as the owner, who might
        assert said.status == (call[0] == "verify"), said.errors
        assert postgres_pool.execute(tables) == [("js_puzzle_pool",)]


def test_looking_at_a_file_makes_and_changes_nothing(
    sqlite_pool: SqlitePoolDatabase, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for call in READING:
        assert run(*call, database=sqlite_pool).status == 0
        assert not sqlite_pool.path.parent.exists()
    with sqlite_pool.open():
        pass
    for table in ("pairing_run", "pairing_result", "pairing_migration"):  # a file of an older version
        sqlite_pool.execute(f"DROP TABLE {table}")
    row = sqlite_pool.write(**solved().model_dump())
    before = sqlite_pool.path.read_bytes()
    for call in [*READING, ["show", row]]:
        said = run(*call, database=sqlite_pool)
        assert said.status == 0, said.errors
        assert sqlite_pool.path.read_bytes() == before


def test_who_may_only_read_may_look(postgres_pool: PostgresPoolDatabase, run: Run, tmp_path: Path) -> None:
    row = postgres_pool.write(**solved().model_dump())
    role = postgres_pool.become_guest()
    postgres_pool.execute(f"REVOKE INSERT ON js_puzzle_pool FROM {role}")
    for call in (["best", DEMO], ["list"], ["show", row], ["verify", DEMO], ["export", tmp_path / "file.jsonl"]):
        said = run(*call, database=postgres_pool)
        assert said.status == 0, said.errors


def test_a_pool_that_is_open_to_read_refuses_changes(any_pool: PoolDatabase) -> None:
    with any_pool.open() as pool:
        pool.insert(winner(), provenance())
    with open_pool(any_pool.url, any_pool.password, read_only=True) as pool:
        assert len(pool.candidates(3, PUZZLE)) == 1
        with pytest.raises(PoolError):
            pool.insert(winner(out_sigma=[0, 1, 2]), provenance())
    assert any_pool.execute("SELECT count(*) FROM js_puzzle_pool") == [(1,)]


def test_a_pool_goes_through_a_file(any_pool: PoolDatabase, run: Run, tmp_path: Path) -> None:
    with any_pool.open() as pool:
        pool.insert(winner(), provenance(note="früh"))
        pool.insert(winner(), provenance(puzzle=OTHER_PUZZLE))
    any_pool.write(out_sigma=[0, 1, 2], worker=None, hash=None, permutation=None)
    any_pool.write(inp_sigma=[0, 0, 0])
    file = tmp_path / "pool.jsonl"
    said = run("export", file, database=any_pool)
    assert said.status == 1
    assert "3 rows; 1 invalid" in said.output
    other = SqlitePoolDatabase(tmp_path / "other.sqlite")
    assert "3 rows stored, 0 were there" in run("import", file, database=other).output
    assert "0 rows stored, 3 were there" in run("import", file, database=other).output
    columns = "SELECT puzzle, run, method, seed, rows, error, seconds, versions, host, note FROM pairing_result"
    assert other.execute(f"{columns} ORDER BY puzzle") == any_pool.execute(f"{columns} ORDER BY puzzle")
    assert "0 rows stored, 3 were there" in run("import", file, database=any_pool).output
    again = tmp_path / "again.jsonl"
    assert run("export", again, database=other).status == 0
    assert sorted(again.read_text().splitlines()) == sorted(file.read_text().splitlines())


HEADER = '{"format": "pairing-pool", "version": 1}'
GOOD: dict[str, Any] = {"winner": winner().model_dump(), "records": [provenance().model_dump()]}


def line(**changes: Any) -> str:
    return json.dumps({**GOOD, "winner": {**GOOD["winner"], **changes}})


BAD_FILES = {
    "empty": "",
    "no header": line(),
    "another version": HEADER.replace("1}", "2}"),
    "no JSON": f"{HEADER}\nnot JSON",
    "cut": f"{HEADER}\n{line()[:-9]}",
    "an empty line": f"{HEADER}\n\n{line()}",
    "a list": f"{HEADER}\n[]",
    "no permutation": f"{HEADER}\n{line(inp_sigma=[0, 0, 1])}",
    "not as long": f"{HEADER}\n{line(inp_sigma=[0, 1])}",
    "no integers": f"{HEADER}\n{line(inp_sigma=[0.0, 1.0, 2.0])}",
    "text for a number": f"{HEADER}\n{line(full_mse='0.1')}",
    "not finite": f"{HEADER}\n{line(full_mse=float('nan'))}",
    "too large": f"{HEADER}\n{line(permutation=[2**31])}",
    "one for true": f"{HEADER}\n{line(hash_match=1)}",
    "an unknown field": f"{HEADER}\n{line(id=5)}",
    "deep": f"{HEADER}\n{'[' * 100_000}",
    "no text": b"\xff\xfe",
    "a bad record": f"{HEADER}\n{json.dumps({**GOOD, 'records': [{}]})}",
}


@pytest.mark.parametrize("bad", BAD_FILES)
def test_a_wrong_file_stores_nothing(sqlite_pool: SqlitePoolDatabase, run: Run, tmp_path: Path, bad: str) -> None:
    file, content = tmp_path / "file.jsonl", BAD_FILES[bad]
    good = f"\n{line(out_sigma=[0, 1, 2])}\n"
    file.write_bytes(content if isinstance(content, bytes) else content.replace("\n", good, 1).encode())
    said = run("import", file, database=sqlite_pool)
    assert said.status == 2, said.errors
    assert str(file) in said.errors
    assert len(said.errors) < 1000
    assert sqlite_pool.execute("SELECT count(*) FROM js_puzzle_pool") == [(0,)]


def test_a_puzzles_own_pool_needs_the_puzzle(run: Run, data_dir: Path) -> None:
    for call in (["init"], ["best"], ["list"], ["show", 1], ["export", "file"], ["import", "file"]):
        said = run(*call)
        assert said.status == 2
        assert "--pool URL" in said.errors
    assert not data_dir.exists()
    assert run("init", "--puzzle", DEMO).status == 0
    assert run("best", DEMO).status == 0
    assert run("verify", DEMO).status == 0
    file = PoolAddress(data_dir=data_dir).url_for(load_puzzle(DEMO)).removeprefix("sqlite:///")
    assert [str(path) for path in (data_dir / "pools").iterdir()] == [file]


def test_a_pool_that_cannot_be_reached_ends_with_3(run: Run) -> None:
    said = run("list", "--pool", f"postgresql://user@127.0.0.1:{free_port()}/name")
    assert said.status == 3
    assert "127.0.0.1" in said.errors
    assert "Traceback" not in said.errors


def test_flush_says_what_became_of_each(any_pool: PoolDatabase, run: Run, data_dir: Path) -> None:
    assert run("flush", database=any_pool).output == "0 winners stored, 0 still wait\n"
    with any_pool.open() as pool:
        pool.insert(winner(), provenance())
    there = spool_winner(data_dir / "spool", any_pool.url, winner(), provenance())
    new = spool_winner(data_dir / "spool", any_pool.url, winner(out_sigma=[0, 1, 2], full_mse=0.1), provenance())
    late = spool_winner(data_dir / "spool", any_pool.url, winner(inp_sigma=[1, 0, 2], full_mse=0.5), provenance())
    strange = spool_winner(data_dir / "spool", "postgresql://user@elsewhere/name", winner(), provenance())
    said = run("flush", database=any_pool)
    assert said.status == 1
    assert f"{there.name}: was stored before, row 1" in said.output
    assert f"{new.name}: stored, row 2" in said.output
    assert f"{late.name}: no longer a winner, row" in said.output
    assert f"{strange.name}: still waits" in said.output
    assert "2 winners stored, 1 no longer winners, 1 still wait" in said.output
    strange.unlink()
    assert run("flush", database=any_pool).status == 0
