"""Files that a command has written on a host, with a list of them, so that it can say and take back exactly these."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pairing.errors import InputError
from tasks.contracts.files import write_whole

News = list[tuple[Path, str]]
"""Of every file, what became of it or how it is."""


@dataclass
class _Written:
    """The list: digests of the files' contents and the folders that were made, by their paths."""

    files: dict[Path, str] = field(default_factory=dict)
    folders: list[Path] = field(default_factory=list)


def write_files(files: Mapping[Path, str], manifest: Path) -> News:
    """Writes files, each whole, and removes those that were written before and are none of them any more.

    Args:
        files: what they shall hold, by their paths.
        manifest: where the list of them is kept.

    Returns:
        What became of each.

    Raises:
        InputError: a file of that name is somebody else's or was edited (nothing has been changed then), or one cannot
            be written.
    """
    written = _read(manifest)
    wanted = {path: _digest(text.encode()) for path, text in files.items()}
    for path, digest in wanted.items():
        if _found(path) not in (None, digest, written.files.get(path)):
            raise InputError(f"{path}: was not written by this command, or was edited since; move it away, call again")
    obsolete = {path: digest for path, digest in written.files.items() if path not in wanted}
    folders = [folder for path in (*files, manifest) for folder in _missing(path.parent)]
    written.folders = list(dict.fromkeys([*written.folders, *folders]))
    # The list comes first: a call that is interrupted leaves no file that it does not name.
    written.files |= {path: digest for path, digest in wanted.items() if _found(path) in (None, digest)}
    try:
        _write(manifest, written)
        news = [(path, _write_one(path, text)) for path, text in files.items()]
        news += _remove(obsolete)
        written.files = wanted | {path: digest for path, digest in obsolete.items() if path.exists()}
        _write(manifest, written)
    except OSError as error:
        raise _refused(error) from error
    return news


def remove_files(manifest: Path) -> News:
    """Removes what ``write_files`` wrote, and the folders that it made, where they are empty; what became of each.

    A file that was edited since stays, and stays in the list.

    Raises:
        InputError: a file cannot be removed.
    """
    written = _read(manifest)
    try:
        news = _remove(written.files)
        written.files = {path: digest for path, digest in written.files.items() if path.exists()}
        if written.files:
            _write(manifest, written)
        else:
            manifest.unlink(missing_ok=True)
        for folder in sorted(written.folders, key=lambda folder: -len(folder.parts)):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
    except OSError as error:
        raise _refused(error) from error
    return news


def compare_files(files: Mapping[Path, str], manifest: Path) -> News:
    """Says of every file whether it is ``as installed``, or what else; and of what an older version left."""
    written = _read(manifest).files
    news = []
    for path, text in files.items():
        found = _found(path)
        if found is None:
            state = "missing"
        elif found == _digest(text.encode()):
            state = "as installed"
        else:
            state = "of another installation: install again" if found == written.get(path) else "edited"
        news.append((path, state))
    return news + [(path, "no longer used: install again") for path in written if path not in files]


def _read(manifest: Path) -> _Written:
    if not manifest.exists():
        return _Written()
    record = json.loads(manifest.read_text(encoding="utf-8"))
    here = manifest.parent
    files = {Path(os.path.normpath(here / path)): digest for path, digest in record["files"].items()}
    return _Written(files, [Path(os.path.normpath(here / path)) for path in record["folders"]])


def _write(manifest: Path, written: _Written) -> None:
    manifest.parent.mkdir(parents=True, exist_ok=True)
    here = manifest.parent  # relative to it, so that a folder that stands for / may be moved to its place
    record = {
        "schema": 1,
        "files": {os.path.relpath(path, here): digest for path, digest in written.files.items()},
        "folders": [os.path.relpath(path, here) for path in written.folders],
    }
    write_whole(manifest, (json.dumps(record, indent=1) + "\n").encode())


def _write_one(path: Path, text: str) -> str:
    if _found(path) == _digest(text.encode()):
        return "unchanged"
    path.parent.mkdir(parents=True, exist_ok=True)
    news = "replaced" if path.exists() else "written"
    write_whole(path, text.encode())
    return news


def _remove(files: Mapping[Path, str]) -> News:
    news = []
    for path, digest in files.items():
        found = _found(path)
        if found == digest:
            path.unlink()
        news.append((path, {None: "was gone", digest: "removed"}.get(found, "edited, stays")))
    return news


def _found(path: Path) -> str | None:
    return _digest(path.read_bytes()) if path.exists() else None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _missing(folder: Path) -> list[Path]:
    return [parent for parent in (folder, *folder.parents) if not parent.exists()]


def _refused(error: OSError) -> InputError:
    return InputError(f"{error.filename}: {error.strerror}; call it as root, or with --user")
