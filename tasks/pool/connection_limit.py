"""How often this host may connect to a database server: one allowance that all its processes share.

Servers ration new connections per address, and refuse everybody on it who goes beyond. A kept connection costs one; but
when a server restarts, every process on the host wants a new one at the same time, and again at the next restart.
A process without a folder that it may write (in a container with a read-only root) counts its own attempts alone.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path

from tasks.contracts.errors import PoolError

CONNECT_SECONDS = 5
"""How long an attempt to connect may take."""

PATIENCE_SECONDS = 5.0
"""How long a process waits for its turn before it goes on without the pool."""

_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)

_own: dict[Path, list[float]] = {}
"""This process's attempts, by the record that they cannot be written to."""


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """At most ``number`` attempts to connect reach a server in any ``seconds`` seconds, by all processes together."""

    folder: Path
    """Where the record of recent attempts is, a file per server."""
    number: int
    seconds: float = 60.0
    late: float = CONNECT_SECONDS
    """How long after its turn an attempt may reach the server; it counts for so much longer."""
    patience: float = PATIENCE_SECONDS

    def acquire(self, server: str) -> None:
        """Waits for this process's turn to connect to ``server``, and counts the attempt.

        An attempt counts whether or not the server answers: a firewall that rations them sees it all the same.

        Raises:
            PoolError: it would take longer than ``patience`` seconds, or the record cannot be written.
        """
        ends = time.monotonic() + self.patience
        while (wait := self._take(server)) > 0:
            if time.monotonic() + wait > ends:
                raise PoolError(
                    f"This host has connected to {server} {self.number} times in the last {self.seconds:g} s and waits"
                    f" {wait:.0f} s before it does again. Winners go to the spool until then;"
                    " PAIRING_POOL_CONNECTIONS_PER_MINUTE allows more."
                )
            time.sleep(wait)

    def _take(self, server: str) -> float:
        """Counts an attempt now and gives 0; or counts none, and gives the seconds until one may be free."""
        path = self.folder / f"{hashlib.sha256(server.encode()).hexdigest()[:16]}.json"
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with path.open("a+", encoding="ascii") as file:
                fcntl.flock(file, fcntl.LOCK_EX)  # goes when the file is closed, or with the process
                file.seek(0)
                wait, recent = self._counted(_times(file.read()))
                if not wait:
                    file.truncate(0)
                    json.dump(recent, file)
        except OSError as error:
            if error.errno in _READ_ONLY:
                wait, _own[path] = self._counted(_own.get(path, []))
                return wait
            raise PoolError(
                f"The record of connections {path} cannot be written: {error.strerror}. "
                "Make room there, correct the folder's rights, or set PAIRING_DATA_DIR to another folder."
            ) from error
        return wait

    def _counted(self, times: list[float]) -> tuple[float, list[float]]:
        """Seconds until an attempt may be made, 0 for now; and the recent ones of these attempts, with that one."""
        now, counts = time.time(), self.seconds + self.late
        recent = [then for then in times if now - counts < then <= now]
        if len(recent) >= self.number:
            return max(0.001, recent[-self.number] + counts - now), recent
        return 0.0, [*recent, now]


def _times(text: str) -> list[float]:
    """The recorded times, ascending; what a full disk or another program left there counts for nothing."""
    try:
        return sorted(float(then) for then in json.loads(text))
    except (TypeError, ValueError):
        return []
