"""What ``pairing solve`` stores in a pool, and what it does when there is none."""

from __future__ import annotations

import os

from tests.support.fleet import DEMO, Command
from tests.support.pools import PoolDatabase, PostgresPoolDatabase, SqlitePoolDatabase
from tests.support.results import ANSWER
from tests.support.servers import free_port


def test_winners_are_stored_and_a_second_run_stores_nothing(any_pool: PoolDatabase, pairing: Command) -> None:
    environment = {} if any_pool.password is None else {"PAIRING_POOL_PASSWORD": any_pool.password}
    call = ["solve", DEMO, "--inline", "--methods", "trace", "--pool", any_pool.url, "--note", "a note", "--json"]
    first = pairing(*call, "--run", "first", environment=environment)
    assert first.status == 0, first.errors
    pool = first.json["pool"]
    assert [row["method"] for row in pool["inserted"]] == ["trace"]
    rows = any_pool.execute("SELECT id, worker, full_mse, hash, hash_match FROM js_puzzle_pool")
    assert len(rows) == 1
    number, worker, error, digest, match = rows[0]
    assert pool["inserted"] == [{"id": number, "method": "trace", "full_mse": error}]
    assert worker == f"weight_pair_trace@{os.uname().nodename}"
    assert digest == first.json["best"]["hash"]
    assert match
    kept = any_pool.execute("SELECT pool_id, run, puzzle, method, seed, rows, note FROM pairing_result")
    assert kept == [(number, "first", first.json["puzzle"], "trace", 0, 1500, "a note")]

    second = pairing(*call, environment=environment)
    assert second.status == 0
    assert second.json["pool"]["inserted"] == second.json["pool"]["stored_later"] == []
    assert second.json["pool"]["best_before"] == pool["best_after"] == second.json["pool"]["best_after"]
    assert second.json["methods"][0]["pairs_matching_pool_best"] == 12
    assert second.json["methods"][0]["start"] == "pool"
    assert len(any_pool.execute("SELECT id FROM js_puzzle_pool")) == 1


def test_seeds_start_apart_near_the_pools_order(pairing: Command) -> None:
    call = ["solve", DEMO, "--inline", "--methods", "trace", "--json"]
    assert pairing(*call).status == 0
    ended = pairing(*call, "--start", "pool", "--seeds", 3, "--diversity", 3, "--no-stop-when-solved")
    assert ended.status == 0, ended.errors
    starts = {method["seed"]: method["start_mse"] for method in ended.json["methods"]}
    assert len(set(starts.values())) == 3
    assert starts[0] == ended.json["pool"]["best_before"]


def test_a_pool_that_may_not_keep_records_says_so(postgres_pool: PostgresPoolDatabase, pairing: Command) -> None:
    postgres_pool.become_guest()
    environment = {"PAIRING_POOL_PASSWORD": str(postgres_pool.password)}
    call = ["solve", DEMO, "--inline", "--methods", "trace", "--pool", postgres_pool.url, "--json"]
    first = pairing(*call, environment=environment)
    assert first.status == 0, first.errors
    assert len(first.json["pool"]["inserted"]) == 1
    assert "no record of where they came from" in first.errors
    second = pairing(*call, environment=environment)
    assert second.json["pool"]["inserted"] == []
    assert "no record" not in second.errors  # nothing was stored


def test_the_fleet_stores_in_postgres(postgres_pool: PostgresPoolDatabase, pairing: Command) -> None:
    secret = pairing.folder / "secret"
    assert postgres_pool.password
    secret.write_text(postgres_pool.password + "\n")
    environment = {"PAIRING_POOL_PASSWORD_FILE": str(secret), "PAIRING_KEY_PREFIX": "of another fleet:"}
    call = ["solve", DEMO, "--methods", "trace,cosine", "--pool", postgres_pool.url, "--json"]
    first = pairing(*call, environment=environment)
    assert first.status == 0, first.errors
    rows = postgres_pool.execute("SELECT id, full_mse FROM js_puzzle_pool ORDER BY id")
    assert [(row["id"], row["full_mse"]) for row in first.json["pool"]["inserted"]] == rows
    assert first.json["pool"]["best_after"] == min(error for _, error in rows)


def test_a_broker_that_the_environment_names_for_others_is_left_alone(pairing: Command) -> None:
    elsewhere = f"redis://127.0.0.1:{free_port()}/0"
    environment = {"CELERY_BROKER_URL": elsewhere, "CELERY_RESULT_BACKEND": elsewhere}
    ended = pairing("solve", DEMO, "--methods", "trace", "--json", environment=environment)
    assert ended.status == 0, ended.errors
    assert ended.json["solved"]


def test_a_pool_that_cannot_be_reached_gets_its_winners_later(pairing: Command) -> None:
    url = f"postgresql://somebody@127.0.0.1:{free_port()}/pool"
    ended = pairing("solve", DEMO, "--inline", "--methods", "trace", "--pool", url, "--json")
    assert ended.status == 0, ended.errors
    pool = ended.json["pool"]
    assert pool["inserted"] == []
    assert [row["method"] for row in pool["stored_later"]] == ["trace"]
    assert pool["best_before"] is None
    assert len(list((pairing.data_dir / "spool").glob("*.json"))) == 1
    assert "The pool could not be used" in ended.errors


def test_a_winner_that_waited_is_stored_exactly_once(pairing: Command) -> None:
    blocked = pairing.folder / "blocked"
    blocked.write_text("a file where the pool's folder should be")
    url = f"sqlite:///{blocked}/pool.sqlite"
    call = ["solve", DEMO, "--inline", "--methods", "trace", "--pool", url, "--json"]
    first = pairing(*call)
    assert first.status == 0, first.errors
    assert len(first.json["pool"]["stored_later"]) == 1
    blocked.unlink()
    second = pairing(*call)
    assert second.status == 0
    assert second.json["pool"]["stored_later"] == []
    assert second.json["pool"]["best_after"] == first.json["best"]["full_mse"]
    assert not list((pairing.data_dir / "spool").glob("*.json"))
    rows = SqlitePoolDatabase(blocked / "pool.sqlite").execute("SELECT full_mse FROM js_puzzle_pool")
    assert rows == [(first.json["best"]["full_mse"],)]


def test_a_winner_that_can_be_neither_stored_nor_kept_ends_with_3(pairing: Command) -> None:
    pairing.data_dir.mkdir()
    (pairing.data_dir / "spool").write_text("a file where the folder should be")
    url = f"postgresql://somebody@127.0.0.1:{free_port()}/pool"
    ended = pairing("solve", DEMO, "--inline", "--methods", "trace", "--pool", url, "--json")
    assert ended.status == 3, ended.errors
    assert "A WINNER IS NOT STORED" in ended.errors
    assert ended.json["solved"] is True  # the answer is told all the same
    assert ended.json["best"]["permutation"] == ANSWER
