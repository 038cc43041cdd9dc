"""A text file as it was before it was compressed, its lines ending in line feeds."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

DATA_FILES = ("historical_data.csv", "historical_data.parquet", "historical_data.csv.gz", "historical_data.csv.zst")
"""What the data of a puzzle's folder may be called."""

MOST_INFLATED = 100
"""How many times its size a file may grow, beyond what is little anyway."""
LITTLE_BYTES = 1 << 26

LOOKED_AT = 1 << 16
"""Bytes by which it is told how lines end."""

_COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}


def most_inflated(file: Path) -> int:
    """The bytes that a file may grow to."""
    return max(LITTLE_BYTES, MOST_INFLATED * file.stat().st_size)


def open_inflated(file: Path) -> io.BufferedReader:
    """The file's bytes, inflated where they begin like gzip's or Zstandard's, whatever its name.

    Reading raises ``OSError`` where it is damaged, and ``ValueError`` where it would grow beyond `most_inflated`.
    """
    with file.open("rb") as opened:
        beginning = opened.read(4)
    for mark, kind in _COMPRESSED.items():
        if beginning.startswith(mark):
            import pyarrow as pa

            return io.BufferedReader(_Source(pa.input_stream(str(file), compression=kind), most_inflated(file)))
    return file.open("rb")


def open_lines(file: Path) -> io.BufferedReader:
    """The same, with line feeds where lines end in carriage returns alone, as on old Macs."""
    opened = open_inflated(file)
    beginning = opened.peek(LOOKED_AT)
    if b"\r" in beginning and b"\n" not in beginning:
        return io.BufferedReader(_LineFeeds(opened))
    return opened


class _Source(io.RawIOBase):
    """What something else gives that can be read."""

    def __init__(self, source: Any, most: int | None = None) -> None:
        self._source, self._left = source, most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        found = self.changed(self._source.read(len(buffer)))
        buffer[: len(found)] = found
        if self._left is not None:
            self._left -= len(found)
            if self._left < 0:
                raise ValueError("it would grow to many times its size")
        return len(found)

    def changed(self, found: bytes) -> bytes:
        return found

    def close(self) -> None:
        self._source.close()
        super().close()


class _LineFeeds(_Source):
    def changed(self, found: bytes) -> bytes:
        return found.replace(b"\r", b"\n")
