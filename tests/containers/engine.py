"""A daemon of Docker's that is all ours: nothing of it can be seen by another one, and nothing of it outlives us.

Its network, mounts and processes have namespaces of their own, whose first process dies with this one: bridges, filters
of packets, mounts and containers go with them.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.containers.packages import NotHere, called
from tests.support.fleet import wait_for

CGROUP = "pairing-containers"

# A containerd of the system's would start the containers outside of our namespaces.
_START = """
ip link set lo up
mkdir -p /run/containerd && mount -t tmpfs none /run/containerd
exec dockerd --host "unix://$1/docker.sock" --data-root "$1/data" --exec-root "$1/exec" --pidfile "$1/pid" \
    --cgroup-parent "/$2" --bip 10.213.0.1/24 --log-level warn
"""


@dataclass(frozen=True)
class Engine:
    """A running daemon."""

    folder: Path
    pid: int
    """Of the daemon."""

    @property
    def environment(self) -> dict[str, str]:
        """For Docker's commands: where the daemon is, and a configuration of its own."""
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith(("DOCKER_", "COMPOSE_"))},
            "DOCKER_HOST": f"unix://{self.folder}/docker.sock",
            "DOCKER_CONFIG": str(self.folder / "cli"),
            "DOCKER_BUILDKIT": "1",
        }

    def docker(self, *arguments: object, status: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Docker's command, whose exit status is as given (``None``: any)."""
        done = subprocess.run(
            ["/usr/bin/docker", *map(str, arguments)],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        said = f"docker {' '.join(map(str, arguments))}: {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        assert status is None or done.returncode == status, said
        return done

    def inspect(self, *names: str) -> list[dict[str, Any]]:
        """What the daemon knows of containers or images."""
        found: list[dict[str, Any]] = json.loads(self.docker("inspect", *names).stdout) if names else []
        return found

    def inside(self, *command: object) -> str:
        """What a command prints in the daemon's namespaces, where its networks and process ids are."""
        return called("nsenter", "--target", self.pid, "--net", "--pid", "--mount", *command)

    def kill(self, container: str) -> None:
        """SIGKILL to the first process of a container: unlike ``docker kill`` nobody has asked for its end."""
        (found,) = self.inspect(container)
        self.inside("kill", "-KILL", found["State"]["Pid"])

    def empty(self) -> None:
        """Removes all containers, volumes and networks, as an earlier call that was killed left them."""
        for kind, rest in (("container", ["--all"]), ("volume", []), ("network", ["--filter", "type=custom"])):
            names = self.docker(kind, "ls", "--quiet", *rest).stdout.split()
            if names:
                self.docker(kind, "rm", *([] if kind == "network" else ["--force"]), *names)


@contextmanager
def running_engine(folder: Path, fresh: bool = False) -> Iterator[Engine]:
    """The daemon on a data folder, emptied before where it shall be fresh, for as long as the block lasts.

    Raises:
        NotHere: another call uses the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NotHere(f"another call uses {folder}; wait for it, or give --data") from None
        if fresh:
            for kept in folder.iterdir():
                if kept.is_dir():
                    shutil.rmtree(kept)
        first = _started(folder)
        try:
            (daemon,) = wait_for("the daemon", lambda: psutil.Process(first.pid).children())
            engine = Engine(folder, daemon.pid)
            wait_for("the daemon", _answering(engine, first))
            engine.empty()
            yield engine
            engine.empty()
        finally:
            _end(first)


def _started(folder: Path) -> subprocess.Popen[bytes]:
    # What a daemon that was killed has left: the process ids in it are others' in this one's namespace.
    (folder / "pid").unlink(missing_ok=True)
    shutil.rmtree(folder / "exec", ignore_errors=True)
    apart = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *apart, "sh", "-c", _START, "sh", folder, CGROUP],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # a Ctrl-C is for us, who end it
        )


def _answering(engine: Engine, first: subprocess.Popen[bytes]) -> Callable[[], bool]:
    def look() -> bool:
        assert first.poll() is None, (engine.folder / "log").read_text()
        return engine.docker("version", status=None).returncode == 0

    return look


def _end(first: subprocess.Popen[bytes]) -> None:
    """Asks the daemon, and then sees to it that nothing is left."""
    for child in psutil.Process(first.pid).children() if first.poll() is None else []:
        child.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        first.wait(30)
    first.kill()
    first.wait()
    deadline = time.monotonic() + 10
    for group in sorted(Path("/sys/fs/cgroup").rglob(f"{CGROUP}/**/"), reverse=True):
        while group.is_dir() and time.monotonic() < deadline:  # its last processes are just going
            with contextlib.suppress(OSError):
                group.rmdir()
