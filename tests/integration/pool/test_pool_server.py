"""What only a PostgreSQL server can do to a pool: rights, passwords, lost connections, triggers of others."""

from __future__ import annotations

import secrets
import traceback
from pathlib import Path

import pytest

from tasks.contracts.errors import PoolError
from tasks.pool.repository import open_pool
from tests.support.pools import OTHER_PUZZLE, PUZZLE, PostgresPoolDatabase, provenance, winner
from tests.support.servers import free_port


def test_the_least_rights_are_enough(postgres_pool: PostgresPoolDatabase) -> None:
    postgres_pool.become_guest()
    with postgres_pool.open() as pool:
        assert not pool.keeps_provenance
        inserted = pool.insert(winner(), provenance())
        assert inserted.new
        assert not pool.insert(winner(), provenance()).new
        assert [row.id for row in pool.candidates(3, PUZZLE)] == [inserted.id]
        with pytest.raises(PoolError, match="permission denied"):
            pool.create_tables()


def test_provenance_that_may_only_be_read_is_heeded(postgres_pool: PostgresPoolDatabase) -> None:
    with postgres_pool.open() as pool:
        pool.insert(winner(), provenance(puzzle=OTHER_PUZZLE))
    role = postgres_pool.become_guest()
    postgres_pool.execute(f"GRANT SELECT ON pairing_result TO {role}")
    with postgres_pool.open() as pool:
        assert not pool.keeps_provenance
        assert pool.candidates(3, PUZZLE) == []
        assert pool.insert(winner(), provenance()).new
    postgres_pool.execute(f"GRANT SELECT, INSERT ON pairing_result, pairing_run TO {role}")
    with postgres_pool.open() as pool:
        assert pool.keeps_provenance
        assert pool.insert(winner(out_sigma=[0, 1, 2]), provenance()).new


def test_a_missing_right_says_what_to_grant(postgres_pool: PostgresPoolDatabase) -> None:
    role = postgres_pool.become_guest()
    postgres_pool.execute(f"REVOKE INSERT ON js_puzzle_pool FROM {role}")
    with postgres_pool.open() as pool, pytest.raises(PoolError, match="Grant SELECT and INSERT"):
        pool.insert(winner(), provenance())


@pytest.mark.parametrize("wrong", [secrets.token_hex(8), None], ids=["wrong", "none"])
def test_a_wrong_password_says_so_without_it(
    postgres_pool: PostgresPoolDatabase, wrong: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("PGPASSWORD", raising=False)
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "none"))
    with pytest.raises(PoolError, match="PAIRING_POOL_PASSWORD") as caught:
        open_pool(postgres_pool.url, wrong)
    assert caught.value.__cause__ is not None
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert wrong is None or wrong not in shown
    assert str(postgres_pool.password) not in shown


def test_the_password_shows_nowhere(postgres_pool: PostgresPoolDatabase) -> None:
    with postgres_pool.open() as pool:
        assert str(postgres_pool.password) not in repr(pool) + repr(vars(pool))


def test_nobody_listens() -> None:
    password = secrets.token_hex(8)
    with pytest.raises(PoolError, match=r"127\.0\.0\.1") as caught:
        open_pool(f"postgresql://user@127.0.0.1:{free_port()}/name", password)
    assert password not in "".join(traceback.format_exception(caught.value))


def test_the_database_goes_away(postgres_pool: PostgresPoolDatabase) -> None:
    with postgres_pool.open() as pool:
        postgres_pool.server.execute(f"DROP DATABASE {postgres_pool.name} WITH (FORCE)")
        with pytest.raises(PoolError, match="does not exist"):
            pool.candidates(3, PUZZLE)
        with pytest.raises(PoolError):
            pool.insert(winner(), provenance())
        postgres_pool.server.execute(f"CREATE DATABASE {postgres_pool.name}")
        pool.create_tables()
        assert pool.candidates(3, PUZZLE) == []


def test_one_connection_left_idle_and_made_anew(postgres_pool: PostgresPoolDatabase) -> None:
    ours = "FROM pg_stat_activity WHERE application_name = 'pairing' AND datname = current_database()"
    with postgres_pool.open() as pool:
        pool.insert(winner(), provenance())
        pool.candidates(3, PUZZLE)
        assert postgres_pool.execute(f"SELECT state {ours}") == [("idle",)]
        postgres_pool.execute(f"SELECT pg_terminate_backend(pid) {ours}")
        assert len(pool.candidates(3, PUZZLE)) == 1


TRIGGER = """
CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN {} END';
CREATE TRIGGER meddle BEFORE INSERT ON js_puzzle_pool FOR EACH ROW EXECUTE FUNCTION meddle();
"""


@pytest.mark.parametrize("meddling", ["NEW.inp_sigma = NULL; RETURN NEW;", "NEW.full_mse = 1; RETURN NEW;"])
def test_a_row_that_is_not_as_written(postgres_pool: PostgresPoolDatabase, meddling: str) -> None:
    postgres_pool.execute(TRIGGER.format(meddling))
    with postgres_pool.open() as pool, pytest.raises(PoolError, match="as it was written"):
        pool.insert(winner(), provenance())


def test_a_row_that_is_swallowed(postgres_pool: PostgresPoolDatabase) -> None:
    postgres_pool.execute(TRIGGER.format("RETURN NULL;"))
    with postgres_pool.open() as pool, pytest.raises(PoolError, match="Storing a winner failed"):
        pool.insert(winner(), provenance())
