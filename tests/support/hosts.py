"""Several hosts on one machine: network namespaces with their own addresses, joined by a bridge in one more."""

from __future__ import annotations

import ctypes
import os
import secrets
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

_NAMESPACES = Path("/run/netns")
_NEW_NETWORK = 0x40000000  # CLONE_NEWNET


class HostsMissing(Exception):
    """Network namespaces cannot be made here. The text says why."""


@dataclass(frozen=True)
class Host:
    """One of them. ``address`` is its own; its loopback addresses are its own too."""

    address: str
    namespace: str

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Lets this thread, and the processes that it starts, live on the host for the block."""
        with Path("/proc/thread-self/ns/net").open("rb") as home, (_NAMESPACES / self.namespace).open("rb") as there:
            _enter(there.fileno())
            try:
                yield
            finally:
                _enter(home.fileno())


@contextmanager
def hosts(count: int) -> Iterator[Sequence[Host]]:
    """So many hosts that reach each other and nothing else; they are gone after the block.

    Raises:
        HostsMissing: this machine or user has no means to make them.
    """
    mark = secrets.token_hex(2)
    network = f"10.{secrets.randbelow(200) + 20}.{secrets.randbelow(250)}"
    names = [f"pairing-{mark}-{number}" for number in range(count + 1)]
    with ExitStack() as stack:
        for name in names:
            _ip("netns", "add", name)
            stack.callback(_ip, "netns", "delete", name)
            _ip("-n", name, "link", "set", "lo", "up")
        hub, *others = names
        _ip("-n", hub, "link", "add", "bridge", "type", "bridge")
        _ip("-n", hub, "link", "set", "bridge", "up")
        made = []
        for number, name in enumerate(others, 1):
            _ip("-n", hub, "link", "add", f"to{number}", "type", "veth", "peer", "name", "net", "netns", name)
            _ip("-n", hub, "link", "set", f"to{number}", "master", "bridge", "up")
            made.append(Host(f"{network}.{number}", name))
            _ip("-n", name, "address", "add", f"{network}.{number}/24", "dev", "net")
            _ip("-n", name, "link", "set", "net", "up")
        yield made


def _enter(namespace: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.setns(namespace, _NEW_NETWORK):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def _ip(*arguments: str) -> None:
    try:
        done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise HostsMissing("there is no program ip (iproute2)") from None
    if done.returncode:
        raise HostsMissing(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
