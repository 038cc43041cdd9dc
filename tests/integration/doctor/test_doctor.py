"""`pairing doctor` with real servers: each check where all is well, and where it is not."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.doctor import Site, healthy_site, lines_of, states
from tests.support.fleet import Ended
from tests.support.servers import Postgres, free_port

CHECKS = {
    *("broker", "backend", "append only file", "eviction policy", "database", "rights on the pool"),
    *("clock", "threads", "versions", "queue lengths", "stop files", "disk"),
}
PASSWORD = "pl4nted+Secr3t/word%with#all@that:is&special"


@pytest.fixture(scope="module")
def site(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with healthy_site(postgres, tmp_path_factory.mktemp("site")) as site:
        yield site


# --- all is well


def test_a_fleet_in_which_all_is_well(site: Site) -> None:
    said = site.said("--json")
    assert (said.status, said.json["schema"], said.json["well"]) == (0, 1, True), said.json
    found = lines_of(said.json["findings"])
    assert set(found) == CHECKS
    assert {state for lines in found.values() for state in states(lines)} == {"ok"}, found
    (version,) = found["versions"]
    assert version[1].startswith(f"pairing-all@{socket.gethostname()}: ")
    assert "database" in found["clock"][0][1]
    assert "pairing-all@" in found["clock"][0][1]


def test_every_line_can_be_read_without_color(site: Site) -> None:
    said = site.said()
    assert said.status == 0
    lines = said.output.splitlines()
    assert len(lines) == len(CHECKS)
    assert all(line.startswith("ok ") and line.isprintable() for line in lines)


def test_nothing_is_changed(site: Site) -> None:
    def everything() -> tuple[object, ...]:
        tables = "SELECT relname, n_tup_ins FROM pg_stat_user_tables ORDER BY 1"
        files = sorted(site.host.command.folder.rglob("*"))
        return set(site.client.scan_iter("*")), site.pool.execute(tables), files

    before = everything()
    site.said()
    assert everything() == before


# --- the broker


@contextmanager
def configured(client: Any, **options: object) -> Iterator[None]:
    before = {name: client.config_get(name)[name] for name in options}
    try:
        for name, value in options.items():
            client.config_set(name, value)
        yield
    finally:
        for name, value in before.items():
            client.config_set(name, value)


def test_without_the_append_only_file_runs_are_lost(site: Site) -> None:
    with configured(site.client, appendonly="no"):
        ((state, found, advice),) = site.doctor()["append only file"]
    assert (state, "appendonly yes" in advice) == ("wrong", True), found


def test_a_broker_that_forgets_is_wrong(site: Site) -> None:
    with configured(site.client, **{"maxmemory-policy": "allkeys-lru"}):
        ((state, found, advice),) = site.doctor()["eviction policy"]
    assert (state, "allkeys-lru" in found, "noeviction" in advice) == ("wrong", True, True)


def test_a_broker_that_is_nearly_full_is_said(site: Site) -> None:
    site.client.setrange("ballast", 2**25, b"x")  # the rest has room for what asking takes
    with configured(site.client, maxmemory=int(site.client.info()["used_memory"] * 1.08)):
        ((state, _, advice),) = site.doctor()["eviction policy"]
    site.client.delete("ballast")
    assert (state in ("warning", "wrong"), "prune" in advice) == (True, True)


def test_a_user_who_may_not_write_or_look(site: Site) -> None:
    url = broker_url(site, "reader", "readers-password")
    site.client.acl_setuser("reader", enabled=True, passwords=["+readers-password"], keys=["*"], categories=["+@read"])
    site.client.execute_command("ACL", "SETUSER", "reader", "+@connection", "+time", "+acl|whoami", "+acl|dryrun")
    found = site.doctor(PAIRING_BROKER_URL=url)
    assert states(found["broker"]) == ["warning"]
    site.client.execute_command("ACL", "SETUSER", "reader", "+info")
    found = site.doctor(PAIRING_BROKER_URL=url)
    assert (states(found["broker"]), states(found["backend"])) == (["ok"], ["wrong"])
    assert "set" in found["backend"][0][1]


def broker_url(site: Site, user: str, password: str) -> str:
    place = site.host.command.environment["PAIRING_BROKER_URL"].rpartition("@")[2]
    return f"redis://{user}:{quote(password, safe='')}@{place}"


NEEDS_BROKER = ("backend", "append only file", "eviction policy", "threads", "versions", "queue lengths")


@pytest.mark.parametrize("way", ["away", "refusing"])
def test_a_broker_that_is_away_costs_what_depends_on_it_and_nothing_else(site: Site, way: str) -> None:
    place = f"127.0.0.1:{free_port()}/0"
    url = f"redis://:{quote(PASSWORD, safe='')}@{place}" if way == "away" else broker_url(site, "", PASSWORD)
    environment = {"PAIRING_BROKER_URL": url}
    found = site.doctor(**environment)
    assert states(found["broker"]) == ["wrong"]
    assert ("password" in found["broker"][0][1]) == (way == "refusing")
    for name in NEEDS_BROKER:
        assert found[name] == [("not asked", "the broker cannot be reached", "")]
    for name in ("database", "rights on the pool", "clock", "stop files", "disk"):
        assert states(found[name]) == ["ok"]
    said = site.said(**environment)
    assert said.status == 1
    assert_not_told(PASSWORD, said)


def assert_not_told(secret: str, said: Ended) -> None:
    assert said.output
    for form in (secret, quote(secret, safe=""), secret[:12]):
        assert form not in said.output + said.errors


# --- the pool


def test_a_missing_right_is_named(site: Site) -> None:
    for right, on in (("INSERT", "js_puzzle_pool"), ("USAGE", "SEQUENCE js_puzzle_pool_id_seq")):
        site.pool.execute(f"REVOKE {right} ON {on} FROM {site.role}")
        ((state, found, advice),) = site.doctor()["rights on the pool"]
        site.pool.execute(f"GRANT {right} ON {on} TO {site.role}")
        assert (state, right in found, "GRANT" in advice) == ("wrong", True, True)
        assert on.removeprefix("SEQUENCE ") in found


def test_more_rights_than_needed_are_remarked(site: Site) -> None:
    site.pool.execute(f"GRANT UPDATE, DELETE ON js_puzzle_pool TO {site.role}")
    ((state, found, _),) = site.doctor()["rights on the pool"]
    site.pool.execute(f"REVOKE UPDATE, DELETE ON js_puzzle_pool FROM {site.role}")
    assert (state, "UPDATE, DELETE" in found) == ("warning", True)


def test_a_pool_that_keeps_no_records_is_remarked(site: Site) -> None:
    site.pool.execute(f"REVOKE INSERT ON pairing_result FROM {site.role}")
    ((state, _, advice),) = site.doctor()["rights on the pool"]
    site.pool.execute(f"GRANT INSERT ON pairing_result TO {site.role}")
    site.pool.execute(f"REVOKE UPDATE ON pairing_solution FROM {site.role}")
    ((slow, _, grant),) = site.doctor()["rights on the pool"]
    site.pool.execute(f"GRANT UPDATE ON pairing_solution TO {site.role}")
    assert (state, "pairing pool init" in advice) == ("warning", True)
    assert (slow, "pairing_solution" in grant) == ("warning", True)


def test_a_database_without_the_table(site: Site, postgres: Postgres) -> None:
    with postgres.database() as name:
        url = f"postgresql://{site.role}@127.0.0.1:{postgres.port}/{name}"
        found = site.doctor(PAIRING_POOL_URL=url)
    assert states(found["database"]) == ["wrong"]
    assert "js_puzzle_pool" in found["database"][0][1]
    assert states(found["rights on the pool"]) == ["not asked"]


@pytest.mark.parametrize("way", ["away", "refusing"])
def test_a_database_that_is_away_costs_nothing_else(site: Site, way: str) -> None:
    port = free_port() if way == "away" else site.pool.server.port
    url = f"postgresql://{site.role}@127.0.0.1:{port}/{site.pool.name}"
    environment = {"PAIRING_POOL_URL": url, "PAIRING_POOL_PASSWORD": PASSWORD}
    found = site.doctor(**environment)
    assert states(found["database"]) == ["wrong"]
    assert ("PAIRING_POOL_PASSWORD" in found["database"][0][1]) == (way == "refusing")
    assert found["rights on the pool"] == [("not asked", "the database cannot be reached", "")]
    assert all(states(found[name]) == ["ok"] for name in CHECKS - {"database", "rights on the pool"})
    assert_not_told(PASSWORD, site.said(**environment))


def test_pools_of_one_file(site: Site, tmp_path: Path) -> None:
    file = site.doctor(PAIRING_POOL_URL=f"sqlite:///{tmp_path}/pool.sqlite", PAIRING_POOL_PASSWORD="")
    assert (states(file["database"]), states(file["rights on the pool"])) == (["ok"], ["ok"])
    assert not (tmp_path / "pool.sqlite").exists()
    none = site.doctor(PAIRING_POOL_URL="", PAIRING_POOL_PASSWORD="")
    assert (states(none["database"]), states(none["rights on the pool"])) == (["warning"], ["ok"])


def test_servers_that_accept_and_say_nothing_are_given_up(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hole:
        port, kept = hole.getsockname()[1], []
        accepting = threading.Thread(target=lambda: _accept(hole, kept), daemon=True)
        accepting.start()
        urls = {
            "PAIRING_BROKER_URL": f"redis://127.0.0.1:{port}/0",
            "PAIRING_POOL_URL": f"postgresql://u@127.0.0.1:{port}/n",
        }
        said = site.said("--json", **urls)
    found = lines_of(said.json["findings"])
    assert said.status == 1
    assert (states(found["broker"]), states(found["database"])) == (["wrong"], ["wrong"])
    assert states(found["disk"]) == ["ok"]


def _accept(hole: socket.socket, kept: list[socket.socket]) -> None:
    with suppress(OSError):  # closed
        while True:
            kept.append(hole.accept()[0])


# --- the settings


def test_wrong_settings_are_lines_too(site: Site) -> None:
    said = site.said(PAIRING_STOP_FILE="x", PAIRING_POOL_URL=f"postgresql://u:{PASSWORD}@h/n")
    assert said.status == 1
    assert "PAIRING-E005 PAIRING_STOP_FILE: " in said.output
    assert_not_told(PASSWORD, said)
