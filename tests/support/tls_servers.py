"""Servers that speak TLS alone: Redis, and PostgreSQL that lets nobody else in."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from tests.support import servers
from tests.support.certificates import Pair
from tests.support.servers import Postgres, made_postgres, made_redis


@contextmanager
def run_tls_redis(server: Pair, authority: Path, asks: bool = False, password: str = "a-secret-word") -> Iterator[str]:
    """A Redis with a password that speaks TLS alone, and may ask for a certificate of the authority: its URL.

    Raises:
        ServerMissing: there is none on this machine, or one that was built without TLS.
    """
    with made_redis() as made:
        key, certificate = _given(server, made.folder)
        ca = made.folder / "authority.pem"
        servers.write_secret(ca, authority.read_text(encoding="ascii"))
        lines = [
            "port 0",
            f"tls-port {made.port}",
            "bind 127.0.0.1",
            f"dir {made.folder}",
            f"requirepass {password}",
            "appendonly yes",
            "maxmemory-policy noeviction",
            'save ""',
            f"tls-cert-file {certificate}",
            f"tls-key-file {key}",
            f"tls-ca-cert-file {ca}",
            f"tls-auth-clients {'yes' if asks else 'optional'}",
        ]
        servers.write_secret(made.folder / "redis.conf", "\n".join(lines) + "\n")
        url = f"rediss://:{password}@127.0.0.1:{made.port}/0"

        own = {"ssl_check_hostname": False, "ssl_certfile": str(server.certificate), "ssl_keyfile": str(server.key)}

        def ping() -> None:
            with redis.Redis.from_url(url, ssl_ca_certs=str(ca), **own, socket_timeout=5) as client:
                client.ping()

        program = servers.redis_program(made.folder)
        with servers.running_server([program, made.folder / "redis.conf"], made.folder, ping):
            yield url


@contextmanager
def run_tls_postgres(server: Pair) -> Iterator[Postgres]:
    """A PostgreSQL that lets nobody in over TCP without TLS.

    Raises:
        ServerMissing: there is none on this machine, or it does not start.
    """
    with made_postgres({"ssl": "on"}) as made:
        data = made.folder / "data"
        for name, path in zip(("server.key", "server.crt"), _given(server, made.folder), strict=True):
            shutil.move(path, data / name)
        rules = "local all all scram-sha-256\nhostssl all all 127.0.0.1/32 scram-sha-256\n"
        (data / "pg_hba.conf").write_text(rules, encoding="utf-8")
        with made.running() as running:
            yield running


def _given(pair: Pair, folder: Path) -> tuple[Path, Path]:
    """Copies of a key and its certificate that the server's user owns."""
    copies = (folder / "server.key", folder / "server.pem")
    for source, copy in zip((pair.key, pair.certificate), copies, strict=True):
        servers.write_secret(copy, source.read_text(encoding="ascii"))
    return copies
