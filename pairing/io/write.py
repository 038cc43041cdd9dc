"""A puzzle's files: a folder of the published layout, and the solution beside it, never in it."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pairing.errors import InputError

if TYPE_CHECKING:
    import torch


def checked_folder(folder: Path) -> Path:
    """The folder's absolute path.

    Raises:
        InputError: a puzzle cannot be put there.
    """
    folder = folder.expanduser().resolve()
    if folder.is_dir():
        if any(folder.iterdir()):
            raise InputError(f"{folder} is not empty; name a new folder, or empty this one")
    elif folder.exists():
        raise InputError(f"{folder} is a file; name a new folder")
    if not folder.name:
        raise InputError(f"{folder} cannot hold a puzzle with its solution beside it; name a folder below it")
    return folder


@contextmanager
def appearing_whole(folder: Path, answer_path: Path) -> Iterator[tuple[Path, Path]]:
    """Give paths to write to; put both in place when all is written, and leave nothing when it fails.

    Raises:
        InputError: something could not be written.
    """
    mark = f".{folder.name}.{uuid.uuid4().hex}.part"
    part, answer_part = folder.with_name(mark), folder.with_name(f"{mark}.json")
    try:
        try:
            part.mkdir(parents=True)  # not tempfile: its folders can be read by their owner alone
            yield part, answer_part
            # The solution first: a puzzle that lacks it could not be told from a real one.
            answer_part.replace(answer_path)
            if folder.exists():
                folder.rmdir()
            part.rename(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
            answer_part.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot write the puzzle to {folder}: {error.strerror or error}; name another folder"
        ) from error


def write_pieces(folder: Path, pieces: Mapping[int, torch.nn.Linear]) -> None:
    """Make the folder and write each layer into it under its piece number."""
    import torch

    folder.mkdir()
    for number, layer in pieces.items():
        piece = {"weight": layer.weight.detach().clone(), "bias": layer.bias.detach().clone()}
        torch.save(piece, folder / f"piece_{number}.pth")


def write_data(path: Path, x: NDArray[np.float32], pred: NDArray[np.float32], true: NDArray[np.float32]) -> None:
    """Write the rows as CSV, each number in the fewest digits that give the same float32 back."""
    names = [f"measurement_{column}" for column in range(x.shape[1])]
    for name, columns in (("pred", pred), ("true", true)):
        several = columns.shape[1] > 1
        names += [f"{name}_{column}" for column in range(columns.shape[1])] if several else [name]
    with path.open("w", encoding="ascii", newline="\n") as file:
        file.write(",".join(names) + "\n")
        for row in np.concatenate([x, pred, true], axis=1):
            file.write(",".join(map(str, row)) + "\n")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write the content as indented JSON."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
