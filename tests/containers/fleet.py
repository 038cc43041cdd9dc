"""The fleet of docker-compose.yml, as docs/services.md has it started, and runs on it that something is done to."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.containers.engine import Engine
from tests.containers.images import IMAGE
from tests.containers.packages import called
from tests.support.fleet import DEMO, Found, wait_for

WORKERS = 2

SETTINGS = f"""
WORKERS={WORKERS}
WORKER_PROCESSES=1
"""
"""With one process a worker, each has a refinement of a run with two methods."""

METHODS = ("cosine", "transpose")
"""They get no pair of the demonstration puzzle right, so that their refinements use all their evaluations."""

EVALUATIONS = 15_000
"""Of a refinement: about 15 seconds of a core."""

PATIENCE = 180.0
"""Seconds that anything may take before it counts as hanging."""

CALLER = "pairing-caller"

Solutions = dict[str, Any]


def seen(what: str, look: Callable[[], Found | None]) -> Found:
    """Looks once a second until there is something to see: what it is. Every look starts a program."""

    def look_later() -> Found | None:
        time.sleep(1.0)
        return look()

    return wait_for(what, look_later, PATIENCE)


@dataclass
class Fleet:
    """A compose project in a folder."""

    engine: Engine
    folder: Path

    def compose(self, *arguments: object, status: int | None = 0) -> subprocess.CompletedProcess[str]:
        """``docker compose`` in the project's folder."""
        return self.engine.docker("compose", "--project-directory", self.folder, *arguments, status=status)

    def up(self) -> None:
        """All services, healthy; a second call finds them so."""
        called("sh", "config/docker/make-secrets", cwd=self.folder)
        (self.folder / ".env").write_text(SETTINGS)
        self.compose("up", "--detach", "--wait", "--wait-timeout", round(PATIENCE))

    def containers(self, service: str) -> list[str]:
        """The ids of a service's containers."""
        return self.compose("ps", "--all", "--quiet", service).stdout.split()

    def call(self, *arguments: object) -> str:
        """What ``pairing`` prints where a person has the fleet's settings; tried again while the broker is away."""

        def look() -> str | None:
            done = self.engine.docker("exec", self.caller, "pairing", *arguments, status=None)
            assert done.returncode in (0, 3), done.stdout + done.stderr
            return done.stdout if done.returncode == 0 else None

        return seen("the broker", look)

    @cached_property
    def caller(self) -> str:
        """A container in the fleet's network, but none of its own, that does nothing but run commands."""
        secret = (
            "--volume",
            f"{self.folder}/secrets/broker_url:/broker_url:ro",
            "--env",
            "PAIRING_BROKER_URL_FILE=/broker_url",
        )
        options = (
            "--detach",
            "--init",
            "--name",
            CALLER,
            "--network",
            "pairing_inside",
            "--volume",
            f"{DEMO}:/demo:ro",
        )
        self.engine.docker("run", *options, *secret, "--entrypoint", "sleep", IMAGE, "infinity")
        return CALLER

    def enqueue(self) -> str:
        """A run whose refinements only their evaluations end: its id."""
        fixed = ("--compare", "--start", "greedy", "--no-repair", "--deadline", 1800)
        found = self.call("enqueue", "/demo", "--methods", ",".join(METHODS), "--evaluations", EVALUATIONS, *fixed)
        return found.split()[-1]

    def status(self, run: str) -> dict[str, Any]:
        """What is known of a run."""
        found: dict[str, Any] = json.loads(self.call("status", run, "--json"))
        return found

    def refining(self, run: str) -> None:
        """Waits until all refinements of a run are under way."""

        def look() -> bool:
            found = self.status(run)
            assert found["ended_at"] is None, f"{run} ended before anything was done to it"
            return len(found["parts"]["refining"]) == len(METHODS)

        seen("refinements in flight", look)

    def finished(self, run: str) -> Solutions:
        """What a run ends with."""
        seen(f"the end of {run}", lambda: self.status(run)["ended_at"])
        found = self.status(run)
        assert found["state"] == "succeeded", found
        return {part: (known["full_mse"], known["stopped"]) for part, known in found["parts"]["refined"].items()}

    @cached_property
    def undisturbed(self) -> Solutions:
        """What a run gives to which nothing is done."""
        return self.finished(self.enqueue())

    def disturbed(self, damage: Callable[[], None]) -> float:
        """Does damage to a run in flight, which must end as if nothing had been: seconds until all of it went on."""
        expected = self.undisturbed
        run = self.enqueue()
        self.refining(run)
        damage()
        began = time.monotonic()
        standing = self.status(run)["parts"]["refining"]

        def goes_on() -> bool:
            found = self.status(run)["parts"]
            return all(
                part in found["refined"] or found["refining"].get(part, known)["evaluations"] > known["evaluations"]
                for part, known in standing.items()
            )

        seen("all refinements to go on", goes_on)
        took = time.monotonic() - began
        assert self.finished(run) == expected
        self.check_pool()
        return took

    def query(self, statement: str) -> str:
        """What the pool's superuser gets from the database."""
        (container,) = self.containers("postgres")
        sql = ("psql", "--username", "postgres", "--dbname", "pairing", "-At", "--command", statement)
        return self.engine.docker("exec", container, *sql).stdout.strip()

    def check_pool(self) -> None:
        """No solution is stored twice."""
        assert self.query("SELECT inp_sigma, out_sigma FROM js_puzzle_pool GROUP BY 1, 2 HAVING count(*) > 1") == ""
