"""The processes of ``pairing solve``: nothing of them is left, and nothing secret is in their command lines."""

from __future__ import annotations

import json
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
    assert sum("tasks.worker.launch" in line for line in lines) >= 3  # a worker and its children
    assert any("valkey-server" in line for line in lines)
    for line in lines:
        assert "s3cret" not in line
        assert "redis://" not in line


WAYS = {"SIGTERM": (signal.SIGTERM, 128 + signal.SIGTERM), "SIGKILL": (signal.SIGKILL, -signal.SIGKILL)}


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_left_when_it_is_ended(running: subprocess.Popen[str], way: str, tmp_path: Path) -> None:
    number, status = WAYS[way]
    below = descendants(running.pid)
    assert_no_secret_in_a_command_line([psutil.Process(running.pid), *below])
    os.kill(running.pid, number)
    assert end_all(below) == []
    output, errors = running.communicate(timeout=LIMIT)
    assert running.returncode == status
    assert output == ""
    assert "Traceback" not in errors
    assert not list(tmp_path.rglob("summary.json"))


def interrupt(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGINT)  # what a terminal does


@pytest.mark.parametrize("options", [[], ["--inline"]], ids=["fleet", "inline"])
def test_ctrl_c_keeps_the_best_so_far(pairing: Command, options: list[str]) -> None:
    process = pairing.start(*LONG, "--json", *options)
    assert process.stderr
    try:
        read = process.stderr.readline
        wait_for("the refinement's progress", lambda: "best MSE" in read())
        below = descendants(process.pid)
        interrupt(process)
        output, errors = process.communicate(timeout=LIMIT)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, end_all(below)) == (130, [])
    assert "Traceback" not in errors
    summary = json.loads(output)
    assert summary["best"]["full_mse"] > 0
    assert summary["methods"][0]["stopped"] == "cancelled"
    (found,) = (pairing.folder / "results").glob("*/summary.json")
    assert json.loads(found.read_text())["best"] == summary["best"]


def test_a_second_ctrl_c_abandons_the_run(running: subprocess.Popen[str], tmp_path: Path) -> None:
    below = descendants(running.pid)
    for process in below:
        if "tasks.worker.launch" in process.cmdline():
            process.suspend()  # so that the run does not end meanwhile
    assert running.stderr
    read = running.stderr.readline
    interrupt(running)
    wait_for("what a second one does", lambda: "Ctrl-C again abandons it" in read())
    interrupt(running)
    output, errors = running.communicate(timeout=LIMIT)
    assert (running.returncode, output, end_all(below)) == (130, "", [])
    assert errors.splitlines()[-1] == "pairing: interrupted"
    assert not list(tmp_path.rglob("summary.json"))


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
