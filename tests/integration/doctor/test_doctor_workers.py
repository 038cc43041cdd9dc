"""What `pairing doctor` says of workers: stopped, stale, of another protocol, with winners that wait."""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.doctor import Site, healthy_site, states
from tests.support.fleet import clean_environment, wait_for
from tests.support.paths import ROOT
from tests.support.servers import Postgres


@pytest.fixture(scope="module")
def site(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with healthy_site(postgres, tmp_path_factory.mktemp("site")) as site:
        yield site


def test_a_stop_file_and_what_waits_behind_it(site: Site) -> None:
    site.stop.touch()
    try:
        reads = "nobody reads celery, pairing.numbers, pairing.pool, pairing.refine"
        found = wait_for("the worker to stop", lambda: _if(site.doctor(), "queue lengths", reads))
        assert states(found["queue lengths"]) == ["warning"]
        assert states(found["stop files"]) == ["warning", "warning"]  # here, and as the worker sees it
        assert all(str(site.stop) in said for _, said, _ in found["stop files"])
        site.host.enqueue("waiting", "--priority", "urgent")
        ((state, said, advice),) = site.answered()["queue lengths"]
        assert (state, "pairing.pool 1" in said, "stop file" in advice) == ("wrong", True, True)
    finally:
        site.stop.unlink()
    assert site.host.wait_for_end("waiting") == "succeeded"
    found = wait_for("the worker to go on", lambda: _if(site.doctor(), "queue lengths", "pairing.pool 0"))
    assert states(found["queue lengths"]) == ["ok"]


def _if(found: dict[str, Any], name: str, text: str) -> dict[str, Any] | None:
    return found if text in found[name][0][1] else None


def test_where_no_worker_answers_that_is_wrong(site: Site) -> None:
    with without_workers(site) as environment:
        ((state, said, advice),) = site.doctor(**environment)["versions"]
    assert (state, said, "pairing worker" in advice) == ("wrong", "no worker answers", True)


@contextmanager
def without_workers(site: Site) -> Iterator[dict[str, str]]:
    """A prefix that no worker has."""
    prefix = f"test-{secrets.token_hex(6)}:"
    yield {"PAIRING_KEY_PREFIX": prefix}
    for key in site.client.scan_iter(f"{prefix}*"):
        site.client.delete(key)


@contextmanager
def installed_elsewhere(site: Site, folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """A worker of another installation in ``folder``, of another protocol, and started by hand."""
    for package in ("pairing", "tasks", "config"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    append(folder / "tasks" / "runs" / "protocol_version.py", "PROTOCOL = 2")
    own = {**site.host.command.environment, **environment, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "2"}
    log = folder / "log"
    command = ["-m", "celery", "--quiet", "-A", "tasks", "worker", "--pool=threads", "-c", "999", "--loglevel=INFO"]
    with log.open("wb") as output:
        worker = subprocess.Popen(
            [sys.executable, *command], cwd=folder, env=own, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        wait_for("the worker", lambda: b" ready." in log.read_bytes() or worker.poll() is not None, seconds=180)
        assert worker.poll() is None, log.read_text()
        yield
    finally:
        worker.kill()
        worker.wait()


def append(file: Path, text: str) -> None:
    file.write_text(file.read_text(encoding="utf-8") + text + "\n", encoding="utf-8")


def test_stale_code_another_protocol_and_threads_stand_out(site: Site, tmp_path: Path) -> None:
    with without_workers(site) as environment, installed_elsewhere(site, tmp_path, environment):
        found = site.answered(**environment)
        assert states(found["versions"]) == ["wrong"]
        assert "protocol 2" in found["versions"][0][1]
        assert "speaks another protocol" in found["versions"][0][1]
        assert states(found["threads"]) == ["warning", "warning"]
        assert "OMP_NUM_THREADS=2" in found["threads"][0][1]
        assert "999 processes" in found["threads"][1][1]
        append(tmp_path / "tasks" / "worker" / "process_limits.py", "# upgraded")
        ((state, said, advice),) = site.answered(**environment)["versions"]
    assert (state, "STALE" in said, advice) == ("wrong", True, "restart it")


OLDER = """
import sys
from celery import Celery
app = Celery("older", broker=sys.argv[1])
app.conf.broker_transport_options = {"global_keyprefix": sys.argv[2]}
app.worker_main(["worker", "--pool=solo", "-n", "older@%h", "--without-gossip", "--without-mingle", "-l", "INFO"])
"""
"""A worker from before there was the question."""


def test_a_worker_that_does_not_understand_is_stale(site: Site, tmp_path: Path) -> None:
    log = tmp_path / "log"
    url = site.host.command.environment["PAIRING_BROKER_URL"]
    with without_workers(site) as environment, log.open("wb") as output:
        prefix = environment["PAIRING_KEY_PREFIX"]
        words = [sys.executable, "-c", OLDER, url, prefix]
        worker = subprocess.Popen(words, cwd=tmp_path, env=clean_environment(), stdout=output, stderr=output)
        try:
            wait_for("the worker", lambda: b" ready." in log.read_bytes() or worker.poll() is not None, seconds=180)
            found = site.answered(**environment)
        finally:
            worker.kill()
            worker.wait()
    assert states(found["versions"]) == ["wrong"]
    assert "STALE" in found["versions"][0][1]
    assert found["threads"] == [("not asked", "no worker understands the question", "")]


def test_winners_that_wait_are_said(site: Site) -> None:
    spool = site.host.command.data_dir / "spool"
    spool.mkdir(exist_ok=True)
    winner = spool / "damaged.json"
    winner.write_text(json.dumps({}))
    lines = site.answered()["disk"]
    winner.unlink()
    assert states(lines) == ["warning", "warning"]  # here, and as the worker sees it
    assert all("1 winners wait in the spool" in said for _, said, _ in lines)
