"""The folder of pieces: one linear layer a file, ``.pth`` or safetensors."""

from __future__ import annotations

import logging
import re
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pairing.errors import PuzzleError, shown
from pairing.floats import as_float32
from pairing.layers import Piece
from pairing.packing import array_names
from pairing.pth import read_pth

logger = logging.getLogger(__name__)

_FLOATS = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E5M2": "float8_e5m2",
    "F8_E4M3": "float8_e4m3fn",
}
"""Floating-point types by safetensors' names."""

_PIECE = re.compile(r"piece_([0-9]{1,9})\.(pth|safetensors)")


def piece_files(folder: Path) -> dict[int, Path]:
    """The pieces' files by their numbers, which run from 0 without a gap. Reads nothing of them.

    Raises:
        PuzzleError: a piece is missing, doubled or no file; the message names the file.
    """
    if not folder.is_dir():
        raise PuzzleError(f"{folder}: there is no such folder; the pieces belong there as piece_0.pth, piece_1.pth, …")
    files: dict[int, Path] = {}
    for file in sorted(folder.iterdir()):
        match = _PIECE.fullmatch(file.name)
        if match is None:
            if file.name.startswith("."):
                continue
            raise PuzzleError(
                f"{folder / shown(file.name)}: is no piece (piece_N.pth or piece_N.safetensors); move it elsewhere"
            )
        number = int(match[1])
        if number in files:
            raise PuzzleError(f"{file}: piece {number} is there twice, as {files[number].name} too; remove one")
        files[number] = file
    if not files:
        raise PuzzleError(f"{folder}: there are no pieces in it (piece_0.pth, piece_1.pth, …)")
    missing = sorted(set(range(len(files))) - set(files))
    if missing:
        raise PuzzleError(
            f"{folder}: piece {missing[0]} is missing (numbers run from 0 without a gap; found {len(files)} pieces,"
            f" the highest is {max(files)}); copy the pieces again"
        )
    for file in files.values():
        if not file.is_file():
            raise PuzzleError(f"{file}: is no file (but a folder, broken link, pipe or device); copy the piece again")
    return files


def read_pieces(files: dict[int, Path]) -> list[Piece]:
    """Every piece in the order of the numbers.

    Raises:
        PuzzleError: one is damaged; the message names the file.
    """
    return [_read_piece(number, files[number]) for number in sorted(files)]


def _read_piece(number: int, file: Path) -> Piece:
    try:
        arrays = _arrays(file)
    except MemoryError as error:
        raise PuzzleError(f"{file}: takes more memory than there is; save the piece again") from error
    weight, bias = arrays["weight"], arrays.get("bias")
    if weight.ndim != 2 or weight.size == 0:
        raise PuzzleError(f"{file}: 'weight' has shape {weight.shape}; a linear layer's weight has two dimensions")
    if bias is None:
        bias = np.zeros(len(weight), np.float32)
    if bias.shape != (len(weight),):
        raise PuzzleError(
            f"{file}: 'bias' has shape {bias.shape}, but 'weight' {weight.shape} needs {weight.shape[:1]}"
        )
    return Piece(number=number, file=file, weight=weight, bias=bias)


def _arrays(file: Path) -> dict[str, NDArray[np.float32]]:
    """A piece's ``weight`` and perhaps ``bias``, float32 and finite."""
    arrays = _read_safetensors(file) if file.suffix == ".safetensors" else read_pth(file)
    prefix = _prefix(set(arrays), file)
    if prefix:
        _say_prefix(file.parent, prefix)
    for key, array in arrays.items():
        if not np.isfinite(array).all():
            raise PuzzleError(f"{file}: '{shown(key)}' has values that are not finite in float32; save the piece again")
    return {key.removeprefix(prefix): array for key, array in arrays.items()}


def _prefix(keys: set[str], file: Path) -> str:
    """What the keys of a piece have before ``weight`` and ``bias``: nothing, or ``linear.``, ``module.0.``, …"""
    prefixes = {key.rpartition(".")[0] + "." * ("." in key) for key in keys}
    prefix = prefixes.pop() if len(prefixes) == 1 else ""
    if f"{prefix}weight" not in keys or keys - {f"{prefix}weight", f"{prefix}bias"}:
        found = shown(", ".join(sorted(keys))) or "nothing"
        raise PuzzleError(f"{file}: should hold 'weight' and perhaps 'bias', but holds {found}; save the piece again")
    return prefix


@cache
def _say_prefix(folder: Path, prefix: str) -> None:
    """Says once of a folder that its pieces' keys have a prefix."""
    logger.warning("%s: keys are read without what they begin with, '%s'", folder, shown(prefix))


def _read_safetensors(file: Path) -> dict[str, NDArray[np.float32]]:
    from safetensors import SafetensorError, deserialize

    arrays = {}
    try:
        _prefix(array_names(file), file)
        for key, found in deserialize(file.read_bytes()):  # type: ignore[no-untyped-call]
            kind = _FLOATS.get(found["dtype"])
            if kind is None:
                raise PuzzleError(
                    f"{file}: '{key}' is of type {found['dtype']}, not floating-point; save the piece again"
                )
            arrays[key] = as_float32(bytes(found["data"]), kind).reshape(found["shape"])
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise PuzzleError(f"{file}: is no whole safetensors file; save the piece again") from error
    return arrays
