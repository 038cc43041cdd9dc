"""One host of a fleet: its workers as services, and the command beside them."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import redis

from tasks.store.redis import Redis
from tasks.store.run_store import Store
from tests.support.fleet import DEMO, Command, wait_for


@dataclass
class Host:
    """A host of a fleet: the command, and what its workers' logs say."""

    command: Command
    store: Store
    logs: list[Path] = field(default_factory=list)

    @contextmanager
    def worker(self, *arguments: str, ending: signal.Signals = signal.SIGTERM, **environment: str) -> Iterator[Path]:
        """A worker from its readiness to its end by a signal; its log."""
        log = self.command.folder / f"worker-{len(self.logs)}.log"
        self.logs.append(log)
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["pairing", "worker", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**self.command.environment, "PATH": path_of_scripts(), **environment},
                cwd=self.command.folder,
                start_new_session=True,
            )
        try:
            wait_for("the worker", lambda: b" ready." in log.read_bytes() or process.poll() is not None, 120)
            assert process.poll() is None, log.read_text()
            yield log
            process.send_signal(ending)
            status = process.wait(60)
            assert status == 0 or ending != signal.SIGTERM, log.read_text()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    @property
    def broker(self) -> tuple[str, str]:
        """Its address and the prefix of the keys there."""
        return self.command.environment["PAIRING_BROKER_URL"], self.command.environment["PAIRING_KEY_PREFIX"]

    def enqueue(self, run: str, *options: str) -> None:
        said = self.command("enqueue", DEMO, "--methods", "trace", "--run", run, *options)
        assert said.status == 0, said.errors

    def wait_for_end(self, run: str) -> str:
        return str(wait_for(f"the end of {run}", lambda: self.store.record(run, "end"), 120)["end"])


def path_of_scripts() -> str:
    import sysconfig

    return os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])


@contextmanager
def open_host(url: str, folder: Path, **environment: str) -> Iterator[Host]:
    """A host with a key prefix of its own on the broker at ``url``; its keys are removed afterwards."""
    prefix = f"test-{secrets.token_hex(6)}:"
    command = Command(folder, {"PAIRING_BROKER_URL": url, "PAIRING_KEY_PREFIX": prefix, **environment})
    yield Host(command, Store(Redis(url, prefix)))
    with redis.Redis.from_url(url) as client:
        for key in client.scan_iter(f"{prefix}*"):
            client.delete(key)
