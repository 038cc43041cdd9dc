"""A real Prometheus with the configuration that we ship, and Flower; both as a fleet has them."""

from __future__ import annotations

import base64
import json
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

import config
from tests.support.fleet import Command, end_all, wait_for
from tests.support.servers import ServerMissing, free_port, running_server, server_folder

SHIPPED = Path(config.__file__).parent / "prometheus"


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus."""

    address: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The present samples of an expression: ``{"metric": labels, "value": [time, text]}``."""
        found = self.ask("query", query=expression)["result"]
        assert isinstance(found, list)
        return found

    def ask(self, what: str, **parameters: str) -> Any:
        """What its HTTP API answers."""
        query = urllib.parse.urlencode(parameters)
        status, text = get(f"{self.address}/api/v1/{what}?{query}")
        assert status == 200, text
        return json.loads(text)["data"]


@contextmanager
def run_prometheus(targets: Mapping[str, str]) -> Iterator[Prometheus]:
    """Prometheus with the files that we ship, but every second, and where a target that they name is another.

    Raises:
        ServerMissing: there is none on this machine, or it does not start.
    """
    program = shutil.which("prometheus")
    if program is None:
        raise ServerMissing("There is no Prometheus here: install Debian's prometheus.")
    with server_folder("pairing-prometheus-") as folder:
        text = (SHIPPED / "prometheus.yml").read_text(encoding="utf-8").replace("15s", "1s")
        for shipped, here in targets.items():
            assert shipped in text
            text = text.replace(shipped, here)
        (folder / "prometheus.yml").write_text(text, encoding="utf-8")
        shutil.copy(SHIPPED / "alerts.yml", folder)
        address = f"127.0.0.1:{free_port()}"
        options = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
        command: list[object] = [program, *options, f"--web.listen-address={address}"]

        def ready() -> None:
            with urllib.request.urlopen(f"http://{address}/-/ready", timeout=5):
                pass

        with running_server(command, folder, ready):
            yield Prometheus(f"http://{address}")


@contextmanager
def running_flower(command: Command, port: int, prefix: str = "") -> Iterator[str]:
    """Flower as the command starts it with its settings, which name the port and the prefix: its address."""
    with command.start("flower") as process:
        address = f"http://127.0.0.1:{port}{prefix}"

        def answers() -> bool:
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            try:
                return get(f"{address}/healthcheck")[0] == 200
            except urllib.error.URLError:
                return False

        try:
            wait_for("Flower", answers)
            yield address
        finally:
            process.terminate()
            assert end_all([psutil.Process(process.pid)]) == []


def basic(login: str) -> str:
    """A login as the header ``Authorization`` has it."""
    return f"Basic {base64.b64encode(login.encode()).decode()}"


def get(url: str, login: str | None = None, data: str | None = None) -> tuple[int, str]:
    """Status and text of what a URL answers."""
    headers = {"Authorization": basic(login)} if login else {}
    request = urllib.request.Request(url, None if data is None else data.encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
