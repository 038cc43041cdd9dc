"""This host's copies of puzzles: fetched from the store once, checked, shared by its workers, bounded on the disk."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from pairing.errors import PairingError
from tasks.puzzles.bundles import PACKED, fetch
from tasks.store.backend import Backend

ABANDONED_SECONDS = 3600.0


@contextmanager
def cached(backend: Backend, digest: str, folder: Path, most_bytes: int) -> Iterator[Path]:
    """The puzzle of that digest as a folder or packed file below ``folder``, which stays while the block lasts.

    Copies that were used least recently are removed when all of them have more than ``most_bytes``; never one that
    somebody uses.

    Raises:
        InputError: the store has not got it, or not whole.
        PairingError: the disk does not take it.
    """
    place = folder / digest.removeprefix("sha256:")
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = stack.enter_context(_locked(place, fcntl.LOCK_SH))
            while not place.is_dir():
                fcntl.flock(lock, fcntl.LOCK_EX)  # one worker of the host fetches, the others wait for it
                if not place.is_dir():
                    _fetch(backend, digest, place)
                fcntl.flock(lock, fcntl.LOCK_SH)
            os.utime(place)
            _evict(folder, most_bytes)
        except OSError as error:
            raise PairingError(
                f"{folder}: the puzzle cannot be kept there ({error.strerror}); make room, or set PAIRING_CACHE_DIR"
            ) from error
        packed = place / PACKED
        yield packed if packed.is_file() else place


def _fetch(backend: Backend, digest: str, place: Path) -> None:
    """The folder is there whole or not at all."""
    unfinished = Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{place.name}."))
    try:
        fetch(backend, digest, unfinished)
        unfinished.rename(place)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def _evict(folder: Path, most_bytes: int) -> None:
    copies = []
    for place in folder.iterdir():
        with suppress(FileNotFoundError):
            if place.is_dir() and place.name.startswith("."):
                if time.time() - place.stat().st_mtime > ABANDONED_SECONDS:  # whoever fetched was killed
                    shutil.rmtree(place, ignore_errors=True)
            elif place.is_dir():
                copies.append((place.stat().st_mtime, _bytes(place), place))
    taken = sum(size for _, size, _ in copies)
    for _, size, place in sorted(copies):
        if taken <= most_bytes:
            return
        with suppress(BlockingIOError), _locked(place, fcntl.LOCK_EX | fcntl.LOCK_NB):
            shutil.rmtree(place, ignore_errors=True)
            taken -= size


@contextmanager
def _locked(place: Path, how: int) -> Iterator[int]:
    """Holds the lock of a copy. Its file stays when the copy goes: another process may wait for it."""
    handle = os.open(place.with_name(f".{place.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, how)
        yield handle
    finally:
        os.close(handle)


def _bytes(place: Path) -> int:
    return sum(file.stat().st_size for pattern in ("*", "pieces/*") for file in place.glob(pattern) if file.is_file())
