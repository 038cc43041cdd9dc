"""The fleet of the compose file: up, used, damaged, stopped, gone."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from tests.containers.fleet import CALLER, WORKERS, seen
from tests.containers.site import Site
from tests.support.fleet import DEMO
from tests.support.paths import ROOT
from tests.support.scenarios import Scenario

REAL = ROOT.parent / "shared" / "puzzle"
LASTING = ("redis", "postgres", "worker", "flower")
"""Services that do not end by themselves."""
WITHIN_SECONDS = 60.0
"""In which work that was lost is to be taken up again."""


def up(site: Site) -> str:
    """Everything healthy, and still so after a second ``up`` without ``--scale``."""
    began = time.monotonic()
    site.fleet.up()
    took = time.monotonic() - began
    site.fleet.up()
    states = {service: _states(site, service) for service in (*LASTING, "pool")}
    assert states == {**{service: ["healthy"] for service in LASTING}, "worker": ["healthy"] * WORKERS, "pool": ["0"]}
    return f"{took:.0f} s"


def _states(site: Site, service: str) -> list[str]:
    found = site.engine.inspect(*site.fleet.containers(service))
    return [
        str(container["State"]["Health"]["Status"] if container["State"]["Running"] else container["State"]["ExitCode"])
        for container in found
    ]


def restricted(site: Site) -> str:
    """Every container as an operator relies on it."""
    docker = site.engine.docker
    for service in LASTING:
        for container in site.engine.inspect(*site.fleet.containers(service)):
            host, name = container["HostConfig"], container["Id"]
            assert host["ReadonlyRootfs"], service
            assert host["CapDrop"] == ["ALL"], service
            assert host["Memory"] > 0, service
            assert host["PidsLimit"] > 0, service
            assert {"max-size", "max-file"} <= set(host["LogConfig"]["Config"]), service
            assert docker("exec", name, "id", "-u").stdout.strip() != "0", service
            said = docker("exec", name, "sh", "-c", "echo x >/written; echo x >/etc/written", status=None).stderr
            assert said.count("Read-only file system") == 2, said
    role = site.fleet.query("SELECT rolsuper, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = 'pairing'")
    assert role == "f|f|f"
    owned = site.fleet.query("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'")
    assert owned == "pairing"
    (redis,), (flower,) = site.fleet.containers("redis"), site.fleet.containers("flower")
    ask = "REDISCLI_AUTH=$(cat /run/secrets/redis_password) redis-cli config get save; ls -R /data"
    said = docker("exec", redis, "sh", "-c", ask).stdout
    assert "dump.rdb" not in said
    assert said.splitlines()[:2] == ["save", ""]
    assert docker("exec", flower, "ls", "/run/secrets").stdout.split() == ["broker_url", "flower_auth"]
    assert "POOL" not in docker("exec", flower, "env").stdout
    for page, status in (("workers", "401"), ("healthcheck", "200")):
        address = f"http://127.0.0.1:5556/{page}"
        assert (
            site.engine.inside("curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}", address)
            == status
        )
    return ""


def solved(site: Site) -> str:
    """The published puzzle where it is, else the demonstration, as the documentation has it."""
    puzzle = REAL if REAL.is_dir() else DEMO
    results = site.folder / "fleet's results"
    results.mkdir()
    results.chmod(0o777)
    volumes = ("--volume", f"{puzzle}:/puzzle:ro", "--volume", f"{results}:/results", "--user", "12345")
    began = time.monotonic()
    run = ("enqueue", "/puzzle", "--wait", "--run", "run", "--deadline", 600)
    site.fleet.compose("run", "--rm", "-T", "--no-deps", *volumes, "worker", *run)
    took = time.monotonic() - began
    summary = json.loads((results / "run" / "summary.json").read_text())
    assert summary["solved"]
    assert site.fleet.query("SELECT count(*) > 0 FROM js_puzzle_pool WHERE full_mse < 1e-9") == "t"
    site.fleet.check_pool()
    return f"{'the published puzzle' if puzzle == REAL else 'the demonstration'}: {took:.0f} s"


def in_flight(damage: Callable[[Site], None], within: float = WITHIN_SECONDS) -> Callable[[Site], str]:
    """A scenario that does damage to a run in flight."""

    def work(site: Site) -> str:
        took = site.fleet.disturbed(lambda: damage(site))
        assert took <= within, f"it took {took:.0f} s until all went on"
        return f"went on within {took:.0f} s"

    return work


def kill(service: str) -> Callable[[Site], None]:
    """SIGKILL to the first process of a service's first container, which Docker starts again."""
    return lambda site: site.engine.kill(site.fleet.containers(service)[0])


def restart(service: str) -> Callable[[Site], None]:
    """An operator's restart."""

    def damage(site: Site) -> None:
        site.fleet.compose("restart", service)

    return damage


def stop_one_worker(site: Site) -> None:
    """One of the workers leaves in order, and comes back."""
    worker = site.fleet.containers("worker")[0]
    site.engine.docker("stop", "--time", 60, worker)
    (found,) = site.engine.inspect(worker)
    assert found["State"]["ExitCode"] == 0, found["State"]
    site.engine.docker("start", worker)


def stopped(site: Site) -> str:
    """Everything is healthy again, and then stopped in mid-run."""

    def healthy() -> bool:
        return all(set(_states(site, service)) == {"healthy"} for service in LASTING)

    seen("all to be healthy again", healthy)
    site.fleet.refining(site.fleet.enqueue())
    site.engine.docker("rm", "--force", CALLER)
    began = time.monotonic()
    site.fleet.compose("stop")
    took = time.monotonic() - began
    ends = {service: _states(site, service) for service in LASTING}
    assert not any("137" in states for states in ends.values()), ends
    return f"{took:.0f} s"


def removed(site: Site) -> str:
    """Nothing is left."""
    site.fleet.compose("down", "--volumes")
    assert site.engine.docker("container", "ls", "--all", "--quiet").stdout == ""
    assert site.engine.docker("volume", "ls", "--quiet").stdout == ""
    assert site.engine.docker("network", "ls", "--quiet", "--filter", "type=custom").stdout == ""
    return ""


SAME = "the run ends with the undisturbed solutions, none stored twice; work goes on within 60 s"

SCENARIOS = (
    Scenario(
        name="up",
        what=f"`docker compose up --detach` with `WORKERS={WORKERS}`, twice",
        holds="all services are healthy, each worker under its own name",
        work=up,
    ),
    Scenario(
        name="restricted",
        what="writing to every root file system; looking at limits, users, roles and secrets",
        holds="refused; limited; no root; no superuser; Flower has no password of the pool",
        work=restricted,
    ),
    Scenario(
        name="solved",
        what="`docker compose run … enqueue /puzzle --wait`",
        holds="solved, stored in the pool, results in `/results`",
        work=solved,
    ),
    Scenario(
        name="worker-stopped", what="`docker stop` of a worker in mid-run", holds=SAME, work=in_flight(stop_one_worker)
    ),
    Scenario(
        name="worker-killed",
        what="SIGKILL to a worker's container in mid-run",
        holds="the same",
        work=in_flight(kill("worker")),
    ),
    Scenario(
        name="redis-restarted",
        what="`docker compose restart redis` in mid-run",
        holds="the same",
        work=in_flight(restart("redis")),
    ),
    Scenario(name="redis-killed", what="SIGKILL to Redis in mid-run", holds="the same", work=in_flight(kill("redis"))),
    Scenario(
        name="postgres-restarted",
        what="`docker compose restart postgres` in mid-run",
        holds="the same",
        work=in_flight(restart("postgres")),
    ),
    Scenario(
        name="postgres-killed",
        what="SIGKILL to PostgreSQL in mid-run",
        holds="the same",
        work=in_flight(kill("postgres")),
    ),
    Scenario(
        name="stopped",
        what="`docker compose stop` in mid-run, after all of that",
        holds="all services are healthy; every container ends within its grace period, none is killed",
        work=stopped,
    ),
    Scenario(name="removed", what="`docker compose down --volumes`", holds="nothing is left", work=removed),
)
