"""Where the pool is, and the one open pool that a process keeps."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from config.settings import Settings
from tasks.pool.connection_limit import Allowance

if TYPE_CHECKING:  # whoever only says where the pool is need not wait for SQLAlchemy
    from pairing.model.puzzle import Puzzle
    from tasks.pool.repository import Pool


@dataclass(frozen=True, kw_only=True)
class PoolAddress:
    """Where the pool is. Without a URL it is an SQLite file per puzzle digest in ``data_dir``."""

    url: str = ""
    password: str | None = field(default=None, repr=False)
    data_dir: Path
    tls: Mapping[str, str] = field(default_factory=dict)
    """libpq's options ``sslmode`` and ``sslrootcert``. No part of the URL: files may lie elsewhere on other hosts."""
    connections_per_minute: int = 20
    """New connections to a server that all processes on this host may make in a minute."""
    history_days: int = 365
    """How long ended runs stay on record; 0: none is recorded."""

    def url_for(self, puzzle: Puzzle) -> str:
        """The pool's URL for one puzzle, without a password."""
        name = puzzle.digest.removeprefix("sha256:")[:16]
        return self.url or f"sqlite:///{self._files / name}.sqlite"

    def urls(self) -> list[str]:
        """The URLs of all pools that there are here."""
        return [self.url] if self.url else [f"sqlite:///{file}" for file in sorted(self._files.glob("*.sqlite"))]

    @property
    def history_url(self) -> str:
        """The URL of the database in which ended runs are on record: the pool's, or a file of this host's own."""
        return self.url or f"sqlite:///{self.data_dir / 'history.sqlite'}"

    def knows(self, url: str) -> bool:
        """Whether a pool's URL is this address's own, or that of a puzzle's file in ``data_dir``.

        Raises:
            InputError: the URL is wrong or holds a password.
        """
        from tasks.pool.engine import checked_url

        asked = checked_url(url)
        if self.url and asked == checked_url(self.url):
            return True
        return asked.get_backend_name() == "sqlite" and Path(asked.database or "").parent == self._files

    @property
    def spool(self) -> Path:
        """The folder of winners that the pool could not take yet."""
        return self.data_dir / "spool"

    @property
    def allowance(self) -> Allowance:
        """How often this host may connect to a server."""
        return Allowance(folder=self.data_dir / "connections", number=self.connections_per_minute)

    @property
    def _files(self) -> Path:
        return (self.data_dir / "pools").resolve()


def address_of(found: Settings, url: str | None = None) -> PoolAddress:
    """Where the settings say that the pool is; or the pool at ``url``, with the settings' password and data folder.

    Raises:
        InputError: the URL is wrong or holds a password.
    """
    address = found.pool_address if url is None else url
    if address or url is not None:
        from tasks.pool.engine import checked_url

        checked_url(address)
    return PoolAddress(
        url=address,
        password=None if found.pool_password is None else found.pool_password.get_secret_value(),
        data_dir=found.data_dir.resolve(),
        tls=found.pool_tls,
        connections_per_minute=found.pool_connections_per_minute,
        history_days=found.history_days,
    )


@contextmanager
def opened(address: PoolAddress, url: str, *, read_only: bool = False) -> Iterator[Pool]:
    """The open pool at ``url``, which the address knows; ``read_only`` changes nothing in it.

    A server's stays open, so that a process connects to it once and not at every use. An SQLite file is opened anew:
    that costs nothing, and a file that was kept open could have been removed meanwhile with what is written into it.

    Raises:
        PoolError: it cannot be reached, or this host may not connect to it again yet.
    """
    from tasks.pool.engine import checked_url, server
    from tasks.pool.repository import open_pool

    known = checked_url(url)
    if read_only or known.get_backend_name() == "sqlite":
        connect = partial(address.allowance.acquire, server(known))
        with open_pool(url, address.password, connect, address.tls, read_only) as pool:
            yield pool
    else:
        yield _PROCESS_POOL.pool(address, url)


class _ProcessPool:
    """This process's open pool of a server; never more than one, so that there is never more than one connection."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._key: tuple[str, PoolAddress] | None = None
        self._pool: Pool | None = None

    def pool(self, address: PoolAddress, url: str) -> Pool:
        """The pool at ``url``: the one that is kept, or another in its stead."""
        from tasks.pool.engine import checked_url, server
        from tasks.pool.repository import open_pool

        with self._lock:
            if self._pool is None or self._key != (url, address):
                if self._pool is not None:
                    self._pool.close()
                    self._pool = None
                connect = partial(address.allowance.acquire, server(checked_url(url)))
                self._pool = open_pool(url, address.password, connect, address.tls)
                self._key = (url, address)
            return self._pool

    def unlock(self) -> None:
        """In a forked child: a thread that held the lock in the parent does not exist here."""
        self._lock = threading.Lock()


_PROCESS_POOL = _ProcessPool()
os.register_at_fork(after_in_child=_PROCESS_POOL.unlock)
