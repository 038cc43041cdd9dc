"""Leases of messages on a real server: nobody loses one, nobody gets one twice."""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kombu import Exchange, Queue
from kombu.asynchronous import Hub, set_event_loop

from tasks.runs.leases import Leases, held
from tasks.worker.bootstrap import app
from tests.support.broker_troubles import without_replicas
from tests.support.fleet import wait_for
from tests.support.servers import made_redis

LONG = 3600.0
"""Seconds, as a visibility timeout."""


@pytest.fixture(scope="module")
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as found:
        yield found


@pytest.fixture
def leases(client: redis.Redis) -> Leases:
    return Leases(client, f"test-{secrets.token_hex(6)}:")


def test_what_is_leased_is_not_handed_out(leases: Leases) -> None:
    leases.hold("tag", b"entry")
    assert leases.expired(LONG) == []


def test_what_nobody_renews_is(leases: Leases) -> None:
    leases.hold("tag", b"entry", seconds=0)
    leases.hold("other", b"entry", seconds=0)
    leases.renew(["other"])
    assert leases.expired(LONG) == [("tag", b"entry")]


def test_what_was_taken_by_somebody_without_a_lease_gets_one_first(leases: Leases, client: redis.Redis) -> None:
    client.hset(f"{leases._prefix}unacked", "tag", "entry")
    assert leases.expired(LONG, seconds=0) == []
    assert leases.expired(LONG) == [("tag", b"entry")]


def test_a_full_server_notes_what_was_taken_and_takes_it_back() -> None:
    with made_redis() as made, made.running() as url, redis.Redis.from_url(url) as client:
        leases = Leases(client)
        client.config_set("maxmemory", 1)
        with pytest.raises(redis.RedisError):  # the same without leases
            client.hset("unacked", "other", "entry")
        leases.hold("tag", b"entry", seconds=0)
        leases.renew(["tag"], seconds=0)
        assert leases.expired(LONG) == [("tag", b"entry")]
        assert leases.hand_out("tag", b"entry", [("queue", "copy")])
        assert client.lrange("queue", 0, -1) == [b"copy"]
        leases.hold("done", b"entry")
        leases.release("done")
        assert not client.hlen("unacked")


def test_the_visibility_timeout_is_the_last_resort(leases: Leases) -> None:
    leases.hold("tag", b"entry")
    assert leases.expired(0) == [("tag", b"entry")]


def test_only_who_comes_first_hands_out(leases: Leases, client: redis.Redis) -> None:
    leases.hold("tag", b"entry", seconds=0)
    assert leases.hand_out("tag", b"entry", [("queue", "copy")])
    assert not leases.hand_out("tag", b"entry", [("queue", "copy")])
    leases.renew(["tag"])
    assert leases.expired(0) == []
    assert client.lrange(f"{leases._prefix}queue", 0, -1) == [b"copy"]


def test_nothing_is_left_of_what_is_done(leases: Leases, client: redis.Redis) -> None:
    leases.hold("tag", b"entry")
    client.hdel(f"{leases._prefix}unacked", "tag")  # by a worker that knows no leases
    leases.expired(LONG)
    assert client.zcard(f"{leases._prefix}pairing.leases") == 0


STEPS = st.lists(st.tuples(st.sampled_from(["take", "renew", "expire", "look", "ack"]), st.integers(0, 3)), max_size=40)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_a_message_is_always_in_one_place_until_it_is_done(client: redis.Redis, steps: list[tuple[str, int]]) -> None:
    prefix = f"test-{secrets.token_hex(6)}:"
    leases, tags, done, count = Leases(client, prefix), [], set(), 4
    for number in range(count):
        client.lpush(f"{prefix}queue", number)
    for step, which in steps:
        tag = tags[which % len(tags)] if tags else ""
        if step == "take" and (message := client.rpop(f"{prefix}queue")) is not None:
            tags.append(secrets.token_hex(4))
            leases.hold(tags[-1], message)
        elif step == "renew" and tag:
            leases.renew([tag])
        elif step == "expire" and tag:
            client.zadd(f"{prefix}pairing.leases", {tag: 0}, xx=True)
        elif step == "look":
            for lost, entry in leases.expired(LONG):
                assert leases.hand_out(lost, entry, [("queue", entry.decode())])
        elif step == "ack" and tag and (message := client.hget(f"{prefix}unacked", tag)) is not None:
            done.add(message)
            client.hdel(f"{prefix}unacked", tag)
        places = [*client.lrange(f"{prefix}queue", 0, -1), *client.hvals(f"{prefix}unacked"), *done]
        assert sorted(places) == [str(number).encode() for number in range(count)]


def test_a_message_that_is_handed_out_again_says_so_and_keeps_its_priority(redis_url: str) -> None:
    prefix = f"test-{secrets.token_hex(6)}:"
    options = {"global_keyprefix": prefix, "visibility_timeout": 0}
    with app.connection_for_read(redis_url, transport_options=options) as connection:
        queue = Queue("pairing.pool")(connection.channel())
        queue.declare()
        with connection.Producer() as producer:
            producer.publish("hello", routing_key="pairing.pool", priority=3)
        taken = queue.get()
        queue.channel.qos.restore_visible()
        again = queue.get()
        assert again.payload == "hello"
        assert again.delivery_tag != taken.delivery_tag
        assert again.headers["redelivered"] is True
        assert again.properties["priority"] == 3
        again.ack()
        queue.delete()


def test_all_tasks_are_told_that_wait_or_are_held(
    redis_url: str, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = f"test-{secrets.token_hex(6)}:"
    with app.connection_for_write(redis_url, transport_options={"global_keyprefix": prefix}) as connection:
        for name, priority in (("first", 0), ("second", 9), ("third", 3)):
            options = {"connection": connection, "queue": "pairing.pool", "ignore_result": True}
            app.send_task("pairing.run", task_id=name, priority=priority, **options)
        client.lpush(f"{prefix}pairing.pool", "no message", json.dumps({"headers": 3}))
        client.hset(f"{prefix}unacked", "tag", json.dumps({"no": "message"}))
        channel = connection.channel()
        taken = Queue("pairing.pool")(channel).get()
        assert channel.task_ids(["pairing.pool", "pairing.refine"]) == {"first", "second", "third"}
        taken.ack()
        assert channel.task_ids(["pairing.pool"]) == {"first", "second", "third"} - {taken.headers["id"]}
        monkeypatch.setattr("tasks.worker.upstream.transport.MOST_WAITING", 1)
        assert channel.task_ids(["pairing.pool"]) is None


def test_what_is_held_and_is_no_message_is_removed(redis_url: str, client: redis.Redis) -> None:
    prefix = f"test-{secrets.token_hex(6)}:"
    options = {"global_keyprefix": prefix, "visibility_timeout": 0}
    client.hset(f"{prefix}unacked", "tag", json.dumps({"no": "message"}))
    with app.connection_for_read(redis_url, transport_options=options) as connection:
        qos = connection.channel().qos
        qos.restore_visible()
        client.zadd(f"{prefix}pairing.leases", {"tag": 0})
        qos.restore_visible()
    assert client.hlen(f"{prefix}unacked") == 0


@pytest.fixture
def hub() -> Iterator[Hub]:
    """The event loop of a worker, as far as that settles messages."""
    with closing(Hub()) as found:
        set_event_loop(found)
        yield found
        set_event_loop(None)


@pytest.mark.parametrize("requeue", [True, False], ids=["put back", "done"])
def test_what_an_unready_server_cannot_take_is_told_again_when_it_can(hub: Hub, requeue: bool, tmp_path: Path) -> None:
    with (
        made_redis() as made,
        made.running() as url,
        redis.Redis.from_url(url) as client,
        app.connection_for_read(url) as connection,
    ):
        queue = Queue("pairing.pool")(connection.channel())
        queue.declare()
        with connection.Producer() as producer:
            producer.publish("hello", routing_key="pairing.pool")
        taken = queue.get()
        with without_replicas(client, tmp_path):
            taken.reject_log_error(logging.getLogger(), connection.connection_errors, requeue=requeue)
            hub.fire_timers(max_timers=0)
            assert taken.delivery_tag in held
        wait_for("an answer", lambda: hub.fire_timers() is not None and taken.delivery_tag not in held)
        assert not client.hlen("unacked")
        assert bool(queue.get()) == requeue


def test_a_channel_leaves_no_connection_open_where_the_server_takes_no_leave(tmp_path: Path) -> None:
    with made_redis() as made, made.running() as url, redis.Redis.from_url(url) as client:
        before = len(client.client_list())
        connection = app.connection_for_read(url)
        channel = connection.channel()
        answers = Queue("answers", Exchange("answers", type="fanout"), auto_delete=True)(channel)
        answers.declare()
        with without_replicas(client, tmp_path):
            channel.close()
            connection.release()
            assert channel.closed
        assert len(client.client_list()) == before


def test_a_connection_that_is_lost_is_closed_without_an_error_and_keeps_note_of_what_it_held() -> None:
    with made_redis() as made:
        with made.running() as url:
            connection = app.connection_for_read(url)
            queue = Queue("pairing.pool")(connection.channel())
            queue.declare()
            with connection.Producer() as producer:
                producer.publish("hello", routing_key="pairing.pool")
            taken = queue.get()
            assert taken.delivery_tag in held
        queue.channel.close()
        taken.ack()  # its task has ended only now
        connection.release()
        assert taken.delivery_tag in held
        with made.running() as url, app.connection_for_read(url) as connection:
            channel = connection.channel()
            channel.qos.restore_by_tag(taken.delivery_tag)
            again = Queue("pairing.pool")(channel).get()
            assert again.payload == "hello"
            again.ack()
    assert taken.delivery_tag not in held
