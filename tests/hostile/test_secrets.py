"""No secret shows in an error text, nor in the log or on the command line of a worker that cannot reach its broker."""

from __future__ import annotations

import base64
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote, urlsplit

import psutil
import pytest

from config.complaints import SettingsError
from config.settings import Settings, settings
from tasks.commands.main import main
from tests.conftest import start
from tests.support.fleet import DEMO, Command, wait_for
from tests.support.pools import PostgresPoolDatabase
from tests.support.servers import free_port, made_redis

ENDINGS = ("", "_FILE")
"""Of a variable: it holds the setting, or names a file that does."""

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


def command_lines() -> dict[str, bytes]:
    """Of every process of this machine."""
    found = {}
    for process in psutil.process_iter(["cmdline"]):
        found[f"command line of {process.pid}"] = "\0".join(process.info["cmdline"] or []).encode()
    return found


def test_a_worker_that_loses_its_broker_does_not_tell_the_password(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with ExitStack() as stack, log.open("wb") as output:
        made = start(stack, made_redis())
        broker = stack.enter_context(ExitStack())
        url = broker.enter_context(made.running())
        secrets = [PLANTED, str(urlsplit(url).password)]
        pairing = Command(tmp_path, {"PAIRING_BROKER_URL": url, "PAIRING_POOL_PASSWORD": PLANTED})
        process = stack.enter_context(pairing.start("worker", "--concurrency", "1", "--loglevel=DEBUG"))
        stack.callback(process.kill)

        def said(what: bytes) -> bool:
            assert process.stderr
            output.write(process.stderr.readline().encode())
            output.flush()
            return what in log.read_bytes()

        wait_for("the worker", lambda: said(b" ready."))
        broker.close()
        wait_for("its complaint", lambda: said(b"Cannot connect"))
        lines = command_lines()
        process.kill()
        rest = "".join(process.communicate())
    assert_nowhere(secrets, {"log": log.read_bytes() + rest.encode(), **lines})


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


@pytest.mark.parametrize(
    "variable", [f"PAIRING_{name.upper()}{end}" for name in Settings.model_fields for end in ENDINGS]
)
def test_no_setting_that_is_wrong_is_repeated(variable: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(variable.removesuffix("_FILE"), raising=False)
    for value in (PLANTED, f"-----BEGIN PRIVATE KEY-----\n{PLANTED}\n-----END PRIVATE KEY-----\n"):
        monkeypatch.setenv(variable, value)
        settings.cache_clear()
        found = ""
        try:
            settings()
        except SettingsError as error:
            found = str(error)
        finally:
            settings.cache_clear()
        assert not found or variable.removesuffix("_FILE") in found or "PAIRING_POOL_NAME" in found
        assert_nowhere([PLANTED], {"error": found.encode()})
