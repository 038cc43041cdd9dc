"""What ``pairing doctor`` asks for: the broker, the workers and the pool, each with little patience."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from config.brokers import broker as address
from config.settings import Settings
from pairing.errors import PairingError, shown
from tasks.contracts.queues import ROLES
from tasks.pool.health import PoolState, pool_state
from tasks.worker.remote_control import QUESTION, About

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 2.0
"""How long to wait for the next worker's answer."""
PATIENCE_SECONDS = 9.0
"""How long to wait for everything."""

Found = TypeVar("Found")


@dataclass(frozen=True)
class ProbeFailure:
    """Something that could not be found out, and why."""

    why: str
    refused: bool = False
    """whether it was there, but refused"""


@dataclass(frozen=True)
class Broker:
    """What the broker says of itself."""

    where: str
    seconds: float
    """how long an answer takes"""
    info: Mapping[str, Any]
    """its ``INFO``; empty where this user may not ask"""
    clock_offset: float
    """seconds that its clock is ahead of this host's"""
    waiting: Mapping[str, int]
    """queue → messages that wait in it"""
    begun: int
    """messages that workers have taken"""
    refuses: str | None
    """why a result could not be written, as far as its rights tell"""


@dataclass(frozen=True)
class Answer:
    """A worker's answer."""

    about: About | None
    """``None`` where it does not understand the question, or this version not its answer"""
    clock_offset: float | None = None
    """seconds that its clock is ahead of this host's, at the least"""


@dataclass(frozen=True)
class ProbeResults:
    """All that was found."""

    settings: Settings
    results: Path
    """the results' folder"""
    broker: Broker | ProbeFailure
    workers: Mapping[str, Answer] | ProbeFailure
    """by their names; those that answered"""
    pool: PoolState | ProbeFailure | None
    """``None``: none is set"""
    now: float = field(default_factory=time.time)


def ask(found: Settings, results: Path) -> ProbeResults:
    """Asks all of them, at the same time where that is possible, for at most ten seconds."""
    from tasks.contracts.message_signing import serializer_of
    from tasks.pool.location import address_of

    url, prefix = found.broker_address, found.key_prefix
    ends = time.monotonic() + PATIENCE_SECONDS
    pool = _begun(lambda: pool_state(address_of(found), CONNECT_SECONDS), "the pool")
    broker = _begun(lambda: ask_broker(url, prefix), "the broker")(ends)
    if isinstance(broker, ProbeFailure):
        workers: Mapping[str, Answer] | ProbeFailure = ProbeFailure("the broker cannot be reached")
    else:
        workers = _begun(lambda: ask_workers(url, prefix, serializer_of(found)), "the workers")(ends)
    return ProbeResults(settings=found, results=results, broker=broker, workers=workers, pool=pool(ends))


def _begun(work: Callable[[], Found], who: str) -> Callable[[float], Found | ProbeFailure]:
    """Begins ``work`` in a thread; what gives its result, or why there is none, by a time of the monotonic clock."""
    found: list[Found | ProbeFailure] = []

    def run() -> None:
        try:
            found.append(work())
        except PairingError as error:
            found.append(ProbeFailure(str(error)))
        except Exception as error:  # whatever it is, the other checks go on; its text may hold anything
            found.append(ProbeFailure(f"{who} could not be asked ({type(error).__name__})"))

    thread = threading.Thread(target=run, daemon=True)  # one that hangs in a system call ends with the process
    thread.start()

    def result(ends: float) -> Found | ProbeFailure:
        thread.join(max(0.0, ends - time.monotonic()))
        return found[0] if found else ProbeFailure(f"{who} gave no answer within {PATIENCE_SECONDS:.0f} s")

    return result


# --- the broker


def ask_broker(url: str, prefix: str) -> Broker | ProbeFailure:
    """What the broker at ``url`` says of itself; nothing is written."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    from tasks.store.redis_clients import CLUSTER, is_cluster, redis_client

    where = address(url).where
    client: Any = redis_client(
        url, socket_connect_timeout=CONNECT_SECONDS, socket_timeout=CONNECT_SECONDS, retry=Retry(NoBackoff(), 0)
    )
    try:
        with client:
            client.ping()
            if is_cluster(client):
                return ProbeFailure(f"{where} {CLUSTER}", refused=True)
            asked = time.time()
            seconds, micros = client.time()
            answered = time.time()
            waiting, begun = _messages(client, prefix)
            return Broker(
                where=where,
                seconds=answered - asked,
                info=_info(client),
                clock_offset=seconds + micros / 1e6 - (asked + answered) / 2,
                waiting=waiting,
                begun=begun,
                refuses=_refusal(client, prefix),
            )
    except redis.AuthenticationError:
        return ProbeFailure(f"{where} refuses the password; set PAIRING_BROKER_URL to the right one", refused=True)
    except (redis.ConnectionError, redis.TimeoutError, OSError):
        return ProbeFailure(f"{where} cannot be reached; check that it runs, and PAIRING_BROKER_URL")
    except redis.RedisError as error:
        return ProbeFailure(
            f"{where} refuses ({shown(error)}); check the database's number and this user's rights", True
        )


def _info(client: Any) -> Mapping[str, Any]:
    import redis

    try:
        return dict(client.info())
    except redis.ResponseError:
        return {}


def _messages(client: Any, prefix: str) -> tuple[dict[str, int], int]:
    """How many messages wait in each queue, of all priorities, and how many have been taken, by kombu's keys."""
    from kombu.transport.redis import PRIORITY_STEPS, Channel

    queues = sorted(ROLES["all"])
    names = [[f"{queue}{Channel.sep}{step}" if step else queue for step in PRIORITY_STEPS] for queue in queues]
    with client.pipeline(transaction=False) as pipeline:
        for name in (name for same in names for name in same):
            pipeline.llen(prefix + name)
        pipeline.hlen(f"{prefix}{Channel.unacked_key}")
        *lengths, begun = pipeline.execute()
    steps = len(PRIORITY_STEPS)
    return {queue: sum(lengths[k * steps : (k + 1) * steps]) for k, queue in enumerate(queues)}, begun


def _refusal(client: Any, prefix: str) -> str | None:
    """Why this user may write no results; ``None`` where it may, or the server does not tell (before Redis 7)."""
    import redis

    try:
        user = client.acl_whoami()
        said = client.execute_command("ACL", "DRYRUN", user, "SET", f"{prefix}celery-task-meta-x", "x")
    except redis.ResponseError:
        return None
    text = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
    return None if text == "OK" else shown(text)


# --- the workers


def ask_workers(url: str, prefix: str, serializer: str) -> dict[str, Answer]:
    """The answers of all workers on the broker at ``url``, by their names; asked and answered in ``serializer``."""
    from kombu.connection import Connection
    from kombu.pidbox import Mailbox

    found = address(url)
    options = {
        **found.transport_options,
        "global_keyprefix": prefix,
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_timeout": CONNECT_SECONDS,
        "max_retries": 1,
    }
    answers: dict[str, Answer] = {}
    asked = time.time()

    def take(reply: object) -> None:
        for name, said in reply.items() if isinstance(reply, dict) else ():
            answers[str(name)] = _answer(said, asked, time.time())

    said = {"accept": [serializer], "serializer": serializer}
    with Connection(found.celery_url, transport_options=options) as connection:  # type: ignore[no-untyped-call]
        # An app would publish by a connection to wherever CELERY_BROKER_URL in a user's environment says.
        mailbox: Any = Mailbox("celery", type="fanout", connection=connection, **said)  # type: ignore[no-untyped-call]
        mailbox.multi_call(QUESTION, timeout=ANSWER_SECONDS, callback=take)
    return answers


def _answer(said: object, asked: float, heard: float) -> Answer:
    try:
        about = About.model_validate(said)
    except ValueError:
        return Answer(None)
    # It took its time between the two: only what is outside is an offset.
    return Answer(about, min(0.0, about.now - asked) + max(0.0, about.now - heard))
