"""The commands for runs on a fleet: enqueue, watch, steer, fetch. Nothing heavy is imported before one needs it."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import click

from tasks.commands.options import EXIT_HELP, run_options

LISTED_RUNS = 1000
"""So many runs are listed, the newest; a store knows any number."""


@click.command(epilog=EXIT_HELP)
@click.argument("puzzle")
@run_options
@click.option(
    "--priority",
    type=click.Choice(["urgent", "ordinary"]),
    default="ordinary",
    show_default=True,
    help="urgent: before all ordinary runs",
)
@click.option("--wait", is_flag=True, help="wait for the run's end, print its result, and exit as solve does")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default="results",
    show_default=True,
    help="folder that --wait writes the results to",
)
@click.option("--json", "as_json", is_flag=True, help="one JSON object on standard output")
def enqueue(puzzle: str, wait: bool, out: Path, as_json: bool, **options: Any) -> None:
    """Enqueue a run of PUZZLE on the fleet (PAIRING_BROKER_URL) and print its id.

    PUZZLE is a folder in the published layout, a packed puzzle, or the digest of one that is in the store. Its files
    are sent as they are; a worker reads them.
    """
    from tasks.commands.watch import enqueue_here

    sys.exit(enqueue_here(puzzle, wait, as_json, out, options))


@click.command(epilog=EXIT_HELP)
@click.argument("run")
@click.option("--json", "as_json", is_flag=True, help="the summary as one JSON object on standard output")
def watch(run: str, as_json: bool) -> None:
    """Show RUN until it ends, then its result; the exit status is that of solve."""
    from tasks.commands.watch import watch as watch_run

    sys.exit(watch_run(run, as_json))


@click.command()
@click.argument("run", required=False)
@click.option("--json", "as_json", is_flag=True, help="one JSON value on standard output")
def status(run: str | None, as_json: bool) -> None:
    """Show how far RUN is; without RUN, list the runs, as runs does."""
    from tasks.client import runs_api

    if run is None:
        _print_runs(LISTED_RUNS, as_json)
        return
    found = runs_api.status(run)
    if as_json:
        click.echo(json.dumps(found))
        return
    from tasks.runs.outcome import NOT_BEGUN, end_of_refinement
    from tasks.worker.queue_state import queue_state

    parts = found["parts"]
    state = queue_state() if found["state"] == "queued" else found["state"]
    click.echo(f"{run}: {state}" + (f" ({found['error']})" if found["error"] else ""))
    if found["stored_later"]:
        click.echo(f"  stored later: {len(found['stored_later'])} winner(s) wait for the pool")
    for part, record in sorted(parts["refining"].items()):
        error = "" if record["best_error"] is None else f", MSE {record['best_error']:.3g}"
        click.echo(f"  {part}: refining{error}, {record['evaluations']} evaluations")
    for part, record in sorted(parts["refined"].items()):
        mse = record["full_mse"]
        end = end_of_refinement(record["stopped"], record["evaluations"], mse)
        error = "overflow" if mse is None else f"MSE {mse:.3g}"
        click.echo(f"  {part}: {end}" + ("" if end == NOT_BEGUN else f", {error}, on {record['host']}"))
    for part, error in sorted(parts["failed"].items()):
        click.echo(f"  {part}: failed: {error}")


@click.command()
@click.option("--failed", is_flag=True, help="only those in which something failed, and what")
@click.option("--limit", type=click.IntRange(1), default=LISTED_RUNS, show_default=True, help="runs to list at most")
@click.option("--json", "as_json", is_flag=True, help="one JSON value on standard output")
def runs(failed: bool, limit: int, as_json: bool) -> None:
    """List the runs, the newest first: those in the store, then ended ones on record, where the pool is reachable.

    Where the broker is not, the record is listed all the same, and the exit status is 3.
    """
    if failed:
        _print_failed(limit, as_json)
    else:
        _print_runs(limit, as_json)


def _print_failed(most: int, as_json: bool) -> None:
    from tasks.client import runs_api
    from tasks.commands.watch import table

    found = runs_api.failed_runs(most)
    if as_json:
        click.echo(json.dumps({"schema": 1, "runs": found}))
        return
    rows = []
    for entry in found:
        rows += [{**entry, "part": part, "why": error} for part, error in entry["failed"].items()]
        if not entry["failed"]:
            rows.append({**entry, "part": "", "why": entry["error"] or "did not finish"})
    columns = {name: (lambda row, name=name: str(row[name])) for name in ("run", "state", "part")}
    table(rows, {**columns, "note": lambda row: row["why"]})


@click.command()
@click.argument("run")
@click.option("--method", "methods", multiple=True, metavar="NAME", help="only this method; repeatable")
@click.option("--budget", type=float, help="seconds for each refinement, including those already used")
@click.option("--evaluations", type=int, help="evaluations for each refinement, including those already used")
@click.option("--deadline", type=float, help="seconds from now for the run  [default: as at first]")
@click.option("--json", "as_json", is_flag=True, help="one JSON object on standard output")
def retry(run: str, methods: tuple[str, ...], as_json: bool, **changes: Any) -> None:
    """Retry what failed in RUN, which has ended, and repeat the comparison; finished work is kept.

    With another budget, number of evaluations or deadline, refinements that reached their limit continue from their
    checkpoints.
    """
    from tasks.client import runs_api

    given = {name: value for name, value in changes.items() if value is not None}
    parts = runs_api.retry(run, methods, given)
    if as_json:
        click.echo(json.dumps({"schema": 1, "run": run, "parts": parts}))
    else:
        click.echo(f"{run}: retries {', '.join(parts) or 'its planning or comparison'}")


@click.command()
@click.argument("run")
def drop(run: str) -> None:
    """Remove RUN, which has ended, from the store. Its record stays."""
    from tasks.client import runs_api

    runs_api.drop(run)


def _print_runs(most: int, as_json: bool) -> None:
    from tasks.client import runs_api
    from tasks.contracts.errors import BrokerError, PoolError

    found: list[dict[str, Any]] = []
    away: BrokerError | None = None
    try:
        found = runs_api.runs(most)
    except BrokerError as error:
        away = error
    try:
        earlier = runs_api.earlier_runs(most) if len(found) < most else []
    except PoolError as error:
        earlier = []
        click.echo(f"Ended runs that only the record has are left out: {error}", err=True)
    known = {entry["run"] for entry in found}
    found += [entry for entry in earlier if entry["run"] not in known][: most - len(found)]
    if as_json:
        click.echo(json.dumps({"schema": 1, "runs": found}))
    elif found:
        _print_table_of_runs(found)
    elif away is None:
        click.echo("There are no runs yet. pairing enqueue PUZZLE starts one.")
    if away is not None:
        raise away


def _print_table_of_runs(found: list[dict[str, Any]]) -> None:
    from tasks.commands.watch import table
    from tasks.runs.overview import puzzle_label, shown_age

    now = time.time()
    columns = {
        "run": lambda entry: entry["run"],
        "puzzle": puzzle_label,
        "best MSE": lambda entry: "" if entry["best_mse"] is None else f"{entry['best_mse']:.3g}",
        "progress": lambda entry: "" if entry["parts"] is None else f"{entry['parts_ended']}/{entry['parts']}",
        "status": lambda entry: "solved" if entry["solved"] else entry["state"].replace("_", " "),
        "age": lambda entry: shown_age(now - entry["enqueued_at"]),
        "note": lambda entry: entry["error"] or entry["note"],
    }
    table(found, columns)


@click.command()
@click.argument("run")
def cancel(run: str) -> None:
    """End RUN: its refinements stop within seconds, and what they found is compared."""
    from tasks.client import runs_api

    click.echo(f"{run}: {runs_api.cancel(run)}")


@click.command(epilog=EXIT_HELP)
@click.argument("run")
@click.option("--out", type=click.Path(path_type=Path), default="results", show_default=True, help="folder for results")
@click.option("--json", "as_json", is_flag=True, help="the summary as one JSON object on standard output")
def results(run: str, out: Path, as_json: bool) -> None:
    """Fetch RUN's summary and matrices from the store to OUT/RUN; the exit status is that of solve."""
    from tasks.client.runs_api import store_of
    from tasks.commands.watch import show_results

    sys.exit(show_results(store_of(run), run, as_json, out))


@click.command()
@click.argument("run")
@click.option("--out", type=click.Path(path_type=Path), default="results", show_default=True, help="folder for results")
@click.option("--json", "as_json", is_flag=True, help="one JSON object on standard output")
def report(run: str, out: Path, as_json: bool) -> None:
    """Draw RUN: report.html and its pictures, in OUT/RUN. RUN may also be a folder that solve or results wrote.

    A run is fetched from the fleet's store; the report of a folder goes into that folder.
    """
    from tasks.client import runs_api

    page = runs_api.report(run, out)
    click.echo(json.dumps({"schema": 1, "report": str(page)}) if as_json else f"Report: {page}")


@click.group()
def puzzle() -> None:
    """Keep puzzles in the fleet's store, where runs find them by their digest."""


@puzzle.command("put")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="one JSON object on standard output")
def put_puzzle(path: Path, as_json: bool) -> None:
    """Send the puzzle at PATH, a folder or packed, and print its digest."""
    from tasks.client import runs_api

    digest = runs_api.put(path)
    click.echo(json.dumps({"schema": 1, "digest": digest}) if as_json else digest)


@puzzle.command("list")
@click.option("--json", "as_json", is_flag=True, help="one JSON object on standard output")
def list_puzzles(as_json: bool) -> None:
    """List the puzzles in the store.

    These are the puzzles that were sent, and the packed copies that runs made of them.
    """
    from tasks.client import runs_api
    from tasks.commands.watch import table

    found = runs_api.puzzles()
    if as_json:
        click.echo(json.dumps({"schema": 1, "puzzles": found}))
        return
    columns = {
        "digest": lambda entry: entry["digest"],
        "name": lambda entry: entry["name"],
        "bytes": lambda entry: f"{entry['bytes']:,}",
        "last used": lambda entry: _when(entry["at"]),
    }
    table(found, columns)


@puzzle.command("rm")
@click.argument("digest")
def remove_puzzle(digest: str) -> None:
    """Remove a puzzle from the store."""
    from tasks.client import runs_api

    runs_api.remove_puzzle(digest)


@click.command()
@click.option(
    "--older-than",
    default=3600.0,
    show_default=True,
    help="seconds since a run ended, or since a run last asked for the puzzle",
)
def prune(older_than: float) -> None:
    """Remove ended runs, and puzzles that no run needs, from the store."""
    from tasks.client import runs_api

    gone, puzzles = runs_api.prune(older_than)
    click.echo(f"Removed {gone} runs and {puzzles} puzzles.")


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(seconds))


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--role", type=click.Choice(["plan", "numbers", "refine", "all"]), default="all", show_default=True)
@click.option("--concurrency", type=click.IntRange(1, 1024), help="processes  [default: the cores; plan: 1]")
@click.option("--name", help="the worker's name on this host  [default: pairing-<role>, or pairing-<role>-2, …]")
@click.argument("celery_arguments", nargs=-1, type=click.UNPROCESSED)
def worker(role: str, concurrency: int | None, name: str | None, celery_arguments: tuple[str, ...]) -> None:
    """Start a worker of the fleet (PAIRING_BROKER_URL) in the foreground; further arguments go to celery worker.

    plan reads the queue pairing.pool (planning, comparison, the pool; only it needs the database), numbers
    pairing.numbers (similarity, assignment), refine pairing.refine.
    """
    from tasks.worker.command import exec_worker

    exec_worker(role, concurrency, name, celery_arguments)


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("flower_arguments", nargs=-1, type=click.UNPROCESSED)
def flower(flower_arguments: tuple[str, ...]) -> None:
    """Start Flower, with pages of runs, pool and fleet, behind PAIRING_FLOWER_AUTH.

    It stays in the foreground; further arguments are Flower's own.
    """
    from tasks.web.launch import exec_flower

    exec_flower(flower_arguments)


COMMANDS = (worker, flower, enqueue, watch, status, runs, cancel, retry, drop, results, report, puzzle, prune)
"""For ``pairing``."""
