"""Damage to the data table and to ``puzzle.json``."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet

from tests.hostile.damages import Victim, kind
from tests.hostile.folder_damages import not_a_file
from tests.support.puzzles import columns_of, csv_of


def _edited(victim: Victim, change: Callable[[list[list[str]]], Any]) -> Path:
    """The CSV file with its cells changed in place; the header is the first row."""
    rows = [line.split(",") for line in victim.csv.read_text().splitlines()]
    change(rows)
    victim.csv.write_text("".join(",".join(row) + "\n" for row in rows))
    return victim.csv


def _with_cell(victim: Victim, texts: list[str]) -> Path:
    def change(rows: list[list[str]]) -> None:
        row = rows[1 + victim.up_to(len(rows) - 1)]
        row[victim.up_to(len(row))] = victim.one_of(texts)

    return _edited(victim, change)


@kind("safetensors")
def missing_column(victim: Victim) -> str:
    def change(rows: list[list[str]]) -> None:
        gone = victim.up_to(victim.puzzle.width)
        for row in rows:
            del row[gone]

    _edited(victim, change)
    return str(victim.path)  # without the last measurement, the pieces do not fit


@kind("safetensors")
def renamed_measurement(victim: Victim) -> Path:
    names = ["measurement_", "Measurement_0", "measurement 0", "measurement_-1", "measurement_0.0", "x"]
    return _edited(victim, lambda rows: rows[0].__setitem__(0, victim.one_of(names)))


@kind("safetensors")
def ragged_rows(victim: Victim) -> Path:
    def change(rows: list[list[str]]) -> None:
        row = rows[1 + victim.up_to(len(rows) - 1)]
        if victim.up_to(2):
            row.extend(["1.0"] * (1 + victim.up_to(3)))
        else:
            del row[1 + victim.up_to(len(row) - 1) :]

    return _edited(victim, change)


@kind("safetensors")
def every_row_of_another_length(victim: Victim) -> Path:
    def change(rows: list[list[str]]) -> None:
        for row in rows[1:]:
            row.append("1.0")

    return _edited(victim, change)


@kind("safetensors")
def a_million_columns(victim: Victim) -> Path:
    count, kinds = 1_000_000, victim.up_to(3)
    head = _MANY if kinds == 0 else b"," * count if kinds == 1 else b"a," * count
    victim.csv.write_bytes(head + b"pred\n" + b"1," * count + b"1\n")
    return victim.csv


_MANY = b"".join(b"measurement_%d," % k for k in range(1_000_000))


@kind("safetensors")
def more_columns_than_taken(victim: Victim) -> Path:
    count = 10_001 + victim.up_to(20_000)
    victim.csv.write_text(",".join(f"measurement_{k}" for k in range(count)) + "\n" + "1," * (count - 1) + "1\n")
    return victim.csv


@kind("safetensors")
def a_cell_that_is_no_number(victim: Victim) -> Path:
    return _with_cell(
        victim, ["", " ", "x", "1.5 m", "1,5", "true", "None", "0x10", "1e", "--1", "2026-01-01", "\0", "é"]
    )


@kind("safetensors")
def nan_or_infinity_in_csv(victim: Victim) -> Path:
    return _with_cell(victim, ["nan", "NaN", "inf", "-inf", "Infinity", "NA", "1e39", "-1e200", "1e400", "9" * 60])


@kind("safetensors")
def a_column_of_something_else(victim: Victim) -> Path:
    texts = victim.one_of([["true", "false"], ["a", "b"], ["2026-01-01", "2026-01-02"], ["", ""], ["nan", "inf"]])

    def change(rows: list[list[str]]) -> None:
        rows[0].append("further")
        for number, row in enumerate(rows[1:]):
            row.append(texts[number % 2])

    return _edited(victim, change)


@kind("safetensors")
def doubled_column(victim: Victim) -> Path:
    def change(rows: list[list[str]]) -> None:
        name = victim.one_of(rows[0])
        again = victim.one_of([name, f'"{name}"'])
        rows[0].append(again)
        for row in rows[1:]:
            row.append("1.0")

    return _edited(victim, change)


@kind("safetensors")
def measurement_in_two_spellings(victim: Victim) -> Path:
    def change(rows: list[list[str]]) -> None:
        rows[0].append(f"measurement_0{victim.up_to(victim.puzzle.width)}")
        for row in rows[1:]:
            row.append("1.0")

    return _edited(victim, change)


@kind("safetensors")
def another_encoding(victim: Victim) -> Path:
    text = victim.csv.read_text().replace("pred", "prëd", 1)
    encoding = victim.one_of(["utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "cp500"])
    victim.csv.write_bytes(text.encode(encoding))
    return victim.csv


@kind("safetensors")
def bytes_that_are_no_text(victim: Victim) -> Path:
    content = bytearray(victim.csv.read_bytes())
    at = victim.up_to(len(content))
    content[at:at] = victim.one_of([b"\xff\xfe\x00", b"\x00", b"\x80", b"\xc3\x28", b"\xed\xa0\x80"])
    victim.csv.write_bytes(content)
    return victim.csv


@kind("safetensors")
def no_table_in_the_file(victim: Victim) -> Path:
    lines = victim.csv.read_bytes().splitlines(keepends=True)
    pickled = b"\x80\x04\x95\x1e\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R."
    others = [b"", b"\n", b"\n\n\n", b"\xef\xbb\xbf", lines[0], b"".join(lines[1:]), b"<html></html>", pickled]
    victim.csv.write_bytes(victim.one_of([*others, victim.rng.bytes(5000), bytes(5000), b'"' + b"a,b\n" * 50_000]))
    return victim.csv


@kind("safetensors")
def a_line_without_end(victim: Victim) -> Path:
    size = (2 + victim.up_to(60)) << 20
    unit = victim.one_of([b"1", b"1,", b"\0", b"a", b'"'])
    first = victim.csv.read_bytes() if victim.up_to(2) else b""
    victim.csv.write_bytes(first + unit * size)
    return victim.csv


@kind("safetensors")
def truncated_csv(victim: Victim) -> Path:
    """Within the last row, before its last cell."""
    content = victim.csv.read_bytes()
    last = content.rstrip().rindex(b"\n") + 1
    end = content.rindex(b",")
    victim.csv.write_bytes(content[: last + 1 + victim.up_to(end - last)])
    return victim.csv


@kind("safetensors")
def no_target(victim: Victim) -> Path:
    columns = {name: values for name, values in columns_of(victim.puzzle).items() if name.startswith("measurement")}
    victim.csv.write_text(csv_of(columns))
    return victim.csv


@kind("safetensors")
def renamed_target(victim: Victim) -> str:
    victim.csv.write_text(victim.csv.read_text().replace("pred", victim.one_of(["Pred", "prediction", "pre d"])))
    return str(victim.path)  # any other column can be the target that is asked for


@kind("safetensors")
def no_file_for_the_table(victim: Victim) -> Path:
    return not_a_file(victim, victim.csv)


@kind("safetensors")
def two_tables_or_none(victim: Victim) -> str:
    if victim.up_to(2):
        victim.csv.unlink()
    else:
        shutil.copy(victim.csv, victim.parquet)
    return victim.csv.name


# --- Parquet


def _parquet(victim: Victim, **columns: Any) -> Path:
    pd.DataFrame({**columns_of(victim.puzzle), **columns}).to_parquet(victim.parquet)
    return victim.parquet


@kind("parquet")
def truncated_parquet(victim: Victim) -> Path:
    content = victim.parquet.read_bytes()
    victim.parquet.write_bytes(content[: victim.up_to(len(content))])
    return victim.parquet


@kind("parquet")
def flipped_end_of_parquet(victim: Victim) -> Path:
    """The footer's length and the format's mark."""
    content = bytearray(victim.parquet.read_bytes())
    content[-1 - victim.up_to(7)] ^= 1 << victim.up_to(8)
    victim.parquet.write_bytes(content)
    return victim.parquet


@kind("parquet")
def parquet_bomb(victim: Victim) -> Path:
    """Millions of equal rows, which take next to nothing in the file."""
    compression = victim.one_of(["zstd", "gzip", "snappy", "none"])
    victim.parquet.write_bytes(_bomb(tuple(columns_of(victim.puzzle)), compression))
    return victim.parquet


@cache
def _bomb(names: tuple[str, ...], compression: str) -> bytes:
    content = io.BytesIO()
    column = pyarrow.array(np.ones(4_000_000, np.float32))
    table = pyarrow.table(dict.fromkeys(names, column))
    pyarrow.parquet.write_table(table, content, compression=compression)
    return content.getvalue()


@kind("parquet")
def wrong_column_in_parquet(victim: Victim) -> Path:
    rows = victim.puzzle.rows
    numbers = np.ones(rows)
    numbers[victim.up_to(rows)] = victim.one_of([np.nan, np.inf, 1e39])
    columns: list[Any] = [
        ["a"] * rows,
        [[1.0, 2.0]] * rows,
        [{"a": 1}] * rows,
        [True, *[False] * (rows - 1)],
        [b"x"] * rows,
        pd.array([None, *[1] * (rows - 1)], dtype="Int64"),
        pd.date_range("2026-01-01", periods=rows),
        numbers,
    ]
    name = victim.one_of(["measurement_0", "further"])
    return _parquet(victim, **{name: victim.one_of(columns)})


@kind("parquet")
def no_table_in_parquet(victim: Victim) -> Path:
    others = [
        b"",
        b"PAR1",
        b"PAR1PAR1",
        b"PAR1" + bytes(100) + b"PAR1",
        victim.rng.bytes(3000),
        b"PAR1\xff\xff\xff\x7fPAR1",
    ]
    if victim.up_to(3):
        victim.parquet.write_bytes(victim.one_of([*others, csv_of(columns_of(victim.puzzle)).encode()]))
    else:
        pd.DataFrame(columns_of(victim.puzzle)).iloc[:0].to_parquet(victim.parquet)
    return victim.parquet
