"""The commands ``pairing pool …``. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pairing.model.puzzle import Puzzle
    from tasks.pool.repository import Pool

EXIT_HELP = """Exit status: 0 done, and all is well; 1 done, but something is wrong or left over; 2 the call or the
input is wrong; 3 the pool cannot be reached or refuses."""

UNRECORDED = (
    "The pool takes winners, but keeps no record of their origin: this user has no right to Pairing's own tables,"
    " and that stays with each run's results. Let a user who may create tables call `pairing pool init`, then grant"
    " SELECT and INSERT on pairing_run, pairing_result and pairing_solution, UPDATE on the last, and SELECT on"
    " pairing_migration."
)
UNLISTED = (
    "Among many rows, finding the best takes seconds: this user has no right to the table that is made for it. Let its"
    " owner grant SELECT, INSERT and UPDATE on pairing_solution."
)


@click.group("pool", epilog=EXIT_HELP)
def pool_commands() -> None:
    """Look after the pool of solutions.

    The pool is --pool, else PAIRING_POOL_URL. If neither is set, every puzzle has an SQLite file of its own, and the
    commands need the puzzle.
    """


pool_option = click.option(
    "--pool", "url", metavar="URL", help="pool database, without a password  [default: PAIRING_POOL_URL]"
)
puzzle_option = click.option(
    "--puzzle", type=click.Path(path_type=Path), help="use this puzzle's own pool, if no pool database is set"
)
json_option = click.option("--json", "as_json", is_flag=True, help="one JSON object on standard output")


@pool_commands.command(short_help="Create the tables that are missing; safe to repeat.", epilog=EXIT_HELP)
@pool_option
@puzzle_option
@click.option("--shared-table", is_flag=True, help="create js_puzzle_pool too, in a database of your own")
def init(url: str | None, puzzle: Path | None, shared_table: bool) -> None:
    """Create the tables that are missing; safe to repeat. Ends with 1 if this user has no right to."""
    from tasks.pool.queries import rows

    with _opened(url, puzzle, read_only=False) as (opened, _):  # which makes them where that is allowed
        if shared_table:
            opened.create_tables()
        rows(opened, 1)
        opened.take_up(whole=True)
        if not opened.keeps_provenance:
            click.echo(UNRECORDED, err=True)
            sys.exit(1)
        if not opened.keeps_index:
            click.echo(UNLISTED, err=True)
        click.echo(f"{opened.place}: the tables are there; the pool records where rows come from")


@pool_commands.command(short_help="Show the best solution, for PUZZLE or of all.", epilog=EXIT_HELP)
@click.argument("puzzle", type=click.Path(path_type=Path), required=False)
@pool_option
@json_option
def best(puzzle: Path | None, url: str | None, as_json: bool) -> None:
    """Show the best row: for PUZZLE by recomputed MSE, without PUZZLE by stored MSE."""
    from tasks.pool.queries import best_of, least

    with _opened(url, puzzle) as (opened, read):
        found = least(opened) if read is None else best_of(opened, read)
    if as_json:
        _print_json(best=found)
    elif found is None:
        click.echo("The pool is empty.")
    else:
        _print_row(found, "stored" if read is None else f"over {read.rows:,} samples")


@pool_commands.command("list", short_help="List the solutions with the smallest MSE.", epilog=EXIT_HELP)
@pool_option
@puzzle_option
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="rows to show at most")
@click.option("--after", type=int, metavar="ID", help="continue after row ID, the last one that was listed")
@json_option
def list_rows(url: str | None, puzzle: Path | None, limit: int, after: int | None, as_json: bool) -> None:
    """List the rows with the smallest stored MSE; with --puzzle only valid ones that may be this puzzle's."""
    from pairing.errors import InputError
    from tasks.pool.queries import rows, these

    if puzzle is not None and after is not None:
        raise InputError("--after goes through the whole pool; with --puzzle, give a larger --limit")
    with _opened(url, puzzle) as (opened, read):
        if read is None:
            found = rows(opened, limit, after)
        else:
            found = these(opened, [row.id for row in opened.candidates(read.blocks, read.digest, limit)])
    if as_json:
        _print_json(rows=found)
        return
    if not found:
        click.echo("The pool has no rows.")
        return
    line = "{:>8}  {:>12}  {:<5}  {:<25}  {}".format
    click.echo(line("row", "MSE", "hash", "stored at", "by"))
    for row in found:
        error = "none" if row["full_mse"] is None else f"{row['full_mse']:.6g}"
        match = "match" if row["hash_match"] else "-"
        click.echo(line(row["id"], error, match, _moment(row["created_at"]), row["worker"] or "-"))


@pool_commands.command(short_help="Show one solution and its origin.", epilog=EXIT_HELP)
@click.argument("number", metavar="ID", type=int)
@pool_option
@puzzle_option
@json_option
def show(number: int, url: str | None, puzzle: Path | None, as_json: bool) -> None:
    """Show row ID and its origin."""
    from tasks.pool.queries import row

    with _opened(url, puzzle) as (opened, _):
        found = row(opened, number)
    if as_json:
        _print_json(row=found)
        return
    _print_row(found, "stored")
    for record in found["records"]:
        click.echo("From:        " + ", ".join(f"{name} {value}" for name, value in record.items() if value != ""))


@pool_commands.command(short_help="Recompute MSE and hash of the solutions for PUZZLE.", epilog=EXIT_HELP)
@click.argument("puzzle", type=click.Path(path_type=Path))
@pool_option
@click.option("--limit", type=click.IntRange(1), default=1000, show_default=True, help="rows to check at most")
@json_option
def verify(puzzle: Path, url: str | None, limit: int, as_json: bool) -> None:
    """Recompute MSE and hash of the rows for PUZZLE, and say what differs from what is stored. Changes nothing.

    A row without a record of its origin may be another puzzle's with as many blocks. Ends with 1 if something is wrong.
    """
    from tasks.pool.queries import faults, unsound

    with _opened(url, puzzle) as (opened, read):
        assert read is not None  # noqa: S101 - for the type checker: PUZZLE is required # nosec B101
        looked_at = opened.candidates(read.blocks, read.digest, limit)
        useless = unsound(opened)
    wrong = {row.id: found for row in looked_at if (found := faults(read, row))}
    if as_json:
        _print_json(
            puzzle=read.digest,
            rows=len(looked_at),
            wrong=[{"id": k, "faults": found} for k, found in wrong.items()],
            unsound=useless,
        )
    else:
        for number, found in wrong.items():
            for name, fault in found.items():
                click.echo(f"row {number}: {name} is stored as {fault['stored']}; recomputed it is {fault['right']}")
        for number in useless:
            click.echo(f"row {number}: its sigmas or its MSE cannot be used; it is skipped")
        click.echo(f"rows checked: {len(looked_at)}; wrong: {len(wrong)}; skipped: {len(useless)}")
    sys.exit(1 if wrong or useless else 0)


@pool_commands.command("export", short_help="Write all solutions to FILE, as lines of JSON.", epilog=EXIT_HELP)
@click.argument("file", type=click.Path(path_type=Path))
@pool_option
@puzzle_option
def export_rows(file: Path, url: str | None, puzzle: Path | None) -> None:
    """Write all valid rows to FILE, a line of JSON each, with their origin. Ends with 1 if some are invalid."""
    from tasks.pool.jsonl import export_pool

    with _opened(url, puzzle) as (opened, _):
        written, left_out = export_pool(opened, file)
    click.echo(f"{file}: {written} rows; {left_out} invalid ones left out")
    sys.exit(1 if left_out else 0)


@pool_commands.command("import", short_help="Store the solutions of an exported FILE, each once.", epilog=EXIT_HELP)
@click.argument("file", type=click.Path(path_type=Path))
@pool_option
@puzzle_option
def import_rows(file: Path, url: str | None, puzzle: Path | None) -> None:
    """Store the rows of an exported FILE, each pair of sigmas once. All of FILE is checked before any is stored."""
    from tasks.pool.jsonl import import_pool

    with _opened(url, puzzle, read_only=False) as (opened, _):
        new, there = import_pool(opened, file)
    click.echo(f"{new} rows stored, {there} were there already")


@pool_commands.command(short_help="Store the solutions that wait in this host's spool.", epilog=EXIT_HELP)
@pool_option
def flush(url: str | None) -> None:
    """Store the winners that wait in this host's spool, now. Ends with 1 if some still wait."""
    from tasks.client.environment import checked_settings
    from tasks.client.submit import caller_store
    from tasks.contracts.errors import BrokerError
    from tasks.pool.location import address_of
    from tasks.pool.spool_flush import flush_all
    from tasks.runs.spooled_winners import note_stored

    found = checked_settings()
    results = flush_all(address_of(found, url))
    for result in results:
        if result.inserted is None:
            what = "still waits" if result.path.exists() else "rejected"
            click.echo(f"{result.path.name}: {what}: {result.error}")
        else:
            done = "stored" if result.inserted.new else "was stored before"
            done = "no longer a winner" if result.inserted.beaten else done
            click.echo(f"{result.path.name}: {done}, row {result.inserted.id}")
    if any(result.inserted is not None for result in results):
        try:
            note_stored(caller_store(found), results)
        except BrokerError as error:
            click.echo(f"their runs go on saying that they are stored later: {error}", err=True)
    left = sum(result.inserted is None for result in results)
    beaten = sum(result.inserted is not None and result.inserted.beaten for result in results)
    late = f"{beaten} no longer winners, " if beaten else ""
    click.echo(f"{len(results) - left - beaten} winners stored, {late}{left} still wait")
    sys.exit(1 if left else 0)


@contextmanager
def _opened(url: str | None, path: Path | None, read_only: bool = True) -> Iterator[tuple[Pool, Puzzle | None]]:
    """The pool that a command means, open, and the puzzle, where it was given one."""
    from pairing.errors import InputError
    from tasks.client.environment import checked_settings
    from tasks.pool.location import address_of, opened

    address = address_of(checked_settings(), url)
    puzzle = None if path is None else _puzzle_at(path)
    if puzzle is None and not address.url:
        raise InputError(
            "no pool database is set, so each puzzle has a pool of its own; name the puzzle (pairing pool best PUZZLE,"
            " otherwise --puzzle PUZZLE) or the database (--pool URL)"
        )
    where = address.url if puzzle is None else address.url_for(puzzle)
    with opened(address, where, read_only=read_only) as pool:
        yield pool, puzzle


def _puzzle_at(path: Path) -> Puzzle:
    from pairing.analysis.activation_choice import with_activation
    from tasks.client.solution_check import read_puzzle

    return with_activation(read_puzzle(path))


def _print_row(row: dict[str, Any], kind: str) -> None:
    """A row for people."""
    click.echo(f"Row:         {row['id']}, by {row['worker'] or '-'}, stored at {_moment(row['created_at'])}")
    click.echo(f"MSE:         {row['full_mse']} ({kind})")
    for title, name in (("Permutation", "permutation"), ("inp_sigma", "inp_sigma"), ("out_sigma", "out_sigma")):
        click.echo(f"{title + ':':<12} {','.join(map(str, row[name])) if row[name] else '-'}")
    click.echo(f"Hash:        {row['hash']} ({'matches' if row['hash_match'] else 'no match'})")


def _moment(at: str | None) -> str:
    return "-" if at is None else datetime.fromisoformat(at).isoformat(" ", "seconds")


def _print_json(**values: Any) -> None:
    click.echo(json.dumps(_plain({"schema": 1, **values}), allow_nan=False))


def _plain(value: Any) -> Any:
    """Numbers that are not finite become null."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
