"""A data table in parts, so that a long one is never in memory as text or in float64."""

from __future__ import annotations

import csv
import io
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from pairing.errors import PuzzleError, shown

logger = logging.getLogger(__name__)

Number = TypeVar("Number", bound=np.floating)

PART_BYTES = 1 << 25
"""Text of a CSV file that is parsed at once."""

PART_ROWS = 50_000
"""Rows of a Parquet file that are read at once."""

MOST_COLUMNS = 10_000

LONGEST_LINE = 1 << 20
"""Bytes of a CSV file's line: pyarrow takes no longer ones."""

MOST_INFLATED = 100
"""How many times its size a Parquet file may grow in memory, beyond what is little anyway."""

_LITTLE_BYTES = 1 << 26


def table_parts(file: Path) -> Iterator[Any]:
    """The table in a CSV or Parquet file as pandas DataFrames, one after the other.

    There is at least one row; columns are unique and numeric, and every cell is finite in float32.

    Raises:
        PuzzleError: the table is none, or not like that; the message names the file, and the row and column.
    """
    rows = 0
    for table in _read_parts(file):
        if len(table):
            _check_cells(table, rows, file)
            rows += len(table)
            yield table
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
        raise PuzzleError(f"{file}: is no readable table ({reason}); export the data again") from error
    except OSError as error:
        raise PuzzleError(f"{file}: cannot be read ({shown(error.strerror or error)}); check the file") from error


def _check_cells(table: Any, rows_before: int, file: Path) -> None:
    """Refuses columns that are not numeric, and cells that are not finite in float32."""
    import pandas as pd

    for column in table.columns:
        kind = table[column].dtype
        if not pd.api.types.is_numeric_dtype(kind) or pd.api.types.is_bool_dtype(kind):
            raise PuzzleError(
                f"{file}: column '{shown(column)}' holds something else than numbers; export the data again"
            )
        values = table[column].to_numpy(np.float64)
        with np.errstate(over="ignore"):
            wrong = np.flatnonzero(~np.isfinite(values.astype(np.float32)))
        if wrong.size:
            what = "too large for float32" if np.isfinite(values[wrong[0]]) else "empty, NaN or infinite"
            row = rows_before + wrong[0] + 1
            raise PuzzleError(f"{file}: row {row} of column '{shown(column)}' is {what}; mend the data")


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
    import pandas as pd

    with file.open("rb") as text:
        header = _line(text)
        part = text.read(PART_BYTES) + _line(text)
        separator, decimal = _spelling(header, part.partition(b"\n")[0])
        names = next(csv.reader([header.decode("utf-8-sig")], delimiter=separator, strict=True))
        names = [name.strip() for name in names]
        _check_names(names, file)
        rows = 0
        while True:
            # The pyarrow reader parses decimals exactly, and refuses ragged rows, which the default one fills with NaN.
            table = pd.read_csv(io.BytesIO(header + part), engine="pyarrow", sep=separator, decimal=decimal)
            table.columns = pd.Index(names)
            yield _without_index(table, rows, file) if names[0] == "" else table
            rows += len(table)
            part = text.read(PART_BYTES) + _line(text)
            if not part.strip():
                return


def _spelling(header: bytes, first_row: bytes) -> tuple[str, str]:
    """What separates columns, and whole numbers from their decimals: semicolons or tabs only where no comma does."""
    separators = [mark for mark in (b";", b"\t") if mark in header and b"," not in header]
    if len(separators) != 1:
        return ",", "."
    return separators[0].decode(), "," if b"," in first_row else "."


def _without_index(table: Any, before: int, file: Path) -> Any:
    """The table without its first column, which has no name: pandas writes a table's index so, unless told not to.

    Raises:
        PuzzleError: the column is no count of the rows.
    """
    if not np.array_equal(table.iloc[:, 0].to_numpy(), np.arange(before, before + len(table))):
        raise PuzzleError(f"{file}: the first column has no name, and does not count the rows; name or remove it")
    if before == 0:
        logger.warning("%s: the first column has no name and counts the rows; it is ignored", file)
    return table.iloc[:, 1:]


def _line(text: BinaryIO) -> bytes:
    line = text.readline(LONGEST_LINE)
    if len(line) == LONGEST_LINE:
        raise ValueError(f"a line has more than {LONGEST_LINE:,} bytes")
    return line


def _parquet_parts(file: Path) -> Iterator[Any]:
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    with ParquetFile(file) as table:
        names = table.schema_arrow.names
        _check_names(names, file)
        about = table.metadata
        inflated = sum(about.row_group(group).total_byte_size for group in range(about.num_row_groups))
        needed = max(inflated, 4 * about.num_rows * len(names))
        if needed > max(_LITTLE_BYTES, MOST_INFLATED * file.stat().st_size):
            raise ValueError(f"it would grow to {needed:,} bytes")
        for batch in table.iter_batches(PART_ROWS):
            yield pa.Table.from_batches([batch]).to_pandas()
