"""No secret shows anywhere: in no log, output, error text, command line, file, or value of the store."""

from __future__ import annotations

import base64
import secrets as random_secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import psutil
import pytest
import redis

from config.settings import settings
from tasks.backend import Redis
from tasks.cli import main
from tasks.store import Store
from tests.integration.test_workers import Host
from tests.support.fleet import DEMO, Command, descendants, wait_for
from tests.support.pools import PostgresPoolDatabase
from tests.support.servers import free_port

PLANTED = "pl4nted+Secr3t/word%with#all@that:is&special"


def forms(secret: str) -> list[bytes]:
    """How a secret may be written."""
    coded = [secret, quote(secret), quote(secret, safe=""), repr(secret)[1:-1]]
    return [*(text.encode() for text in coded), base64.b64encode(secret.encode())]


def assert_nowhere(secrets: list[str], places: dict[str, bytes]) -> None:
    assert places
    for secret in secrets:
        assert len(secret) > 12
        found = [place for place, content in places.items() if any(form in content for form in forms(secret))]
        assert not found, "a secret stands in " + ", ".join(found)


def files_below(folder: Path, *, without: Path) -> dict[str, bytes]:
    return {
        str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file() and without not in file.parents
    }


def command_lines() -> dict[str, bytes]:
    """Of every process of this machine."""
    found = {}
    for process in psutil.process_iter(["cmdline"]):
        found[f"command line of {process.pid}"] = "\0".join(process.info["cmdline"] or []).encode()
    return found


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


@pytest.fixture(params=["by value", "by file"])
def fleet(
    request: pytest.FixtureRequest, redis_url: str, postgres_pool: PostgresPoolDatabase, tmp_path: Path
) -> Iterator[Host]:
    """A host whose settings hold the passwords of a real broker and a real pool, or name files with them."""
    prefix = f"test-{random_secrets.token_hex(6)}:"
    given = {"PAIRING_BROKER_URL": redis_url, "PAIRING_POOL_PASSWORD": str(postgres_pool.password)}
    if request.param == "by file":
        folder = tmp_path / "secrets"
        folder.mkdir()
        for name, value in given.items():
            (folder / name).write_text(value + "\n")
        given = {f"{name}_FILE": str(folder / name) for name in given}
    fixed = {"PAIRING_POOL_URL": postgres_pool.url, "PAIRING_KEY_PREFIX": prefix}
    (tmp_path / "home").mkdir()
    yield Host(Command(tmp_path / "home", {**given, **fixed}), Store(Redis(redis_url, prefix)))
    with redis.Redis.from_url(redis_url) as client:
        for key in client.scan_iter(f"{prefix}*"):
            client.delete(key)


def test_a_run_on_the_fleet_shows_no_secret(
    fleet: Host, redis_url: str, postgres_pool: PostgresPoolDatabase, request: pytest.FixtureRequest
) -> None:
    secrets = [str(urlsplit(redis_url).password), str(postgres_pool.password)]
    places: dict[str, bytes] = {}
    call = ["enqueue", DEMO, "--methods", "trace,cosine", "--note", "no secret", "--out", "out"]
    with fleet.worker("--concurrency", "1", "--loglevel=DEBUG"):
        with fleet.command.start(*call, "--wait", "--run", "shown") as process:
            workers = [other for other in psutil.process_iter() if "celery" in " ".join(_line(other))]
            assert workers
            places |= command_lines()
            if "by file" in request.node.name:
                mine = [process.pid, *(other.pid for other in descendants(process.pid))]
                mine += [other.pid for other in workers if str(fleet.command.folder) in str(_environment(other))]
                places |= {f"environment of {pid}": _environment(psutil.Process(pid)) for pid in mine}
            output, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        places["wait"] = (output + errors).encode()
        for arguments in (["status", "shown"], ["runs", "--json"], ["results", "shown", "--json"], ["pool", "list"]):
            said = fleet.command(*arguments)
            assert said.status == 0, said.errors
            places[" ".join(arguments)] = (said.output + said.errors).encode()
        fleet.command("enqueue", DEMO, "--methods", "no_such_method", "--run", "failing")
        wait_for("the failure", lambda: fleet.store.record("failing", "end"))
        places |= stored(redis_url)
    places |= {str(log): log.read_bytes() for log in fleet.logs}
    places |= files_below(fleet.command.folder, without=fleet.command.folder.parent / "secrets")
    places["pool"] = repr(postgres_pool.execute("SELECT * FROM js_puzzle_pool")).encode()
    assert any("summary.json" in place for place in places)
    assert_nowhere(secrets, places)


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


def test_a_worker_without_its_broker_does_not_tell_the_password(tmp_path: Path) -> None:
    url = f"redis://someone:{quote(PLANTED, safe='')}@127.0.0.1:{free_port()}/0"
    pairing = Command(tmp_path, {"PAIRING_BROKER_URL": url, "PAIRING_POOL_PASSWORD": PLANTED})
    log = tmp_path / "log"
    with log.open("wb") as output, pairing.start("worker", "--concurrency", "1", "--loglevel=DEBUG") as process:
        assert process.stderr

        def complained() -> bool:
            assert process.stderr
            output.write(process.stderr.readline().encode())
            output.flush()
            return b"Cannot connect" in log.read_bytes()

        wait_for("its complaint", complained)
        lines = command_lines()
        process.kill()
        said, errors = process.communicate()
    assert_nowhere([PLANTED], {"log": log.read_bytes() + (said + errors).encode(), **lines})


# --- error texts


def call(monkeypatch: pytest.MonkeyPatch, arguments: list[str], environment: dict[str, str]) -> int:
    """Calls the command in this process; its exit status."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    monkeypatch.setattr("sys.argv", ["pairing", *arguments])
    monkeypatch.setattr("signal.signal", lambda *_: None)
    try:
        with pytest.raises(SystemExit) as ended:
            main()
    finally:
        settings.cache_clear()
    assert isinstance(ended.value.code, int)
    return ended.value.code


RUN_COMMANDS = [
    ["solve", str(DEMO)],
    ["enqueue", str(DEMO)],
    ["watch", "run1"],
    ["status", "run1"],
    ["runs"],
    ["cancel", "run1"],
    ["results", "run1"],
    ["prune", "--older-than", "1"],
    ["puzzle", "list"],
    ["puzzle", "put", str(DEMO)],
    ["worker"],
    ["pool", "list"],
]

MALFORMED = [
    "nonsense",
    "",
    f"http://:{PLANTED}@host/0",
    "redis://",
    f"redis://:{PLANTED}@host:6379/0",
    "redis://:s3cretplanted@ho st:6379/0",
    "redis://:s3cretplanted@host:port/0",
    "redis://:s3cretplanted@host:99999/0",
    "redis://:s3cretplanted@host/name",
    "redis://:s3cretplanted@[::1/0",
    "redis://host/0?password=s3cretplanted",
    "amqp://user:s3cretplanted@host//",
]


@pytest.mark.parametrize("arguments", RUN_COMMANDS, ids=lambda arguments: " ".join(arguments[:2]).split("/")[0])
@pytest.mark.parametrize("way", ["by value", "by file"])
def test_a_malformed_broker_url_is_named_and_not_shown(
    arguments: list[str], way: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for url in MALFORMED if way == "by value" else MALFORMED[:1]:
        environment = {"PAIRING_BROKER_URL": url}
        if way == "by file":
            (tmp_path / "secret").write_text(url)
            environment = {"PAIRING_BROKER_URL_FILE": str(tmp_path / "secret")}
            monkeypatch.delenv("PAIRING_BROKER_URL", raising=False)
        assert call(monkeypatch, arguments, environment) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert len(said.err.splitlines()) == 1
        assert "PAIRING_BROKER_URL" in said.err
        assert "s3cretplanted" not in said.err
        assert "nonsense" not in said.err
        assert_nowhere([PLANTED], {"errors": said.err.encode()})
        assert [path.name for path in tmp_path.iterdir()] in ([], ["secret"])


def test_a_broker_that_refuses_or_is_away_is_told_without_the_password(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = redis_url.rpartition("@")[2]
    coded = quote(PLANTED, safe="")
    for place in (server, f"127.0.0.1:{free_port()}/0", "no-such-host.invalid/0"):
        for arguments in (["runs"], ["enqueue", str(DEMO)], ["puzzle", "list"]):
            environment = {"PAIRING_BROKER_URL": f"redis://:{coded}@{place}"}
            assert call(monkeypatch, arguments, environment) == 3
            said = capsys.readouterr()
            assert len(said.err.splitlines()) == 1
            assert_nowhere([PLANTED], {"errors": (said.out + said.err).encode()})


@pytest.mark.parametrize("name", ["PAIRING_POOL_PASSWORD", "CHEROKEE_DB_PASS"])
def test_a_pool_that_refuses_or_is_away_is_told_without_the_password(
    name: str,
    postgres_pool: PostgresPoolDatabase,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("PAIRING_DATA_DIR", str(tmp_path / "data"))
    (tmp_path / "secret").write_text(PLANTED)
    away = f"postgresql://someone@127.0.0.1:{free_port()}/pool"
    for url in (postgres_pool.url, away, "postgresql://someone@no-such-host.invalid/pool"):
        for environment in ({name: PLANTED}, {name: "", f"{name}_FILE": str(tmp_path / "secret")}):
            if not environment[name]:
                monkeypatch.delenv(name)
                del environment[name]
            assert call(monkeypatch, ["pool", "list", "--pool", url], environment) == 3
            said = capsys.readouterr()
            assert_nowhere([PLANTED], {"errors": (said.out + said.err).encode()})
            monkeypatch.delenv(f"{name}_FILE", raising=False)
    for url in (f"postgresql://someone:{PLANTED}@host/pool", f"mysql://:{PLANTED}@host/x", f"{PLANTED}"):
        assert call(monkeypatch, ["pool", "list"], {"PAIRING_POOL_URL": url}) == 2
        said = capsys.readouterr()
        assert_nowhere([PLANTED], {"errors": (said.out + said.err).encode()})


def test_settings_do_not_tell_their_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAIRING_BROKER_URL", f"redis://:{quote(PLANTED, safe='')}@host:6379/0")
    monkeypatch.setenv("PAIRING_POOL_PASSWORD", PLANTED)
    settings.cache_clear()
    found = settings()
    settings.cache_clear()
    told = {"repr": repr(found), "str": str(found), "json": found.model_dump_json(), "dump": repr(found.model_dump())}
    assert_nowhere([PLANTED], {name: text.encode() for name, text in told.items()})
