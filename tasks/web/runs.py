"""What the pages of runs show. Everything here reads the store, and so runs in a thread."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from pairing.errors import InputError
from tasks.client.runs_api import compared
from tasks.contracts.errors import PoolError
from tasks.pool.history import recorded_run, recorded_runs
from tasks.pool.location import opened
from tasks.report.result_files import history_record
from tasks.runs.facts import RunFacts, facts_of
from tasks.runs.lifecycle import with_states
from tasks.runs.outcome import notes
from tasks.runs.overview import OPEN, overview
from tasks.runs.recording import read_facts
from tasks.web.site import Site
from tasks.worker.queue_state import queue_state

MOST_OPEN = 20
"""Open runs whose methods are shown; the others have a line each."""
MOST_LISTED = 500
"""Runs of the store that are listed, the newest."""
PAGE = 100
"""Runs on record that are listed at one time."""

_drawing = threading.Lock()
"""Matplotlib draws in one thread at a time."""


@dataclass(frozen=True)
class Listed:
    """The runs of the store."""

    open: list[RunFacts]
    """Those whose methods are shown, the newest first."""
    more_open: list[dict[str, Any]]
    ended: list[dict[str, Any]]
    counts: dict[str, int]
    waits_for: str
    """What queued runs wait for; empty where none is queued."""


@dataclass(frozen=True)
class Earlier:
    """Ended runs on record."""

    runs: list[RunFacts]
    oldest: float | None
    """When the last of them ended, where there may be more."""
    trouble: str
    """Why the record cannot be read; empty where it can."""


def listed(site: Site) -> Listed:
    """The newest runs: those that go on with all their methods, those that have ended as :func:`overview` gives them.

    Raises:
        BrokerError: the broker cannot be reached.
    """
    store = site.store
    entries = overview(store, with_states(store, store.newest_entries(MOST_LISTED)))
    going_on = [entry for entry in entries if entry["state"] in OPEN]
    ended = [entry for entry in entries if entry["state"] not in OPEN]
    found = [facts_of(store, entry["run"]) for entry in going_on[:MOST_OPEN]]
    counts = {
        "running": sum(entry["state"] == "running" for entry in entries),
        "queued": sum(entry["state"] == "queued" for entry in entries),
        "solved": sum(bool(entry["solved"]) for entry in entries),
        "failed": sum(entry["state"] in ("failed", "timed_out") for entry in entries),
    }
    return Listed(
        open=[facts for facts in found if facts is not None],
        more_open=going_on[MOST_OPEN:],
        ended=ended,
        counts=counts,
        waits_for=waits_for() if going_on else "",
    )


def earlier(site: Site, search: str, before: float | None) -> Earlier:
    """The newest runs on record, of those that hold a text and ended before a time."""
    address = site.address
    try:
        with opened(address, address.history_url, read_only=True) as pool:
            rows = recorded_runs(pool, PAGE, search, before)
    except PoolError as error:
        return Earlier([], None, str(error))
    found = [facts for row in rows if (facts := read_facts(row)) is not None]
    return Earlier(found, rows[-1].ended_at if len(rows) == PAGE else None, "")


def waits_for() -> str:
    """What open runs wait for, in words; empty where they wait for nothing."""
    return queue_state().removeprefix("queued").lstrip("; ")


def run_facts(site: Site, run: str) -> RunFacts:
    """A run of the store, or on record.

    Raises:
        InputError: there is no such run.
        PairingError: its records are damaged, or the broker or the pool cannot be reached.
    """
    facts = facts_of(site.store, run)
    if facts is not None:
        return facts
    with opened(site.address, site.address.history_url, read_only=True) as pool:
        row = recorded_run(pool, run)
    facts = None if row is None else read_facts(row)
    if facts is None:
        raise InputError(f"there is no run {run} in the store (any more), and none on record")
    return facts


def report_page(site: Site, run: str) -> str:
    """The report of a run that was compared, as one HTML page.

    Raises:
        PairingError: it has not ended, or without a comparison; or its records are damaged.
    """
    from tasks.report.html import draw, render
    from tasks.report.run_data import findings

    summary, outcome, _ = compared(site.store, run)
    history = history_record(site.store, run, notes(summary, outcome))
    found = findings(summary, history, site.store.matrices(run) or b"", f"the run {run}")
    with _drawing:
        return render(found, draw(found))
