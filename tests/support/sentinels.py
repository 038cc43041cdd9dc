"""A Redis with a replica, and a sentinel that makes the replica the primary when the primary is gone."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import redis

from tests.support.fleet import wait_for
from tests.support.servers import free_port, made_redis, redis_program, running_server, server_folder, write_secret

MASTER = "pairing"


@dataclass
class Watched:
    """Where they are."""

    url: str = field(repr=False)
    """By which the fleet finds whichever is the primary."""
    sentinel: redis.Redis = field(repr=False)

    def primary(self) -> int:
        """The port of the present one."""
        (_, port) = self.sentinel.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)
        return int(port)

    def kill_primary(self, password: str) -> int:
        """SIGKILL to the present one, whose port it was."""
        port = self.primary()
        with redis.Redis(port=port, password=password) as client:
            os.kill(int(client.info("server")["process_id"]), signal.SIGKILL)
        return port


@contextmanager
def run_sentinels(password: str) -> Iterator[Watched]:
    """A primary, a replica and a sentinel, each with a password.

    Raises:
        ServerMissing: there is no Redis on this machine, or it does not start.
    """
    own = secrets.token_hex(8)
    with ExitStack() as stack:
        first, second = stack.enter_context(made_redis()), stack.enter_context(made_redis())
        for made in (first, second):
            write_secret(made.folder / "password", password)
        both = (f"masterauth {password}", "repl-diskless-sync-delay 0")
        stack.enter_context(first.running(*both))
        stack.enter_context(second.running(*both, f"replicaof 127.0.0.1 {first.port}"))
        folder, port = stack.enter_context(server_folder("pairing-sentinel-")), free_port()
        lines = [
            f"port {port}",
            "bind 127.0.0.1",
            f"dir {folder}",
            f"requirepass {own}",
            f"sentinel monitor {MASTER} 127.0.0.1 {first.port} 1",
            f"sentinel auth-pass {MASTER} {password}",
            f"sentinel down-after-milliseconds {MASTER} 1000",
            f"sentinel failover-timeout {MASTER} 3000",
        ]
        write_secret(folder / "sentinel.conf", "\n".join(lines) + "\n")
        client = stack.enter_context(redis.Redis(port=port, password=own, decode_responses=True))
        command: list[object] = [redis_program(folder), folder / "sentinel.conf", "--sentinel"]
        stack.enter_context(running_server(command, folder, lambda: client.ping() and None))
        known = lambda: client.execute_command("SENTINEL", "REPLICAS", MASTER)  # noqa: E731
        wait_for("the replica", known)
        with redis.Redis(port=second.port, password=password) as replica:
            wait_for("its data", lambda: replica.info("replication")["master_link_status"] == "up")
        yield Watched(f"redis+sentinel://:{password}@127.0.0.1:{port}/{MASTER}/2?sentinel_password={own}", client)
