"""The checks of the servers: the broker, the pool's database, and everybody's clock."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Literal

from tasks.doctor.probes import Broker, ProbeFailure, ProbeResults
from tasks.pool.health import PoolState

State = Literal["ok", "warning", "wrong", "not asked"]

Line = tuple[State, str, str] | tuple[State, str]
"""How something is, what was found, and what to do."""

CLOCK_WARNING_SECONDS = 1.0
CLOCK_WRONG_SECONDS = 5.0
"""What refinements keep of their run's deadline, and its comparison needs."""

FULL = 0.9
"""Share of its memory from which a broker counts as nearly full."""

OLDEST_REDIS = 6

BROKER_AWAY: list[Line] = [("not asked", "the broker cannot be reached")]


def _of_broker(check: Callable[[Broker], list[Line]]) -> Callable[[ProbeResults], list[Line]]:
    """A check that needs the broker, and what it says of itself."""

    @functools.wraps(check)
    def asked(results: ProbeResults) -> list[Line]:
        if isinstance(results.broker, ProbeFailure):
            return BROKER_AWAY
        if not results.broker.info:
            return [("warning", "this user may not ask for INFO", "grant it +info, or look by hand")]
        return check(results.broker)

    return asked


def broker(results: ProbeResults) -> list[Line]:
    """Is it there, and new enough?"""
    return [("wrong", results.broker.why)] if isinstance(results.broker, ProbeFailure) else _version(results)


@_of_broker
def _version(found: Broker) -> list[Line]:
    kind = str(found.info.get("server_name", "redis")).capitalize()
    version = str(found.info.get("valkey_version", found.info["redis_version"]))
    said = f"{kind} {version} at {found.where}, answers in {1000 * found.seconds:.1f} ms"
    if int(str(found.info["redis_version"]).partition(".")[0]) < OLDEST_REDIS:
        return [("wrong", said, f"install Redis {OLDEST_REDIS} or later, or Valkey")]
    return [("ok", said)]


@_of_broker
def backend(found: Broker) -> list[Line]:
    """Can results and the store's records be written?"""
    if found.refuses is not None:
        return [("wrong", f"no result can be written: {found.refuses}", "give this user's ACL the rights")]
    if found.info["role"] != "master":
        return [("wrong", "is a replica, which takes no results", "name the primary in PAIRING_BROKER_URL")]
    if found.info["loading"]:
        return [("wrong", "is still loading its data", "wait, and ask again")]
    if found.info["rdb_last_bgsave_status"] != "ok":
        return [("wrong", "could not save its data and may refuse writes", "make room on the broker's disk")]
    return [("ok", "takes results")]


@_of_broker
def append_only_file(found: Broker) -> list[Line]:
    """Does what is in the broker survive its restart?"""
    if not found.info["aof_enabled"]:
        advice = "CONFIG SET appendonly yes, and `appendonly yes` in the broker's configuration file"
        return [("wrong", "is off: a restart of the broker loses queues and counters, and runs hang", advice)]
    if found.info["aof_last_write_status"] != "ok":
        return [("wrong", "could not be written", "make room on the broker's disk")]
    return [("ok", "is on")]


@_of_broker
def eviction_policy(found: Broker) -> list[Line]:
    """Does the broker keep what it has?"""
    policy, most, used = found.info["maxmemory_policy"], int(found.info["maxmemory"]), int(found.info["used_memory"])
    if policy != "noeviction":
        advice = "CONFIG SET maxmemory-policy noeviction, and the same in its configuration file"
        return [("wrong", f"is {policy}: a full broker drops runs silently", advice)]
    said = f"is noeviction; {shown_size(used)} used of {shown_size(most) if most else 'no limit'}"
    if most and used > FULL * most:
        state: State = "wrong" if used >= most else "warning"
        return [(state, said, "pairing prune, or raise the broker's maxmemory")]
    return [("ok", said)]


def database(results: ProbeResults) -> list[Line]:
    """Is the pool there?"""
    if isinstance(results.pool, ProbeFailure):
        return [("wrong", results.pool.why)]
    if results.pool is None:
        advice = "set PAIRING_POOL_URL if several hosts are to share a pool"
        return [("warning", "none is set: each puzzle has an SQLite file on the host that compares", advice)]
    said = f"{results.pool.kind}: {results.pool.where}"
    if not results.pool.supported:
        return [("wrong", said, "install PostgreSQL 13 or later")]
    if results.pool.read_only:
        return [("wrong", f"{said} is read-only", "name the primary in PAIRING_POOL_URL")]
    if not results.pool.there:
        return [
            ("wrong", f"{said} has no js_puzzle_pool", "check its name; in a new one: pairing pool init --shared-table")
        ]
    return [("ok", said)]


def rights_on_the_pool(results: ProbeResults) -> list[Line]:
    """May we read and insert, and no more?"""
    if results.pool is None:
        return [("ok", "an SQLite file needs none")]
    if isinstance(results.pool, ProbeFailure):
        return [("not asked", "the database cannot be reached")]
    if not results.pool.there:
        return [("not asked", "js_puzzle_pool does not exist")]
    return _rights(results.pool)


def _rights(pool: PoolState) -> list[Line]:
    if not pool.role:
        return [("ok", "this user may write the file")]
    if pool.lacks:
        return [("wrong", f"{pool.role} lacks {', '.join(pool.lacks)}", "let the table's owner GRANT it")]
    found: list[Line] = []
    if pool.superuser or pool.needless:
        more = "is a superuser" if pool.superuser else f"has more than it needs: {', '.join(pool.needless)}"
        advice = "use a role with SELECT and INSERT on js_puzzle_pool and USAGE on its sequence"
        found.append(("warning", f"{pool.role} {more}", advice))
    if not pool.records:
        advice = "pairing pool init, as a user who may create tables, says what to grant"
        found.append(("warning", f"{pool.role} cannot record the origin of rows", advice))
    elif not pool.indexed:
        advice = "pairing pool init, then grant SELECT, INSERT and UPDATE on pairing_solution"
        found.append(("warning", f"{pool.role} cannot search many rows quickly", advice))
    return found or [("ok", f"{pool.role} has SELECT, INSERT and USAGE on the sequence, and no more")]


def clock(results: ProbeResults) -> list[Line]:
    """Do all clocks agree? Deadlines are times."""
    offsets = dict(_offsets(results))
    if not offsets:
        return [("not asked", "neither the broker nor a worker gave its time")]
    said = ", ".join(f"{who} {offset:+.3f} s" for who, offset in offsets.items())
    worst = max(map(abs, offsets.values()))
    if worst > CLOCK_WARNING_SECONDS:
        state: State = "wrong" if worst > CLOCK_WRONG_SECONDS else "warning"
        return [(state, f"compared with this host: {said}", "start NTP where it is off; runs' deadlines are times")]
    return [("ok", f"compared with this host: {said}")]


def _offsets(results: ProbeResults) -> list[tuple[str, float]]:
    found = []
    if not isinstance(results.broker, ProbeFailure):
        found.append(("broker", results.broker.clock_offset))
    if isinstance(results.pool, PoolState) and results.pool.clock_offset is not None:
        found.append(("database", results.pool.clock_offset))
    if not isinstance(results.workers, ProbeFailure):
        found += [
            (name, said.clock_offset) for name, said in sorted(results.workers.items()) if said.clock_offset is not None
        ]
    return found


def shown_size(number: int) -> str:
    """A number of bytes as people read it."""
    size = float(number)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
