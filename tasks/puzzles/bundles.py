"""Puzzles on their way: a folder's files as they are, in the store under the digest of their names and bytes.

Whoever ships a bundle parses nothing and needs no torch. The digest is the SHA-256 over every file in the order of the
names: the name in UTF-8, a zero byte, the size in decimal digits, a zero byte, the content.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pairing.errors import InputError, PuzzleError
from pairing.io.inflating import DATA_FILES
from tasks.store.backend import Backend

SCHEMA = 1
PART_BYTES = 64 * 2**20
READ_BYTES = 2**20
NO_LIMIT = 2**62
REGISTRY = "pairing.bundles"
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
PACKED = "puzzle.safetensors"
"""The one file of a bundle that is a packed puzzle."""

_NAME = re.compile(r"(pieces/)?[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
_TOP = (*DATA_FILES, "puzzle.json")

Files = Mapping[str, Path | bytes]
"""Name in the bundle (``pieces/piece_0.pth``) → the file, or its content."""


@dataclass(frozen=True, kw_only=True)
class Shipped:
    """A bundle that is in the store."""

    digest: str
    name: str
    """What the caller's folder or file was called: for people."""
    bytes: int
    at: float
    """Unix time when it was shipped or asked for last."""


def puzzle_files(path: Path) -> dict[str, Path | bytes]:
    """The files of a puzzle's folder in the published layout, or of a packed puzzle; their contents are not looked at.

    Raises:
        PuzzleError: there is no such folder or file, or nothing of a puzzle in it.
    """
    if path.is_file():
        return {PACKED: path}
    if not path.is_dir():
        raise PuzzleError(f"{path}: there is no such puzzle folder or packed puzzle; check the path")
    found: dict[str, Path | bytes] = {name: path / name for name in _TOP if (path / name).is_file()}
    for file in sorted((path / "pieces").glob("*")):
        if file.is_file() and not file.name.startswith("."):
            found[f"pieces/{file.name}"] = file
    for name, file in ((name, path / name) for name in found):
        if not _NAME.fullmatch(name):
            raise PuzzleError(f"{file}: is not the name of a puzzle's file; move it elsewhere")
    if not found:
        raise PuzzleError(f"{path}: holds neither pieces nor historical_data.csv; check the path")
    return found


def bundle_digest(files: Files) -> str:
    """``sha256:…`` of the files' names and bytes.

    Raises:
        PuzzleError: a file cannot be read.
    """
    state = hashlib.sha256()
    for name in sorted(files):
        state.update(f"{name}\0{_size(files[name])}\0".encode())
        for chunk in _chunks(files[name]):
            state.update(chunk)
    return f"sha256:{state.hexdigest()}"


def ship(
    backend: Backend,
    files: Files,
    name: str,
    *,
    most_bytes: int = NO_LIMIT,
    quota: int = NO_LIMIT,
    lifetime: float | None = None,
) -> str:
    """Puts a bundle into the store, unless it is there already; its digest. Its lifetime (seconds) begins anew.

    ``most_bytes`` is what one bundle may have, ``quota`` what all of them may. A file that changes meanwhile makes a
    bundle that is not what its digest says: nobody takes it.

    Raises:
        InputError: it is too large.
        PuzzleError: a file cannot be read.
    """
    total = sum(_size(source) for source in files.values())
    if total > most_bytes:
        raise InputError(
            f"{name}: has {total:,} bytes, but a puzzle may have {most_bytes:,}; set PAIRING_PUZZLE_BYTES higher"
        )
    digest = bundle_digest(files)
    about = {"name": name, "bytes": total, "at": time.time()}
    manifest = {
        "schema": SCHEMA,
        "files": [[file, _size(files[file])] for file in sorted(files)],
        "parts": -(-total // PART_BYTES),
    }
    if not backend.renew(_key(digest), *_parts(digest, manifest), lifetime=lifetime):
        taken = sum(bundle.bytes for bundle in shipped(backend) if bundle.digest != digest)
        if taken + total > quota:
            raise InputError(
                f"the store holds {taken:,} bytes of puzzles, and with {name} it would be more than {quota:,}; remove"
                " some (pairing puzzle rm, pairing prune) or set PAIRING_PUZZLES_BYTES higher"
            )
        for key, part in zip(_parts(digest, manifest), _joined(files), strict=False):
            backend.put(key, part, lifetime)
        backend.put(_key(digest), json.dumps(manifest).encode(), lifetime)  # last: a half-shipped bundle is none
    backend.put_field(REGISTRY, digest, json.dumps(about).encode(), lifetime)
    return digest


def fetch(backend: Backend, digest: str, folder: Path) -> None:
    """Writes a bundle's files into an empty folder and checks them against its digest.

    Raises:
        InputError: it is not, or no longer, in the store, or is not what its digest says.
        OSError: the disk does not take it.
    """
    manifest = _manifest(backend, digest)
    state, stream = hashlib.sha256(), _Stream(backend, digest, manifest)
    for name, size in manifest["files"]:
        state.update(f"{name}\0{size}\0".encode())
        file = folder / name
        file.parent.mkdir(exist_ok=True)
        with file.open("xb") as output:
            for chunk in stream.read(size):
                state.update(chunk)
                output.write(chunk)
    if f"sha256:{state.hexdigest()}" != digest:
        raise InputError(f"the puzzle {digest} was changed in the store; {SEND_AGAIN}")


SEND_AGAIN = "send it again (pairing puzzle put PUZZLE), or enqueue the run again with the puzzle's path"


def shipped(backend: Backend) -> list[Shipped]:
    """The bundles in the store, the one that was asked for last first."""
    found = []
    for digest, value in backend.fields(REGISTRY).items():
        about = _about(digest, value)
        if about is None or backend.get(_key(digest)) is None:
            backend.remove_field(REGISTRY, digest)  # its lifetime is over, or somebody else has written it
        else:
            found.append(about)
    return sorted(found, key=lambda bundle: -bundle.at)


def names_of(backend: Backend, digests: Sequence[str]) -> dict[str, str]:
    """What those of the bundles are called that are in the store, by their digests; in one round trip."""
    values = zip(digests, backend.some_fields(REGISTRY, digests), strict=True) if digests else ()
    found = (_about(digest, value) for digest, value in values if value is not None)
    return {about.digest: about.name for about in found if about is not None}


def _about(digest: str, value: bytes) -> Shipped | None:
    try:
        about = json.loads(value)
        return Shipped(digest=digest, name=str(about["name"]), bytes=int(about["bytes"]), at=float(about["at"]))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def remove(backend: Backend, digest: str) -> bool:
    """Removes a bundle from the store; says whether it was there."""
    try:
        parts = _parts(digest, _manifest(backend, digest))
    except InputError:
        return False
    finally:
        backend.remove_field(REGISTRY, digest)
    backend.remove(_key(digest), *parts)
    return True


def _manifest(backend: Backend, digest: str) -> dict[str, Any]:
    """The manifest of a bundle; nothing in it points outside of a folder."""
    saved = backend.get(_key(digest))
    if saved is None:
        raise InputError(f"the puzzle {digest} is not in the store (any more); {SEND_AGAIN}")
    try:
        manifest = json.loads(saved)
        sound = manifest["schema"] == SCHEMA and isinstance(manifest["parts"], int) and 0 <= manifest["parts"] < 10_000
        names = [name for name, _ in manifest["files"]]
        sound = sound and names == sorted(set(names)) and "pieces" not in names
        for name, size in manifest["files"]:
            sound = sound and bool(_NAME.fullmatch(name)) and isinstance(size, int) and size >= 0
    except (ValueError, KeyError, TypeError, RecursionError):
        sound = False
    if not sound:
        raise InputError(f"the puzzle {digest} was changed in the store, or put there by another version; {SEND_AGAIN}")
    checked: dict[str, Any] = manifest
    return checked


class _Stream:
    """The parts of a bundle one after the other, as one stream of bytes."""

    def __init__(self, backend: Backend, digest: str, manifest: dict[str, Any]) -> None:
        self._backend, self._digest = backend, digest
        self._keys = iter(_parts(digest, manifest))
        self._left = memoryview(b"")

    def read(self, size: int) -> Iterator[memoryview]:
        """The next ``size`` bytes."""
        while size:
            if not self._left:
                part = self._backend.get(next(self._keys, ""))
                if not part:
                    raise InputError(f"the puzzle {self._digest} is not whole in the store; {SEND_AGAIN}")
                self._left = memoryview(part)
            chunk, self._left = self._left[:size], self._left[size:]
            size -= len(chunk)
            yield chunk


def _key(digest: str) -> str:
    return f"pairing.bundle.{digest}"


def _parts(digest: str, manifest: Mapping[str, Any]) -> list[str]:
    return [f"{_key(digest)}.{number}" for number in range(manifest["parts"])]


def _size(source: Path | bytes) -> int:
    if isinstance(source, bytes):
        return len(source)
    try:
        return source.stat().st_size
    except OSError as error:
        raise PuzzleError(f"{source}: cannot be read ({error.strerror}); check the file and its rights") from error


def _chunks(source: Path | bytes) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield source
        return
    try:
        with source.open("rb") as file:
            while chunk := file.read(READ_BYTES):
                yield chunk
    except OSError as error:
        raise PuzzleError(f"{source}: cannot be read ({error.strerror}); check the file and its rights") from error


def _joined(files: Files) -> Iterator[bytes]:
    """All contents in the order of their names, in parts of at most 64 MB."""
    part = bytearray()
    for name in sorted(files):
        for chunk in _chunks(files[name]):
            part += chunk
            while len(part) >= PART_BYTES:
                yield bytes(part[:PART_BYTES])
                del part[:PART_BYTES]
    if part:
        yield bytes(part)
