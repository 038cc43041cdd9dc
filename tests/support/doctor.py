"""A fleet for `pairing doctor` to look at."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import redis

from config.settings import Settings
from tasks.doctor.examination import examine
from tasks.doctor.probes import ask
from tasks.pool.repository import open_pool
from tasks.store.redis import Redis
from tasks.store.run_store import Store
from tests.support.fleet import Command, Ended, wait_for
from tests.support.host import Host
from tests.support.pools import PostgresPoolDatabase
from tests.support.servers import Postgres, run_redis


@dataclass
class Site:
    """A fleet in which all is well: its host, its broker of its own, and its pool, used with the least rights."""

    host: Host
    client: Any
    pool: PostgresPoolDatabase
    role: str
    stop: Path

    def doctor(self, **environment: str) -> dict[str, list[tuple[str, str, str]]]:
        """Of each check: its lines' states, findings and advice; looked at in this process, with less patience."""
        with (
            patch.dict(os.environ, {**self.host.command.environment, **environment}, clear=True),
            patch("tasks.doctor.probes.ANSWER_SECONDS", 0.5),
        ):
            findings = examine(ask(Settings(), self.host.command.folder / "results"))
        return lines_of([asdict(finding) for finding in findings])

    def answered(self, **environment: str) -> dict[str, list[tuple[str, str, str]]]:
        """The same, once a worker answers: on a busy machine that may take longer."""

        def look() -> dict[str, list[tuple[str, str, str]]] | None:
            found = self.doctor(**environment)
            return None if any(text == "no worker answers" for _, text, _ in found["versions"]) else found

        return wait_for("a worker that answers", look)

    def said(self, *arguments: str, **environment: str) -> Ended:
        """What the command says."""
        said = self.host.command("doctor", *arguments, environment=environment)
        assert said.errors == ""
        return said


def lines_of(findings: list[dict[str, str]]) -> dict[str, list[tuple[str, str, str]]]:
    found: dict[str, list[tuple[str, str, str]]] = {}
    for finding in findings:
        found.setdefault(finding["name"], []).append((finding["state"], finding["found"], finding["advice"]))
    return found


def states(lines: list[tuple[str, str, str]]) -> list[str]:
    return [state for state, _, _ in lines]


@contextmanager
def healthy_site(postgres: Postgres, folder: Path) -> Iterator[Site]:
    """A fleet in which all is well; its data and its stop file are in ``folder``."""
    with ExitStack() as stack:
        url = stack.enter_context(run_redis())
        pool = PostgresPoolDatabase(postgres, stack.enter_context(postgres.database()))
        open_pool(pool.url, pool.password).close()
        role = pool.become_guest()
        pool.execute(f"GRANT SELECT, INSERT ON pairing_run, pairing_result TO {role}")
        pool.execute(f"GRANT SELECT ON pairing_migration TO {role}")
        pool.execute(f"GRANT SELECT, INSERT, UPDATE ON pairing_solution TO {role}")
        environment = {
            "PAIRING_BROKER_URL": url,
            "PAIRING_KEY_PREFIX": "doctor:",
            "PAIRING_POOL_URL": pool.url,
            "PAIRING_POOL_PASSWORD": str(pool.password),
            "PAIRING_STOP_FILES": str(folder / "stop"),
        }
        host = Host(Command(folder, environment), Store(Redis(url, "doctor:")))
        client = stack.enter_context(redis.Redis.from_url(url))
        stack.enter_context(host.worker("--concurrency", "1"))
        yield Site(host, client, pool, role, folder / "stop")
