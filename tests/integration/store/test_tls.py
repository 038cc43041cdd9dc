"""Broker and pool behind TLS: what is trusted works, what is not is one message, and nothing is ever unverified."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sysconfig
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import start
from tests.support.certificates import Pair, authority, signed
from tests.support.fleet import DEMO, Command, wait_for
from tests.support.servers import Postgres, free_port
from tests.support.tls_servers import run_tls_postgres, run_tls_redis

PASSWORD = "a-secret-word"


@dataclass
class Trust:
    """An authority, a server's certificate from it, and an authority that has nothing to do with it."""

    authority: Pair
    server: Pair
    other: Pair
    elsewhere: Pair
    """A certificate of the right authority, for another host."""


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> Trust:
    folder = tmp_path_factory.mktemp("trust")
    right = authority(folder, "authority")
    other = authority(folder, "other")
    return Trust(right, signed(folder, "server", right), other, signed(folder, "elsewhere", right, "192.0.2.1"))


@pytest.fixture(scope="module")
def broker(trust: Trust) -> Iterator[str]:
    with ExitStack() as stack:
        yield start(stack, run_tls_redis(trust.server, trust.authority.certificate))


@contextmanager
def started(command: Command, *words: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A service of the command's, its output in ``log``, until the end of the block."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [Path(sysconfig.get_path("scripts")) / "pairing", *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=command.environment,
            cwd=command.folder,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


# --- the broker


def test_a_run_is_solved_over_tls_and_flower_sees_its_queues(broker: str, trust: Trust, tmp_path: Path) -> None:
    port = free_port()
    settings = {
        "PAIRING_BROKER_URL": broker,
        "PAIRING_BROKER_CA_FILE": str(trust.authority.certificate),
        "PAIRING_FLOWER_AUTH": "anna:secret",
        "PAIRING_FLOWER_PORT": str(port),
    }
    command, log = Command(tmp_path, settings), tmp_path / "worker.log"
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/queues/length",
        headers={"Authorization": f"Basic {b64encode(b'anna:secret').decode()}"},
    )

    def queues() -> list[dict[str, object]]:
        with suppress(OSError), urllib.request.urlopen(request, timeout=10) as answer:
            found: list[dict[str, object]] = json.load(answer)["active_queues"]
            return found
        return []

    with (
        started(command, "worker", "--concurrency", "2", log=log),
        started(command, "flower", log=tmp_path / "flower.log"),
    ):
        wait_for("the worker", lambda: b" ready." in log.read_bytes(), 120)
        said = command("enqueue", DEMO, "--methods", "trace", "--wait")
        assert said.status == 0, said.errors + log.read_text()
        assert {queue["name"] for queue in wait_for("Flower", queues)} >= {"pairing.pool", "pairing.refine"}
    for text in (log.read_text(), (tmp_path / "flower.log").read_text(), said.errors):
        assert PASSWORD not in text
        assert "insecure" not in text


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("another authority", "a certificate that this host does not trust; check PAIRING_BROKER_CA_FILE"),
        ("no authority", "a certificate that this host does not trust; check PAIRING_BROKER_CA_FILE"),
        ("another host's certificate", "a certificate that this host does not trust; check PAIRING_BROKER_CA_FILE"),
        (
            "no TLS here",
            "cannot be reached; check that it runs, and PAIRING_BROKER_URL (rediss:// where it speaks TLS)",
        ),
        ("the wrong password", "refuses the password; set PAIRING_BROKER_URL to the right one"),
    ],
)
def test_a_broker_that_is_not_to_be_trusted_is_one_message(
    wrong: str, told: str, broker: str, trust: Trust, tmp_path: Path
) -> None:
    settings = {"PAIRING_BROKER_URL": broker, "PAIRING_BROKER_CA_FILE": str(trust.authority.certificate)}
    with ExitStack() as stack:
        if wrong == "another authority":
            settings["PAIRING_BROKER_CA_FILE"] = str(trust.other.certificate)
        elif wrong == "no authority":
            del settings["PAIRING_BROKER_CA_FILE"]
        elif wrong == "another host's certificate":
            redis = run_tls_redis(trust.elsewhere, trust.authority.certificate)
            settings["PAIRING_BROKER_URL"] = start(stack, redis)
        elif wrong == "no TLS here":
            settings = {"PAIRING_BROKER_URL": broker.replace("rediss:", "redis:")}
        else:
            settings["PAIRING_BROKER_URL"] = broker.replace(PASSWORD, "another-word")
        for words in (("enqueue", DEMO), ("runs",)):
            said = Command(tmp_path, settings)(*words)
            assert said.status == 3
            assert told in said.errors
            assert len(said.errors.splitlines()) == 1
            assert PASSWORD not in said.errors


def test_a_broker_may_ask_for_a_certificate(trust: Trust, tmp_path: Path) -> None:
    with ExitStack() as stack:
        asking = start(stack, run_tls_redis(trust.server, trust.authority.certificate, asks=True))
        settings = {"PAIRING_BROKER_URL": asking, "PAIRING_BROKER_CA_FILE": str(trust.authority.certificate)}
        said = Command(tmp_path, settings)("runs")
        assert said.status == 3
        assert "PAIRING_BROKER_CERTIFICATE_FILE" in said.errors
        ours = {
            "PAIRING_BROKER_CERTIFICATE_FILE": str(trust.elsewhere.certificate),
            "PAIRING_BROKER_KEY_FILE": str(trust.elsewhere.key),
        }
        said = Command(tmp_path, settings | ours)("enqueue", DEMO)
        assert said.status == 0, said.errors


# --- the pool


@pytest.fixture(scope="module")
def database(trust: Trust) -> Iterator[Postgres]:
    with ExitStack() as stack:
        yield start(stack, run_tls_postgres(trust.server))


def pool_command(database: Postgres, folder: Path, **settings: str) -> Command:
    return Command(folder, {"PAIRING_POOL_URL": database.url, "PAIRING_POOL_PASSWORD": database.password, **settings})


@pytest.mark.parametrize("mode", ["", "verify-full", "verify-ca"])
def test_a_pool_that_is_trusted_works(mode: str, database: Postgres, trust: Trust, tmp_path: Path) -> None:
    files = {"PAIRING_POOL_CA_FILE": str(trust.authority.certificate), "PAIRING_POOL_SSLMODE": mode}
    said = pool_command(database, tmp_path, **files)("pool", "init", "--shared-table")
    assert said.status == 0, said.errors
    said = pool_command(database, tmp_path, **files)("pool", "list")
    assert said.status == 0, said.errors


@pytest.mark.parametrize(("wrong", "told"), [("authority", "certificate verify failed"), ("mode", "no encryption")])
def test_a_pool_that_is_not_to_be_trusted_is_one_message(
    wrong: str, told: str, database: Postgres, trust: Trust, tmp_path: Path
) -> None:
    settings = {"PAIRING_POOL_CA_FILE": str(trust.other.certificate)}
    if wrong == "mode":
        settings = {"PAIRING_POOL_SSLMODE": "disable"}
    said = pool_command(database, tmp_path, **settings)("pool", "list")
    assert said.status == 3
    assert told in said.errors
    assert "check PAIRING_POOL_CA_FILE, PAIRING_POOL_SSLMODE" in said.errors
    assert len(said.errors.splitlines()) == 1
    assert database.password not in said.errors
