"""The work of a refinement, as it is counted for those who watch the fleet."""

from __future__ import annotations

import socket
from typing import Any

from tasks.store.run_store import Store


class Work:
    """Counts a refinement's steps and evaluations on this host, each once, however often it says how far it is."""

    def __init__(self, store: Store, checkpoint: dict[str, Any] | None) -> None:
        """What was done before the checkpoint has been counted."""
        before = checkpoint or {}
        self._store, self._host = store, socket.gethostname()
        self._counted = {"steps": before.get("step", 0), "evaluations": before.get("evaluations", 0)}

    def count(self, **now: int) -> None:
        """Tells how many ``steps`` and ``evaluations`` there have been in all attempts.

        Raises:
            BrokerError: the store cannot be reached.
        """
        further = {name: number for name, number in now.items() if number > self._counted[name]}
        if further:  # a checkpoint may be of a moment before the last one that was told
            amounts = {f"{name}.{self._host}": number - self._counted[name] for name, number in further.items()}
            self._store.count(amounts)
            self._counted |= further
