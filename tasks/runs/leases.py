"""Leases: who is at work on which message, so that what a lost worker had is handed out again within a minute.

A message that a worker has taken stays in kombu's hash ``unacked`` until it is acknowledged. Its lease stands beside
it in a sorted set: until when, by the server's own clock, somebody is known to be at work on it (as in rq's
registries). A worker renews the leases of all that it holds, running and reserved; what has no lease any more is
handed out again by any worker that looks. Each step is one script on the server, so that a message is never in two
places, or in none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

LEASE_SECONDS = 30
"""How long a lease lasts. Workers look every ``unacked_restore_interval`` (8 seconds) for those that have expired,
and a message without one gets one at the first look: the longest that lost work waits is 8 + 30 + 8 seconds."""

KEY = "pairing.leases"

Entry = tuple[str, bytes]
"""A delivery tag, and what stands at it in ``unacked``."""

_NOW = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
"""

# Each is given the keys unacked, unacked_index and leases. A server that is full (maxmemory) refuses a script's first
# write, where that can take memory, and none after it: so each begins with a removal, of nothing. What has been taken
# from a queue would be lost where it could not be noted, and what is put back takes only what was there before.

_HOLD = f"""{_NOW}
redis.call('ZREM', KEYS[3], '')
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[2], now, ARGV[1])
redis.call('ZADD', KEYS[3], now + ARGV[3], ARGV[1])
"""

_RENEW = f"""{_NOW}
redis.call('ZREM', KEYS[3], '')
for i = 2, #ARGV do
    if redis.call('HEXISTS', KEYS[1], ARGV[i]) == 1 then
        redis.call('ZADD', KEYS[3], now + ARGV[1], ARGV[i])
    end
end
"""

_EXPIRED = f"""{_NOW}
redis.call('ZREM', KEYS[3], '')
local found = {{}}
for _, tag in ipairs(redis.call('HKEYS', KEYS[1])) do
    local lease = redis.call('ZSCORE', KEYS[3], tag)
    local taken = redis.call('ZSCORE', KEYS[2], tag)
    if not lease then
        redis.call('ZADD', KEYS[3], now + ARGV[1], tag)
    elseif tonumber(lease) <= now or (taken and tonumber(taken) <= now - ARGV[2]) then
        found[#found + 1] = tag
        found[#found + 1] = redis.call('HGET', KEYS[1], tag)
    end
end
for _, tag in ipairs(redis.call('ZRANGE', KEYS[3], 0, -1)) do
    if redis.call('HEXISTS', KEYS[1], tag) == 0 then
        redis.call('ZREM', KEYS[3], tag)
    end
end
return found
"""

_HAND_OUT = """
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then
    return 0
end
redis.call('ZREM', KEYS[3], '')
for i = 4, #KEYS do
    redis.call(ARGV[3], KEYS[i], ARGV[i])
end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
return 1
"""


# A script, since a full server refuses the same in a transaction.
_RELEASE = """
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
"""

# One that is no message, or is told to be by others, has no id.
_TASK_IDS = """
local waiting = 0
for i = 4, #KEYS do
    waiting = waiting + redis.call('LLEN', KEYS[i])
end
if waiting > tonumber(ARGV[1]) then
    return false
end
local found = {}
local function note(message)
    found[#found + 1] = message.headers.id
end
for _, entry in ipairs(redis.call('HVALS', KEYS[1])) do
    pcall(function() note(cjson.decode(entry)[1]) end)
end
for i = 4, #KEYS do
    for _, message in ipairs(redis.call('LRANGE', KEYS[i], 0, -1)) do
        pcall(function() note(cjson.decode(message)) end)
    end
end
return found
"""


class Leases:
    """The messages that workers hold, and their leases."""

    def __init__(self, client: Any, prefix: str = "", unacked: str = "unacked", index: str = "unacked_index") -> None:
        """Over a client of Redis that leaves the names of keys in scripts as they are."""
        self._client, self._prefix = client, prefix
        self._keys = [prefix + unacked, prefix + index, prefix + KEY]

    def hold(self, tag: str, entry: str | bytes, seconds: float = LEASE_SECONDS) -> None:
        """Notes that somebody has taken a message, with a lease of so many seconds."""
        self._run(_HOLD, (), tag, entry, seconds)

    def renew(self, tags: Iterable[str], seconds: float = LEASE_SECONDS) -> None:
        """Begins the leases of those messages anew, where they are held still."""
        self._run(_RENEW, (), seconds, *tags)

    def release(self, tag: str) -> None:
        """Forgets a message that is done."""
        self._run(_RELEASE, (), tag)

    def expired(self, visibility_timeout: float, seconds: float = LEASE_SECONDS) -> list[Entry]:
        """The messages whose leases have expired, or that were taken longer than the timeout (seconds) ago.

        One without a lease gets one now.
        """
        found = self._run(_EXPIRED, (), seconds, visibility_timeout)
        return [(_text(tag), entry) for tag, entry in zip(found[::2], found[1::2], strict=True)]

    def listed(self, most: int) -> list[tuple[str, bytes, float | None]]:
        """So many held messages: tag, what stands at it, and seconds that its lease lasts (``None``: it has none)."""
        found = []
        (seconds, micros), ends = self._client.time(), dict(self._client.zrange(self._keys[2], 0, -1, withscores=True))
        for tag, entry in self._client.hscan_iter(self._keys[0], count=most):
            end = ends.get(tag)
            found.append((_text(tag), entry, None if end is None else end - seconds - micros / 1e6))
            if len(found) == most:
                break
        return found

    def hand_out(self, tag: str, entry: bytes, copies: Sequence[tuple[str, str]], first: bool = True) -> bool:
        """Puts a message back, as ``(queue's key, message)``, in place of what is held; whether it was held still.

        It is the queue's first then, or its last.
        """
        queues = [self._prefix + key for key, _ in copies]
        push = "RPUSH" if first else "LPUSH"
        return bool(self._run(_HAND_OUT, queues, tag, entry, push, *(message for _, message in copies)))

    def task_ids(self, queues: Sequence[str], most: int) -> set[str] | None:
        """The ids of all tasks that are held or wait in queues (their keys); ``None`` where more than ``most`` wait."""
        found = self._run(_TASK_IDS, [self._prefix + key for key in queues], most)
        return None if found is None else {_text(task_id) for task_id in found}

    def _run(self, script: str, queues: Sequence[str], *arguments: object) -> Any:
        keys = [*self._keys, *queues]
        return self._client.eval(script, len(keys), *keys, *arguments)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


held: set[str] = set()
"""The delivery tags of all messages that this process holds."""
