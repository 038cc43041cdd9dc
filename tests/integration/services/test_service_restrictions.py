"""A worker and a sweep under the restrictions of their units, as far as they can be applied without systemd."""

from __future__ import annotations

import os
import secrets
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import redis
from ruamel.yaml import YAML

from config.celeryconfig import worker_soft_shutdown_timeout
from tests.support.fleet import Command, descendants, wait_for
from tests.support.paths import ROOT
from tests.support.sandbox import APPLIED, NOT_APPLIED, NoSandboxError, Unit, read_unit, sandboxed
from tests.support.services import PAIRING, install_services, systemd, unit

PUZZLE = ROOT.parent / "shared" / "puzzle"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that stands for / of a host with systemd, with our services installed."""
    folder = tmp_path_factory.mktemp("root")
    install_services(folder)
    return folder


def test_every_restriction_is_applied_below_or_known_not_to_be(root: Path) -> None:
    common = read_unit(systemd(root).units / "pairing-.service.d" / "system.conf").directives
    assert set(common) <= APPLIED | NOT_APPLIED
    assert not APPLIED & NOT_APPLIED


def confined(found: Unit, folder: Path, fleet: dict[str, str], command: str | None = None) -> list[str]:
    """The command that starts a unit's own, or another, under the unit's restrictions."""
    own = found.last("ExecStart").replace("/opt/pairing/bin/pairing", str(PAIRING))
    found.directives["ExecStart"] = [command or own]
    try:
        return sandboxed(found, folder, {**fleet, "PYTHONPATH": str(ROOT)}, [])
    except NoSandboxError as error:
        pytest.skip(str(error))


COMPILE = "import numba; print(numba.njit(lambda x: x + 1)(1))"


@pytest.mark.parametrize(("name", "compiles"), [("pairing-worker", True), ("pairing-sweeper", False)])
def test_what_may_compile(root: Path, tmp_path: Path, name: str, compiles: bool) -> None:
    # Why workers are allowed to execute what they wrote, and no other service is.
    command = confined(unit(root, name), tmp_path, {}, shlex.join([sys.executable, "-c", COMPILE]))
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (said.returncode == 0) == compiles, said.stderr
    assert (said.stdout == "2\n") == compiles


def test_a_sweep_under_its_restrictions(root: Path, redis_url: str, tmp_path: Path) -> None:
    fleet = {"PAIRING_BROKER_URL": redis_url, "PAIRING_KEY_PREFIX": f"test-{secrets.token_hex(6)}:"}
    command = confined(unit(root, "pairing-sweeper"), tmp_path, fleet)
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    assert "0 overdue runs" in said.stdout


@pytest.fixture
def confined_worker(root: Path, redis_url: str, tmp_path: Path) -> Iterator[tuple[Path, Path, Command]]:
    """A worker in the sandbox that its unit describes: its state and cache folder, its log, and a caller outside."""
    fleet = {"PAIRING_BROKER_URL": redis_url, "PAIRING_KEY_PREFIX": f"test-{secrets.token_hex(6)}:"}
    command = confined(unit(root, "pairing-worker"), tmp_path, fleet)
    log = tmp_path / "log"
    with log.open("wb") as output:
        worker = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        wait_for("the worker", lambda: b" ready." in log.read_bytes() or worker.poll() is not None, 120)
        assert worker.poll() is None, log.read_text()
        yield tmp_path, log, Command(tmp_path, fleet)
    finally:
        for process in [*descendants(worker.pid), psutil.Process(worker.pid)]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        worker.wait()
        with redis.Redis.from_url(redis_url) as client:
            for key in client.scan_iter(f"{fleet['PAIRING_KEY_PREFIX']}*"):
                client.delete(key)


@pytest.mark.real_puzzle
def test_a_worker_solves_the_puzzle_under_its_restrictions(confined_worker: tuple[Path, Path, Command]) -> None:
    if not PUZZLE.is_dir():
        pytest.skip("the published puzzle is not at ../shared/puzzle")
    folder, log, caller = confined_worker
    solved = caller("enqueue", PUZZLE, "--methods", "trace", "--wait", "--json")
    assert solved.status == 0, solved.errors + log.read_text()
    assert solved.json["best"]["hash_match"]
    assert list((folder / "cache" / "numba").rglob("*.nbc"))  # compiled once, kept for the next start
    assert list((folder / "state" / "pools").glob("*.sqlite"))
    assert {path.stat().st_mode & 0o077 for path in (folder / "state").rglob("*") if path.is_dir()} == {0}


def test_a_worker_under_its_restrictions_ends_as_systemd_ends_it(confined_worker: tuple[Path, Path, Command]) -> None:
    _, log, caller = confined_worker
    compose = YAML(typ="safe").load(ROOT / "docker-compose.yml")
    check = compose["services"]["worker"]["healthcheck"]["test"][1].replace("$$", "$")
    path = f"{PAIRING.parent}{os.pathsep}{os.environ['PATH']}"
    asked = ["sh", "-c", check]
    environment = {**caller.environment, "PATH": path}
    said = subprocess.run(asked, env=environment, cwd=caller.folder, capture_output=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr

    mine = [
        process for process in psutil.Process().children(recursive=True) if "tasks.worker.launch" in process.cmdline()
    ]
    main = next(process for process in mine if process.cmdline()[1:3] == ["-m", "tasks.worker.launch"])
    main.send_signal(signal.SIGTERM)  # KillMode=mixed: to nobody else
    _, left = psutil.wait_procs(mine, timeout=6 * worker_soft_shutdown_timeout)
    assert not left
    assert b"old shutdown" in log.read_bytes()  # SIGTERM was taken for SIGQUIT
