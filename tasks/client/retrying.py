"""Ended runs: what was given up in them, and how it is tried again, or goes on with more budget.

A run that is tried again keeps its id and everything that is done. A worker publishes its tasks anew, as at first, for
the parts that are not; comparisons of an earlier try that still wait somewhere know that they are not of this one.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from config.settings import Settings
from pairing.errors import InputError
from tasks.client.submit import send
from tasks.contracts.message_signing import serializer_of
from tasks.contracts.run_request import Request, request_of
from tasks.runs.lifecycle import COMPARISON, PLANNING
from tasks.store.run_store import Store, part_name

STAGES = ("similarity", "assignment", "refinement")
CUT_SHORT = ("budget", "solved_elsewhere", "cancelled")
"""Ends of refinements that more budget may take further."""


def given_up(store: Store, runs: Sequence[str]) -> list[dict[str, str]]:
    """What failed in each run, by the names of its methods and parts, and why."""
    parts = store.parts_of_all(runs, "failure")
    return [{part: record["error"] for part, record in sorted(failures.items())} for failures in parts]


def retry(store: Store, found: Settings, run: str, methods: Sequence[str], changes: dict[str, Any]) -> list[str]:
    """Begins an ended run again: its parts that have no result; with ``changes``, those that were cut short, too.

    ``changes`` are new values of the request's ``budget``, ``evaluations`` and ``deadline``, which begins now; all but
    the deadline count what was done before. The parts that are done again, by their names: none where all that is
    missing is the comparison, and none that are known yet where the run was never planned.

    Raises:
        InputError: it has not ended, there is nothing to do again, or a change is wrong.
        BrokerError: the broker cannot be reached.
    """
    if store.record(run, "end") is None:
        raise InputError(f"the run {run} has not ended; wait for it, or end it (pairing cancel {run})")
    asked, accepted = store.record(run, "asked"), store.record(run, "request")
    if asked is None:
        raise InputError(f"too little of the run {run} is left; enqueue it again, under another id")
    if accepted is None:
        store.put_record(run, "asked", request_of({**asked, **changes, "run": run}).arguments)
        parts: list[tuple[str, int]] = []
    else:
        request = request_of({**accepted, **changes, "enqueued_at": time.time()})
        parts = _unfinished(store, request, methods, bool(changes))
        entry = {**(store.run_entry(run) or {}), "run": run, **_times(request)}
        store.put_run_entry(run, entry)  # first: what is written below is to be kept for as long
        tried = {"number": 1 + tries(accepted), "parts": parts}
        store.put_record(run, "request", {**accepted, **request.model_dump(), "retry": tried})
        _reopen(store, run, parts)
    store.remove_records(run, *("stop", "rescue", "claim.rescue", "published", "claim.published", "end"))
    again = request_of({**(store.record(run, "asked") or asked), "run": run})
    send(found.broker_address, found.key_prefix, again, serializer_of(found))
    return [part_name(*part) for part in parts]


def tries(request: dict[str, Any]) -> int:
    """How often a run was tried again, by its request in the store."""
    number = (request.get("retry") or {}).get("number", 0)
    return number if type(number) is int else 0


def parts_of(request: dict[str, Any]) -> list[tuple[str, int]] | None:
    """The parts of this try of a run, by its request in the store; ``None`` for all."""
    retried = request.get("retry")
    return None if retried is None else [(str(method), int(seed)) for method, seed in retried["parts"]]


def _times(request: Request) -> dict[str, float]:
    return {"enqueued_at": request.enqueued_at, "deadline_at": request.deadline_at}


def _unfinished(store: Store, request: Request, methods: Sequence[str], more: bool) -> list[tuple[str, int]]:
    """The parts that have no result, or with ``more`` budget one that was cut short."""
    unknown = sorted(set(methods) - set(request.methods))
    if unknown:
        raise InputError(f"the run {request.run} has no method {', '.join(unknown)}")
    refined = store.parts(request.run, "refinement")
    missing = [part for part in request.parts if part_name(*part) not in refined]
    short = [p for p in request.parts if more and refined.get(part_name(*p), {}).get("stopped") in CUT_SHORT]
    chosen = [part for part in request.parts if part in [*missing, *short] and (not methods or part[0] in methods)]
    if not chosen and store.record(request.run, "summary") is not None:
        raise InputError(
            f"nothing of the run {request.run} has failed{' there' if methods else ''}; with --budget, --evaluations or"
            " --deadline, refinements go on that were cut short"
        )
    return chosen


def _reopen(store: Store, run: str, parts: Sequence[tuple[str, int]]) -> None:
    """Removes what says that these parts are done or have failed; their checkpoints stay."""
    failures, bundle = store.parts(run, "failure"), (store.record(run, "request") or {}).get("puzzle", "")
    for method, seed in parts:
        part = part_name(method, seed)
        if failures.get(method, {}).get("stage") == "similarity":  # it may be the matrix in the store
            store.forget_similarities(bundle, [method])
        for name in (method, part):
            store.remove_part(run, "failure", name)
        for kind in ("refinement", "progress"):
            store.remove_part(run, kind, part)
        for stage in STAGES:
            store.remove_part(run, "attempt", f"{stage}.{part}")
    for stage in (PLANNING, COMPARISON):
        store.remove_part(run, "attempt", stage)


def drop(store: Store, run: str) -> None:
    """Removes all that is kept of an ended run.

    Raises:
        InputError: it has not ended.
    """
    if store.record(run, "end") is None:
        raise InputError(f"the run {run} has not ended; end it first (pairing cancel {run})")
    store.forget(run)
