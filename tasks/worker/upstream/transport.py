"""kombu's Redis transport, but for what costs it tasks or workers.

- Work of a lost worker waits for the visibility timeout there (celery#4984, celery#5935): here messages have leases
  (``tasks.runs.leases``).
- A message that was handed out again keeps its delivery tag there. When the worker that had it first finds itself
  superseded and acknowledges it, the note of who has it now goes, and if that worker is lost then, the task is lost.
- Messages that cannot be put back while a connection is being closed raise there, which ends the worker (kombu#970);
  after several lost connections it consumes no more (celery#8030, celery#10205).
- An answer that the server cannot take at the moment is given up there, and the worker's place for a task with it. A
  channel that cannot take leave of the server leaves its connections open.
- What stands in a queue and is no message ends the worker that takes it (celery#1113).
- Answers to whoever asks all workers and is gone before they come stay for ever (kombu#294, celery#6089).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from queue import Empty
from typing import Any

from celery.worker import state
from kombu.asynchronous import get_event_loop
from kombu.transport import TRANSPORT_ALIASES, redis, virtual
from kombu.utils.json import dumps, loads

from tasks.runs.leases import Leases, held
from tasks.store import redis_unready

logger = logging.getLogger(__name__)


ANSWERS = ".reply.celery.pidbox"
"""How the names of queues end that answers to questions wait in …"""
ANSWER_SECONDS = 60
"""… and for how long."""

AGAIN_SECONDS = 1.0
"""Until the server is told again what it could not take."""

MOST_WAITING = 1000
"""Messages that are read at most to see which tasks wait: a busy fleet is not kept from its work by that."""

_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, RecursionError)


class QoS(redis.QoS):
    """What a channel has taken and not acknowledged, each with a lease."""

    channel: Channel

    def append(self, message: Any, delivery_tag: str) -> None:
        """Notes a message that was taken."""
        at = message.delivery_info
        entry: str = dumps([message._raw, at["exchange"], at["routing_key"]])  # type: ignore[no-untyped-call]
        self.channel.leases().hold(delivery_tag, entry)
        virtual.QoS.append(self, message, delivery_tag)  # type: ignore[no-untyped-call]
        held.add(delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """Removes a message that is done; not where its connection was lost, since it has been put back by then."""
        self._settle(delivery_tag, lambda: self.channel.leases().release(delivery_tag))

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Removes a message, or puts it back as the last of its queue; not where its connection was lost."""
        if requeue:
            self._settle(delivery_tag, lambda: self.restore_by_tag(delivery_tag, leftmost=True))
        else:
            self.ack(delivery_tag)

    def _settle(self, delivery_tag: str, tell: Callable[[], None]) -> None:
        """Tells the server, where it cannot take it again and again until it can or the connection is lost."""
        if self.channel.closed:
            return
        try:
            tell()
        except self.channel.connection_errors:
            hub = get_event_loop()
            if hub is None:
                raise
            hub.call_later(AGAIN_SECONDS, self._settle, delivery_tag, tell)  # type: ignore[no-untyped-call]
        else:
            virtual.QoS.ack(self, delivery_tag)  # type: ignore[no-untyped-call]
            held.discard(delivery_tag)

    def restore_unacked(self, client: Any = None) -> None:
        """Puts back all that is held, where the worker ends. Where its connection is lost, the next one does it."""
        tags = list(self._delivered)
        self._delivered.clear()
        if state.should_stop is None and state.should_terminate is None:
            return
        try:
            for tag in tags:
                self.restore_by_tag(tag, client)
        except Exception as error:  # whatever a connection that is being closed raises; leases expire
            logger.debug("messages could not be put back: %s", type(error).__name__)

    def restore_by_tag(self, tag: str, client: Any = None, leftmost: bool = False) -> None:
        """Puts a message back as the first of its queue, or (``leftmost``) the last."""
        with self.channel.conn_or_acquire(client) as found:
            entry = found.hget(self.unacked_key, tag)
        if entry is not None:
            self._hand_out(tag, entry, first=not leftmost)
        held.discard(tag)

    def task_id(self, tag: str) -> str:
        """The id of the task that is held at a tag; empty where there is none (any more)."""
        with self.channel.conn_or_acquire() as client:
            entry = client.hget(self.unacked_key, tag)
        try:
            return str(loads((entry or b"").decode())[0]["headers"]["id"])  # type: ignore[no-untyped-call]
        except _UNREADABLE:
            return ""

    def restore_visible(self, *_: Any, **__: Any) -> None:
        """Hands out again whatever nobody is at work on any more; later, where the server cannot work.

        kombu asks while it connects, and would lose sight of the connections that it has made by then.
        """
        try:
            for tag, entry in self.channel.leases().expired(self.visibility_timeout):
                if self._hand_out(tag, entry):
                    logger.warning("a message was handed out again, since nobody renewed its lease: %s", tag)
        except self.channel.ResponseError as error:  # somebody else has changed what is there
            logger.warning("leases could not be looked at: %s", error)
        except self.channel.connection_errors as error:
            logger.debug("leases could not be looked at: %s", type(error).__name__)

    def _hand_out(self, tag: str, entry: bytes, first: bool = True) -> bool:
        try:
            copies = self.channel.copies(loads(entry.decode()))  # type: ignore[no-untyped-call]
        except _UNREADABLE as error:
            logger.error("something held is not a message, and was removed: %s", type(error).__name__)
            self.channel.leases().release(tag)
            return False
        return self.channel.leases().hand_out(tag, entry, copies, first)


class Channel(redis.Channel):
    """A channel with leases and a new tag for every delivery, which leaves out what it cannot read."""

    QoS = QoS

    def leases(self) -> Leases:
        """The leases of all messages that were taken from the server of this channel."""
        client = self._create_client()  # type: ignore[no-untyped-call]
        return Leases(client, self.global_keyprefix, self.unacked_key, self.unacked_index_key)

    def task_ids(self, queues: Iterable[str]) -> set[str] | None:
        """The ids of all tasks that wait in these queues or are held; ``None`` where very many wait."""
        keys = [self._q_for_pri(queue, step) for queue in queues for step in self.priority_steps]  # type: ignore[no-untyped-call]
        return self.leases().task_ids(keys, MOST_WAITING)

    def copies(self, entry: Any) -> list[tuple[str, str]]:
        """A message that is put back, as ``(queue's key without prefix, message)``, from its entry in ``unacked``."""
        message, exchange, routing_key = entry
        message["headers"]["redelivered"] = True
        message["properties"]["delivery_info"]["redelivered"] = True
        message["properties"]["delivery_tag"] = self._next_delivery_tag()  # type: ignore[no-untyped-call]
        priority = self._get_message_priority(message, reverse=False)  # type: ignore[no-untyped-call]
        queues = self._lookup(exchange, routing_key)  # type: ignore[no-untyped-call]
        return [(self._q_for_pri(queue, priority), dumps(message)) for queue in queues]  # type: ignore[no-untyped-call]

    def try_to_write(self) -> None:
        """Writes what is gone in a moment.

        Raises:
            UnreadyError: the server takes nothing at the moment.
        """
        self._create_client().set("pairing.nothing", "", px=1)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Closes it and its connections, also where the server takes no leave at the moment."""
        try:
            super().close()  # type: ignore[no-untyped-call]
        except self.connection_errors as error:
            logger.debug("a channel was closed without leave: %s", type(error).__name__)
            self.connection.cycle.discard(self)
            self._disconnect_pools()  # type: ignore[no-untyped-call]
            self._close_clients()  # type: ignore[no-untyped-call]
            virtual.Channel.close(self)  # type: ignore[no-untyped-call]

    def _put(self, queue: str, message: Any, **options: Any) -> None:
        """Puts a message into a queue; an answer to whoever asks all workers expires, since he may be gone by now."""
        answer = queue.endswith(ANSWERS) and queue not in self._expires
        if answer:
            self._expires[queue] = 1000 * ANSWER_SECONDS
        try:
            super()._put(queue, message, **options)  # type: ignore[no-untyped-call]
        except redis_unready.UnreadyError as error:
            if not answer:
                raise
            logger.warning("a question was not answered, since Redis takes nothing at the moment: %s", error)
        finally:
            if answer:
                self._expires.pop(queue, None)

    def _brpop_read(self, **options: Any) -> bool:
        try:
            return bool(super()._brpop_read(**options))  # type: ignore[no-untyped-call]
        except _UNREADABLE as error:
            # It has been taken off the queue by now.
            logger.error("something in a queue is not a message, and was removed: %s", type(error).__name__)
            raise Empty from None


class Transport(redis.Transport):
    """The transport of such channels."""

    Channel = Channel


class SentinelChannel(Channel, redis.SentinelChannel):
    """One to whichever server the sentinels name."""


class SentinelTransport(redis.SentinelTransport):
    """The transport of such channels."""

    Channel = SentinelChannel


def use() -> None:
    """Has this process use it wherever kombu is given a Redis URL, and wait for a server that cannot work."""
    redis_unready.recognize()
    for scheme in ("redis", "rediss"):
        TRANSPORT_ALIASES[scheme] = f"{__name__}:Transport"
    TRANSPORT_ALIASES["sentinel"] = f"{__name__}:SentinelTransport"
