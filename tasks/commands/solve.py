"""The command ``pairing solve``: one run from a puzzle's folder to a stored, verified solution."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from pairing.errors import PairingError
from pairing.model.activations import AUTO
from pairing.signals.registry import choose_methods
from tasks.client.solution_check import read_puzzle
from tasks.commands.terminal import Display, print_result
from tasks.contracts.run_request import new_run_id, request_of
from tasks.embedded.fleet import EmbeddedFleet
from tasks.embedded.runner import run_embedded, run_inline
from tasks.pool.location import PoolAddress
from tasks.report.result_files import history_record, prepare_folder, write_artefacts
from tasks.runs.outcome import exit_status, notes
from tasks.store.run_store import Store


def solve_here(
    path: Path,
    address: PoolAddress,
    fleet: EmbeddedFleet | None,
    began: float,
    out: Path,
    as_json: bool,
    with_report: bool,
    options: dict[str, Any],
) -> int:
    """Solves a puzzle, prints and writes the results, then draws the report; the exit status.

    The ``fleet`` does the work, and ends with it; without any, this process does. ``began`` is when the user began to
    wait, in seconds since 1970.

    Raises:
        PairingError: a wrong option or puzzle (before there is a run), or a broker that died.
    """
    asked = {key: options.pop(key) for key in ("target", "target_hash", "activation")}
    options["methods"] = choose_methods(options["methods"])
    options["run"] = options["run"] or new_run_id()
    request = request_of({**options, "puzzle": str(path), "enqueued_at": began})
    puzzle = read_puzzle(path, **asked)
    folder = prepare_folder(out, request.run)
    load_seconds = time.time() - began
    with _removed_if_empty(folder), Display(request, cancels=True) as display:
        if fleet is None:
            store = run_inline(puzzle, request, address, display)
        else:
            if with_report:
                threading.Thread(target=_import_report, daemon=True).start()
            store = run_embedded(fleet, puzzle, request, display)
    summary, outcome = store.record(request.run, "summary") or {}, store.record(request.run, "outcome") or {}
    summary["seconds"]["load"] = load_seconds
    summary["seconds"]["total"] = time.time() - began
    summary["seconds"]["cpu"] = time.process_time() + (0.0 if fleet is None else summary["seconds"]["cpu"])
    doubts, matrices = [*notes(summary, outcome), *_uncached(store, request.run)], store.matrices(request.run) or b""
    history = history_record(store, request.run, doubts)
    write_artefacts(folder, summary, history, matrices)
    if as_json:
        print(json.dumps(summary, allow_nan=False))  # noqa: T201
        for note in doubts:
            print(note, file=sys.stderr)  # noqa: T201
    else:
        chosen = [f"Activation: {summary['activation']}, with the least MSE"] if puzzle.activation == AUTO else []
        print_result(summary, [*chosen, *doubts, f"Results: {folder}"])
    if with_report:
        sys.stdout.flush()  # the answer does not wait for its pictures
        _report(folder, summary, history, matrices, sys.stderr if as_json else sys.stdout)
    return 130 if display.interrupted and not summary["solved"] else exit_status(summary, outcome)


def _import_report() -> None:
    """Imports what draws the report while the workers are at work; what is wrong with it, whoever draws it is told."""
    with suppress(ImportError):
        import tasks.report.html  # noqa: F401


def _report(folder: Path, summary: dict[str, Any], history: dict[str, Any], matrices: bytes, said: TextIO) -> None:
    from tasks.report.html import write_report
    from tasks.report.run_data import findings

    try:
        page = write_report(findings(summary, history, matrices, str(folder)), folder)
    except PairingError as error:  # the answer is there, and its exit status with it
        print(f"No report: {error}", file=sys.stderr)  # noqa: T201
    else:
        print(f"Report: {page}", file=said)


def _uncached(store: Store, run: str) -> list[str]:
    """That every process had to compile its code, if so."""
    return [said for record in store.parts(run, "refinement").values() if (said := record["uncached"])][:1]


@contextmanager
def _removed_if_empty(folder: Path) -> Iterator[None]:
    """Leaves no empty folder behind when the run is interrupted."""
    try:
        yield
    except BaseException:
        with suppress(OSError):  # it is not empty, or gone
            folder.rmdir()
        raise
