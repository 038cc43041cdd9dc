"""Celery's options, each with its reason. Times are in seconds."""

from __future__ import annotations

import ssl
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from kombu.entity import Exchange, Queue

from config.brokers import HEALTH_CHECK_SECONDS, MOST_CONNECTIONS, broker
from config.settings import LONGEST_DEADLINE, settings

_settings = settings()

# --- where

_broker = broker(_settings.broker_address)
broker_url = _broker.celery_url
result_backend = broker_url
if broker_url.startswith("rediss:"):  # the URL says it all, but Flower looks here alone
    broker_use_ssl = {**dict(parse_qsl(urlsplit(broker_url).query)), "ssl_cert_reqs": ssl.CERT_REQUIRED}
broker_connection_retry_on_startup = True  # a broker that comes up after its workers is no error

# --- what is said: JSON alone crosses the wire, nothing is ever unpickled

result_serializer = "json"
# Signed or not: what workers tell each other to do, and remote control. Results and events are not signed.
task_serializer = "auth" if _settings.signing_key_file else "json"
accept_content = [task_serializer]
result_accept_content = ["json"]

# --- queues: only `pairing.pool` needs the database; `celery` is where callers by name send `pairing.run`

# Each at an exchange of its own: else all are bound to the default one, and a message sent there reaches all of them.
task_queues = [
    Queue(name, Exchange(name), routing_key=name)  # type: ignore[no-untyped-call]
    for name in ("pairing.pool", "celery", "pairing.numbers", "pairing.refine")
]
task_default_queue = "pairing.pool"
task_create_missing_queues = False  # a mistyped queue is an error, not a queue that nobody reads
task_routes = {
    "pairing.run": {"queue": "pairing.pool"},
    "pairing.comparison": {"queue": "pairing.pool"},
    "pairing.similarity": {"queue": "pairing.numbers"},
    "pairing.assignment": {"queue": "pairing.numbers"},
    "pairing.refinement": {"queue": "pairing.refine"},
}

# --- nothing lost: a task is done when it has been done, not when it was taken

task_acks_late = True
task_reject_on_worker_lost = True
task_retry_on_worker_lost = True  # else a task that kills its worker is handed out again without end
# The store counts attempts without progress; this only has to be more. The default delay is 180.
task_annotations = {"*": {"max_retries": 1000, "default_retry_delay": 1}}
worker_prefetch_multiplier = 1  # a refinement takes minutes: nobody may sit on a second one
worker_cancel_long_running_tasks_on_connection_loss = True  # it will be handed out again: stop the old one
# What follows a task is published until the broker takes it, for hours; Celery gives the part up after 0.6 seconds.
task_publish_retry_policy = {"max_retries": 10_000, "interval_start": 0.2, "interval_step": 0.2, "interval_max": 2.0}
result_backend_always_retry = True  # the default turns tasks in flight during a Redis restart into failures
result_backend_max_sleep_between_retries_ms = 2000  # the default, ten seconds, is what a worker would lose after it

# A server that is shared, and networks that forget connections: few of them, and looked at before they are used.
_connections = {"health_check_interval": HEALTH_CHECK_SECONDS, "max_connections": MOST_CONNECTIONS}
_keepalive = not _broker.path  # a socket of this host has none
if _keepalive:
    _connections["socket_keepalive"] = True
broker_pool_limit = MOST_CONNECTIONS  # of those that messages are published over
redis_max_connections = MOST_CONNECTIONS
redis_backend_health_check_interval = HEALTH_CHECK_SECONDS
redis_socket_keepalive = _keepalive

broker_transport_options: dict[str, Any] = {
    **_broker.transport_options,
    **_connections,
    "global_keyprefix": _settings.key_prefix,
    "visibility_timeout": _settings.visibility_timeout,  # the last resort, far above the leases of tasks.runs.leases
    "unacked_restore_interval": 8,  # seconds between two looks for expired leases
}
result_backend_transport_options = {**_broker.transport_options, "global_keyprefix": _settings.key_prefix}

result_expires = max(86_400, _settings.store_lifetime)  # no run needs them
# A chord whose counter expired first would hang; it is removed when the chord is done.
result_chord_expires = LONGEST_DEADLINE + _settings.store_lifetime
result_chord_join_timeout = 30

# --- stopping: a soft shutdown lets a refinement save its checkpoint

worker_soft_shutdown_timeout = 10
worker_enable_soft_shutdown_on_idle = False

# --- watching

worker_send_task_events = True  # Flower lives on them
task_send_sent_event = True
task_track_started = True
worker_hijack_root_logger = False
worker_consumer = "tasks.worker.upstream.consumer:Consumer"  # says in one line what it refuses
