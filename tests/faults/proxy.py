"""A TCP proxy on the loopback that can stop forwarding, as a network does that is cut."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


class Proxy:
    """Forwards every connection to a port of this host, while it is open."""

    def __init__(self, target: int, before: Callable[[], None] = lambda: None) -> None:
        """``before`` is called before anything that a client sends is passed on."""
        self.target, self.before = target, before
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.open = threading.Event()
        self.open.set()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        self.open.wait()
        try:
            server = socket.create_connection(("127.0.0.1", self.target))
        except OSError:
            client.close()
            return
        threading.Thread(target=self._pump, args=(server, client, lambda: None), daemon=True).start()
        self._pump(client, server, self.before)

    def _pump(self, source: socket.socket, sink: socket.socket, before: Callable[[], None]) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self.open.wait()
                before()
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def forwarding(target: int, before: Callable[[], None] = lambda: None) -> Iterator[Proxy]:
    """A proxy for the block."""
    proxy = Proxy(target, before)
    try:
        yield proxy
    finally:
        proxy.open.set()
        proxy.listener.close()
