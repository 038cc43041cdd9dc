"""A TCP proxy on the loopback that can stop forwarding, as a network does that is cut."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


class Proxy:
    """Forwards every connection to a port of this host, while it is open."""

    def __init__(self, target: int, before: Callable[[], None]) -> None:
        """``before`` is called before anything that a client sends is passed on; what it raises ends the connection."""
        self.target, self.before = target, before
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.open = threading.Event()
        self.open.set()
        self.sockets: list[socket.socket] = [self.listener]
        self.threads: list[threading.Thread] = []
        self._start(self._accept)

    def close(self) -> None:
        """Ends all connections."""
        for end in self.sockets:
            _shut(end)
        self.open.set()
        for thread in self.threads:
            thread.join()
        for end in self.sockets:
            end.close()

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self.threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):  # shut
            while True:
                client, _ = self.listener.accept()
                self.sockets.append(client)
                self._start(self._forward, client)

    def _forward(self, client: socket.socket) -> None:
        self.open.wait()
        try:
            server = socket.create_connection(("127.0.0.1", self.target))
        except OSError:
            _shut(client)
            return
        self.sockets.append(server)
        self._start(self._pump, server, client, lambda: None)
        self._pump(client, server, self.before)

    def _pump(self, source: socket.socket, sink: socket.socket, before: Callable[[], None]) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self.open.wait()
                before()
                sink.sendall(data)
        _shut(source)
        _shut(sink)


def _shut(end: socket.socket) -> None:
    """Ends a connection, so that whoever reads from it wakes."""
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


@contextmanager
def forwarding(target: int, before: Callable[[], None] = lambda: None) -> Iterator[Proxy]:
    """A proxy for the block."""
    proxy = Proxy(target, before)
    try:
        yield proxy
    finally:
        proxy.close()
