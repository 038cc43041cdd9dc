"""The pool as a file: JSON lines, a header first, then a line a row. What is read is not trusted."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pairing.errors import InputError
from tasks.contracts.files import write_whole
from tasks.pool.models import Provenance, Winner
from tasks.pool.queries import is_sound, pages, records
from tasks.pool.repository import Pool

Model = TypeVar("Model", bound=BaseModel)

FORMAT = "pairing-pool"
PAGE = 1000
"""Rows that are in memory at a time."""
LONGEST_LINE = 4_000_000
"""Characters; a row of 100,000 blocks has fewer."""

_STRICT = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class _Header(BaseModel):
    model_config = _STRICT
    format: Literal["pairing-pool"]
    version: Literal[1]


class _Line(BaseModel):
    model_config = _STRICT
    winner: Winner
    records: list[Provenance] = Field(max_length=1000)


def export_pool(pool: Pool, path: Path) -> tuple[int, int]:
    """Writes every sound row of the pool, whole or not at all: how many rows, and how many were left out as unsound.

    Columns that are NULL become empty. Ids and times of creation are not exported: they belong to the database.

    Raises:
        InputError: the file cannot be written.
        PoolError: the pool cannot be read.
    """
    written = left_out = 0

    def lines() -> Iterator[bytes]:
        nonlocal written, left_out
        yield _line({"format": FORMAT, "version": 1})
        for page in pages(pool, PAGE):
            sources = records(pool, [row["id"] for row in page])
            for row in page:
                winner = _winner(row)
                if winner is None:
                    left_out += 1
                    continue
                written += 1
                yield _line({"winner": winner, "records": [_record(r) for r in sources.get(row["id"], [])]})

    try:
        write_whole(path, lines())
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); choose another place") from error
    return written, left_out


def _line(content: dict[str, Any]) -> bytes:
    return json.dumps(content).encode() + b"\n"


def import_pool(pool: Pool, path: Path) -> tuple[int, int]:
    """Stores the rows of a file, each pair of sigmas once: how many are new, and how many were there.

    The whole file is checked before the first row is stored. Rows of unknown origin count as there when any row has
    their sigmas.

    Raises:
        InputError: the file cannot be read or a line is wrong; nothing is stored.
        PoolError: the pool cannot be reached; importing again goes on where it ended.
    """
    for _ in _rows(path):
        pass
    new = there = 0
    for winner, sources in _rows(path):
        origins: Sequence[Provenance | None] = sources or [None]
        for source in origins:
            if pool.insert(winner, source).new:
                new += 1
            else:
                there += 1
    return new, there


def _rows(path: Path) -> Iterator[tuple[Winner, list[Provenance]]]:
    """The file's rows, checked one by one."""
    try:
        with path.open(encoding="utf-8") as file:
            _checked(_Header, path, 1, file.readline(LONGEST_LINE))
            for number, text in enumerate(iter(lambda: file.readline(LONGEST_LINE), ""), start=2):
                line = _checked(_Line, path, number, text)
                yield line.winner, line.records
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8 text; give a file that `pairing pool export` wrote") from error


def _checked(model: type[Model], path: Path, number: int, text: str) -> Model:
    def refuse(reason: str) -> NoReturn:
        raise InputError(f"{path}, line {number}: {reason}. Give a file that `pairing pool export` wrote.") from None

    if len(text) >= LONGEST_LINE:
        refuse("is too long")
    try:
        return model.model_validate_json(text)
    except InputError as error:
        refuse(str(error))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        refuse(f"{'.'.join(map(str, first['loc'])) or 'the line'}: {first['msg']}")


def _winner(row: dict[str, Any]) -> dict[str, Any] | None:
    """The row as it is exported; None where its sigmas or its error are unsound."""
    if not is_sound(row):
        return None
    values = {name: row[name] for name in Winner.model_fields}
    values |= {"worker": row["worker"] or "", "hash": row["hash"] or "", "permutation": row["permutation"] or []}
    try:
        Winner(**values)
    except InputError:
        return None
    return values


def _record(found: dict[str, Any]) -> dict[str, Any]:
    values = {name: found[name] for name in Provenance.model_fields}
    return {**values, "versions": json.loads(values["versions"])}
