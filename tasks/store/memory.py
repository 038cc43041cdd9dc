"""The store's bytes in this process's memory, for one process that does a whole run."""

# Nothing expires here, whatever lifetime is given.
# ruff: noqa: ARG002

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence


class Memory:
    """A backend for one process. Nothing expires before that ends."""

    lifetime = math.inf

    def __init__(self) -> None:
        """An empty one."""
        self._values: dict[str, bytes] = {}
        self._hashes: dict[str, dict[str, bytes]] = {}
        self._times: dict[str, dict[str, float]] = {}
        self._lock = threading.Lock()

    def get(self, key: str) -> bytes | None:
        """See ``Backend``."""
        return self._values.get(key)

    def put(self, key: str, value: bytes, lifetime: float | None = None) -> None:
        """See ``Backend``."""
        self._values[key] = value

    def put_new(self, key: str, value: bytes, lifetime: float | None = None) -> bool:
        """See ``Backend``."""
        with self._lock:
            if key in self._values:
                return False
            self._values[key] = value
            return True

    def put_field(self, key: str, field: str, value: bytes, lifetime: float | None = None) -> None:
        """See ``Backend``."""
        self._hashes.setdefault(key, {})[field] = value

    def swap_field(self, key: str, field: str, old: bytes | None, new: bytes, lifetime: float | None = None) -> bool:
        """See ``Backend``."""
        with self._lock:
            fields = self._hashes.setdefault(key, {})
            swapped = fields.get(field) == old
            if swapped:
                fields[field] = new
            return swapped

    def add_to_fields(self, key: str, amounts: Mapping[str, int]) -> None:
        """See ``Backend``."""
        with self._lock:
            fields = self._hashes.setdefault(key, {})
            for field, amount in amounts.items():
                fields[field] = str(int(fields.get(field, b"0")) + amount).encode()

    def fields(self, key: str) -> dict[str, bytes]:
        """See ``Backend``."""
        return dict(self._hashes.get(key, {}))

    def field(self, key: str, field: str) -> bytes | None:
        """See ``Backend``."""
        return self._hashes.get(key, {}).get(field)

    def remove_field(self, key: str, field: str) -> None:
        """See ``Backend``."""
        self._hashes.get(key, {}).pop(field, None)

    def get_all(self, keys: Sequence[str]) -> list[bytes | None]:
        """See ``Backend``."""
        return [self.get(key) for key in keys]

    def fields_of_all(self, keys: Sequence[str]) -> list[dict[str, bytes]]:
        """See ``Backend``."""
        return [self.fields(key) for key in keys]

    def some_fields(self, key: str, fields: Sequence[str]) -> list[bytes | None]:
        """See ``Backend``."""
        return [self.field(key, field) for field in fields]

    def put_times(self, key: str, times: Mapping[str, float], lifetime: float | None = None) -> None:
        """See ``Backend``."""
        self._times.setdefault(key, {}).update(times)

    def until(self, key: str, time: float) -> list[str]:
        """See ``Backend``."""
        found = sorted((at, member) for member, at in self._times.get(key, {}).items() if at <= time)
        return [member for _, member in found]

    def latest(self, key: str, count: int) -> list[str]:
        """See ``Backend``."""
        return self.until(key, math.inf)[::-1][:count]

    def remove_time(self, key: str, member: str) -> None:
        """See ``Backend``."""
        self._times.get(key, {}).pop(member, None)

    def remove(self, *keys: str) -> None:
        """See ``Backend``."""
        for key in keys:
            self._values.pop(key, None)
            self._hashes.pop(key, None)

    def renew(self, *keys: str, lifetime: float | None = None) -> bool:
        """See ``Backend``."""
        return all(key in self._values or key in self._hashes for key in keys)
