"""Winners that could not be stored: kept whole, stored once, never lost."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path

import pytest

from pairing.errors import InputError
from tasks.contracts.errors import PoolError
from tasks.pool.location import PoolAddress
from tasks.pool.spool import SpoolError, flush_spool, spool_winner
from tasks.pool.spool_flush import flush_all
from tests.support.pools import (
    OTHER_PUZZLE,
    PUZZLE,
    PoolDatabase,
    PostgresPoolDatabase,
    SqlitePoolDatabase,
    flush_at_once,
    in_processes,
    provenance,
    winner,
)
from tests.support.servers import free_port


def spool_some(folder: Path, url: str, count: int) -> list[Path]:
    return sorted(spool_winner(folder, url, winner(full_mse=k), provenance(puzzle=f"{k:064x}")) for k in range(count))


def test_there_and_back_once(any_pool: PoolDatabase, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "spool"
    path = spool_winner(folder, any_pool.url, winner(), provenance(note="späte Post"))
    assert path == spool_winner(folder, any_pool.url, winner(), provenance(note="späte Post"))
    assert list(folder.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    with any_pool.open() as pool:
        (flushed,) = flush_spool(folder, pool, any_pool.url)
        (row,) = pool.candidates(3, PUZZLE)
        assert flush_spool(folder, pool, any_pool.url) == []
    assert flushed.error is None
    assert flushed.path == path
    assert flushed.inserted is not None
    assert flushed.inserted.new
    assert (row.id, row.full_mse, row.inp_sigma) == (flushed.inserted.id, 0.1 + 0.2, (0, 1, 2))
    assert any_pool.execute("SELECT note FROM pairing_result") == [("späte Post",)]
    assert list(folder.iterdir()) == []


def test_a_winner_that_was_stored_before_its_file_went(any_pool: PoolDatabase, tmp_path: Path) -> None:
    with any_pool.open() as pool:
        first = pool.insert(winner(), provenance())
        path = spool_winner(tmp_path, any_pool.url, winner(), provenance())
        (flushed,) = flush_spool(tmp_path, pool, any_pool.url)
        assert flushed.inserted is not None
        assert (flushed.inserted.id, flushed.inserted.new) == (first.id, False)
        assert not path.exists()


def test_flushing_at_once_stores_each_once(any_pool: PoolDatabase, tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    spool_some(folder, any_pool.url, 12)
    new = in_processes(flush_at_once, 3, any_pool.url, any_pool.password, folder)
    assert [result for results in new for result in results] == [True] * 12
    assert any_pool.execute("SELECT count(*) FROM js_puzzle_pool") == [(12,)]
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("damage", ["cut", "empty", "changed", "other version", "renamed", "wrong winner"])
def test_a_damaged_file_is_reported_and_stops_no_other(
    sqlite_pool: SqlitePoolDatabase, tmp_path: Path, damage: str
) -> None:
    folder = tmp_path / "spool"
    paths = spool_some(folder, sqlite_pool.url, 3)
    bad, text = paths[0], paths[0].read_bytes()
    if damage == "cut":
        bad.write_bytes(text[:-20])
    elif damage == "empty":
        bad.write_bytes(b"")
    elif damage == "changed":
        bad.write_bytes(text.replace(b"trace", b"tracy"))
    elif damage == "renamed":
        bad = bad.rename(folder / f"{'0' * 64}.json")
    else:
        content = json.loads(text)
        if damage == "other version":
            content["version"] = 99
        else:
            content["winner"]["inp_sigma"] = [0, 0, 0]
        bad.unlink()
        bad = _keep(folder, json.dumps(content).encode())
    with sqlite_pool.open() as pool:
        flushed = {result.path: result for result in flush_spool(folder, pool, sqlite_pool.url)}
    error = flushed.pop(bad).error
    assert isinstance(error, SpoolError)
    rejected = folder / "rejected" / bad.name
    assert str(rejected) in str(error)
    assert [result.error for result in flushed.values()] == [None, None]
    assert [path for path in folder.rglob("*") if path.is_file()] == [rejected]
    with sqlite_pool.open() as pool:
        assert flush_spool(folder, pool, sqlite_pool.url) == []


def _keep(folder: Path, text: bytes) -> Path:
    from tasks.pool.spool import _digest

    path = folder / f"{_digest(text)}.json"
    path.write_bytes(text)
    return path


def test_a_file_that_cannot_be_read_stops_no_other(sqlite_pool: SqlitePoolDatabase, tmp_path: Path) -> None:
    (tmp_path / "0.json").mkdir()
    path = spool_winner(tmp_path, sqlite_pool.url, winner(), provenance())
    with sqlite_pool.open() as pool:
        first, second = flush_spool(tmp_path, pool, sqlite_pool.url)
    assert isinstance(first.error, SpoolError)
    assert (second.path, second.error) == (path, None)


def test_a_file_that_another_process_stores_is_passed_over(sqlite_pool: SqlitePoolDatabase, tmp_path: Path) -> None:
    path = spool_winner(tmp_path, sqlite_pool.url, winner(), provenance())
    with sqlite_pool.open() as pool:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            assert flush_spool(tmp_path, pool, sqlite_pool.url) == []
            assert path.exists()
        assert len(flush_spool(tmp_path, pool, sqlite_pool.url)) == 1


def test_winners_for_another_pool_stay(sqlite_pool: SqlitePoolDatabase, tmp_path: Path) -> None:
    path = spool_winner(tmp_path, "postgresql://user@host/name", winner(), provenance())
    with sqlite_pool.open() as pool:
        assert flush_spool(tmp_path, pool, sqlite_pool.url) == []
    assert path.exists()


def test_no_folder_means_nothing_to_store(sqlite_pool: SqlitePoolDatabase, tmp_path: Path) -> None:
    with sqlite_pool.open() as pool:
        assert flush_spool(tmp_path / "none", pool, sqlite_pool.url) == []


def test_a_refused_winner_is_put_aside_and_stops_no_other(sqlite_pool: SqlitePoolDatabase, tmp_path: Path) -> None:
    bad = spool_winner(tmp_path, sqlite_pool.url, winner(worker="bad"), provenance())
    good = spool_winner(tmp_path, sqlite_pool.url, winner(), provenance(puzzle=OTHER_PUZZLE))
    with sqlite_pool.open() as pool:
        sqlite_pool.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON js_puzzle_pool WHEN NEW.worker = 'bad'"
            " BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
        errors = {result.path: result.error for result in flush_spool(tmp_path, pool, sqlite_pool.url)}
    assert "failed" in str(errors[bad])
    assert errors[good] is None
    assert (bad.exists(), good.exists()) == (False, False)
    assert (tmp_path / "rejected" / bad.name).exists()


def test_a_winner_of_the_version_before_is_stored(sqlite_pool: SqlitePoolDatabase, tmp_path: Path) -> None:
    content = json.loads(spool_winner(tmp_path / "new", sqlite_pool.url, winner(), provenance()).read_bytes())
    del content["check"]
    path = _keep(tmp_path, json.dumps({**content, "version": 1}).encode())
    with sqlite_pool.open() as pool:
        (flushed,) = flush_spool(tmp_path, pool, sqlite_pool.url)
    assert (flushed.path, flushed.error) == (path, None)


def test_a_pool_that_is_away_is_asked_once(postgres_pool: PostgresPoolDatabase, tmp_path: Path) -> None:
    paths = spool_some(tmp_path, postgres_pool.url, 3)
    with postgres_pool.open() as pool:
        postgres_pool.execute("ALTER TABLE js_puzzle_pool RENAME TO away")
        (flushed,) = flush_spool(tmp_path, pool, postgres_pool.url)
        assert isinstance(flushed.error, PoolError)
        assert sorted(tmp_path.iterdir()) == paths
        postgres_pool.execute("ALTER TABLE away RENAME TO js_puzzle_pool")
        assert [result.error for result in flush_spool(tmp_path, pool, postgres_pool.url)] == [None] * 3


def test_a_password_is_never_kept(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        spool_winner(tmp_path, "postgresql://user:s3cret@host/name", winner(), provenance())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_used_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SpoolError, match="file"):
        spool_winner(tmp_path / "file" / "spool", "sqlite:///pool", winner(), provenance())


def test_all_that_waits_is_stored_where_it_belongs(postgres_pool: PostgresPoolDatabase, tmp_path: Path) -> None:
    address = PoolAddress(url=postgres_pool.url, password=postgres_pool.password, data_dir=tmp_path)
    own = f"sqlite:///{(tmp_path / 'pools').resolve() / 'abc.sqlite'}"
    elsewhere = f"sqlite:///{tmp_path / 'elsewhere.sqlite'}"
    spool_some(address.spool, postgres_pool.url, 3)
    spool_some(address.spool, own, 2)
    strange = spool_winner(address.spool, elsewhere, winner(), provenance())
    damaged = address.spool / "0.json"
    damaged.write_text("{}")
    results = {result.path: result for result in flush_all(address)}
    assert list(results) == sorted(results)
    assert isinstance(results.pop(damaged).error, SpoolError)
    assert "pairing pool flush --pool" in str(results.pop(strange).error)
    assert [result.inserted and result.inserted.new for result in results.values()] == [True] * 5
    assert postgres_pool.execute("SELECT count(*) FROM js_puzzle_pool") == [(3,)]
    file = SqlitePoolDatabase(tmp_path / "pools" / "abc.sqlite")
    assert file.execute("SELECT count(*) FROM js_puzzle_pool") == [(2,)]
    assert sorted(address.spool.glob("*.json")) == [strange]
    assert [path.name for path in (address.spool / "rejected").iterdir()] == [damaged.name]
    assert not (tmp_path / "elsewhere.sqlite").exists()
    (result,) = (r for r in flush_all(PoolAddress(url=elsewhere, data_dir=tmp_path)) if r.path == strange)
    assert result.inserted


def test_a_pool_that_is_away_keeps_no_other_waiting(tmp_path: Path) -> None:
    url = f"postgresql+psycopg2://user@127.0.0.1:{free_port()}/name"
    address = PoolAddress(url=url, data_dir=tmp_path)
    paths = spool_some(address.spool, url, 3)
    spool_winner(address.spool, f"sqlite:///{(tmp_path / 'pools').resolve() / 'abc.sqlite'}", winner(), provenance())
    results = flush_all(address)
    assert [result.path for result in results if isinstance(result.error, PoolError)] == paths
    assert len([result for result in results if result.inserted]) == 1
    assert sorted(address.spool.iterdir()) == paths
    (record,) = (tmp_path / "connections").iterdir()
    assert len(json.loads(record.read_text())) == 1  # asked once


def test_nothing_waits(tmp_path: Path) -> None:
    assert flush_all(PoolAddress(data_dir=tmp_path)) == []
    assert list(tmp_path.iterdir()) == []
