"""Numba's ``njit``, with a cache on the disk that no failure of costs more than a compilation.

Numba itself refuses to define a function whose cache has no writable folder, and cannot call one whose cache files are
damaged (numba#10434).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numba
from numba.core.caching import FunctionCache, NullCache

logger = logging.getLogger(__name__)

_troubles: list[str] = []


def uncached() -> str:
    """A sentence about why this process could not cache what it compiled; empty where it could, or compiled nothing."""
    return _troubles[0] if _troubles else ""


def njit(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compiles a function at its first call, or takes it from the cache; the options are those of ``numba.njit``."""

    def compiled(function: Callable[..., Any]) -> Any:
        dispatcher = numba.njit(**options)(function)
        try:
            dispatcher._cache = _Cache(function)  # type: ignore[no-untyped-call]  # as cache=True does, but for the class
        except (OSError, RuntimeError) as error:  # no folder can be written
            dispatcher._cache = _NoCache(str(error))
        return dispatcher

    return compiled


class _NoCache(NullCache):
    """Says at the first compilation, when logs are set up, why nothing is kept."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def load_overload(self, sig: Any, target_context: Any) -> None:  # noqa: ARG002
        _say(self._reason)


class _Cache(FunctionCache):
    """Numba's own cache, for which a file that cannot be read or written counts as missing."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]
        except Exception as error:  # unpickling a damaged file raises anything
            logger.info("a damaged file in %s is replaced (%s)", self.cache_path, type(error).__name__)
            self._guarded(self.flush)
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        self._guarded(lambda: super(_Cache, self).save_overload(sig, data))  # type: ignore[no-untyped-call]

    def _guarded(self, write: Callable[[], None]) -> None:
        try:
            write()
        except OSError as error:
            _say(f"{self.cache_path}: {error.strerror}")


def _say(reason: str) -> None:
    text = (
        f"Compiled code cannot be cached ({reason}), so every process compiles it again, which takes seconds."
        " Let NUMBA_CACHE_DIR name a folder that can be written."
    )
    if not _troubles:
        logger.warning(text)
    _troubles.append(text)
