"""No secret of a real fleet shows anywhere: in no log, report, page of Flower, output, command line, file or key.

The broker speaks TLS and asks for certificates, messages are signed, the pool and Flower want passwords: every setting
that is a secret, or names a file that is one, has one.
"""

from __future__ import annotations

import json
import secrets as random_secrets
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import pytest
import redis
from pydantic import SecretStr

from config.brokers import verified
from config.settings import Settings
from tasks.store.redis import Redis
from tasks.store.run_store import Store
from tests.conftest import start
from tests.hostile.test_secrets import assert_nowhere, command_lines
from tests.support.certificates import Pair, authority, signed, signer
from tests.support.fleet import DEMO, Command, descendants, wait_for
from tests.support.host import Host
from tests.support.monitoring import basic, get
from tests.support.pools import PostgresPoolDatabase
from tests.support.servers import free_port
from tests.support.tls_servers import run_tls_redis

RUN = "shown"
PAGES = ("", "workers", "tasks", "broker", "metrics", f"task/{RUN}", f"api/task/info/{RUN}")
OURS = ("runs", f"runs/{RUN}", f"runs/{RUN}/report", "pool", "fleet")
"""Of those that stand beside Flower's own."""
SHOWING = (
    *(["status", RUN], ["runs", "--json"], ["results", RUN, "--json"], ["pool", "list"]),
    ["report", RUN, "--out", "out"],
)
PARTS = ("api/workers?refresh=1", "api/tasks", "api/queues/length")


@dataclass
class Planted:
    """A host whose settings name files that hold secrets."""

    host: Host
    url: str
    """The broker's, with all that a client needs."""
    login: str
    flower: str
    numbers: str
    secrets: dict[str, str]
    """By the setting that holds it, or names the file that does."""


def asking() -> set[str]:
    """The settings that are secrets, or name files that are."""
    types = {name: str(field.annotation) for name, field in Settings.model_fields.items()}
    hidden = {name for name, kind in types.items() if SecretStr.__name__ in kind}
    return {f"PAIRING_{name.upper()}" for name in hidden | {name for name in types if name.endswith("_key_file")}}


@pytest.fixture
def planted(postgres_pool: PostgresPoolDatabase, tmp_path: Path) -> Iterator[Planted]:
    folder, password = tmp_path / "secrets", random_secrets.token_hex(16)
    right = authority(folder, "authority")
    server, client = signed(folder, "server", right), signed(folder, "client", right)
    key = signer(folder / "signing", "host")
    accepted = tmp_path / "accepted"
    accepted.mkdir()
    (accepted / "host.pem").write_bytes(key.certificate.read_bytes())
    flower, metrics, login = free_port(), free_port(), f"anna:{random_secrets.token_hex(16)}"
    with ExitStack() as stack:
        broker = start(stack, run_tls_redis(server, right.certificate, asks=True, password=password))
        given = {
            "PAIRING_BROKER_URL": broker,
            "PAIRING_POOL_PASSWORD": str(postgres_pool.password),
            "PAIRING_FLOWER_AUTH": login,
        }
        for name, value in given.items():
            (folder / name).write_text(value + "\n")
        told = {f"{name}_FILE": str(folder / name) for name in given}
        tls = {
            "PAIRING_BROKER_CA_FILE": str(right.certificate),
            "PAIRING_BROKER_CERTIFICATE_FILE": str(client.certificate),
            "PAIRING_BROKER_KEY_FILE": str(client.key),
        }
        signing = {
            "PAIRING_SIGNING_KEY_FILE": str(key.key),
            "PAIRING_SIGNING_CERTIFICATE_FILE": str(key.certificate),
            "PAIRING_SIGNING_CERTIFICATES": str(accepted),
        }
        ports = {"PAIRING_FLOWER_PORT": str(flower), "PAIRING_METRICS_PORT": str(metrics)}
        (tmp_path / "home").mkdir()
        command = Command(tmp_path / "home", {**told, **tls, **signing, **ports, "PAIRING_POOL_URL": postgres_pool.url})
        options = dict(zip(("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"), tls.values(), strict=True))
        url = verified(broker, options)
        found = {**given, "PAIRING_BROKER_KEY_FILE": first_line(client), "PAIRING_SIGNING_KEY_FILE": first_line(key)}
        found |= {"PAIRING_BROKER_URL": password, "PAIRING_FLOWER_AUTH": login.partition(":")[2]}
        addresses = (f"http://127.0.0.1:{flower}", f"http://127.0.0.1:{metrics}/metrics")
        yield Planted(Host(command, Store(Redis(url))), url, login, *addresses, found)


def first_line(pair: Pair) -> str:
    """The first line of a key that is its own."""
    return pair.key.read_text().splitlines()[2]


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def stored(url: str) -> dict[str, bytes]:
    """Every key and value of the server, whoever put it there."""
    found = {}
    with redis.Redis.from_url(url) as client:
        for key in client.scan_iter("*"):
            value: Any = {
                b"string": client.get,
                b"hash": client.hgetall,
                b"list": lambda key: client.lrange(key, 0, -1),
                b"set": client.smembers,
                b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
            }[client.type(key)](key)
            content = value if isinstance(value, bytes) else repr(value).encode()
            found[f"key {key!r}"] = key + b"\n" + content
    return found


def flowers_pages(planted: Planted) -> dict[str, bytes]:
    """All that Flower shows to somebody with a login, and nothing without."""
    texts = {}
    workers = json.loads(get(f"{planted.flower}/api/workers", planted.login)[1])
    assert workers
    for page in (*PAGES, *OURS, *PARTS, *(f"worker/{quote(name)}" for name in workers)):
        status, text = get(f"{planted.flower}/{page}", planted.login)
        assert status == 200, (page, status, text[:500])
        texts[f"Flower's /{page}"] = text.encode()
    assert get(f"{planted.flower}/api/workers")[0] == 401
    return texts


def known_to_flower(planted: Planted) -> bool:
    """Whether it has seen the worker and the run."""
    with suppress(OSError):
        workers = json.loads(get(f"{planted.flower}/api/workers?refresh=1", planted.login)[1])
        return bool(workers) and get(f"{planted.flower}/api/task/info/{RUN}", planted.login)[0] == 200
    return False


def test_a_run_on_the_fleet_shows_no_secret(planted: Planted, postgres_pool: PostgresPoolDatabase) -> None:
    host, command, places = planted.host, planted.host.command, dict[str, bytes]()
    assert set(planted.secrets) == asking()
    with command.start("flower") as flower, host.worker("--concurrency", "1", "--loglevel=DEBUG"):
        try:
            wait_for("Flower", lambda: _answers(planted.flower))
            call = ["enqueue", DEMO, "--methods", "trace,cosine", "--note", "no secret", "--out", "out"]
            with command.start(*call, "--wait", "--run", RUN) as process:
                workers = [other for other in psutil.process_iter() if "celery" in " ".join(_line(other))]
                workers = [other for other in workers if other.pid != flower.pid]
                assert workers
                places |= command_lines()
                mine = [process.pid, *(other.pid for other in descendants(process.pid))]
                mine += [other.pid for other in workers if str(command.folder) in str(_environment(other))]
                flowers = {"Flower's environment": _environment(psutil.Process(flower.pid))}
                others = [value for name, value in planted.secrets.items() if name != "PAIRING_FLOWER_AUTH"]
                assert_nowhere(others, flowers)  # it is told its logins that way
                places |= {f"environment of {pid}": _environment(psutil.Process(pid)) for pid in mine}
                output, errors = process.communicate(timeout=300)
            assert process.returncode == 0, errors
            places["wait"] = (output + errors).encode()
            for arguments in SHOWING:
                said = command(*arguments)
                assert said.status == 0, said.errors
                places[" ".join(arguments)] = (said.output + said.errors).encode()
            examined = command("doctor")
            places["doctor"] = (examined.output + examined.errors).encode()
            command("enqueue", DEMO, "--methods", "no_such_method", "--run", "failing")
            wait_for("the failure", lambda: host.store.record("failing", "end"))
            wait_for("the run in Flower", lambda: known_to_flower(planted))
            places |= flowers_pages(planted)
            places["metrics"] = get(planted.numbers)[1].encode()
            places |= stored(planted.url)
        finally:
            flower.terminate()
            places["Flower's log"] = "".join(flower.communicate(timeout=60)).encode()
    places |= files_below(command.folder)
    places["pool"] = repr(postgres_pool.execute("SELECT * FROM js_puzzle_pool")).encode()
    for name in ("summary.json", "report.html", "worker-0.log"):
        assert any(name in place for place in places), name
    assert_nowhere([*planted.secrets.values(), basic(planted.login).partition(" ")[2]], places)


def _answers(address: str) -> bool:
    with suppress(OSError):
        return get(f"{address}/healthcheck")[0] == 200
    return False


def _line(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def _environment(process: psutil.Process) -> bytes:
    try:
        return repr(process.environ()).encode()
    except psutil.Error:
        return b""
