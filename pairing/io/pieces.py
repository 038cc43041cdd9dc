"""The folder of pieces: a linear layer a file, or all in one, ``.pth`` or safetensors."""

from __future__ import annotations

import json
import logging
import re
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pairing.errors import PuzzleError, shown
from pairing.io.floats import as_float32
from pairing.io.packed import array_names
from pairing.io.pth import read_pth
from pairing.io.shapes import Piece

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

_SUFFIXES = (".pth", ".pt", ".safetensors")
_INDEX = ".index.json"
_INDEX_BYTES = 1 << 22
_NUMBERED = re.compile(r"(.*?)([0-9]{1,9})")

Arrays = dict[str, NDArray[np.float32]]


def piece_files(folder: Path) -> list[Path]:
    """The pieces' files: a piece each, or all pieces in one, or in several that an index (``….index.json``) names.

    Reads nothing of them.

    Raises:
        PuzzleError: there are none, or one is no file of pieces; the message names it.
    """
    if not folder.is_dir():
        raise PuzzleError(f"{folder}: there is no such folder; the pieces belong there as piece_0.pth, piece_1.pth, …")
    files = sorted(file for file in folder.iterdir() if not file.name.startswith("."))
    for file in files:
        if not file.name.endswith((*_SUFFIXES, _INDEX)):
            raise PuzzleError(
                f"{folder / shown(file.name)}: is not a piece (piece_N.pth or piece_N.safetensors); move it elsewhere"
            )
        if not file.is_file():
            raise PuzzleError(
                f"{file}: is not a file (but a folder, broken link, pipe or device); copy the piece again"
            )
    if not files:
        raise PuzzleError(f"{folder}: there are no pieces in it (piece_0.pth, piece_1.pth, …)")
    return files


def read_pieces(files: list[Path]) -> list[Piece]:
    """Every piece in the order of the numbers.

    The numbers are those at the ends of the files' names, or of the layers' names where one file holds them all. Where
    these do not tell the layers apart, layers are numbered in the order of their names, and keep these.

    Raises:
        PuzzleError: one is damaged; the message names the file.
    """
    try:
        whole = len(files) == 1 or any(file.name.endswith(_INDEX) for file in files)
        return _layers(files) if whole else _one_each(files)
    except MemoryError as error:
        raise PuzzleError(f"{files[0].parent}: takes more memory than there is; save the pieces again") from error


def _one_each(files: list[Path]) -> list[Piece]:
    """The pieces in files of one each."""
    by_number: dict[int, Path] = {}
    beginnings: dict[str, Path] = {}
    for file in files:
        match = _NUMBERED.fullmatch(file.stem)
        if match is None or len(beginnings | {match[1]: file}) > 1:
            raise PuzzleError(
                f"{file}: is not a piece like the others (piece_N.pth or piece_N.safetensors); move it elsewhere"
            )
        beginnings[match[1]] = file
        other = by_number.setdefault(int(match[2]), file)
        if other != file:
            raise PuzzleError(f"{file}: piece {int(match[2])} is there twice, as {other.name} too; remove one")
    pieces = []
    for number, file in sorted(by_number.items()):
        arrays = _read(file)
        prefix = _prefix(set(arrays), file)
        if prefix:
            _say_prefix(file.parent, prefix)
        pieces.append(_piece(number, file, {key.removeprefix(prefix): array for key, array in arrays.items()}))
    return pieces


def _layers(files: list[Path]) -> list[Piece]:
    """The pieces in a state dict of all layers, in one file or in those that an index names."""
    layers: dict[str, tuple[Path, Arrays]] = {}
    for file in _shards(files):
        for key, array in _read(file, whole=True).items():
            name, _, kind = key.rpartition(".")
            arrays = layers.setdefault(name, (file, {}))[1]
            if not name or kind not in ("weight", "bias") or kind in arrays:
                raise PuzzleError(
                    f"{file}: should hold each layer's NAME.weight and perhaps NAME.bias once, but holds"
                    f" '{shown(key)}'; save the layers' state dict again"
                )
            arrays[kind] = array
    numbers = _numbers(list(layers))
    if numbers is not None:
        return [_piece(numbers[name], *layers[name], place=name) for name in sorted(layers, key=lambda n: numbers[n])]
    ordered = enumerate(sorted(layers, key=_natural))
    return [_piece(number, *layers[name], place=name, name=name) for number, name in ordered]


def _shards(files: list[Path]) -> list[Path]:
    """The files that hold layers: all, or those that the index names."""
    indices = [file for file in files if file.name.endswith(_INDEX)]
    if not indices:
        return files
    index, others = indices[0], [file for file in files if file not in indices]
    try:
        if index.stat().st_size > _INDEX_BYTES:
            raise ValueError("too long")
        named = set(json.loads(index.read_bytes())["weight_map"].values())
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise PuzzleError(f"{index}: is not an index of a model's files; save the model again") from error
    if len(indices) > 1 or named != {file.name for file in others}:
        raise PuzzleError(f"{index}: names other files than there are beside it; copy the files again")
    return others


def _numbers(names: list[str]) -> dict[str, int] | None:
    """The numbers at the names' ends, where they alone tell them apart."""
    matches = [_NUMBERED.fullmatch(name) for name in names]
    numbers = {name: int(match[2]) for name, match in zip(names, matches, strict=True) if match}
    beginnings = {match[1] for match in matches if match}
    return numbers if len(set(numbers.values())) == len(names) and len(beginnings) == 1 else None


def _natural(name: str) -> list[tuple[int, str]]:
    """So that layer10 comes after layer9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]{1,9})", name)]


def _piece(number: int, file: Path, arrays: Arrays, *, place: str = "", name: str = "") -> Piece:
    place = f"{file}: {shown(place)}" if place else str(file)
    if "weight" not in arrays:
        raise PuzzleError(f"{place} has no 'weight'; save the piece again")
    weight, bias = arrays["weight"], arrays.get("bias")
    if weight.ndim != 2 or weight.size == 0:
        raise PuzzleError(f"{place}: 'weight' has shape {weight.shape}; a linear layer's weight has two dimensions")
    if bias is None:
        bias = np.zeros(len(weight), np.float32)
    if bias.shape != (len(weight),):
        raise PuzzleError(
            f"{place}: 'bias' has shape {bias.shape}, but 'weight' {weight.shape} needs {weight.shape[:1]}"
        )
    return Piece(number=number, file=file, place=place, name=shown(name), weight=weight, bias=bias)


def _read(file: Path, whole: bool = False) -> Arrays:
    """A file's arrays, float32 and finite; only a ``whole`` model's may be many."""
    arrays = _read_safetensors(file, whole) if file.suffix == ".safetensors" else read_pth(file, whole)
    for key, array in arrays.items():
        if not np.isfinite(array).all():
            raise PuzzleError(f"{file}: '{shown(key)}' has values that are not finite in float32; save the piece again")
    return arrays


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


def _read_safetensors(file: Path, whole: bool) -> Arrays:
    from safetensors import SafetensorError, deserialize

    arrays = {}
    try:
        names = array_names(file)
        if not whole:
            _prefix(names, file)
        for key, found in deserialize(file.read_bytes()):  # type: ignore[no-untyped-call]
            kind = _FLOATS.get(found["dtype"])
            if kind is None:
                raise PuzzleError(
                    f"{file}: '{key}' is of type {found['dtype']}, not floating-point; save the piece again"
                )
            arrays[key] = as_float32(bytes(found["data"]), kind).reshape(found["shape"])
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise PuzzleError(f"{file}: is not a complete safetensors file; save the piece again") from error
    return arrays
