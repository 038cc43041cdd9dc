"""The processes of ``pairing solve``: nothing of them is left, and nothing secret is in their command lines."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.fleet import DEMO, LIMIT, Command, descendants, end_all, wait_for

SECRETS = {
    "PAIRING_POOL_PASSWORD": "pool-s3cret-a1",
    "CHEROKEE_DB_PASS": "pool-s3cret-b2",
    "PAIRING_BROKER_URL": "redis://:broker-s3cret-c3@redis.invalid:6379/0",
}
LONG = ["solve", DEMO, "--methods", "cosine,transpose", "--annealer", "classic", "--workers", 2, "--budget", 100]


@pytest.fixture
def running(pairing: Command) -> Iterator[subprocess.Popen[str]]:
    """A run on two busy processes that would go on for minutes."""
    process = pairing.start(*LONG, "--json", environment=SECRETS)
    assert process.stderr
    seen = ""
    try:
        while "best MSE" not in seen:  # the first progress of a refinement
            line = process.stderr.readline()
            assert line, f"it ended early: {seen}"
            seen += line
        yield process
    finally:
        left = descendants(process.pid)
        process.kill()
        end_all(left)
        for pipe in (process.stdout, process.stderr):
            if pipe:
                pipe.close()
        process.wait()


def assert_no_secret_in_a_command_line(processes: list[psutil.Process]) -> None:
    lines = [" ".join(process.cmdline()) for process in processes]
    assert sum("celery" in line for line in lines) >= 3  # a worker and its children
    assert any("valkey-server" in line for line in lines)
    for line in lines:
        assert "s3cret" not in line
        assert "redis://" not in line


WAYS = {
    "SIGINT": (signal.SIGINT, 130),
    "SIGTERM": (signal.SIGTERM, 128 + signal.SIGTERM),
    "SIGKILL": (signal.SIGKILL, -signal.SIGKILL),
}


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_left_when_it_is_ended(running: subprocess.Popen[str], way: str, tmp_path: Path) -> None:
    number, status = WAYS[way]
    below = descendants(running.pid)
    assert_no_secret_in_a_command_line([psutil.Process(running.pid), *below])
    if number == signal.SIGINT:
        os.killpg(running.pid, number)  # what a terminal does
    else:
        os.kill(running.pid, number)
    assert end_all(below) == []
    output, errors = running.communicate(timeout=LIMIT)
    assert running.returncode == status
    assert output == ""
    assert "Traceback" not in errors
    assert number != signal.SIGINT or errors.splitlines()[-1] == "pairing: interrupted"
    assert not list(tmp_path.rglob("summary.json"))


def test_ctrl_c_ends_an_inline_run_too(pairing: Command) -> None:
    process = pairing.start(*LONG, "--inline")
    assert process.stderr
    try:
        read = process.stderr.readline
        wait_for("the refinement's progress", lambda: "best MSE" in read())
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=LIMIT)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert list((pairing.folder / "results").glob("*")) == []


def test_a_dead_worker_ends_the_run_with_3(running: subprocess.Popen[str]) -> None:
    below = descendants(running.pid)
    worker = next(p for p in below if "embedded@" in " ".join(p.cmdline()))
    worker.kill()
    output, errors = running.communicate(timeout=20)
    assert running.returncode == 3
    assert output == ""
    assert "worker ended unexpectedly" in errors
    assert "Traceback" not in errors.splitlines()[0]
    assert end_all(below) == []


def test_the_working_directory_cannot_replace_our_modules(pairing: Command) -> None:
    for name in ("tasks", "pairing", "config", "celeryconfig"):
        (pairing.folder / f"{name}.py").write_text("raise SystemExit('the wrong module')\n")
    ended = pairing("solve", DEMO, "--methods", "trace")
    assert ended.status == 0, ended.errors
