"""Show the runs of a fleet: their progress, their results, and tables of records."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tasks.client.runs_api import POLL_SECONDS, accepted, check_time, compared, store_of
from tasks.client.submit import enqueue
from tasks.commands.terminal import Display, print_result
from tasks.contracts.run_request import Request
from tasks.report.result_files import history_record, prepare_folder, write_artefacts
from tasks.runs.outcome import notes
from tasks.store.run_store import Store
from tasks.worker.queue_state import queue_state


def enqueue_here(puzzle: str, wait: bool, as_json: bool, out: Path, options: dict[str, Any]) -> int:
    """Enqueues a run and prints its id; with ``wait``, its result too. The exit status.

    Raises:
        PairingError: an option or the puzzle is wrong, or the broker cannot be reached.
    """
    run = enqueue(puzzle, **options)
    if not wait:
        print(json.dumps({"schema": 1, "run": run}) if as_json else run, flush=True)  # noqa: T201
        if sys.stderr.isatty():  # a script does not wait for the workers' answers
            print(f"{run}: {queue_state()}", file=sys.stderr)  # noqa: T201
        return 0
    print(run, file=sys.stderr, flush=True)  # noqa: T201
    return watch(run, as_json, out)


def watch(run: str, as_json: bool, out: Path | None = None) -> int:
    """Shows a run until it ends, and then its result; the exit status of ``pairing solve``.

    Raises:
        PairingError: there is no such run; or it ended without being compared, and why.
        RunTimeoutError: its deadline is long over, and no worker brings it to an end.
    """
    store = store_of(run)
    request: Request | None = None
    said = ""
    while request is None and store.record(run, "end") is None:
        request = accepted(store, run)
        check_time(store, run)
        if request is None and (now := queue_state()) != said:
            said = now
            print(f"{run}: {said}", file=sys.stderr, flush=True)  # noqa: T201
        time.sleep(0 if request else POLL_SECONDS)
    if request is not None:
        with Display(request) as display:
            while store.record(run, "end") is None:
                display.show(store)
                check_time(store, run)
                time.sleep(POLL_SECONDS)
            display.show(store, last=True)
    return show_results(store, run, as_json, out)


def show_results(store: Store, run: str, as_json: bool, out: Path | None) -> int:
    """Prints a finished run's result, and writes its files to ``out``/<run> where that is given; the exit status.

    Raises:
        PairingError: it has not ended, or ended without a comparison, and why.
    """
    summary, outcome, exit_status = compared(store, run)
    doubts = notes(summary, outcome)
    where = []
    if out is not None:
        folder = prepare_folder(out, run)
        write_artefacts(folder, summary, history_record(store, run, doubts), store.matrices(run) or b"")
        where = [f"Results: {folder}"]
    if as_json:
        print(json.dumps(summary, allow_nan=False))  # noqa: T201
        for note in doubts:
            print(note, file=sys.stderr)  # noqa: T201
    else:
        print_result(summary, [*doubts, *where])
    return exit_status


def table(records: list[dict[str, Any]], columns: dict[str, Callable[[dict[str, Any]], str]]) -> None:
    """Prints records as a table on standard output: title → what a record has there."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    shown = Table(box=SIMPLE_HEAD, pad_edge=False)
    for title in columns:
        shown.add_column(title, no_wrap=title != "note")
    for record in records:
        shown.add_row(*(cell(record) for cell in columns.values()))
    Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 160).print(shown)
