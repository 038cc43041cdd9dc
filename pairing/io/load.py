"""Read and validate a puzzle: a folder in the published layout, or one packed file.

Everything in the files is untrusted: pieces are read as plain tensors only, and whatever is missing, doubled,
ragged, ambiguous or not finite is an error that names the file.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pairing.arrays import Array64
from pairing.errors import PuzzleError, shown
from pairing.io.inflating import DATA_FILES, open_inflated
from pairing.io.packed import read_packed
from pairing.io.pieces import piece_files, read_pieces
from pairing.io.shapes import sort_pieces
from pairing.io.table import Columns, joined, table_parts
from pairing.model.activations import ACTIVATIONS, AUTO
from pairing.model.puzzle import PUBLISHED_DATA_SHA256, PUBLISHED_DIGEST, PUBLISHED_TARGET_HASH, Puzzle

logger = logging.getLogger(__name__)

_MEASUREMENT = re.compile(r"measurement_([0-9]{1,9})")
_DESCRIPTION_BYTES = 1 << 20


def load_puzzle(path: str | Path) -> Puzzle:
    """The puzzle in a folder (``pieces/``, ``historical_data.csv``, perhaps ``puzzle.json``) or packed file.

    Raises:
        PuzzleError: something is missing, damaged or ambiguous; the message names the file and what to do.
    """
    path = Path(path)
    try:
        return _load_puzzle(path)
    except OSError as error:
        place = error.filename or path
        raise PuzzleError(f"{place}: cannot be read ({error.strerror}); check the file and its rights") from error
    except MemoryError as error:
        raise PuzzleError(f"{path}: takes more memory than there is; give a smaller puzzle") from error


def _load_puzzle(path: Path) -> Puzzle:
    if path.is_file():
        return read_packed(path)
    if not path.is_dir():
        raise PuzzleError(f"{path}: there is no such puzzle folder or packed puzzle; check the path")
    data_file = _data_file(path)
    about = _read_description(path / "puzzle.json")
    pieces = read_pieces(piece_files(path / "pieces"))  # what costs little is first
    rows_in, targets = _read_data(data_file)
    layers = sort_pieces(pieces, rows_in.shape[1], data_file)
    if pieces[-1].number >= len(pieces):
        logger.warning("%s: the pieces' numbers have gaps; permutations hold them as they are", path)
    if layers["names"]:
        logger.warning("%s: the layers' names do not number them; 0 is the first of the names in their order", path)
    outputs = len(layers["last_weight"])
    puzzle = Puzzle(
        **layers,
        rows_in=rows_in,
        targets=_group_targets(targets, outputs, data_file),
        name=shown(about.get("name", path.resolve().name)),
        activation=about.get("activation", "relu"),
        target_hash=about.get("target_hash"),
    )
    if puzzle.target_hash is None and _is_published(puzzle, data_file):
        return puzzle.with_options(target_hash=PUBLISHED_TARGET_HASH)
    return puzzle


def _is_published(puzzle: Puzzle, data_file: Path) -> bool:
    """Whether this is the published puzzle itself: with its data but renumbered pieces, its hash would never match."""
    return _sha256(data_file) == PUBLISHED_DATA_SHA256 and puzzle.digest == PUBLISHED_DIGEST


def _sha256(path: Path) -> str:
    with open_inflated(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- data -----------------------------------------------------------------------------------------------------------


def _data_file(folder: Path) -> Path:
    found = [folder / name for name in DATA_FILES if os.path.lexists(folder / name)]
    if not found:
        raise PuzzleError(f"{folder}: there is no {DATA_FILES[0]} (or .parquet, .csv.gz) in it; put the data there")
    if len(found) > 1:
        raise PuzzleError(f"{found[0]}: {found[1].name} is there too; keep only one of them")
    if not found[0].is_file():
        raise PuzzleError(
            f"{found[0]}: is not a file (but a folder, a broken link, a pipe or a device); put the data table there"
        )
    return found[0]


def _read_data(file: Path) -> tuple[NDArray[np.float32], dict[str, Array64]]:
    """The inputs (R, d) float32, and every other column by its name."""
    inputs: list[NDArray[np.float32]] = []
    others: dict[str, list[Array64]] = {}
    for table in table_parts(file):
        rows, columns = _split_table(table, file)
        inputs.append(rows)
        for name, values in columns.items():
            others.setdefault(name, []).append(values)
    return joined(inputs), {name: joined(parts) for name, parts in others.items()}


def _split_table(table: Columns, file: Path) -> tuple[NDArray[np.float32], dict[str, Array64]]:
    numbers: dict[int, str] = {}
    for column in table:
        if match := _MEASUREMENT.fullmatch(column):
            other = numbers.setdefault(int(match[1]), column)
            if other != column:
                raise PuzzleError(
                    f"{file}: columns '{shown(other)}' and '{shown(column)}' are the same measurement; remove one"
                )
    if not numbers:
        raise PuzzleError(f"{file}: has no columns measurement_0, measurement_1, …; export the data again")
    for number in range(max(numbers) + 1 if len(numbers) <= max(numbers) else 0):
        if number not in numbers:
            raise PuzzleError(f"{file}: column 'measurement_{number}' is missing; export the data again")
    inputs = np.empty((len(table[numbers[0]]), len(numbers)), np.float32)
    for number, name in numbers.items():
        inputs[:, number] = table[name]
    others = table.keys() - set(numbers.values())
    # Copies: a view would keep the whole part in memory.
    return inputs, {name: np.array(table[name], np.float64) for name in table if name in others}


def _group_targets(columns: dict[str, Array64], outputs: int, file: Path) -> dict[str, Array64]:
    """Target name to (R, o): ``pred`` for one output, ``pred_0 … pred_{o−1}`` for several."""
    if not columns:
        wanted = "'pred'" if outputs == 1 else f"'pred_0' … 'pred_{outputs - 1}'"
        raise PuzzleError(f"{file}: has no target, only measurements; add the network's predictions as {wanted}")
    if outputs == 1:
        return {name: values[:, None] for name, values in columns.items()}
    grouped: dict[str, Array64] = {}
    for name in sorted({m[1] for c in columns if (m := re.fullmatch(r"(.+)_\d+", c))}):
        parts = [f"{name}_{k}" for k in range(outputs)]
        if all(part in columns for part in parts) and f"{name}_{outputs}" not in columns:
            grouped[name] = np.stack([columns[part] for part in parts], axis=1)
    if not grouped:
        raise PuzzleError(
            f"{file}: the last layer has {outputs} outputs, so the data needs columns pred_0 … pred_{outputs - 1}"
        )
    return grouped


# --- puzzle.json ----------------------------------------------------------------------------------------------------


def _read_description(file: Path) -> dict[str, str]:
    if not os.path.lexists(file):
        return {}
    if not file.is_file() or file.stat().st_size > _DESCRIPTION_BYTES:
        raise PuzzleError(f"{file}: is not a file, or is too long; correct it or remove it")
    try:
        about = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise PuzzleError(f"{file}: is not valid JSON; correct it or remove it") from error
    if not isinstance(about, dict):
        raise PuzzleError(f"{file}: should hold one JSON object; correct it or remove it")
    known = {"name", "target_hash", "activation"}
    about = {key: value for key, value in about.items() if key in known and value is not None}
    for key, value in about.items():
        if not isinstance(value, str):
            raise PuzzleError(f"{file}: '{key}' should be a text; correct it")
    if about.get("activation", "relu") not in (AUTO, *ACTIVATIONS):
        raise PuzzleError(f"{file}: 'activation' is unknown; correct it to one of {AUTO}, {', '.join(ACTIVATIONS)}")
    if "target_hash" in about:
        about["target_hash"] = parse_hash(about["target_hash"], f"{file}: 'target_hash'")
    return about


def parse_hash(text: str, place: str) -> str:
    """A SHA-256 in hexadecimal, in lower case.

    Raises:
        PuzzleError: it is none; the message starts with ``place``.
    """
    text = text.strip().lower()
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise PuzzleError(f"{place} should be the 64 hexadecimal digits of a SHA-256")
    return text
