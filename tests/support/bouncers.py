"""A PgBouncer before a PostgreSQL, in transaction mode: every transaction may have another of few connections."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from tests.support.servers import Postgres, ServerMissing, free_port, running_server, server_folder, write_secret

CONNECTIONS = 2
"""To the server, for all clients together."""


@contextmanager
def run_pgbouncer(server: Postgres) -> Iterator[Postgres]:
    """The server as it is seen through a PgBouncer.

    Raises:
        ServerMissing: there is none on this machine, or it does not start.
    """
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        raise ServerMissing("There is no pgbouncer here: install it.")
    with server_folder("pairing-pgbouncer-") as folder:
        port = free_port()
        write_secret(folder / "users", f'"{server.user}" "{server.password}"\n')
        lines = [
            "[databases]",
            f"* = host=127.0.0.1 port={server.port}",
            "[pgbouncer]",
            "listen_addr = 127.0.0.1",
            f"listen_port = {port}",
            "unix_socket_dir =",
            "auth_type = scram-sha-256",
            f"auth_file = {folder / 'users'}",
            "pool_mode = transaction",
            f"default_pool_size = {CONNECTIONS}",
        ]
        write_secret(folder / "pgbouncer.ini", "\n".join(lines) + "\n")
        through = replace(server, port=port, url=f"postgresql://{server.user}@127.0.0.1:{port}/postgres")
        with running_server([program, folder / "pgbouncer.ini"], folder, lambda: through.connect().close()):
            yield through
