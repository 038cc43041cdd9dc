"""Which code this is: a digest, which tells two installations apart where their versions do not."""

from __future__ import annotations

import hashlib
from pathlib import Path

import config
import pairing

FOLDERS = (Path(pairing.__file__).parent, Path(__file__).parents[1], Path(config.__file__).parent)
"""The folders of our packages."""


def code_digest() -> str:
    """SHA-256 over the names and bytes of our packages' Python files as they are on disk now: 64 hex digits."""
    digest = hashlib.sha256()
    for folder in FOLDERS:
        for path in sorted(folder.rglob("*.py")):
            name = f"{folder.name}/{path.relative_to(folder).as_posix()}"
            digest.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


LOADED = code_digest()
"""The digest when this process loaded its code."""
