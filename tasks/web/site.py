"""What the pages look things up with: the settings, the store, and what was looked up a moment ago."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

from config.settings import Settings
from pairing.errors import PairingError
from tasks.client.submit import caller_store
from tasks.pool.location import address_of

Found = TypeVar("Found")

MOST_KEPT = 100
"""Results that are kept at most."""


class Site:
    """The fleet as this Flower's settings name it."""

    def __init__(self, settings: Settings) -> None:
        """Connects when something is first looked up."""
        self.settings = settings
        self.store = caller_store(settings)
        self.address = address_of(settings)
        self._kept: dict[str, tuple[float, asyncio.Future[Any]]] = {}

    async def look(self, what: str, seconds: float, look: Callable[[], Found]) -> Found:
        """What ``look`` finds, by the name ``what``: looked up in a thread, once for all who ask within ``seconds``.

        However many people watch a page, and however slow the broker is, there is one look-up of a kind at a time.
        """
        now = time.monotonic()
        at, future = self._kept.get(what, (now, None))
        if future is None or (future.done() and (now - at > seconds or future.exception() is not None)):
            for old in [name for name, (_, kept) in self._kept.items() if kept.done()][: -MOST_KEPT or None]:
                del self._kept[old]
            future = asyncio.ensure_future(asyncio.get_running_loop().run_in_executor(None, look))
            future.add_done_callback(lambda done: done.cancelled() or done.exception())  # whoever asked may be gone
            self._kept[what] = now, future
        return cast(Found, await asyncio.shield(future))

    def forget(self) -> None:
        """Has everything looked up anew: something was changed."""
        self._kept = {what: kept for what, kept in self._kept.items() if not kept[1].done()}


def explained(error: PairingError) -> str:
    """An error for a page: a sentence with a capital and a full stop."""
    text = str(error)
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")
