"""How a worker comes by its puzzle: from this process, this host's cache, the store, or an allowed folder."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pairing.errors import InputError, PuzzleError, shown
from pairing.io.load import load_puzzle
from pairing.model.puzzle import Puzzle
from tasks.puzzles.bundles import DIGEST
from tasks.puzzles.disk_cache import cached
from tasks.store.backend import Backend

KEPT = 2
"""Puzzles that one process keeps: an hour of work has one or two."""


@dataclass(frozen=True, kw_only=True)
class Puzzles:
    """Where puzzles are looked for."""

    cache_dir: Path
    cache_bytes: int
    roots: tuple[Path, ...] = ()
    """Folders below which a puzzle may be named by its path."""

    def named(self, backend: Backend, name: str) -> Puzzle:
        """The puzzle that a caller names by its digest or its path, as its files have it.

        Raises:
            InputError: the name is neither, or the path is not below an allowed folder; the store has not got it; or
                its files are no sound puzzle.
            PairingError: the cache cannot be written.
        """
        if DIGEST.fullmatch(name):
            return self.fetched(backend, name)
        path = Path(name)
        if not path.is_absolute():
            raise InputError(
                f"puzzle: '{shown(name)}' is neither a digest (sha256: and 64 hexadecimal digits) nor an absolute path"
            )
        try:
            resolved = path.resolve()  # through links and '..', to where it really is
            allowed = self._allows(resolved) and all(map(self._allows, _files(resolved)))
        except (OSError, ValueError, RuntimeError):  # no path at all; a link to itself
            allowed = False
        if not allowed:
            raise InputError(
                f"puzzle: {shown(name)} is not below a folder that this worker allows (PAIRING_PUZZLE_ROOTS), or links"
                " in it lead elsewhere; send the puzzle (pairing puzzle put PUZZLE) and name it by its digest"
            )
        return load_puzzle(resolved)

    def _allows(self, path: Path) -> bool:
        return any(path.resolve().is_relative_to(root.resolve()) for root in self.roots)

    def fetched(self, backend: Backend, digest: str) -> Puzzle:
        """The puzzle of that digest; see ``named``."""
        if not DIGEST.fullmatch(digest):  # it becomes a path
            raise InputError(f"puzzle: '{shown(digest)}' is not a digest (sha256: and 64 hexadecimal digits)")
        found = _kept.pop(digest, None)
        if found is None:
            with cached(backend, digest, self.cache_dir, self.cache_bytes) as path:
                try:
                    found = load_puzzle(path)
                except PuzzleError as error:  # to the caller, who sent the puzzle, this host's cache says nothing
                    said = str(error).replace(f"{path}{os.sep}", "").replace(str(path), "the puzzle")
                    raise PuzzleError(said) from error
        remember(digest, found)
        return found


def _files(puzzle: Path) -> Iterator[Path]:
    """Everything that loading may open."""
    if puzzle.is_dir():
        yield from puzzle.iterdir()
        if (puzzle / "pieces").is_dir():
            yield from (puzzle / "pieces").iterdir()


def remember(digest: str, puzzle: Puzzle) -> None:
    """Keeps a puzzle in this process under its digest."""
    _kept[digest] = puzzle
    while len(_kept) > KEPT:
        _kept.popitem(last=False)


def allowed_roots(setting: str) -> tuple[Path, ...]:
    """The folders in a setting that joins them as in ``PATH``."""
    return tuple(Path(part) for part in setting.split(os.pathsep) if part)


_kept: OrderedDict[str, Puzzle] = OrderedDict()
