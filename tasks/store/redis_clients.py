"""Connections to the broker's server, wherever its address says that it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from config.brokers import HEALTH_CHECK_SECONDS, MOST_CONNECTIONS, broker
from pairing.errors import InputError

if TYPE_CHECKING:
    import redis

CLUSTER = (
    "is a Redis Cluster, which spreads keys over several servers; queues and scripts here need all of theirs on one."
    " Name a Redis without cluster mode (cluster-enabled no), or one that sentinels watch (redis+sentinel://)"
)


def redis_client(url: str, **options: Any) -> redis.Redis:
    """A client of the broker at ``url``, which connects when it is first used; ``options`` are redis-py's.

    Of its few connections each is used by one thread at a time; who finds none free waits for one.
    """
    import redis
    from redis.connection import BlockingConnectionPool, UnixDomainSocketConnection
    from redis.sentinel import Sentinel

    found = broker(url)
    limited = {"health_check_interval": HEALTH_CHECK_SECONDS, "max_connections": MOST_CONNECTIONS, **options}
    known: dict[str, Any] = {"db": found.database, "username": found.username, "password": found.password, **limited}
    if found.path:
        for name in ("socket_connect_timeout", "socket_keepalive", "socket_keepalive_options"):
            known.pop(name, None)  # a socket of this host has none of them
        pool: Any = BlockingConnectionPool
        return redis.Redis.from_pool(pool(connection_class=UnixDomainSocketConnection, path=found.path, **known))
    if found.sentinels:
        options_of_theirs = dict(found.transport_options["sentinel_kwargs"])
        sentinels: Any = Sentinel(list(found.sentinels), sentinel_kwargs=options_of_theirs)  # type: ignore[no-untyped-call]
        client: redis.Redis = sentinels.master_for(found.master, socket_keepalive=True, **known)
        return client
    return redis.Redis.from_pool(BlockingConnectionPool.from_url(url, socket_keepalive=True, **limited))


def is_cluster(client: redis.Redis) -> bool:
    """Whether the server is one of a Redis Cluster; no where this user may not ask."""
    from redis.exceptions import ResponseError

    try:
        return bool(client.info("cluster").get("cluster_enabled"))
    except ResponseError:
        return False


def refuse_cluster(url: str) -> None:
    """Looks at the server of the broker, if it is there.

    Raises:
        InputError: it is one of a Redis Cluster.
    """
    from redis.backoff import NoBackoff
    from redis.exceptions import RedisError
    from redis.retry import Retry

    try:
        with redis_client(url, socket_connect_timeout=3.0, socket_timeout=3.0, retry=Retry(NoBackoff(), 0)) as client:
            cluster = is_cluster(client)
    except (RedisError, OSError):  # whoever needs it says so, or waits for it
        return
    if cluster:
        raise InputError(f"the broker at {broker(url).where} {CLUSTER}")
