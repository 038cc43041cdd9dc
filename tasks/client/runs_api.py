"""Steer the runs of a fleet from any host that reaches its broker."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pairing.errors import InputError, PairingError
from tasks.client import retrying
from tasks.client.environment import checked_settings
from tasks.client.retrying import given_up
from tasks.client.submit import caller_store, put_puzzle
from tasks.contracts.errors import RecordError, RunTimeoutError
from tasks.contracts.run_request import Request, request_of
from tasks.puzzles.bundles import DIGEST, remove, shipped
from tasks.report.result_files import history_record, prepare_folder
from tasks.runs.lifecycle import finish, is_deserted, run_entries_of, state_of
from tasks.runs.outcome import notes
from tasks.runs.overview import overview
from tasks.runs.spooled_winners import as_stored
from tasks.store.run_store import Store

POLL_SECONDS = 0.5


def wait(run: str) -> tuple[dict[str, Any], bytes]:
    """Waits for a run's end: its summary, and the npz file of its similarity matrices.

    Raises:
        PairingError: there is no such run; or it ended without being compared, and why.
        RunTimeoutError: its deadline is long over, and no worker brings it to an end.
    """
    store = store_of(run)
    while store.record(run, "end") is None:
        check_time(store, run)
        time.sleep(POLL_SECONDS)
    summary, _, _ = compared(store, run)
    return summary, store.matrices(run) or b""


def report(run: str, out: Path) -> Path:
    """Writes the report of a finished run to ``out``/<run>; or, where ``run`` is a results' folder, into that.

    Raises:
        PairingError: there is neither; the run has not ended, or ended without a comparison; or a damaged or full disk.
    """
    from tasks.report.html import write_report
    from tasks.report.run_data import findings, read_folder

    folder = Path(run)
    if (folder / "summary.json").exists():
        return write_report(read_folder(folder), folder)
    if folder.is_dir():
        raise InputError(f"{folder}: there is no summary.json in it; name a run's own folder, results/RUN")
    store = store_of(run)
    summary, outcome, _ = compared(store, run)
    history = history_record(store, run, notes(summary, outcome))
    found = findings(summary, history, store.matrices(run) or b"", f"the run {run}")
    return write_report(found, prepare_folder(out, run))


def compared(store: Store, run: str) -> tuple[dict[str, Any], dict[str, Any], int]:
    """A finished run's summary, outcome and exit status.

    Raises:
        PairingError: it has not ended, or ended without a comparison, and why.
    """
    ended, summary, outcome = (store.record(run, name) for name in ("end", "summary", "outcome"))
    if ended is None:
        raise InputError(f"the run {run} is {state_of(store, run)}; watch it (pairing watch {run}) or wait")
    if summary is None or outcome is None:
        failure = PairingError(
            f"the run {run} ended without a result ({ended['end']}): {ended['error'] or 'no reason'}"
        )
        failure.exit_status = ended["exit_status"]
        raise failure
    return as_stored(store, run, summary), outcome, int(ended["exit_status"])


def status(run: str) -> dict[str, Any]:
    """What is known of a run, as plain JSON: its entry, ``state``, ``error``, and what every part of it says.

    Raises:
        InputError: there is no such run.
    """
    store = store_of(run)
    ended, summary = store.record(run, "end") or {}, store.record(run, "summary")
    kinds = ("assignment", "progress", "refinement", "failure", "attempt")
    parts = {kind: store.parts(run, kind) for kind in kinds}
    return {
        "schema": 1,
        **(store.run_entry(run) or {}),
        "state": state_of(store, run),
        "error": ended.get("error"),
        "ended_at": ended.get("at"),
        "stored_later": [] if summary is None else as_stored(store, run, summary)["pool"]["stored_later"],
        "parts": {
            "assigned": sorted(parts["assignment"]),
            "refining": {
                part: {key: record[key] for key in ("best_error", "evaluations", "seconds_left")}
                for part, record in parts["progress"].items()
                if part not in parts["refinement"]
            },
            "refined": {
                part: {
                    "full_mse": record["solution"]["full_mse"],
                    **{key: record[key] for key in ("evaluations", "stopped", "host")},
                }
                for part, record in parts["refinement"].items()
            },
            "failed": {part: record["error"] for part, record in parts["failure"].items()},
            "attempts": {part: record["count"] for part, record in parts["attempt"].items()},
        },
    }


def runs(most: int) -> list[dict[str, Any]]:
    """An entry for each run that the store knows, the newest first, of so many at most, and what it has found."""
    store = _store()
    return overview(store, run_entries_of(store, most))


def earlier_runs(most: int) -> list[dict[str, Any]]:
    """The like for ended runs on record, of which the store may still know some.

    Raises:
        PoolError: the database cannot be reached.
    """
    from tasks.pool.history import recorded_runs
    from tasks.pool.location import address_of, opened
    from tasks.runs.recording import read_facts

    address = address_of(checked_settings())
    with opened(address, address.history_url, read_only=True) as pool:
        rows = recorded_runs(pool, most)
    return [facts.entry() for row in rows if (facts := read_facts(row)) is not None]


def failed_runs(most: int) -> list[dict[str, Any]]:
    """Of the runs, those that failed or timed out, or in which something did; each with what, in ``failed``."""
    store = _store()
    entries = run_entries_of(store, most)
    failures = given_up(store, [entry["run"] for entry in entries])
    known = overview(store, entries)
    found = [{**entry, "failed": failed} for entry, failed in zip(known, failures, strict=True)]
    return [entry for entry in found if entry["failed"] or entry["state"] in ("failed", "timed_out")]


def retry(run: str, methods: Sequence[str], changes: dict[str, Any]) -> list[str]:
    """Begins an ended run again; see :func:`tasks.client.retrying.retry`."""
    return retrying.retry(store_of(run), checked_settings(), run, methods, changes)


def drop(run: str) -> None:
    """Removes all that is kept of an ended run."""
    retrying.drop(store_of(run), run)


def cancel(run: str) -> str:
    """Tells a run's refinements to end; what it is now.

    A run that has been planned ends with the comparison of what there is; one that has not ends at once.

    Raises:
        InputError: there is no such run.
        PairingError: it has already ended.
    """
    store = store_of(run)
    if store.record(run, "end") is not None:
        raise PairingError(f"the run {run} has already ended ({state_of(store, run)}); see pairing status {run}")
    store.announce(run, "cancelled")
    if store.record(run, "plan") is None:
        finish(store, run, "cancelled", "cancelled before it was planned", 4)
    return str(state_of(store, run))


def put(path: Path) -> str:
    """Ships a puzzle; its digest."""
    return put_puzzle(_store(), checked_settings(), path)


def puzzles() -> list[dict[str, Any]]:
    """``{"digest", "name", "bytes", "at"}`` of every puzzle in the store."""
    return [vars(bundle) for bundle in shipped(_store().backend)]


def remove_puzzle(digest: str) -> None:
    """Removes a puzzle from the store; runs that have been accepted keep theirs.

    Raises:
        InputError: that is not a digest, or there is no such puzzle.
    """
    if not DIGEST.fullmatch(digest):
        raise InputError(
            f"'{digest}' is not a puzzle's digest (sha256: and 64 hexadecimal digits); see pairing puzzle list"
        )
    if not remove(_store().backend, digest):
        raise InputError(f"the puzzle {digest} is not in the store; see pairing puzzle list")


def prune(older_than: float) -> tuple[int, int]:
    """Removes runs that ended more than so many seconds ago, and puzzles that no run has asked for since; how many.

    The similarities that these runs had of these puzzles go with them.
    """
    store, oldest = _store(), time.time() - older_than
    gone, asked = 0, []
    for entry in store.run_entries():
        ended = store.record(entry["run"], "end")
        lost = ended is None and is_deserted(store, entry["run"], oldest)
        if lost or (ended is not None and ended["at"] <= oldest):
            with suppress(InputError, RecordError):  # of another version, or somebody has changed it
                asked.append(accepted(store, entry["run"]))
            store.forget(entry["run"])
            gone += 1
    kept = [store.record(entry["run"], "request") for entry in store.run_entries()]
    used = {request.get("puzzle") for request in kept if request is not None}
    used |= {entry.get("puzzle") for entry in store.run_entries()}
    unused = [bundle for bundle in shipped(store.backend) if bundle.at <= oldest and bundle.digest not in used]
    for bundle in unused:
        remove(store.backend, bundle.digest)
    left = {bundle.digest for bundle in shipped(store.backend)}
    for request in asked:
        if request is not None and request.puzzle not in left:
            store.forget_similarities(request.puzzle, request.methods)
    return gone, len(unused)


def store_of(run: str) -> Store:
    """The store, which knows the run.

    Raises:
        InputError: it does not.
        BrokerError: it cannot be reached.
    """
    store = _store()
    if store.run_entry(run) is None and store.record(run, "end") is None:
        raise InputError(f"there is no run {run} in the store (any more); see pairing runs")
    return store


def _store() -> Store:
    return caller_store(checked_settings())


def accepted(store: Store, run: str) -> Request | None:
    """The request of a run as workers have accepted it, if they have."""
    record = store.record(run, "request")
    return None if record is None else request_of(record)


def check_time(store: Store, run: str) -> None:
    """Whether somebody may still bring a run to its end.

    Raises:
        RunTimeoutError: its deadline is long over, and nobody does.
    """
    if is_deserted(store, run, time.time()):
        raise RunTimeoutError(
            f"the run {run} did not end by its deadline, and no worker brings it to an end; are workers running that"
            " read pairing.pool?"
        )
