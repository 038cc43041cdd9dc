"""What a real worker logs: nothing but events, a line each, and which part of which run they are of."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis

from tasks.store.redis import Redis
from tasks.store.run_store import Store
from tests.support.broker_troubles import Trouble, full, without_replicas
from tests.support.fleet import Command, clean_environment, third_party_methods, wait_for
from tests.support.host import Host
from tests.support.servers import made_redis


def host_at(broker: str, tmp_path: Path, prefix: str = "") -> Host:
    environment = clean_environment(
        PAIRING_BROKER_URL=broker,
        PAIRING_KEY_PREFIX=prefix,
        PAIRING_DATA_DIR=str(tmp_path / "data"),
        PAIRING_CACHE_DIR=str(tmp_path / "cache"),
        PYTHONPATH=str(third_party_methods(tmp_path)),
    )
    return Host(Command(tmp_path, environment), Store(Redis(broker, prefix)))


@pytest.fixture
def host(redis_url: str, tmp_path: Path) -> Iterator[Host]:
    prefix = f"test-{secrets.token_hex(6)}:"
    yield host_at(redis_url, tmp_path, prefix)
    with redis.Redis.from_url(redis_url) as client:
        for key in client.scan_iter(f"{prefix}*"):
            client.delete(key)


def test_a_worker_logs_events_and_nothing_else(host: Host) -> None:
    with host.worker("--concurrency", "1", PAIRING_LOG_FORMAT="json") as log:
        host.enqueue("logged", "--methods", "trace,raises")
        assert host.wait_for_end("logged") == "succeeded"
    events: list[dict[str, Any]] = [json.loads(line) for line in log.read_text().splitlines()]

    def said(text: str) -> list[dict[str, Any]]:
        return [event for event in events if re.match(text, event["event"])]

    (refined,) = said("refined: solved")
    assert (refined["run"], refined["method"], refined["seed"]) == ("logged", "trace", 0)
    (failed,) = said("similarity failed: method 'raises' failed: RuntimeError: as asked")
    assert (failed["level"], failed["run"], failed["method"]) == ("warning", "logged", "raises")
    assert "third_party_methods.py" in failed["traceback"]
    (stored,) = said("stored in the pool: row 1")
    assert (stored["run"], stored["method"], stored["seed"]) == ("logged", "trace", 0)
    (ended,) = said("the run succeeded")
    assert ended["run"] == "logged"
    received = said(r"Task pairing\.refinement\[logged\.trace\.s0\.refinement\] received")
    assert [event["method"] for event in received] == ["trace"]
    (started,) = said("this is version")
    assert "run" not in started


def test_a_level_leaves_out_what_is_less(host: Host) -> None:
    with host.worker("--concurrency", "1", "--loglevel=INFO", PAIRING_LOG_LEVEL="error") as log:
        pass
    assert " ready." in log.read_text()  # the command's own argument overrules the setting
    assert re.fullmatch(r"(\[[^\n]+: [A-Z]+/[^\n]+\] [^\n]+\n)+", log.read_text())


def test_a_process_is_replaced_without_a_warning(host: Host) -> None:
    """Python 3.12 and newer warn of forks of a process that has threads, as a worker has (python/cpython#109767)."""
    with host.worker("--concurrency", "1", PYTHONWARNINGS="always") as log:
        worker = max(psutil.Process().children(), key=psutil.Process.create_time)
        (lost,) = worker.children()
        lost.kill()
        wait_for("another process", lambda: set(worker.children()) - {lost})
    assert "exited with 'signal 9 (SIGKILL)'" in log.read_text()
    assert "multi-threaded" not in log.read_text()


@pytest.mark.parametrize("trouble", [without_replicas, full])
def test_a_broker_that_takes_nothing_is_waited_for_in_two_lines_and_leaves_no_connection(
    trouble: Trouble, tmp_path: Path
) -> None:
    with made_redis() as made, made.running() as url, redis.Redis.from_url(url) as client:
        with host_at(url, tmp_path).worker("--concurrency", "1") as log:

            def said(text: str) -> int:
                return log.read_text().count(text)

            before = len(client.client_list())
            with trouble(client, tmp_path):
                client.client_kill_filter(_type="normal", skipme=True)
                wait_for("a look at it", lambda: said("consumer: Cannot connect"))
            wait_for("a connection", lambda: said("Connected to") == 2)
            wait_for("what it reads from", lambda: len(client.client_list()) >= 4)
            assert len(client.client_list()) <= before
        assert said("Connection to broker lost") == said("consumer: Cannot connect") == 1
        assert "Traceback" not in log.read_text()
