"""A whole puzzle as one safetensors file, readable without torch: what the fleet's store holds."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from pairing.errors import PuzzleError, shown
from pairing.io.table import MOST_COLUMNS
from pairing.model.activations import ACTIVATIONS, AUTO
from pairing.model.puzzle import Puzzle

SCHEMA = "1"

_LAYOUT = {
    "inp_weight": "Nhd",
    "inp_bias": "Nh",
    "out_weight": "Ndh",
    "out_bias": "Nd",
    "last_weight": "od",
    "last_bias": "o",
    "rows_in": "Rd",
}
"""Array → its sizes by the letters of ``Puzzle``; targets are ``Ro``."""

_TARGET = "target."

MOST_NUMBER = 999_999_999
"""Of a piece."""

_HEADER_BYTES = 1 << 22
"""Of a puzzle with 10,000 targets it takes about a million."""

_NO_PUZZLE = "is not a packed puzzle, or is damaged; pack it again"


def pack_puzzle(puzzle: Puzzle) -> bytes:
    """The whole puzzle as one safetensors file."""
    from safetensors.numpy import save

    about = {
        "schema": SCHEMA,
        "numbers": json.dumps([puzzle.inp_numbers, puzzle.out_numbers, puzzle.last_number]),
        "names": json.dumps(puzzle.names),
        "name": puzzle.name,
        "activation": puzzle.activation,
        "target": puzzle.target,
        "target_hash": puzzle.target_hash or "",
    }
    return save({k: np.ascontiguousarray(v) for k, v in puzzle.arrays().items()}, {"pairing": json.dumps(about)})


def read_packed(file: Path) -> Puzzle:
    """The puzzle in the file that ``pack_puzzle``'s bytes were written to.

    Raises:
        OSError: it cannot be read.
        PuzzleError: it is no whole packed puzzle; the message names it.
    """
    from safetensors import SafetensorError

    try:
        _check_names(array_names(file), str(file))
    except (SafetensorError, ValueError) as error:
        raise PuzzleError(f"{file}: {_NO_PUZZLE}") from error
    return unpack_puzzle(file.read_bytes(), str(file))


def array_names(file: Path) -> set[str]:
    """The names of the arrays in a safetensors file. They are all there in full; nothing of them is read.

    Raises:
        SafetensorError: the file is damaged, or none.
        ValueError: its header is absurdly long.
    """
    from safetensors import safe_open

    with file.open("rb") as content:
        if int.from_bytes(content.read(8), "little") > _HEADER_BYTES:
            raise ValueError("the header is too long")
    with safe_open(file, "np") as opened:
        return set(opened.keys())


def unpack_puzzle(packed: bytes, source: str = "packed puzzle") -> Puzzle:
    """The puzzle that ``pack_puzzle`` wrote; everything about it is checked.

    Raises:
        PuzzleError: the bytes are no whole packed puzzle; the message names ``source``.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays: dict[str, Any] = load(packed)
        header = json.loads(packed[8 : 8 + int.from_bytes(packed[:8], "little")])
        about = json.loads(header["__metadata__"]["pairing"])
        if about["schema"] != SCHEMA:
            raise PuzzleError(f"{source}: is packed in another version's way; pack it again with this version")
        inp, out, last = json.loads(about["numbers"])
        numbers = [*inp, *out, last]
        names = json.loads(about.get("names", "[]"))
        texts = {key: about[key] for key in ("name", "activation", "target", "target_hash")}
    except (SafetensorError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise PuzzleError(f"{source}: {_NO_PUZZLE}") from error
    _check_arrays(arrays, source)
    blocks = len(arrays["inp_weight"])
    split = (len(inp), len(out)) == (blocks, blocks)
    if not split or not _are_numbers(numbers) or sorted(inp) != inp or sorted(out) != out:
        raise PuzzleError(
            f"{source}: its piece numbers are not different whole numbers of at most {MOST_NUMBER:,}, split into"
            f" {blocks} inp pieces and {blocks} out pieces in ascending order and the last piece; pack it again"
        )
    if not _are_names(names, numbers):
        raise PuzzleError(f"{source}: the names of its pieces are not a text for each; pack it again")
    _check_texts(texts, source)
    if f"{_TARGET}{texts['target']}" not in arrays:
        raise PuzzleError(f"{source}: its target '{shown(texts['target'])}' is not in it; pack it again")
    return Puzzle(
        **{name: arrays[name] for name in _LAYOUT},
        targets={k.removeprefix(_TARGET): v for k, v in arrays.items() if k.startswith(_TARGET)},
        inp_numbers=tuple(inp),
        out_numbers=tuple(out),
        last_number=last,
        names=tuple(map(shown, names)),
        **texts | {"name": shown(texts["name"]), "target_hash": texts["target_hash"] or None},
    )


def _check_names(names: set[str], source: str) -> set[str]:
    """The names of the targets."""
    targets = {name for name in names if name.startswith(_TARGET)}
    if names - targets != set(_LAYOUT) or not 0 < len(targets) <= MOST_COLUMNS:
        found = shown(", ".join(sorted(names))) or "nothing"
        raise PuzzleError(f"{source}: should hold {', '.join(_LAYOUT)} and targets, but holds {found}; pack it again")
    return targets


def _check_arrays(arrays: dict[str, Any], source: str) -> None:
    targets = _check_names(set(arrays), source)
    sizes: dict[str, int] = {}
    for name in (*_LAYOUT, *sorted(targets)):
        array, letters = arrays[name], _LAYOUT.get(name, "Ro")
        if array.dtype != (np.float64 if name in targets else np.float32):
            raise PuzzleError(f"{source}: '{shown(name)}' is of the wrong type {array.dtype}; pack it again")
        alike = array.ndim == len(letters)
        alike = alike and all(sizes.setdefault(x, n) == n > 0 for x, n in zip(letters, array.shape, strict=True))
        if not alike:
            raise PuzzleError(f"{source}: '{shown(name)}' has the wrong shape {array.shape}; pack it again")
        with np.errstate(over="ignore"):
            finite = np.isfinite(array.astype(np.float32, copy=False)).all()
        if not finite:
            raise PuzzleError(f"{source}: '{shown(name)}' has values that are not finite in float32; correct the data")


def _are_numbers(numbers: list[Any]) -> bool:
    different = len(set(map(str, numbers))) == len(numbers)
    return different and all(type(number) is int and 0 <= number <= MOST_NUMBER for number in numbers)


def _are_names(names: Any, numbers: list[int]) -> bool:
    """Whether there are none, or there is one for each of the numbers, which are places among them then."""
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return False
    return not names or (len(names) == len(numbers) and sorted(numbers) == list(range(len(names))))


def _check_texts(texts: dict[str, Any], source: str) -> None:
    for key, value in texts.items():
        if not isinstance(value, str):
            raise PuzzleError(f"{source}: '{key}' should be a text; pack it again")
    if texts["activation"] not in (AUTO, *ACTIVATIONS):
        raise PuzzleError(
            f"{source}: its activation is unknown; known: {AUTO}, {', '.join(ACTIVATIONS)}. Pack it again"
        )
    if not re.fullmatch(r"(?:[0-9a-f]{64})?", texts["target_hash"]):
        raise PuzzleError(f"{source}: its target hash is not the 64 hexadecimal digits of a SHA-256; pack it again")
