"""Winners that could not be stored, kept in files until the pool takes them.

One winner is one file, named after its content, so spooling it twice leaves one file. Storing it exactly
once does not depend on the files: ``Pool.insert`` sees to that, however often it is called. Files that will never be
stored go to the folder ``rejected`` in it, and are nobody's business but a person's.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from pairing.errors import InputError, PairingError
from tasks.contracts.errors import PoolError, SpoolError
from tasks.pool.engine import checked_url
from tasks.pool.improvement import is_winner
from tasks.pool.repository import Inserted, Pool, PoolRow, Provenance, RowError, Winner

_VERSION = 2
REJECTED = "rejected"


@dataclass(frozen=True, kw_only=True)
class Flushed:
    """What became of one spooled winner.

    Attributes:
        path: its file; gone when the winner is stored.
        inserted: the pool's row, None when it is not stored.
        provenance: where it came from, None when it is not stored.
        error: why it is not stored, None when it is.
    """

    path: Path
    inserted: Inserted | None = None
    provenance: Provenance | None = None
    error: PairingError | None = None


@dataclass(frozen=True, kw_only=True)
class Check:
    """What a winner has to beat when it is stored: rows on record for its puzzle, whose errors are over all rows.

    Other rows may say anything of themselves; whether it is true, nobody knows who has not got the puzzle.

    Attributes:
        each: whether rows of its own run do not count.
        variance: the target's.
    """

    each: bool = False
    variance: float = 0.0

    def as_good(self, winner: Winner, provenance: Provenance) -> Callable[[list[PoolRow]], int | None]:
        """Of the pool's rows, the id of one that is as good as the winner."""

        def find(rows: list[PoolRow]) -> int | None:
            counting = (row for row in rows if row.run is not None and not (self.each and row.run == provenance.run))
            best = min(counting, key=lambda row: row.full_mse, default=None)
            beaten = best is not None and not is_winner(winner.full_mse, best.full_mse, self.variance)
            return best.id if best is not None and beaten else None

        return find


def spool_winner(folder: Path, url: str, winner: Winner, provenance: Provenance, check: Check | None = None) -> Path:
    """Keep a winner durably for the pool at ``url``; it survives a crash of the host from then on.

    Args:
        folder: where to keep it; made when missing.
        url: the pool's address, without a password.
        winner: what could not be stored.
        provenance: where it came from.
        check: what it has to beat when it is stored.

    Returns:
        The file, readable by its owner only.

    Raises:
        InputError: the address is wrong or holds a password.
        SpoolError: the file cannot be written.
    """
    content = {
        "version": _VERSION,
        "url": checked_url(url).render_as_string(),
        "winner": winner.model_dump(),
        "provenance": provenance.model_dump(),
        "check": asdict(check or Check()),
    }
    text = json.dumps(content, sort_keys=True, allow_nan=False).encode()
    path = folder / f"{_digest(text)}.json"
    try:
        _make_folder(folder)
        _write_durably(path, text)
    except OSError as error:
        raise SpoolError(
            f"The winner cannot be kept as {path}: {error.strerror}. "
            "Make room there or correct the folder's rights, then store the result again."
        ) from error
    return path


def kept_for(path: Path) -> str:
    """The address of the pool that a spooled winner is for.

    Raises:
        SpoolError: the file is damaged, and out of the way now, or cannot be read.
        FileNotFoundError: the winner was stored meanwhile.
    """
    try:
        with path.open("rb") as file:
            return _read(path, file)[0]
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _unreadable(path, error) from error
    except SpoolError as error:
        raise _rejected(path, error) from error


def flush_spool(folder: Path, pool: Pool, url: str) -> list[Flushed]:
    """Store the winners that are kept for the pool at ``url``; each file goes when its row is read back.

    A file that another process is storing, and winners for other pools, are passed over. A winner that a row of the
    pool is as good as by now is not stored. A damaged file, and a winner that the database refuses, are reported, go to
    the folder ``rejected``, and stop no other. When the pool cannot be reached that is reported once and the rest is
    left for later.

    Args:
        folder: where the winners are kept; it may be missing.
        pool: the open pool.
        url: its address, as given to ``spool_winner``.

    Returns:
        What became of each winner that was tried, in the order of the files' names.

    Raises:
        InputError: the address is wrong or holds a password.
    """
    address = checked_url(url).render_as_string()
    flushed: list[Flushed] = []
    for path in sorted(folder.glob("*.json")):
        result = _flush_file(path, pool, address)
        if result is None:
            continue
        flushed.append(result)
        if isinstance(result.error, PoolError) and not isinstance(result.error, RowError):
            break
    return flushed


def _flush_file(path: Path, pool: Pool, address: str) -> Flushed | None:
    """Store one winner. None: it is another process's to store, or another pool's."""
    try:
        with path.open("rb") as file:
            if not _locked(file):
                return None
            kept_for, winner, provenance, check = _read(path, file)
            if kept_for != address:
                return None
            inserted = pool.insert(winner, provenance, check.as_good(winner, provenance))
            path.unlink(missing_ok=True)
    except FileNotFoundError:  # stored by another process since the folder was listed
        return None
    except OSError as error:
        return Flushed(path=path, error=_unreadable(path, error))
    except PairingError as error:
        useless = isinstance(error, SpoolError | RowError)
        return Flushed(path=path, error=_rejected(path, error) if useless else error)
    return Flushed(path=path, inserted=inserted, provenance=provenance)


def _rejected(path: Path, error: PairingError) -> SpoolError:
    """Puts a file that will never be stored out of the way: what to say of it."""
    place = path.parent / REJECTED / path.name
    try:
        _make_folder(place.parent)
        os.replace(path, place)
        _sync_folder(place.parent)
    except FileNotFoundError:
        pass  # another process was first
    except OSError as refused:
        return SpoolError(f"{error} It cannot be moved to {place} ({refused.strerror}).")
    return SpoolError(f"{str(error).replace(str(path), str(place))} It is kept as {place}.")


def _locked(file: IO[bytes]) -> bool:
    """Whether the file is now ours to store. The lock goes when the file is closed, or with the process."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    # Without a name it was stored and deleted by the process that had the lock before.
    return os.fstat(file.fileno()).st_nlink > 0


def _unreadable(path: Path, error: OSError) -> SpoolError:
    return SpoolError(f"{path}: {error.strerror}. Correct that and try again.")


def _read(path: Path, file: IO[bytes]) -> tuple[str, Winner, Provenance, Check]:
    """A spooled winner: the pool's address, the winner, where it came from, what it has to beat."""
    text = file.read()
    try:
        if _digest(text) != path.stem:
            raise ValueError("the content is not what was written")
        content = json.loads(text)
        if content["version"] not in (1, _VERSION):  # the first had no check
            raise ValueError("another version's format")
        check = Check(**content.get("check", {}))
        return content["url"], Winner(**content["winner"]), Provenance(**content["provenance"]), check
    except (AttributeError, KeyError, TypeError, ValueError, InputError) as error:
        raise SpoolError(
            f"{path} is damaged or of another version. Look whether the winner in it can be read, store it by hand or "
            "with the version that wrote it, then remove the file."
        ) from error


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


def _write_durably(path: Path, text: bytes) -> None:
    """Write under a temporary name, then rename: the file is whole or it is not there."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")  # mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it, each durably."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
