"""What the store asks of whatever keeps its bytes: Redis for a fleet, memory for one process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class Backend(Protocol):
    """Bytes by key. Every key expires a lifetime (seconds) after it was last written: the usual one, or the given one.

    What is shared, hashes and what is renewed, is never given a shorter one than it has.
    """

    @property
    def lifetime(self) -> float:
        """The usual lifetime."""

    def get(self, key: str) -> bytes | None:
        """The value of a key, ``None`` where there is none."""

    def put(self, key: str, value: bytes, lifetime: float | None = None) -> None:
        """Sets a key."""

    def put_new(self, key: str, value: bytes, lifetime: float | None = None) -> bool:
        """Sets a key that is not there yet; says whether it did. Atomic."""

    def put_field(self, key: str, field: str, value: bytes, lifetime: float | None = None) -> None:
        """Sets one field of a hash."""

    def swap_field(self, key: str, field: str, old: bytes | None, new: bytes, lifetime: float | None = None) -> bool:
        """Sets one field of a hash if it is ``old`` (``None``: not there); says whether it was. Atomic."""

    def add_to_fields(self, key: str, amounts: Mapping[str, int]) -> None:
        """Adds to fields of a hash that hold whole numbers, 0 where there is none. Atomic."""

    def fields(self, key: str) -> dict[str, bytes]:
        """All fields of a hash; empty where there is none."""

    def field(self, key: str, field: str) -> bytes | None:
        """One field of a hash, ``None`` where there is none."""

    def remove_field(self, key: str, field: str) -> None:
        """Removes one field of a hash, if it is there."""

    def get_all(self, keys: Sequence[str]) -> list[bytes | None]:
        """The values of keys, in one round trip however many there are."""

    def fields_of_all(self, keys: Sequence[str]) -> list[dict[str, bytes]]:
        """All fields of hashes, in one round trip however many there are."""

    def some_fields(self, key: str, fields: Sequence[str]) -> list[bytes | None]:
        """Some fields of a hash, in one round trip however many there are."""

    def put_times(self, key: str, times: Mapping[str, float], lifetime: float | None = None) -> None:
        """Sets members of a set that is sorted by a time (Unix time)."""

    def until(self, key: str, time: float) -> list[str]:
        """The members of such a set up to a time, the earliest first."""

    def latest(self, key: str, count: int) -> list[str]:
        """So many members of such a set, the latest first."""

    def remove_time(self, key: str, member: str) -> None:
        """Removes a member of such a set, if it is there."""

    def remove(self, *keys: str) -> None:
        """Removes keys, those that are there."""

    def renew(self, *keys: str, lifetime: float | None = None) -> bool:
        """Begins the lifetime of keys anew; says whether all of them are there."""
