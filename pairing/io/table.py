"""A data table in parts, so that a long one is never in memory as text or in float64."""

from __future__ import annotations

import csv
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from pairing.errors import PuzzleError, shown
from pairing.io.inflating import most_inflated, open_lines

logger = logging.getLogger(__name__)

Number = TypeVar("Number", bound=np.floating)

PART_BYTES = 1 << 25
"""Text of a CSV file that is parsed at once."""

PART_ROWS = 50_000
"""Rows of a Parquet file that are read at once."""

MOST_COLUMNS = 10_000

LONGEST_LINE = 1 << 20
"""Bytes of a CSV file's line: pyarrow takes no longer ones."""

Columns = dict[str, NDArray[Any]]
"""A part of a table: the cells (r,) of each column, of whatever type they are."""


def table_parts(file: Path) -> Iterator[Columns]:
    """The table in a CSV (perhaps compressed by gzip or Zstandard) or Parquet file, one part after the other.

    There is at least one row; columns are unique and numeric, and every cell is finite in float32.

    Raises:
        PuzzleError: the table is none, or not like that; the message names the file, and the row and column.
    """
    rows = 0
    for table in _read_parts(file):
        if len(table):
            part = {name: _cells(table.column(k), name, rows, file) for k, name in enumerate(table.column_names)}
            part = _without_index(part, rows, file) if "" in part else part
            rows += len(table)
            yield part
    if rows == 0:
        raise PuzzleError(f"{file}: has no rows; export the data again")


def _read_parts(file: Path) -> Iterator[Any]:
    from pyarrow import ArrowException, ArrowInvalid

    try:
        yield from _parquet_parts(file) if file.suffix == ".parquet" else _csv_parts(file)
    except MemoryError as error:
        raise PuzzleError(f"{file}: takes more memory than there is; export the data again") from error
    except (ArrowInvalid, ArrowException, csv.Error, ValueError, UnicodeDecodeError) as error:
        reason = shown(str(error).partition("\n")[0] or type(error).__name__)
        raise PuzzleError(f"{file}: is not a readable table ({reason}); export the data again") from error
    except OSError as error:
        raise PuzzleError(f"{file}: cannot be read ({shown(error.strerror or error)}); check the file") from error


def _cells(column: Any, name: str, rows_before: int, file: Path) -> NDArray[Any]:
    """A column's cells, which have to be numbers and finite in float32."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_decimal(kind) or pa.types.is_null(kind):
        column = column.cast(pa.float64())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise PuzzleError(f"{file}: column '{shown(name)}' holds something other than numbers; export the data again")
    # Arrow's own way to NumPy imports pandas; the other knows no empty cells.
    chunks = [c.to_numpy(zero_copy_only=False) if c.null_count else np.from_dlpack(c) for c in column.chunks]
    values: NDArray[Any] = np.concatenate(chunks)
    with np.errstate(over="ignore"):
        wrong = np.flatnonzero(~np.isfinite(values.astype(np.float32)))
    if wrong.size:
        what = "too large for float32" if np.isfinite(values[wrong[0]]) else "empty, NaN or infinite"
        row = rows_before + wrong[0] + 1
        raise PuzzleError(f"{file}: row {row} of column '{shown(name)}' is {what}; correct the data")
    return values


def _check_names(names: list[str], file: Path) -> None:
    if len(names) > MOST_COLUMNS:
        raise PuzzleError(f"{file}: has {len(names):,} columns, more than {MOST_COLUMNS:,}; export the data again")
    for name in (name for name, times in Counter(names).most_common(1) if times > 1):
        raise PuzzleError(f"{file}: column '{shown(name)}' is there twice; remove one")


def joined(parts: list[NDArray[Number]]) -> NDArray[Number]:
    """The parts (r, …) one after the other as one array. Takes each out of the list, so that none is kept twice."""
    whole = np.empty((sum(map(len, parts)), *parts[0].shape[1:]), parts[0].dtype)
    end = len(whole)
    while parts:
        part = parts.pop()
        whole[end - len(part) : end] = part
        end -= len(part)
    return whole


def _csv_parts(file: Path) -> Iterator[Any]:
    from pyarrow import csv as arrow
    from pyarrow import py_buffer

    with open_lines(file) as text:
        header = _line(text)
        part = text.read(PART_BYTES) + _line(text)
        separator, decimal = _spelling(header, part.partition(b"\n")[0])
        names = next(csv.reader([header.decode("utf-8-sig")], delimiter=separator, strict=True), [""])
        names = [name.strip() for name in names]
        _check_names(names, file)
        while part.strip():
            yield arrow.read_csv(
                py_buffer(part),
                read_options=arrow.ReadOptions(column_names=names, use_threads=False),
                parse_options=arrow.ParseOptions(delimiter=separator),
                convert_options=arrow.ConvertOptions(decimal_point=decimal),
            )
            part = text.read(PART_BYTES) + _line(text)


def _spelling(header: bytes, first_row: bytes) -> tuple[str, str]:
    """What separates columns, and whole numbers from their decimals: semicolons or tabs only where no comma does."""
    separators = [mark for mark in (b";", b"\t") if mark in header and b"," not in header]
    if len(separators) != 1:
        return ",", "."
    return separators[0].decode(), "," if b"," in first_row else "."


def _without_index(part: Columns, before: int, file: Path) -> Columns:
    """The part without the column that has no name: pandas writes a table's index so, unless told not to.

    Raises:
        PuzzleError: the column is no count of the rows.
    """
    index = part.pop("")
    if not np.array_equal(index, np.arange(before, before + len(index))):
        raise PuzzleError(f"{file}: a column has no name, and does not count the rows; name or remove it")
    if before == 0:
        logger.warning("%s: the column without a name counts the rows; it is ignored", file)
    return part


def _line(text: BinaryIO) -> bytes:
    line = text.readline(LONGEST_LINE)
    if len(line) == LONGEST_LINE:
        raise ValueError(f"a line has more than {LONGEST_LINE:,} bytes")
    return line


def _parquet_parts(file: Path) -> Iterator[Any]:
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    with ParquetFile(file) as table:
        described = table.schema_arrow.pandas_metadata
        index = described.get("index_columns", []) if isinstance(described, dict) else []
        names = [name for name in table.schema_arrow.names if name not in index]
        _check_names(names, file)
        about = table.metadata
        inflated = sum(about.row_group(group).total_byte_size for group in range(about.num_row_groups))
        needed = max(inflated, 4 * about.num_rows * len(names))
        if needed > most_inflated(file):
            raise ValueError(f"it would grow to {needed:,} bytes")
        for batch in table.iter_batches(PART_ROWS):
            yield pa.Table.from_batches([batch]).select(names)
