"""The supervisor: a small process that holds an embedded fleet and lets nothing of it outlive its owner.

`tasks.embedded.fleet` runs this file as a script, so it imports nothing but the standard library and is up in
some 50 ms. The owner holds the other end of its standard input:

    owner → supervisor   one line of JSON, the instructions (no secret stands in a command line), then
                       nothing; the end of the stream, or a changed parent, means that the owner is gone
    supervisor → owner   lines of JSON: {"folder"}, then {"port", "groups"}, then a {"died", "status"}
                       or a {"failed"} when something went wrong

The broker and the workers are each leader of a session of their own, so a Ctrl-C does not reach them and
one signal to a group ends a worker together with its children. On Linux they also die with the supervisor,
by whatever means it dies, and Celery's prefork children with their worker. macOS has no such link: there
a supervisor that is killed with SIGKILL leaves its groups behind until the owner calls ``check`` or ends
its ``with`` block, and for good when the owner is killed with SIGKILL as well. A process that a task
itself puts into a new session is outside the group, and is not covered on either.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import shutil
import signal
import socket
import subprocess  # the commands are the owner's, without a shell # nosec B404
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, cast

_BROKER_SECONDS = 20.0  # for the broker to come up; 0.1 is usual
_PORT_TRIES = 5
_KILL_SECONDS = 2.0
_GLANCE_SECONDS = 0.5  # how often to look whether the parent is still the owner
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36

_BROKER_CONFIG = """\
bind 127.0.0.1
port {port}
requirepass {password}
appendonly yes
save ""
maxmemory-policy noeviction
loglevel notice
"""


def kill_group(group: int) -> bool:
    """Send SIGKILL to a process group; whether there still was anything to kill."""
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # macOS answers EPERM when only zombies are left
        return False
    return True


def _kill_groups(groups: Iterable[int]) -> None:
    """Kill process groups and wait until they are gone: only one stuck in the kernel takes longer than ms."""
    left, deadline = set(groups), time.monotonic() + _KILL_SECONDS
    while left and time.monotonic() < deadline:
        left = {group for group in left if kill_group(group)}
        _reap()
        if left:
            time.sleep(0.005)


def _reap() -> None:
    """Collect every child that has ended: a zombie still counts as a member of its group."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


class _Supervisor:
    """One embedded fleet: its folder, its processes, and the pipes to the owner."""

    def __init__(self, instructions: Mapping[str, Any]) -> None:
        self.owner: int = instructions["owner"]
        self.password: str = instructions["password"]
        self.binary: str = instructions["broker"]
        self.workers: Mapping[str, list[str]] = instructions["workers"]
        self.environment: dict[str, str] = instructions["environment"]
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.signals = _signal_pipe()
        self.ending = False
        self.prctl = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None
        self.folder = Path(tempfile.mkdtemp(prefix="pairing-"))  # mode 0700

    def run(self) -> None:
        """Start the fleet, hold it until the owner is gone or asks for the end, and clear it away."""
        try:
            if self.prctl:  # orphaned grandchildren come to us, so that they can be waited for
                self.prctl(_PR_SET_CHILD_SUBREAPER, 1)
            _report(folder=str(self.folder))
            self._start()
            while not self._told_to_end(_GLANCE_SECONDS):
                self._look_for_dead()
        finally:
            _kill_groups(process.pid for process in self.processes.values())
            shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self) -> None:
        port = self._start_broker()
        if port is None:
            return
        url = f"redis://:{self.password}@127.0.0.1:{port}/0"
        # Killed, they could not clear away their temporary files; in our folder these go with it.
        environment = {**self.environment, "PAIRING_BROKER_URL": url, "TMPDIR": str(self.folder)}
        for name, command in self.workers.items():
            self._spawn(name, command, environment)
        _report(port=port, groups=[process.pid for process in self.processes.values()])

    def _start_broker(self) -> int | None:
        """Start the broker and wait until it listens. None: it did not, or there is no more need to."""
        for left in reversed(range(_PORT_TRIES)):
            port = _free_port()
            broker = self._spawn("broker", [self.binary, "-"], {}, cwd=self.folder)
            with suppress(BrokenPipeError), cast(IO[bytes], broker.stdin) as config:  # dead: its log says why
                config.write(_BROKER_CONFIG.format(port=port, password=self.password).encode())
            deadline = time.monotonic() + _BROKER_SECONDS
            while broker.poll() is None and time.monotonic() < deadline:
                # Its own word, and not an answer at the port, which might be another program's.
                if b"Ready to accept connections" in self._log("broker").read_bytes():
                    return port
                if self._told_to_end(0.005):
                    return None
            # Another program may have taken the port since it was found free.
            if not left or b"Address already in use" not in self._log("broker").read_bytes():
                _report(died="broker", status=broker.poll())
                return None
        return None

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _spawn(
        self, name: str, command: list[str], environment: dict[str, str], cwd: Path | None = None
    ) -> subprocess.Popen[bytes]:
        supervisor = os.getpid()

        def die_with_supervisor() -> None:
            if self.prctl:
                self.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
                if os.getppid() != supervisor:  # it died before the line above
                    os._exit(1)

        with self._log(name).open("wb") as log:
            self.processes[name] = subprocess.Popen(  # noqa: S603 - the commands are the owner's # nosec B603
                command,
                stdin=subprocess.PIPE if name == "broker" else subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=cwd,
                start_new_session=True,
                preexec_fn=die_with_supervisor,  # noqa: PLW1509 - this process has no threads
            )
        return self.processes[name]

    def _told_to_end(self, seconds: float) -> bool:
        """Wait for something to happen, at most ``seconds``; whether it is time to end."""
        ready, _, _ = select.select([0, self.signals], [], [], seconds)
        if self.signals in ready and signal.SIGTERM in os.read(self.signals, 512):
            self.ending = True
        if 0 in ready and not os.read(0, 512):
            self.ending = True
        if os.getppid() != self.owner:  # a fork of the owner may still hold our standard input open
            self.ending = True
        return self.ending

    def _look_for_dead(self) -> None:
        for name, process in list(self.processes.items()):
            if process.poll() is not None:
                del self.processes[name]
                kill_group(process.pid)  # the children that it leaves
                _report(died=name, status=process.returncode)


def _signal_pipe() -> int:
    """The end to read of a pipe into which every signal is written; none of them does anything else.

    Handlers and not SIG_IGN, which the broker and the workers would inherit.
    """
    end, other = os.pipe()
    os.set_blocking(other, False)
    signal.set_wakeup_fd(other, warn_on_full_buffer=False)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    return end


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _report(**news: Any) -> None:
    with suppress(BrokenPipeError):  # the owner is gone: the main loop sees it too
        os.write(1, json.dumps(news).encode() + b"\n")


def main() -> None:
    """Read the instructions, hold the fleet until the owner is gone. Never raises: it reports."""
    line = sys.stdin.buffer.readline()
    if not line.endswith(b"\n"):  # the owner died while it was writing
        return
    try:
        _Supervisor(json.loads(line)).run()
    except Exception as error:
        _report(failed=f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
