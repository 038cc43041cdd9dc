"""How often a host connects to the pool's server: once a process, and no more than it is allowed."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path

import pytest

from tasks.contracts.errors import PoolError
from tasks.pool.connection_limit import Allowance
from tasks.pool.location import PoolAddress, opened
from tests.support.pool_outages import outages
from tests.support.pools import PUZZLE, PostgresPoolDatabase, in_processes, provenance, take_at_once, winner

OURS = "FROM pg_stat_activity WHERE application_name = 'pairing' AND datname = current_database()"


def address_of(database: PostgresPoolDatabase, folder: Path, number: int = 20) -> PoolAddress:
    return PoolAddress(url=database.url, password=database.password, data_dir=folder, connections_per_minute=number)


def test_a_process_connects_once(postgres_pool: PostgresPoolDatabase, tmp_path: Path) -> None:
    address = address_of(postgres_pool, tmp_path, number=1)
    with opened(address, address.url) as pool:
        pool.insert(winner(), provenance())
    first = postgres_pool.execute(f"SELECT pid, state {OURS}")
    for _ in range(5):
        with opened(address, address.url) as pool:
            assert len(pool.candidates(3, PUZZLE)) == 1
    assert postgres_pool.execute(f"SELECT pid, state {OURS}") == first
    assert [state for _, state in first] == ["idle"]


def test_a_forked_process_has_a_connection_of_its_own(postgres_pool: PostgresPoolDatabase, tmp_path: Path) -> None:
    address = address_of(postgres_pool, tmp_path)
    with opened(address, address.url) as pool:
        pool.insert(winner(), provenance())
    child = os.fork()
    if child == 0:
        with opened(address, address.url) as pool:
            os._exit(0 if pool.insert(winner(out_sigma=[0, 1, 2]), provenance()).new else 1)
    assert os.waitpid(child, 0)[1] == 0
    with opened(address, address.url) as pool:
        assert len(pool.candidates(3, PUZZLE)) == 2
    (record,) = (tmp_path / "connections").iterdir()
    assert len(json.loads(record.read_text())) == 2


def test_a_lost_connection_is_made_anew_within_the_allowance(
    postgres_pool: PostgresPoolDatabase, tmp_path: Path
) -> None:
    address = address_of(postgres_pool, tmp_path, number=2)
    with opened(address, address.url) as pool:
        postgres_pool.execute(f"SELECT pg_terminate_backend(pid) {OURS}")
        assert pool.candidates(3, PUZZLE) == []
        postgres_pool.execute(f"SELECT pg_terminate_backend(pid) {OURS}")
        with pytest.raises(PoolError, match="2 times in the last 60 s"):
            pool.candidates(3, PUZZLE)


def test_an_sqlite_file_that_was_removed_is_made_anew(tmp_path: Path) -> None:
    address = PoolAddress(data_dir=tmp_path)
    url = f"sqlite:///{(tmp_path / 'pools').resolve() / 'a.sqlite'}"
    for _ in range(2):
        with opened(address, url) as pool:
            assert pool.insert(winner(), provenance()).new
        (tmp_path / "pools" / "a.sqlite").unlink()


def test_all_processes_share_the_allowance(tmp_path: Path) -> None:
    allowance = Allowance(folder=tmp_path / "new" / "folder", number=5, patience=0)
    assert sorted(in_processes(take_at_once, 12, allowance)) == [False] * 7 + [True] * 5
    allowance.acquire("another server")
    assert stat.S_IMODE((tmp_path / "new" / "folder").stat().st_mode) == 0o700


def test_who_has_patience_gets_a_turn_in_the_end(tmp_path: Path) -> None:
    allowance = Allowance(folder=tmp_path, number=2, seconds=0.1, late=0.1, patience=10)
    for _ in range(5):
        allowance.acquire("server")
    (record,) = tmp_path.iterdir()
    assert 1 <= len(json.loads(record.read_text())) <= 2


@pytest.mark.parametrize("text", ["", "[1, 2", '{"a": 1}', '["x"]', "5", "[1e99, 1e99]", "[null]"])
def test_a_damaged_record_counts_for_nothing(tmp_path: Path, text: str) -> None:
    allowance = Allowance(folder=tmp_path, number=1, patience=0)
    allowance.acquire("server")
    (record,) = tmp_path.iterdir()
    record.write_text(text)
    allowance.acquire("server")
    with pytest.raises(PoolError, match="PAIRING_POOL_CONNECTIONS_PER_MINUTE"):
        allowance.acquire("server")


def test_a_record_that_cannot_be_written_says_where(tmp_path: Path) -> None:
    (tmp_path / "connections").write_text("a file where the folder should be")
    with pytest.raises(PoolError, match="PAIRING_DATA_DIR"):
        Allowance(folder=tmp_path / "connections", number=1).acquire("server")


def test_without_a_writable_folder_a_process_counts_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", read_only)
    allowance = Allowance(folder=tmp_path / "connections", number=2, patience=0)
    allowance.acquire("server")
    allowance.acquire("server")
    allowance.acquire("another server")
    with pytest.raises(PoolError, match="PAIRING_POOL_CONNECTIONS_PER_MINUTE"):
        allowance.acquire("server")


def test_many_processes_and_a_server_that_goes_and_comes(tmp_path: Path) -> None:
    found = outages(tmp_path, processes=6, rounds=3, up=1.0, down=0.7, number=8, minute=6.0)
    assert found.busiest <= 8
    assert len(found.connections) > 6  # some came back
    assert found.stored >= 6
    assert found.spooled > 0
    # Each once: also those of which the server, going down, did not say any more that it had them.
    assert found.rows == found.stored + found.spooled
