"""Every run reaches an end, which is recorded: succeeded, failed, cancelled or timed out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal

from pairing.errors import InputError
from tasks.contracts.errors import RecordError
from tasks.contracts.run_request import Request
from tasks.store.run_store import Store

logger = logging.getLogger(__name__)

End = Literal["succeeded", "failed", "cancelled", "timed_out"]

RESCUE_SECONDS = 10.0
"""How long after its deadline a run that has no end is compared by whoever notices."""

GIVE_UP_SECONDS = 120.0
"""How long after its deadline a run that nobody has planned is recorded as timed out."""

COMPARISON = "comparison"
"""What attempts at a run's comparison are counted for …"""
PLANNING = "planning"
"""… and at planning it."""

AGAIN_SECONDS = 60.0
"""How long after a comparison was sent it is sent again, where none has begun; twice as long each time …"""
MOST_DOUBLINGS = 5
"""… so many times."""
CLAIM_SECONDS = 30
"""How long one of many who sweep may take to send it, before another does."""


def register(store: Store, request: Request) -> None:
    """Notes that there is such a run; what is known of it already stays.

    Raises:
        InputError: a run of this id is known that was asked for with other arguments.
    """
    if store.record(request.run, "asked") is None:
        store.note_deadline(request.run, request.deadline_at)
    if not store.put_new_record(request.run, "asked", request.arguments):
        check_arguments(store, request)
    if store.run_entry(request.run) is None:
        store.put_run_entry(
            request.run,
            {
                "run": request.run,
                "enqueued_at": request.enqueued_at,
                "deadline_at": request.deadline_at,
                "puzzle": request.puzzle,
                "priority": request.priority,
                "methods": request.methods,
                "seeds": request.seeds,
                "note": request.note,
            },
        )


def check_arguments(store: Store, request: Request) -> None:
    """Looks whether a run of this id is known that is another one.

    Raises:
        InputError: it is; the message names the arguments that differ.
    """
    known, asked = store.record(request.run, "asked"), request.arguments
    if known is None:
        return
    others = [name for name in sorted({*known, *asked}) if known.get(name) != asked.get(name)]
    if others:
        raise InputError(
            f"the run {request.run} is known with other arguments ({', '.join(others)}); choose another id, or leave it"
            " out"
        )


def end_record(end: End, error: str | None, exit_status: int, found: dict[str, Any] | None) -> dict[str, Any]:
    """What is kept of a run's end, which is now."""
    return {"end": end, "error": error, "exit_status": exit_status, "at": time.time(), "found": found}


def finish(
    store: Store,
    run: str,
    end: End,
    error: str | None = None,
    exit_status: int = 1,
    found: dict[str, Any] | None = None,
    recorded: bool = False,
) -> None:
    """Records how a run ended, and what it ``found`` (see ``overview.found_by``); the first end stays.

    Unless it is on record (``tasks.runs.recording``), a worker sees to that.
    """
    record = end_record(end, error, exit_status, found)
    if store.put_new_record(run, "end", record):
        store.close(run)
        if not recorded:
            store.put_unrecorded(run)
        store.count({f"ended.{end}": 1})
        level = logging.INFO if end == "succeeded" else logging.WARNING
        logger.log(level, "the run %s%s", end.replace("_", " "), f": {error}" if error else "", extra={"run": run})


def state_of(store: Store, run: str) -> str | None:
    """``queued``, ``running`` or how the run ended; ``None`` for a run that the store does not know (any more)."""
    ended = store.record(run, "end")
    if ended is not None:
        return str(ended["end"])
    if store.record(run, "plan") is not None:
        return "running"
    return "queued" if store.run_entry(run) is not None else None


def sweep(store: Store, rescue: Callable[[str], None], lifetime: float, now: float | None = None) -> list[str]:
    """Brings every run that is past its deadline to an end; those that had none.

    ``rescue`` enqueues a run's comparison, of whatever there is, where the chord did not fire, and however late
    somebody looks: again until a comparison has begun, since what was sent may be lost, or be waiting in a busy queue.
    A run that was never planned is recorded as timed out, and so is one that was not compared within the store's
    ``lifetime`` (seconds) after its deadline. One of which nothing is left by then is forgotten: its end may have been
    recorded and be forgotten by now.
    """
    now = time.time() if now is None else now
    swept = []
    for run in store.due(now):
        with suppress(RecordError):  # a run that somebody else has spoilt: the others are seen to even so
            entry = store.run_entry(run)
            if entry is None:
                store.forget(run)
            elif _sweep(store, rescue, lifetime, now, entry):
                swept.append(run)
    return swept


def _sweep(store: Store, rescue: Callable[[str], None], lifetime: float, now: float, entry: dict[str, Any]) -> bool:
    run, late = entry["run"], now - entry["deadline_at"]
    if late < RESCUE_SECONDS:
        return False
    if store.record(run, "end") is not None:
        store.close(run)  # whoever ended it may not have come so far
        store.put_due(run, now + lifetime)  # to be forgotten
        return False
    planned = store.record(run, "plan") is not None
    if planned and late < lifetime:
        _see_to_comparison(store, rescue, run, now)
    elif planned:
        finish(store, run, "timed_out", "no worker that knows its protocol compared it for as long as it is kept", 4)
    elif late >= lifetime:
        store.forget(run)
    elif late >= GIVE_UP_SECONDS:
        finish(store, run, "timed_out", "no worker brought it to an end by its deadline", 4)
    return True


def _see_to_comparison(store: Store, rescue: Callable[[str], None], run: str, now: float) -> None:
    """Enqueues a run's comparison, where it is time to; noted once that has succeeded, so a blip costs a claim."""
    before = store.record(run, "rescue")
    if (before is None or now >= _due_again(before)) and store.claim_for(run, "rescue", CLAIM_SECONDS):
        if store.part(run, "attempt", COMPARISON) is None:
            rescue(run)
        store.put_record(run, "rescue", {"at": now, "times": 1 + (0 if before is None else before["times"])})


def _due_again(rescue: dict[str, Any]) -> float:
    return float(rescue["at"] + AGAIN_SECONDS * 2.0 ** min(rescue["times"] - 1, MOST_DOUBLINGS))


def is_deserted(store: Store, run: str, now: float) -> bool:
    """Whether a run is past its deadline for so long that nobody sees to it (any more)."""
    entry, rescue = store.run_entry(run), store.record(run, "rescue")
    if entry is None:
        return False
    return bool(now > max(entry["deadline_at"], 0 if rescue is None else _due_again(rescue)) + 2 * GIVE_UP_SECONDS)


def run_entries_of(store: Store, most: int) -> list[dict[str, Any]]:
    """An entry for each of the runs that the store knows, the newest first, with its ``state`` and perhaps ``error``.

    One that has ended says when, ``ended_at`` (Unix time). It takes four round trips, however many runs there are.
    """
    return with_states(store, store.newest_entries(most))


def with_states(store: Store, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Runs' entries with what ``run_entries_of`` adds to them."""
    runs = [entry["run"] for entry in entries]
    ends = dict(zip(runs, store.records_of_all(runs, "end"), strict=True))
    open_runs = [run for run in runs if ends[run] is None]
    plans = dict(zip(open_runs, store.records_of_all(open_runs, "plan"), strict=True))
    found = []
    for entry in entries:
        end, plan = ends[entry["run"]], plans.get(entry["run"])
        about: dict[str, Any] = {"state": "queued" if plan is None else "running", "error": None, "ended_at": None}
        if isinstance(wrong := end or plan, RecordError):
            about |= {"state": "unknown", "error": str(wrong)}
        found.append(with_end(entry, end) if isinstance(end, dict) else {**entry, **about})
    return found


def with_end(entry: dict[str, Any], end: dict[str, Any]) -> dict[str, Any]:
    """The entry of a run that has ended so, with what ``run_entries_of`` adds to it."""
    about = {"state": end["end"], "error": end.get("error"), "ended_at": end["at"], "found": end.get("found")}
    return {**entry, **about}
