"""The fleet is a guest of its Redis: few connections, nothing that stays for ever, no value that is too large."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait

import psutil
import pytest
import redis

from config import celeryconfig
from config.brokers import MOST_CONNECTIONS
from pairing.errors import InputError
from pairing.signals.registry import methods
from tasks.runs.planning import MOST_MATRIX_BYTES, check_size
from tasks.store.redis_clients import redis_client
from tests.support.fleet import Fleet, clean_environment, running_fleet, variant, wait_for
from tests.support.paths import ROOT
from tests.support.servers import run_redis

ASK = "from tasks.worker.bootstrap import app; app.control.inspect(timeout=60).ping()"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A fleet on a server of its own, whose clients are its."""
    with run_redis() as url, running_fleet(url, tmp_path_factory.mktemp("fleet"), third_party=False) as fleet:
        yield fleet


def test_answers_to_who_is_gone_expire(fleet: Fleet) -> None:
    environment = clean_environment(PAIRING_BROKER_URL=fleet.url, PAIRING_KEY_PREFIX=fleet.prefix)
    answers = f"{fleet.prefix}*.reply.celery.pidbox"
    with redis.Redis.from_url(fleet.url) as client:
        fleet.worker.send_signal(signal.SIGSTOP)
        try:
            asking = subprocess.Popen([sys.executable, "-c", ASK], env=environment, cwd=ROOT)
            wait_for("the question", lambda: client.keys(f"{fleet.prefix}_kombu.binding.reply*"))
            asking.kill()
            asking.wait()
        finally:
            fleet.worker.send_signal(signal.SIGCONT)
        lists = [key for key in wait_for("the answer", lambda: client.keys(answers)) if client.type(key) == b"list"]
        assert all(0 < client.ttl(key) <= 60 for key in lists)
        deadlines = dict(client.zrange(f"{fleet.prefix}_kombu.binding_deadlines", 0, -1, withscores=True))
        assert b"reply.celery.pidbox" in deadlines


def test_a_workers_processes_have_few_connections(fleet: Fleet) -> None:
    run = fleet.enqueue(variant(1491), ["trace", "norm_balance"]).run
    fleet.summary(run)
    parent = psutil.Process(fleet.worker.pid)
    for process in (parent, *parent.children()):
        port = int(fleet.url.rpartition(":")[2].partition("/")[0])
        connected = [c for c in process.net_connections() if c.raddr and c.raddr.port == port]
        assert 0 < len(connected) <= MOST_CONNECTIONS, connected


def test_every_connection_is_looked_at_before_it_is_used() -> None:
    assert celeryconfig.broker_transport_options["health_check_interval"] > 0
    assert celeryconfig.redis_backend_health_check_interval > 0
    client = redis_client("redis://127.0.0.1:1/0")
    given = client.connection_pool.connection_kwargs
    assert given["health_check_interval"] > 0
    assert given["socket_keepalive"]
    assert client.connection_pool.max_connections == MOST_CONNECTIONS


def test_who_finds_no_connection_free_waits_for_one(redis_url: str) -> None:
    client = redis_client(redis_url, max_connections=1)
    taken = client.connection_pool.get_connection()
    with ThreadPoolExecutor(1) as thread:
        asked = thread.submit(client.ping)
        assert wait({asked}, timeout=0.2).not_done
        client.connection_pool.release(taken)
        assert asked.result(60)


def test_matrices_that_are_too_large_for_a_value_are_refused_with_what_would_go() -> None:
    check_size(1000, list(methods()))
    with pytest.raises(InputError, match=r"name at most 8 methods a run \(--methods\)"):
        check_size(2000, list(methods())[:16])
    with pytest.raises(InputError, match="--inline"):
        check_size(10_000, ["trace"])
    assert MOST_MATRIX_BYTES >= 8 * 2000**2 * 8
