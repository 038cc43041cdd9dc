"""The pool behind PgBouncer in transaction mode, where neither start-up options nor anything of a session works."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tasks.contracts.errors import PoolError
from tasks.pool.health import pool_state
from tasks.pool.location import PoolAddress
from tasks.pool.repository import Pool, open_pool
from tests.conftest import start
from tests.support.bouncers import CONNECTIONS, run_pgbouncer
from tests.support.pools import PUZZLE, PostgresPoolDatabase, provenance, winner
from tests.support.servers import Postgres


@pytest.fixture(scope="module")
def bouncer(postgres: Postgres) -> Iterator[Postgres]:
    with ExitStack() as stack:
        yield start(stack, run_pgbouncer(postgres))


@pytest.fixture
def url(bouncer: Postgres, postgres_pool: PostgresPoolDatabase) -> str:
    """The address of an empty pool through it."""
    return f"postgresql://{bouncer.user}@127.0.0.1:{bouncer.port}/{postgres_pool.name}"


def limits(pool: Pool) -> dict[str, str]:
    names = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout", "transaction_read_only")
    with pool.transaction("Looking") as connection:
        return {name: connection.exec_driver_sql(f"SHOW {name}").scalar_one() for name in names}


def test_winners_are_stored_once_and_read_by_more_clients_than_it_has_connections(url: str, bouncer: Postgres) -> None:
    def store(number: int) -> bool:
        with open_pool(url, bouncer.password) as pool:
            new = [pool.insert(winner(full_mse=0.5), provenance(run=f"run{number}")).new for _ in range(3)]
            assert [row.full_mse for row in pool.candidates(3, PUZZLE)] == [0.5]
            return any(new)

    with ThreadPoolExecutor(4 * CONNECTIONS) as threads:
        assert sum(threads.map(store, range(4 * CONNECTIONS))) == 1


def test_every_transaction_has_its_limits_and_leaves_none_behind(url: str, bouncer: Postgres) -> None:
    expected = {"lock_timeout": "30s", "statement_timeout": "1min", "idle_in_transaction_session_timeout": "1min"}
    with open_pool(url, bouncer.password) as writer, open_pool(url, bouncer.password, read_only=True) as reader:
        for _ in range(2 * CONNECTIONS):  # whichever connection it has
            assert limits(writer) == {**expected, "transaction_read_only": "off"}
            assert limits(reader) == {**expected, "transaction_read_only": "on"}
        with pytest.raises(PoolError, match="read-only transaction"):
            reader.insert(winner(), provenance())
    with closing(bouncer.connect(url.rpartition("/")[2])) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")  # somebody else's, who is given the same one
        assert cursor.fetchone() == ("0",)


def test_doctor_looks_through_it(url: str, bouncer: Postgres, tmp_path: Path) -> None:
    found = pool_state(PoolAddress(url=url, password=bouncer.password, data_dir=tmp_path), 5.0)
    assert found is not None
    assert found.there
    assert not found.lacks
