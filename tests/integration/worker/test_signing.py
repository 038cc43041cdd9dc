"""Signed messages: a fleet that signs solves its runs; what is forged is refused in one line and does nothing."""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import sysconfig
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
from celery.security.certificate import Certificate, FSCertStore
from celery.security.key import PrivateKey
from celery.security.serialization import SecureSerializer

from tasks.store.redis import Redis
from tasks.store.run_store import Store
from tests.support.certificates import Pair, signer
from tests.support.fleet import DEMO, Command, clean_environment, wait_for
from tests.support.paths import ROOT
from tests.support.servers import free_port

FORGED = {"puzzle": f"sha256:{'0' * 64}"}
"""Arguments of a run that fails at once, and leaves a record that it has, if anybody runs it."""


def settings_of(pair: Pair, accepted: Path) -> dict[str, str]:
    return {
        "PAIRING_SIGNING_KEY_FILE": str(pair.key),
        "PAIRING_SIGNING_CERTIFICATE_FILE": str(pair.certificate),
        "PAIRING_SIGNING_CERTIFICATES": str(accepted),
    }


@dataclass
class Keys:
    """A caller's and a worker's keys, which are accepted, and a stranger's."""

    accepted: Path
    caller: Pair
    worker: Pair
    stranger: Pair

    def body(self, pair: Pair, kwargs: dict[str, Any]) -> str:
        """A task's body as this key signs it."""
        certificate = Certificate(pair.certificate.read_text())
        serializer = SecureSerializer(PrivateKey(pair.key.read_text()), certificate, FSCertStore(str(self.accepted)))
        signed: str = serializer.serialize([[], kwargs, {}])
        return signed


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    folder = tmp_path_factory.mktemp("keys")
    made = Keys(folder / "accepted", *(signer(folder, name) for name in ("caller", "worker", "stranger")))
    made.accepted.mkdir()
    for pair in (made.caller, made.worker):
        (made.accepted / pair.certificate.name).write_bytes(pair.certificate.read_bytes())
    return made


@dataclass
class SigningFleet:
    """A worker that signs and accepts signed messages alone, and a caller."""

    url: str
    prefix: str
    caller: Command
    log: Path
    process: subprocess.Popen[bytes]
    store: Store

    def push(self, name: str, body: Any, **changes: Any) -> None:
        """Puts a message into the queue as whoever can write to the broker may."""
        message = {
            "body": body,
            "content-encoding": "utf-8",
            "content-type": "application/data",
            "headers": {"lang": "py", "task": "pairing.run", "id": name, "root_id": name, "retries": 0},
            "properties": {
                "correlation_id": name,
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": "pairing.pool"},
                "priority": 0,
                "delivery_tag": name,
            },
            **changes,
        }
        with redis.Redis.from_url(self.url) as client:
            client.lpush(f"{self.prefix}pairing.pool", json.dumps(message))

    def refused(self, name: str) -> str:
        """The one line that the worker says of a message."""
        pattern = rf"^.*ERROR.* a message was refused and removed: pairing\.run {name}: .*$"
        return wait_for(f"the refusal of {name}", lambda: re.search(pattern, self.log.read_text(), re.M)).group()


@pytest.fixture(scope="module")
def fleet(redis_url: str, keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SigningFleet]:
    with signing_fleet(redis_url, keys, tmp_path_factory.mktemp("fleet")) as running:
        yield running


@contextmanager
def signing_fleet(url: str, keys: Keys, folder: Path) -> Iterator[SigningFleet]:
    prefix = f"test-{secrets.token_hex(6)}:"
    base = {"PAIRING_BROKER_URL": url, "PAIRING_KEY_PREFIX": prefix}
    host = Command(folder, {**base, **settings_of(keys.worker, keys.accepted)})
    caller = Command(folder, {**base, **settings_of(keys.caller, keys.accepted)})
    log = folder / "worker.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [Path(sysconfig.get_path("scripts")) / "pairing", "worker", "--concurrency", "2"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=host.environment,
            cwd=folder,
            start_new_session=True,
        )
    try:
        wait_for("the worker", lambda: b" ready." in log.read_bytes() or process.poll() is not None, 120)
        assert process.poll() is None, log.read_text()
        yield SigningFleet(url, prefix, caller, log, process, Store(Redis(url, prefix)))
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        with redis.Redis.from_url(url) as client:
            for key in client.scan_iter(f"{prefix}*"):
                client.delete(key)


def test_a_signed_run_is_solved(fleet: SigningFleet) -> None:
    said = fleet.caller("enqueue", DEMO, "--methods", "trace,cosine", "--seeds", "2", "--run", "signed", "--wait")
    assert said.status == 0, said.errors + fleet.log.read_text()
    assert "refused" not in fleet.log.read_text()


def changed(body: str) -> str:
    """A signed body with another argument and the old signature."""
    raw = base64.b64decode(body)
    assert b"000" in raw
    return base64.b64encode(raw.replace(b"000", b"111", 1)).decode()


def test_what_is_forged_is_refused_and_the_worker_goes_on(fleet: SigningFleet, keys: Keys) -> None:
    json_text = json.dumps([[], FORGED, {}])
    trusted = {"content-type": "application/text", "content-encoding": "binary"}
    fleet.push("unsigned", json_text, **{"content-type": "application/json"})
    fleet.push("unsigned-data", json_text)
    fleet.push("stranger", keys.body(keys.stranger, FORGED))
    fleet.push("changed", changed(keys.body(keys.caller, FORGED)))
    # kombu takes this type of content as it is, whatever is accepted.
    fleet.push("trusted", [[], FORGED, {}], **trusted)
    fleet.push("sound", keys.body(keys.caller, FORGED))
    assert wait_for("what is sound", lambda: fleet.store.record("sound", "end"))["end"] == "failed"
    wait_for("the task's end", lambda: "Task pairing.run[sound] raised" in fleet.log.read_text())
    for name in ("unsigned", "unsigned-data", "stranger", "changed", "trusted"):
        fleet.refused(name)
        assert fleet.store.record(name, "end") is None, name
        assert fleet.store.run_entry(name) is None, name
        assert f"pairing.run[{name}]" not in fleet.log.read_text()
    assert fleet.process.poll() is None
    assert "0" * 64 not in "".join(line for line in fleet.log.read_text().splitlines() if "refused" in line)


def test_a_command_that_is_not_signed_is_refused(fleet: SigningFleet) -> None:
    control = f"{fleet.prefix}/0.celery.pidbox"
    body: dict[str, Any] = {"method": "shutdown", "arguments": {}, "destination": None}
    said = len(fleet.log.read_text())
    for number, (kind, sent) in enumerate(
        [("application/json", json.dumps(body)), ("application/text", body), ("application/data", json.dumps(body))]
    ):
        message = {
            "body": sent,
            "content-encoding": "binary" if kind == "application/text" else "utf-8",
            "content-type": kind,
            "headers": {},
            "properties": {
                "delivery_info": {"exchange": "celery.pidbox", "routing_key": ""},
                "priority": 0,
                "delivery_tag": f"control-{number}",
            },
        }
        with redis.Redis.from_url(fleet.url) as client:
            assert client.publish(control, json.dumps(message)) == 1
        count = number + 1
        wait_for("its refusal", lambda n=count: fleet.log.read_text()[said:].count("a message was refused") == n)
    assert fleet.process.poll() is None
    assert len(fleet.log.read_text()[said:].splitlines()) == count


@pytest.mark.parametrize("signs", [True, False])
def test_a_command_of_celery_is_heard_if_it_is_signed(signs: bool, fleet: SigningFleet) -> None:
    environment = {name: "" for name in fleet.caller.environment if not signs and name.startswith("PAIRING_SIGNING")}
    said = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "tasks", "inspect", "ping", "--timeout", "5" if signs else "1"],
        env=fleet.caller.environment | environment,
        cwd=fleet.caller.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ("pong" in said.stdout) == signs, said.stdout + said.stderr


def test_a_caller_that_is_not_accepted_gets_no_run(fleet: SigningFleet, keys: Keys, tmp_path: Path) -> None:
    (tmp_path / "stranger.pem").write_bytes(keys.stranger.certificate.read_bytes())
    stranger = settings_of(keys.stranger, tmp_path)
    said = fleet.caller("enqueue", DEMO, "--methods", "trace", "--run", "not-accepted", environment=stranger)
    assert said.status == 0, said.errors
    assert "Unknown certificate" in fleet.refused("not-accepted")
    assert fleet.store.record("not-accepted", "end") is None


def test_a_caller_by_name_signs_as_the_page_says(fleet: SigningFleet, keys: Keys, tmp_path: Path) -> None:
    section = (
        (ROOT / "docs" / "security.md").read_text(encoding="utf-8").split("### Callers by name")[1].split("\n## ")[0]
    )
    script = "\n".join(line.removeprefix("    ") for line in section.splitlines() if line.startswith("    "))
    script = re.sub('url = ".*"', f"url = {fleet.url!r}", script)
    script = script.replace("/etc/pairing/signing/caller.pem", str(keys.caller.certificate))
    script = script.replace("/etc/pairing/signing.key", str(keys.caller.key)).replace("pairing-prod:", fleet.prefix)
    said = fleet.caller("puzzle", "put", DEMO)
    script = script.replace("sha256:…", said.output.split()[0])
    command = [sys.executable, "-c", script]
    ended = subprocess.run(
        command, env=clean_environment(), cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert wait_for("its end", lambda: fleet.store.record(ended.stdout.strip(), "end"))["end"] == "succeeded"


def test_flower_signs_what_is_sent_through_it(fleet: SigningFleet, tmp_path: Path) -> None:
    port = free_port()
    settings = {"PAIRING_FLOWER_AUTH": "a:b", "PAIRING_FLOWER_PORT": str(port)}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/task/send-task/pairing.run",
        data=json.dumps({"task_id": "through-flower", "kwargs": FORGED}).encode(),
        headers={"Authorization": f"Basic {base64.b64encode(b'a:b').decode()}"},
    )

    def sent() -> bool:
        with suppress(OSError), urllib.request.urlopen(request, timeout=10) as answer:
            return bool(answer.status == 200)
        return False

    process = fleet.caller.start("flower", environment=settings)
    try:
        wait_for("Flower", sent)
        assert wait_for("the run", lambda: fleet.store.record("through-flower", "end"))["end"] == "failed"
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("wrong", ["another's certificate", "not accepted", "expired", "no key"])
def test_keys_that_are_of_no_use_are_said(wrong: str, keys: Keys, tmp_path: Path) -> None:
    pair, accepted = keys.caller, keys.accepted
    if wrong == "another's certificate":
        pair = Pair(keys.caller.key, keys.worker.certificate)
    elif wrong == "not accepted":
        pair = keys.stranger
    elif wrong == "expired":
        pair = signer(tmp_path, "expired", days=0)
        accepted = tmp_path
        pair.key.rename(tmp_path.parent / "expired.key")
        pair = Pair(tmp_path.parent / "expired.key", pair.certificate)
    else:
        (tmp_path / "no.key").touch(mode=0o600)
        pair = Pair(tmp_path / "no.key", keys.caller.certificate)
    secret = keys.caller.key.read_text().splitlines()[1]
    given = {"PAIRING_BROKER_URL": "redis://127.0.0.1:1/0", "PAIRING_FLOWER_AUTH": "a:b", **settings_of(pair, accepted)}
    for words in (("enqueue", DEMO), ("worker",), ("flower",)):
        said = Command(tmp_path, given)(*words)
        assert said.status == 2, said.errors
        assert re.fullmatch(r"pairing: PAIRING-E012 PAIRING_SIGNING_KEY_FILE: .*\n", said.errors)
        assert secret not in said.errors
