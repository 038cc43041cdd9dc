"""A fleet on several hosts: servers on one, workers on two others, a caller with Celery alone on a fourth."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

from tests.support.bare import bare_python
from tests.support.fleet import Command, end_all, wait_for
from tests.support.hosts import Host, HostsMissing, hosts
from tests.support.paths import ROOT
from tests.support.pools import PostgresPoolDatabase
from tests.support.servers import made_postgres, run_redis

PUZZLE = ROOT.parent / "shared" / "puzzle"

CALLER = """
from celery import Celery
from celery.result import AsyncResult
app = Celery(broker={url!r}, backend={url!r})
options = {{"global_keyprefix": "hosts:"}}
app.conf.broker_transport_options = app.conf.result_backend_transport_options = options
arguments = {{"puzzle": {digest!r}, "methods": ["trace", "norm_balance"], "note": "from a fourth host"}}
app.send_task("pairing.run", kwargs=arguments, task_id="over-hosts", priority=3).get(timeout=300)
AsyncResult("over-hosts.comparison", app=app).get(timeout=300)
for package in ("torch", "numpy", "tasks", "pairing"):
    try:
        __import__(package)
    except ImportError:
        continue
    print(package)
print("done")
"""


@pytest.fixture
def four_hosts() -> Iterator[list[Host]]:
    with ExitStack() as stack:
        try:
            found = stack.enter_context(hosts(4))
        except HostsMissing as error:
            pytest.skip(f"network namespaces cannot be made here: {error}")
        yield list(found)


@contextmanager
def file_system(folder: Path) -> Iterator[Path]:
    """A file system of its own, in memory."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def worker(host: Host, command: Command, role: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A worker of that role on the host; its log is ``<role>.log`` in the folder."""
    log = folder / f"{role}.log"
    settings = {"PAIRING_CACHE_DIR": str(folder / "cache"), "PAIRING_DATA_DIR": str(folder / "data")}
    with host.inside():
        process = command.start("worker", "--role", role, "--concurrency", 1, "--logfile", log, environment=settings)
    with process:
        try:
            wait_for("the worker", lambda: log.exists() and " ready." in log.read_text())
            yield process
        finally:
            process.terminate()
            assert end_all([psutil.Process(process.pid)]) == []


@pytest.mark.real_puzzle
@pytest.mark.skipif(not PUZZLE.is_dir(), reason="the published puzzle is not here")
def test_the_real_puzzle_is_solved_by_several_hosts(four_hosts: list[Host], tmp_path: Path) -> None:
    servers, first, second, caller = four_hosts
    with ExitStack() as stack:
        with servers.inside():
            redis_url = stack.enter_context(run_redis(address=servers.address))
            made = stack.enter_context(made_postgres({"listen_addresses": f"127.0.0.1,{servers.address}"}))
            with (made.folder / "data" / "pg_hba.conf").open("a") as file:
                file.write(f"host all all {servers.address}/24 scram-sha-256\n")
            postgres = stack.enter_context(made.running())
            pool = PostgresPoolDatabase(postgres, "postgres")
        url = redis_url.replace("127.0.0.1", servers.address)
        settings = {
            "PAIRING_BROKER_URL": url,
            "PAIRING_KEY_PREFIX": "hosts:",
            "PAIRING_POOL_URL": pool.url.replace("127.0.0.1", servers.address),
            "PAIRING_POOL_PASSWORD": postgres.password,
        }
        command = Command(tmp_path, settings, fresh=True)
        with first.inside():
            assert command("pool", "init").status == 0
            digest = command("puzzle", "put", PUZZLE).output.strip()

        plan, numbers = tmp_path / "plan", tmp_path / "numbers"
        for folder in (plan, numbers):
            folder.mkdir()
        refine = stack.enter_context(file_system(tmp_path / "refine"))
        assert plan.stat().st_dev != refine.stat().st_dev
        stack.enter_context(worker(first, command, "plan", plan))
        stack.enter_context(worker(first, command, "numbers", numbers))
        stack.enter_context(worker(second, command, "refine", refine))

        bare = bare_python(tmp_path)
        with caller.inside():
            said = bare.run(CALLER.format(url=url, digest=digest), tmp_path)
        assert said.stdout == "done\n", said.stderr  # and none of the packages could be imported
        assert "over-hosts.norm_balance.s0.refinement" in (refine / "refine.log").read_text()
        assert all(any((folder / "cache").iterdir()) for folder in (plan, numbers, refine))

        with second.inside():
            fetched = command("results", "over-hosts", "--json")
        assert fetched.status == 0, fetched.errors
        assert fetched.json["solved"]
        with servers.inside():
            rows = pool.execute("SELECT worker, hash_match FROM js_puzzle_pool")
        assert sum(match for _, match in rows) == 1
