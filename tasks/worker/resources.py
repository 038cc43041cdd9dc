"""What the tasks of a process work with: its store, its puzzles, the pool, and who else waits."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from config.settings import settings
from tasks.contracts.queues import queue_lengths
from tasks.worker.app import app

if TYPE_CHECKING:
    from tasks.pool.location import PoolAddress
    from tasks.puzzles.resolver import Puzzles
    from tasks.store.run_store import Store

PATIENCE_SECONDS = 60.0
"""How long a worker waits for a broker that is gone before its task is an error."""


@cache
def store() -> Store:
    """This process's store."""
    from tasks.store.redis import Redis
    from tasks.store.run_store import Store

    found = settings()
    return Store(Redis(found.broker_address, found.key_prefix, found.store_lifetime, patience=PATIENCE_SECONDS))


@cache
def puzzles() -> Puzzles:
    """Where this process looks for puzzles."""
    from tasks.puzzles.resolver import Puzzles, allowed_roots

    found = settings()
    roots = allowed_roots(found.puzzle_roots)
    return Puzzles(cache_dir=found.cache_dir, cache_bytes=found.cache_bytes, roots=roots)


def pool_address() -> PoolAddress:
    """Where the settings say that the pool is."""
    from tasks.pool.location import address_of

    return address_of(settings())


def has_backlog() -> bool:
    """Whether refinements wait for a worker, or anything else that a worker of all roles does before them."""
    return any(queue_lengths(app, app.amqp.queues.consume_from).values())
