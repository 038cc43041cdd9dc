"""The four ways to enqueue a run, as the documentation tells them; Flower lets nobody in without a login."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.bare import bare_python
from tests.support.documents import example
from tests.support.fleet import DEMO, Command, Fleet, running_fleet, wait_for
from tests.support.monitoring import get as ask
from tests.support.monitoring import running_flower
from tests.support.servers import free_port

LOGIN = "anna:secret"


@pytest.fixture(scope="module")
def fleet(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with running_fleet(redis_url, tmp_path_factory.mktemp("fleet")) as fleet:
        yield fleet


@pytest.fixture
def command(fleet: Fleet, tmp_path: Path) -> Command:
    return Command(tmp_path, {"PAIRING_BROKER_URL": fleet.url, "PAIRING_KEY_PREFIX": fleet.prefix})


@pytest.fixture
def folder(command: Command) -> Path:
    """Where the examples are typed: the puzzle is here."""
    shutil.copytree(DEMO, command.folder / "track2_permutation")
    return command.folder


@pytest.fixture
def digest(command: Command) -> str:
    """The puzzle's, once it is in the store."""
    return command("puzzle", "put", DEMO).output.strip()


def as_here(text: str, fleet: Fleet, digest: str = "", flower: str = "") -> str:
    """An example with the names of this fleet."""
    names = {
        "redis://:password@broker.example:6379/4": fleet.url,
        "pairing-prod:": fleet.prefix,
        "sha256:…": digest,
        "http://flower.example:5556": flower,
    }
    for name, here in names.items():
        text = text.replace(name, here)
    assert "example" not in text
    return text


def ended(fleet: Fleet, run: str) -> dict[str, Any]:
    end = wait_for(f"the end of {run}", lambda: fleet.store.record(run, "end"), 120.0)
    assert end["end"] == "succeeded", end
    summary = fleet.store.record(run, "summary")
    assert summary["solved"]
    return summary


def bash(text: str, command: Command) -> str:
    path = f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        env={**command.environment, "PATH": path},
        cwd=command.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout


def test_from_a_shell(fleet: Fleet, command: Command, folder: Path) -> None:
    output = bash(example("fleet.md", "### From a shell"), command)
    assert "Solved" in output
    assert folder.is_dir()


def test_from_python(fleet: Fleet, command: Command, folder: Path) -> None:
    program = example("fleet.md", "### From Python") + "\nprint(run, summary['solved'], len(matrices))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=command.environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    run, solved, size = done.stdout.split()
    assert (solved, int(size) > 1000) == ("True", True)
    assert len(ended(fleet, run)["methods"]) == 6


def test_by_task_name(fleet: Fleet, tmp_path: Path, digest: str) -> None:
    program = as_here(example("fleet.md", "### By task name"), fleet, digest)
    done = bare_python(tmp_path).run(program, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(ended(fleet, done.stdout.strip())["methods"]) == 3


# --- Flower


@pytest.fixture(scope="module")
def flower(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Flower for the fleet: its address."""
    port = free_port()
    settings = {
        "PAIRING_BROKER_URL": fleet.url,
        "PAIRING_KEY_PREFIX": fleet.prefix,
        "PAIRING_FLOWER_AUTH": LOGIN,
        "PAIRING_FLOWER_PORT": str(port),
    }
    with running_flower(Command(tmp_path_factory.mktemp("flower"), settings), port) as address:
        yield address


def get(url: str, login: str | None = LOGIN, data: str | None = None) -> tuple[int, str]:
    return ask(url, login, data)


@pytest.mark.skipif(shutil.which("curl") is None, reason="the example needs curl")
def test_over_http(fleet: Fleet, command: Command, digest: str, flower: str) -> None:
    output = bash(as_here(example("fleet.md", "### Over HTTP"), fleet, digest, flower), command)
    sent, result = (json.loads(answer) for answer in re.findall(r"\{.*?\}", output))
    assert sent["task-id"] == result["result"] == "over-http"
    ended(fleet, "over-http")


def test_a_wrong_argument_is_said_over_http(flower: str) -> None:
    body = json.dumps({"task_id": "wrong-over-http", "kwargs": {"puzzle": "sha256:0", "seeds": -1}})
    assert get(f"{flower}/api/task/send-task/pairing.run", data=body)[0] == 200
    answer = json.loads(get(f"{flower}/api/task/result/wrong-over-http?timeout=60")[1])
    assert "seeds must be at least 1" in answer["result"]


@pytest.mark.parametrize("login", [None, "anna:wrong", "nobody:secret", ":"])
@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("/api/task/send-task/pairing.run", "{}"),
        ("/api/task/revoke/some-run", ""),
        ("/api/workers", None),
        ("/api/tasks", None),
        ("/workers", None),
        ("/tasks", None),
    ],
)
def test_nobody_without_a_login_sees_or_does_anything(
    flower: str, path: str, data: str | None, login: str | None
) -> None:
    assert get(flower + path, login, data)[0] == 401


def test_flower_shows_tasks_by_name_and_no_password(fleet: Fleet, command: Command, flower: str) -> None:
    assert command("enqueue", DEMO, "--methods", "trace", "--run", "shown", "--wait").status == 0
    password = re.search(r":([^:@]+)@", fleet.url).group(1)  # type: ignore[union-attr]
    task = "shown.trace.s0.refinement"

    def known() -> bool:
        return task in get(f"{flower}/api/tasks")[1]

    wait_for("the task in Flower", known)
    (worker,) = json.loads(get(f"{flower}/api/workers?refresh=1")[1])
    pages = ["/api/tasks", "/api/workers", f"/task/{task}", f"/worker/{worker}", "/broker", "/workers", "/tasks"]
    for page in [*pages, "/metrics", "/healthcheck", f"/api/task/info/{task}"]:
        status, text = get(flower + page)
        assert status == 200, page
        assert password not in text, page
        assert "secret" not in re.sub(r"secretary|secrets?_", "", text), page
    info = json.loads(get(f"{flower}/api/task/info/{task}")[1])
    assert info["name"] == "pairing.refinement"
    assert info["args"] == "['shown', 'trace', 0]"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "PAIRING_FLOWER_AUTH"),
        ({"PAIRING_FLOWER_AUTH": "anna"}, "every login is user:password"),
        ({"PAIRING_FLOWER_AUTH": "anna:secret,"}, "every login is user:password"),
        ({"PAIRING_FLOWER_AUTH": LOGIN, "PAIRING_FLOWER_PORT": "0"}, "PAIRING_FLOWER_PORT"),
    ],
    ids=str,
)
def test_flower_does_not_start_unguarded(command: Command, settings: dict[str, str], message: str) -> None:
    said = command("flower", environment={**settings, "FLOWER_UNAUTHENTICATED_API": "true"})
    assert said.status == 2
    assert message in said.errors
    assert "secret" not in said.errors
