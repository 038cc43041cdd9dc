"""The store's bytes in Redis, for a fleet."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from config.brokers import broker
from pairing.errors import shown
from tasks.contracts.errors import BrokerError, RecordError

CONNECT_SECONDS = 5.0
REPLY_SECONDS = 60.0
"""How long one attempt may take, where the server is given more time than that in all."""
RETRY_SECONDS = 0.5

Answer = TypeVar("Answer")

# A field that is not there is false in a script, and an argument that is not given is nil.
_SWAP_FIELD = """
if (redis.call('HGET', KEYS[1], ARGV[1]) or nil) ~= ARGV[4] then
    return 0
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
if redis.call('TTL', KEYS[1]) < tonumber(ARGV[3]) then
    redis.call('EXPIRE', KEYS[1], ARGV[3])
end
return 1
"""


_EXTEND = """
local left = redis.call('TTL', KEYS[1])
if left == -2 then
    return 0
end
if left < tonumber(ARGV[1]) then
    redis.call('EXPIRE', KEYS[1], ARGV[1])
end
return 1
"""
"""Gives a key a lifetime, unless it has a longer one; whether there is such a key. (``EXPIRE … GT`` is of Redis 7.)"""


class Redis:
    """A backend in Redis or Valkey, its keys behind a prefix.

    Every method raises ``BrokerError`` where the server cannot be reached or takes no more.
    """

    def __init__(self, url: str, prefix: str = "", lifetime: float = 86_400.0, patience: float = 0.0) -> None:
        """Connects when first used. ``lifetime`` is in seconds.

        A server that cannot be reached, is full or cannot work at the moment is tried again until ``patience`` seconds
        are over; then it is an error.
        """
        from redis.backoff import NoBackoff
        from redis.exceptions import AuthenticationError, ConnectionError, TimeoutError
        from redis.retry import Retry
        from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_fixed

        from tasks.store import redis_unready
        from tasks.store.redis_clients import redis_client

        redis_unready.recognize()
        trouble = ConnectionError, TimeoutError
        limit = patience or REPLY_SECONDS
        self._tried = Retrying(
            retry=retry_if_exception(lambda e: isinstance(e, trouble) and not isinstance(e, AuthenticationError)),
            stop=stop_after_delay(patience),
            wait=wait_fixed(RETRY_SECONDS),
            reraise=True,
        )
        self._client: Any = redis_client(
            url,
            socket_connect_timeout=min(CONNECT_SECONDS, limit),
            socket_timeout=min(REPLY_SECONDS, max(CONNECT_SECONDS, limit)),
            retry=Retry(NoBackoff(), 0),  # so many times is so much time only where a server answers
        )
        self.lifetime = lifetime
        self._prefix = prefix
        self._encrypted = url.startswith("rediss:")
        self._where = broker(url).where

    def get(self, key: str) -> bytes | None:
        """See ``Backend``."""
        value: bytes | None = self._do(lambda client: client.get(self._prefix + key))
        return value

    def put(self, key: str, value: bytes, lifetime: float | None = None) -> None:
        """See ``Backend``."""
        self._do(lambda client: client.set(self._prefix + key, value, ex=self._seconds(lifetime)))

    def put_new(self, key: str, value: bytes, lifetime: float | None = None) -> bool:
        """See ``Backend``."""
        seconds = self._seconds(lifetime)
        return bool(self._do(lambda client: client.set(self._prefix + key, value, ex=seconds, nx=True)))

    def put_field(self, key: str, field: str, value: bytes, lifetime: float | None = None) -> None:
        """See ``Backend``."""

        def put(client: Any) -> None:
            with client.pipeline(transaction=True) as pipeline:
                pipeline.hset(self._prefix + key, field, value)
                pipeline.eval(_EXTEND, 1, self._prefix + key, self._seconds(lifetime))
                pipeline.execute()

        self._do(put)

    def swap_field(self, key: str, field: str, old: bytes | None, new: bytes, lifetime: float | None = None) -> bool:
        """See ``Backend``."""
        given = [self._prefix + key, field, new, self._seconds(lifetime), *([] if old is None else [old])]
        return bool(self._do(lambda client: client.eval(_SWAP_FIELD, 1, *given)))

    def add_to_fields(self, key: str, amounts: Mapping[str, int]) -> None:
        """See ``Backend``."""

        def add(client: Any) -> None:
            with client.pipeline(transaction=True) as pipeline:
                for field, amount in amounts.items():
                    pipeline.hincrby(self._prefix + key, field, amount)
                pipeline.eval(_EXTEND, 1, self._prefix + key, self._seconds(None))
                pipeline.execute()

        self._do(add)

    def fields(self, key: str) -> dict[str, bytes]:
        """See ``Backend``."""
        return _plain(self._do(lambda client: client.hgetall(self._prefix + key)))

    def field(self, key: str, field: str) -> bytes | None:
        """See ``Backend``."""
        value: bytes | None = self._do(lambda client: client.hget(self._prefix + key, field))
        return value

    def remove_field(self, key: str, field: str) -> None:
        """See ``Backend``."""
        self._do(lambda client: client.hdel(self._prefix + key, field))

    def get_all(self, keys: Sequence[str]) -> list[bytes | None]:
        """See ``Backend``."""
        if not keys:
            return []
        values: list[bytes | None] = self._do(lambda client: client.mget([self._prefix + key for key in keys]))
        return values

    def fields_of_all(self, keys: Sequence[str]) -> list[dict[str, bytes]]:
        """See ``Backend``."""

        def read(client: Any) -> list[dict[bytes, bytes]]:
            with client.pipeline(transaction=False) as pipeline:
                for key in keys:
                    pipeline.hgetall(self._prefix + key)
                return list(pipeline.execute())

        return [_plain(found) for found in self._do(read)]

    def some_fields(self, key: str, fields: Sequence[str]) -> list[bytes | None]:
        """See ``Backend``."""
        if not fields:
            return []
        values: list[bytes | None] = self._do(lambda client: client.hmget(self._prefix + key, list(fields)))
        return values

    def put_times(self, key: str, times: Mapping[str, float], lifetime: float | None = None) -> None:
        """See ``Backend``."""

        def put(client: Any) -> None:
            with client.pipeline(transaction=True) as pipeline:
                pipeline.zadd(self._prefix + key, dict(times))
                pipeline.eval(_EXTEND, 1, self._prefix + key, self._seconds(lifetime))
                pipeline.execute()

        self._do(put)

    def until(self, key: str, time: float) -> list[str]:
        """See ``Backend``."""
        found: list[bytes] = self._do(lambda client: client.zrangebyscore(self._prefix + key, "-inf", time))
        return [member.decode(errors="replace") for member in found]

    def latest(self, key: str, count: int) -> list[str]:
        """See ``Backend``."""
        found: list[bytes] = self._do(lambda client: client.zrevrange(self._prefix + key, 0, count - 1))
        return [member.decode(errors="replace") for member in found]

    def remove_time(self, key: str, member: str) -> None:
        """See ``Backend``."""
        self._do(lambda client: client.zrem(self._prefix + key, member))

    def remove(self, *keys: str) -> None:
        """See ``Backend``."""
        self._do(lambda client: client.unlink(*(self._prefix + key for key in keys)))

    def renew(self, *keys: str, lifetime: float | None = None) -> bool:
        """See ``Backend``."""

        def renew(client: Any) -> bool:
            with client.pipeline(transaction=False) as pipeline:
                for key in keys:
                    pipeline.eval(_EXTEND, 1, self._prefix + key, self._seconds(lifetime))
                return all(pipeline.execute())

        return self._do(renew)

    def _seconds(self, lifetime: float | None) -> int:
        return math.ceil(self.lifetime if lifetime is None else lifetime)

    def _do(self, work: Callable[[Any], Answer]) -> Answer:
        """What ``work`` makes of the client; what goes wrong as people may read it, with no secret in it."""
        from redis.exceptions import (
            AuthenticationError,
            ConnectionError,
            InvalidResponse,
            MovedError,
            NoPermissionError,
            ResponseError,
            TimeoutError,
        )

        from tasks.store.redis_clients import CLUSTER
        from tasks.store.redis_unready import FullError

        try:
            return self._tried(work, self._client)
        except AuthenticationError as error:
            raise BrokerError(
                f"the broker at {self._where} refuses the password; set PAIRING_BROKER_URL to the right one"
            ) from error
        except FullError as error:
            raise BrokerError(
                f"the broker at {self._where} is full; make room (pairing prune) or raise its maxmemory"
            ) from error
        except (ConnectionError, TimeoutError, InvalidResponse) as error:
            raise BrokerError(f"the broker at {self._where} {_trouble(error, self._encrypted)}") from error
        except NoPermissionError as error:
            raise BrokerError(
                f"the broker at {self._where} does not let this user do that ({shown(error)}); docs/security.md lists"
                " the rights that it needs"
            ) from error
        except MovedError as error:
            raise BrokerError(f"the broker at {self._where} {CLUSTER}") from error
        except ResponseError as error:
            raise RecordError(
                f"the broker at {self._where} refuses ({shown(error)}); somebody else may have changed what is there"
            ) from error


def _plain(found: Mapping[bytes, bytes]) -> dict[str, bytes]:
    return {field.decode(errors="replace"): value for field, value in found.items()}


def _trouble(error: Exception, encrypted: bool) -> str:
    """Why a server cannot be reached, with TLS or without, or cannot work, and what to do about it."""
    from redis.exceptions import BusyLoadingError

    from tasks.store.redis_unready import UnreadyError

    reason = str(error)
    if isinstance(error, UnreadyError | BusyLoadingError):
        return f"cannot work at the moment ({shown(error)}); wait, or look at its log"
    if "CERTIFICATE_VERIFY_FAILED" in reason or "certificate verify failed" in reason:
        return (
            "has a certificate that this host does not trust; check PAIRING_BROKER_CA_FILE, and the host's name in the"
            " certificate"
        )
    if "SSL" in reason:
        return (
            "speaks TLS otherwise than this host, or not at all; check PAIRING_BROKER_URL (rediss:// is TLS), and"
            " PAIRING_BROKER_CERTIFICATE_FILE where it asks for one"
        )
    if encrypted:  # one that asks for a certificate may close the connection before its reason is read
        return (
            "cannot be reached; check that it runs, PAIRING_BROKER_URL, and PAIRING_BROKER_CERTIFICATE_FILE where it"
            " asks for one"
        )
    return "cannot be reached; check that it runs, and PAIRING_BROKER_URL (rediss:// where it speaks TLS)"
