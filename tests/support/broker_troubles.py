"""What a Redis has that is there and cannot work, each for the length of a block."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

Trouble = Callable[[Any, Path], AbstractContextManager[None]]
"""Is given a client of the server and the server's folder."""


@contextmanager
def demoted(client: Any, folder: Path) -> Iterator[None]:
    """READONLY: a replica of a server that is not there."""
    client.execute_command("REPLICAOF", "127.0.0.1", 1)
    yield
    client.execute_command("REPLICAOF", "NO", "ONE")


@contextmanager
def without_replicas(client: Any, folder: Path) -> Iterator[None]:
    """NOREPLICAS: it is to write only where a replica does, too."""
    client.config_set("min-replicas-to-write", 1)
    yield
    client.config_set("min-replicas-to-write", 0)


@contextmanager
def unsaved(client: Any, folder: Path) -> Iterator[None]:
    """MISCONF: its folder takes no snapshot."""
    client.config_set("save", "3600 1")
    folder.chmod(0o500)
    client.bgsave()
    while client.info("persistence")["rdb_last_bgsave_status"] == "ok":
        time.sleep(0.01)
    yield
    folder.chmod(0o700)
    client.config_set("save", "")


@contextmanager
def full(client: Any, folder: Path) -> Iterator[None]:
    """OOM: it has all the memory that it may have."""
    client.config_set("maxmemory", 1)
    yield
    client.config_set("maxmemory", 0)


TROUBLES: tuple[Trouble, ...] = (demoted, without_replicas, unsaved)
