"""A fleet on two booted hosts, at default settings: Redis and PostgreSQL on the first, all kinds of work on both."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tasks.contracts.errors import BrokerError
from tasks.store.redis import Redis
from tasks.store.run_store import Store
from tests.hosts.machine import Machine
from tests.support.fleet import DEMO, Found, wait_for

METHODS = ("cosine", "transpose")
"""They get no pair of the demonstration puzzle right, so that their refinements use all their evaluations."""

SEEDS = 2
EVALUATIONS = 6_000
"""Of a refinement: about 6 seconds of a core."""

PATIENCE = 240.0
"""Seconds that anything may take before it counts as hanging."""

WITHIN_SECONDS = 60.0
"""In which work that was lost is to be taken up again."""

METRICS_PORT = 9756
STOP_FILE = "/run/pairing-stop"
COMMAND = ("pairing", "--env-file", "/etc/pairing/environment")

Parts = dict[str, tuple[Any, ...]]


@dataclass
class Fleet:
    """Two hosts, and runs on them."""

    one: Machine
    two: Machine
    wheels: tuple[Path, Path]
    password: str = field(default_factory=lambda: secrets.token_hex(12), repr=False)

    @property
    def machines(self) -> tuple[Machine, Machine]:
        """Both."""
        return self.one, self.two

    @property
    def broker(self) -> str:
        """The broker's address."""
        return f"redis://:{self.password}@{self.one.network.address}:6379/0"

    @cached_property
    def environment(self) -> str:
        """The text of the environment file: addresses, passwords, and everything else at its default."""
        return f"""
PAIRING_BROKER_URL={self.broker}
PAIRING_POOL_URL=postgresql://fleet@{self.one.network.address}:5432/pool
PAIRING_POOL_PASSWORD={self.password}
PAIRING_FLOWER_AUTH=operator:{self.password}
PAIRING_METRICS_PORT={METRICS_PORT}
PAIRING_STOP_FILES={STOP_FILE}
"""

    def prepare(self) -> None:
        """Redis and PostgreSQL as docs/tutorial.md has them; Pairing in /opt/pairing, and a puzzle."""
        address = self.one.network.address
        self.one.run(
            "sh",
            "-ec",
            f"""
            cd /etc/redis
            printf '%s\\n' 'bind 127.0.0.1 {address}' 'appendonly yes' 'maxmemory-policy noeviction' >>redis.conf
            echo "requirepass $(cat)" >>redis.conf
            cd /etc/postgresql/*/main
            echo "listen_addresses = '127.0.0.1,{address}'" >>postgresql.conf
            echo 'host pool fleet samenet scram-sha-256' >>pg_hba.conf
            systemctl enable --quiet redis-server postgresql
            systemctl restart redis-server postgresql
            """,
            text=self.password,
        )
        for statement in (f"CREATE ROLE fleet LOGIN PASSWORD '{self.password}'", "CREATE DATABASE pool OWNER fleet"):
            self.query(statement, database="postgres")
        for machine in self.machines:
            machine.copy(DEMO, "/opt/puzzle")
            self.install(machine, self.wheels[0])
            machine.run(
                "sh", "-ec", "mkdir -p /etc/pairing; umask 77; cat >/etc/pairing/environment", text=self.environment
            )

    def install(self, machine: Machine, wheel: Path) -> None:
        """A version of Pairing into the environment of a host; what it depends on is there."""
        machine.copy(wheel, f"/opt/{wheel.name}")
        pip = ("pip", "install", "--quiet", "--no-index", "--no-deps", "--force-reinstall")
        machine.run(*pip, "--root-user-action=ignore", "--disable-pip-version-check", f"/opt/{wheel.name}")

    # --- runs

    def call(self, *arguments: object, machine: Machine | None = None) -> str:
        """What the command prints on a host."""
        return (machine or self.one).run(*COMMAND, *arguments).stdout

    def enqueue(self) -> str:
        """A run whose refinements only their evaluations end: its id."""
        fixed = ("--compare", "--start", "greedy", "--no-repair", "--deadline", 1800, "--seeds", SEEDS)
        found = self.call(
            "enqueue", "/opt/puzzle", "--methods", ",".join(METHODS), "--evaluations", EVALUATIONS, *fixed
        )
        return found.split()[-1]

    def ask(self, question: Callable[[Store], Found]) -> Found | None:
        """What the store answers to a question from the first host; ``None`` while it cannot be asked."""
        try:
            with self.one.network.inside():
                return question(Store(Redis(self.broker)))
        except BrokerError:
            return None

    def standing(self, run: str) -> Parts:
        """Of every refinement that was begun: its host, its owner, how far it is, and whether it is done."""

        def question(store: Store) -> Parts:
            progress, refined = store.parts(run, "progress"), store.parts(run, "refinement")
            attempts = store.parts(run, "attempt")
            owners = {
                name.removeprefix("refinement."): attempt["owner"]
                for name, attempt in attempts.items()
                if name.startswith("refinement.")
            }
            return {p: (owner.partition(":")[0], owner, progress.get(p), p in refined) for p, owner in owners.items()}

        return self.ask(question) or {}

    def refining(self, run: str, hosts: Iterable[str] = ()) -> Parts:
        """Waits until all refinements of a run are in flight, on these hosts too: how far they are."""

        def look() -> Parts | None:
            assert self.end(run) is None, f"{run} ended before anything was done to it"
            found = self.standing(run)
            shown = {p: s for p, s in found.items() if s[2] is not None and not s[3]}
            there = {s[0] for s in shown.values()}
            return found if len(shown) == len(METHODS) * SEEDS and there >= set(hosts) else None

        return wait_for("all refinements to be in flight", look, PATIENCE)

    def end(self, run: str) -> str | None:
        """How a run ended; ``None`` while it has not."""
        found = self.ask(lambda store: store.record(run, "end") or {})
        return found["end"] if found else None

    def solutions(self, run: str) -> dict[str, tuple[Any, ...]]:
        """Waits for a run's end, which must be a success: all that is the same whatever was killed on the way."""
        ended = wait_for(f"the end of {run}", lambda: self.end(run), PATIENCE)
        failed = self.ask(lambda store: store.parts(run, "failure"))
        assert (ended, failed) == ("succeeded", {})
        refined = self.ask(lambda store: store.parts(run, "refinement")) or {}
        return {
            part: (
                record["evaluations"],
                record["stopped"],
                record["start_mse"],
                *(record["solution"][name] for name in ("full_mse", "inp_sigma", "out_sigma", "hash")),
            )
            for part, record in sorted(refined.items())
        }

    @cached_property
    def undisturbed(self) -> dict[str, tuple[Any, ...]]:
        """What a run gives to which nothing is done."""
        return self.solutions(self.enqueue())

    def check_end(self, run: str) -> None:
        """A run must end as if nothing had been, and the pool have no solution twice."""
        assert self.solutions(run) == self.undisturbed
        twice = "SELECT inp_sigma, out_sigma FROM js_puzzle_pool GROUP BY 1, 2 HAVING count(*) > 1"
        assert self.query(twice) == ""

    def taken_up(self, run: str, parts: Parts, *, owner: bool = True, began: float) -> float:
        """Waits until all those refinements are another owner's, or go on, or are done; seconds since ``began``."""

        def look() -> bool:
            if self.end(run) is not None:
                return True
            now = self.standing(run)
            same = slice(1, 2) if owner else slice(1, 3)
            return all(p in now and (now[p][3] or now[p][same] != before[same]) for p, before in parts.items())

        wait_for(f"work on {', '.join(sorted(parts))}", look, PATIENCE)
        return time.monotonic() - began

    def query(self, statement: str, database: str = "pool") -> str:
        """What the database's superuser gets."""
        sql = ("psql", "--quiet", "--no-psqlrc", "-At", "--dbname", database)
        return self.one.run("runuser", "-u", "postgres", "--", *sql, text=statement).stdout.strip()
