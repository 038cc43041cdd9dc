"""A data table read in parts is the table read whole, and its errors name the rows of the whole."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from pairing.errors import PuzzleError
from pairing.io import inflating, table
from pairing.io.table import joined, table_parts


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "PART_BYTES", 40)
    monkeypatch.setattr(table, "PART_ROWS", 7)


def write(folder: Path, suffix: str, table: pd.DataFrame) -> Path:
    file = folder / f"data.{suffix}"
    if suffix == "csv":
        table.to_csv(file, index=False)
    else:
        table.to_parquet(file)
    return file


def read(file: Path) -> pd.DataFrame:
    return pd.concat(map(pd.DataFrame, table_parts(file)), ignore_index=True)


def some_table(rows: int) -> pd.DataFrame:
    values = np.random.default_rng(0).normal(size=(rows, 2))
    return pd.DataFrame({"a": values[:, 0], "b": values[:, 1], "whole": np.arange(rows)})


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("rows", [1, 7, 50])
def test_parts_are_the_whole_table(tmp_path: Path, suffix: str, rows: int) -> None:
    table = some_table(rows)
    parts = list(table_parts(write(tmp_path, suffix, table)))
    assert len(parts) == 1 if rows == 1 else len(parts) >= rows / 7
    pd.testing.assert_frame_equal(pd.concat(map(pd.DataFrame, parts), ignore_index=True), table)


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_the_last_line_may_end_in_any_way(tmp_path: Path, end: str) -> None:
    file = tmp_path / "data.csv"
    file.write_bytes(("a,b\r\n" + "\r\n".join(f"{k},{k}.5" for k in range(30)) + end).encode())
    assert read(file)["b"].tolist() == [k + 0.5 for k in range(30)]


@pytest.mark.parametrize("end", ["", "\r"])
def test_lines_may_end_as_on_old_macs(tmp_path: Path, end: str) -> None:
    file = tmp_path / "data.csv"
    file.write_bytes(("a,b\r" + "\r".join(f"{k},{k}.5" for k in range(30)) + end).encode())
    assert read(file)["b"].tolist() == [k + 0.5 for k in range(30)]


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@pytest.mark.parametrize("name", ["data.csv", "data.csv.gz"])
def test_a_table_may_be_compressed_whatever_its_name(tmp_path: Path, compression: str, name: str) -> None:
    plain, file = tmp_path / "plain", tmp_path / name
    some_table(50).to_csv(plain, index=False)
    file.write_bytes(pa.Codec(compression).compress(plain.read_bytes(), asbytes=True))
    pd.testing.assert_frame_equal(read(file), some_table(50))


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_what_is_compressed_and_damaged_is_refused(tmp_path: Path, compression: str) -> None:
    file = tmp_path / "data.csv"
    content = pa.Codec(compression).compress(b"a,b\n" + b"1.5,2.25\n" * 1000, asbytes=True)
    file.write_bytes(content[:10] + bytes(8) + content[18:])
    with pytest.raises(PuzzleError, match=r"data\.csv: (is not a readable table|cannot be read)"):
        list(table_parts(file))


def test_what_would_grow_beyond_all_bounds_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inflating, "LITTLE_BYTES", 1 << 16)
    file = tmp_path / "data.csv"
    file.write_bytes(pa.Codec("gzip").compress(b"a,b\n" + b"1,2\n" * 10**5, asbytes=True))
    with pytest.raises(PuzzleError, match="many times its size"):
        list(table_parts(file))


def test_columns_of_parquet_may_be_decimals_or_halves(tmp_path: Path) -> None:
    file = tmp_path / "data.parquet"
    decimals = pa.array([Decimal("0.25"), Decimal("-3.5")], pa.decimal128(10, 2))
    halves = pa.array(np.array([0.5, 1.5], np.float16))
    parquet.write_table(pa.table({"decimals": decimals, "halves": halves}), file)
    assert read(file).astype(float).to_numpy().tolist() == [[0.25, 0.5], [-3.5, 1.5]]


def test_an_index_that_pandas_wrote_to_parquet_is_none_of_the_columns(tmp_path: Path) -> None:
    file, table = tmp_path / "data.parquet", some_table(50)
    table.set_index(pd.Index(range(100, 150), name="row")).to_parquet(file)
    table.sample(frac=1, random_state=0).to_parquet(tmp_path / "shuffled.parquet")
    assert list(read(file)) == list(read(tmp_path / "shuffled.parquet")) == list(table)


def test_there_may_be_spaces_after_the_commas(tmp_path: Path) -> None:
    file = tmp_path / "data.csv"
    file.write_text("a, b , c\n1, 2.5,  -3\n4, 5e-1 ,6\n")
    table = read(file)
    assert list(table.columns) == ["a", "b", "c"]
    assert table.to_numpy().tolist() == [[1, 2.5, -3], [4, 0.5, 6]]


@pytest.mark.parametrize(("separator", "decimal"), [(";", ","), (";", "."), ("\t", "."), ("\t", ",")])
def test_what_separates_is_told_by_the_header(tmp_path: Path, separator: str, decimal: str) -> None:
    file, table = tmp_path / "data.csv", some_table(50)
    table.to_csv(file, index=False, sep=separator, decimal=decimal)
    pd.testing.assert_frame_equal(read(file), table)


def test_an_index_is_ignored_and_that_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file, table = tmp_path / "data.csv", some_table(50)
    table.to_csv(file)
    pd.testing.assert_frame_equal(read(file), table)
    (said,) = caplog.messages
    assert str(file) in said
    assert "ignored" in said


def test_a_column_without_a_name_that_is_no_index_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "data.csv"
    some_table(50).iloc[::-1].to_csv(file)
    with pytest.raises(PuzzleError, match="a column has no name"):
        list(table_parts(file))


def test_a_column_may_be_whole_in_one_part_and_not_in_the_next(tmp_path: Path) -> None:
    file = write(tmp_path, "csv", pd.DataFrame({"a": ["1"] * 30 + ["0.5"] * 30}))
    assert read(file)["a"].tolist() == [1.0] * 30 + [0.5] * 30


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_bad_cell_is_named_by_its_row_in_the_whole(tmp_path: Path, suffix: str) -> None:
    table = some_table(50)
    table.loc[40, "b"] = np.inf
    with pytest.raises(PuzzleError, match=r"data\.\w+: row 41 of column 'b' is empty, NaN or infinite"):
        list(table_parts(write(tmp_path, suffix, table)))


@pytest.mark.parametrize(("line", "reason"), [("1,2,3", "Expected 2 columns, got 3"), ("x,1", "column 'a' holds")])
def test_a_bad_line_of_a_later_part_is_refused(tmp_path: Path, line: str, reason: str) -> None:
    file = tmp_path / "data.csv"
    file.write_text("a,b\n" + "1,2\n" * 40 + line + "\n" + "1,2\n" * 40)
    with pytest.raises(PuzzleError, match=reason):
        list(table_parts(file))


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_table_without_rows_is_refused(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(PuzzleError, match="has no rows"):
        list(table_parts(write(tmp_path, suffix, some_table(0))))


def test_joined_parts_stand_in_their_order() -> None:
    parts = [np.full((k, 2), k, np.float32) for k in (1, 3, 2)]
    whole = joined(parts)
    assert whole[:, 0].tolist() == [1, 3, 3, 3, 2, 2]
    assert whole.dtype == np.float32
    assert parts == []
