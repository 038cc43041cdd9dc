"""Archives as pieces that hold more than there is."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path

from tests.hostile.damages import Victim, kind

GIGABYTE = 1 << 30


@kind("pth")
def zip_bomb(victim: Victim) -> Path:
    """Gigabytes of zeros, deflated."""
    size = victim.one_of([2, 3, 4]) * GIGABYTE - (1 << 20)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    deflated = block * (size >> 20) + zlib.compressobj(9, zlib.DEFLATED, -15).flush()
    file = victim.any_piece()
    name = f"{file.stem}/data/0".encode()
    fields = (20, 0, 8, 0, 0, 0, len(deflated), size, len(name), 0)
    local = struct.pack("<IHHHHHIIIHH", 0x04034B50, *fields) + name + deflated
    central = struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 20, *fields, 0, 0, 0, 0, 0) + name
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 1, 1, len(central), len(local), 0)
    file.write_bytes(local + central + end)
    return file


@kind("pth")
def deflated_pth(victim: Victim) -> Path:
    file = victim.any_piece()
    with zipfile.ZipFile(file) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    way = victim.one_of([zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    with zipfile.ZipFile(file, "w", way) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return file


@kind("pth")
def overlapping_zip_bomb(victim: Victim) -> Path:
    """One content that a great many entries share."""
    file, shared, central = victim.any_piece(), bytes(1 << 20), b""
    count = 100 + victim.up_to(900)
    local = struct.pack("<IHHHHHIIIHH", 0x04034B50, 20, 0, 0, 0, 0, 0, 1 << 20, 1 << 20, 1, 0) + b"a" + shared
    for number in range(count):
        name = f"archive/data/{number}".encode()
        fields = (20, 20, 0, 0, 0, 0, 0, 1 << 20, 1 << 20, len(name), 0, 0, 0, 0, 0, 0)
        central += struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, *fields) + name
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, count, count, len(central), len(local), 0)
    file.write_bytes(local + central + end)
    return file
