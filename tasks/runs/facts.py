"""All that people ask of one run, gathered: what was asked for, how far each method is, and what came out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from pairing.errors import InputError
from tasks.contracts.run_request import Request, request_of
from tasks.contracts.run_summary import Count, Positive, Record
from tasks.runs.lifecycle import with_end, with_states
from tasks.runs.outcome import INTERRUPTED, NOT_BEGUN, end_of_refinement, notes
from tasks.runs.overview import OPEN, overview
from tasks.runs.spooled_winners import as_stored
from tasks.store.run_store import Store, part_name

LISTED = {
    *("run", "puzzle", "puzzle_name", "state", "error", "note", "priority", "enqueued_at", "deadline_at", "ended_at"),
    *("best_mse", "best_method", "solved", "parts", "parts_ended", "recorded"),
}
"""What a list of runs says of each."""
SIZES = ("blocks", "width", "hidden", "outputs", "rows", "activation", "version")
"""What a summary says of the puzzle, and of who solved it."""


class MethodFacts(Record):
    """How far one method is with one seed, or what it reached."""

    method: str
    seed: int
    status: str
    """``waiting``, ``similarity``, ``assigned``, ``refinement``; or how it ended."""
    ended: bool = False
    mse: Positive | None = None
    initial_mse: Positive | None = None
    evaluations: Count | None = None
    steps: Count | None = None
    seconds: Positive | None = None
    seconds_left: float | None = None
    host: str = ""
    why: str = ""
    """Why it failed, if it did."""


class RunFacts(Record):
    """A run as a whole. Times are Unix times."""

    run: str
    state: str
    error: str | None = None
    puzzle: str = ""
    """Its digest in the store, or its path."""
    pool_puzzle: str = ""
    """The digest by which the solution pool knows it; empty before the run is planned."""
    puzzle_name: str = ""
    note: str = ""
    priority: str = ""
    enqueued_at: float
    deadline_at: float | None = None
    ended_at: float | None = None
    asked: dict[str, Any] = Field(default={})
    """The arguments that are not the defaults, as the run was enqueued."""
    best_mse: Positive | None = None
    best_method: str | None = None
    solved: bool = False
    parts: Count | None = None
    parts_ended: Count | None = None
    methods: list[MethodFacts] = Field(default=[])
    sizes: dict[str, int | str] = Field(default={})
    seconds: Positive | None = None
    """From when it was enqueued to its end."""
    hash: str = ""
    hash_match: bool | None = None
    notes: list[str] = Field(default=[])
    hosts: list[str] = Field(default=[])
    """Who has worked on it."""
    recorded: bool = False
    """Whether this is from the record: the store has forgotten it."""

    @property
    def may_be_retried(self) -> bool:
        """Whether it has ended and left something undone."""
        undone = any(method.status == "failed" for method in self.methods)
        return not self.is_open and (self.state != "succeeded" or undone)

    @property
    def is_open(self) -> bool:
        """Whether it has no end yet."""
        return self.state in OPEN

    def entry(self) -> dict[str, Any]:
        """It as a list of runs has it, like an entry of :func:`tasks.runs.overview.overview`."""
        methods = list(dict.fromkeys(found.method for found in self.methods))
        return {**self.model_dump(include=LISTED), "methods": methods, "seeds": self.asked.get("seeds", 1)}


def facts_of(store: Store, run: str, end: dict[str, Any] | None = None) -> RunFacts | None:
    """What the store knows of a run, which ends as ``end`` says where that is given; ``None``: nothing (any more).

    Raises:
        RecordError: somebody else has changed what is kept of it.
    """
    entry = store.run_entry(run)
    if entry is None:
        return None
    (known,) = overview(store, with_states(store, [entry]) if end is None else [with_end(entry, end)])
    names = ("run", "state", "error", "puzzle", "puzzle_name", "note", "priority", "enqueued_at", "deadline_at")
    found = {name: known[name] for name in names if name in known}
    found |= {name: known[name] for name in ("ended_at", "best_mse", "best_method", "solved", "parts", "parts_ended")}
    plan, asked, request = store.record(run, "plan") or {}, store.record(run, "asked") or {}, _request(store, run)
    found |= {"asked": asked, "pool_puzzle": str(plan.get("puzzle") or "")}
    methods, hosts = ([], []) if request is None else _methods(store, request)
    if known["state"] not in OPEN:
        found |= _result(store, run)
    return RunFacts.model_validate({**found, "methods": methods, "hosts": hosts}, strict=False)


def _request(store: Store, run: str) -> Request | None:
    record = store.record(run, "request")
    try:
        return None if record is None else request_of(record)
    except InputError:  # of another version
        return None


def _methods(store: Store, request: Request) -> tuple[list[MethodFacts], list[str]]:
    """Every part, the best first, then those that go on; and the hosts that have worked on them."""
    run = request.run
    failures, progress, attempts = (store.parts(run, kind) for kind in ("failure", "progress", "attempt"))
    assigned, refined = store.parts(run, "assignment"), store.parts(run, "refinement")
    owners = {part: str(record["owner"]).rpartition(":")[0].rpartition(":")[0] for part, record in attempts.items()}
    found = []
    for method, seed in request.parts:
        part = part_name(method, seed)
        about: dict[str, Any] = {"method": method, "seed": seed, "host": owners.get(f"refinement.{part}", "")}
        now = progress.get(part)
        if now is not None:
            about |= {"mse": now["best_error"], "evaluations": now["evaluations"], "steps": now["steps"]}
        failure = failures.get(method) or failures.get(part)
        if failure is not None:
            about |= {"status": "failed", "ended": True, "why": failure["error"]}
        elif (record := refined.get(part)) is not None:
            mse = record["solution"]["full_mse"]
            about |= {"status": end_of_refinement(record["stopped"], record["evaluations"], mse), "ended": True}
            about |= {"mse": mse, "initial_mse": record["start_mse"], "host": record["host"]}
            about |= {"evaluations": record["evaluations"], "seconds": record["seconds"]}
            if about["status"] == NOT_BEGUN:
                about |= {"evaluations": None, "steps": None, "seconds": None, "host": ""}
        elif now is not None:
            about |= {"status": now["stage"], "seconds_left": now["seconds_left"]}
        else:
            begun = any(name.startswith("similarity.") and name.endswith(f".{part}") for name in attempts)
            about["status"] = "assigned" if method in assigned else "similarity" if begun else "waiting"
        found.append(MethodFacts.model_validate(about))
    hosts = {*owners.values(), *(record["host"] for record in refined.values())} - {""}
    return sorted(found, key=_rank), sorted(hosts)


def _rank(found: MethodFacts) -> tuple[int, float]:
    """Those that have ended or are at work by their MSE, then those that wait, were interrupted, or have failed.

    What is equal here stays in the order of the request, as in the summary's ranking.
    """
    infinite = float("inf")
    behind = 3 if found.status == "failed" else 2 if found.status in (INTERRUPTED, NOT_BEGUN) else 0
    behind = behind or int(found.mse is None)
    return behind, infinite if found.mse is None else found.mse


def _result(store: Store, run: str) -> dict[str, Any]:
    summary, outcome = store.record(run, "summary"), store.record(run, "outcome")
    if summary is None:
        return {}
    best = summary["best"] or {}
    return {
        "pool_puzzle": summary["puzzle"],
        "sizes": {name: summary[name] for name in SIZES},
        "seconds": summary["seconds"].get("total"),
        "hash": best.get("hash", ""),
        "hash_match": best.get("hash_match"),
        "notes": [] if outcome is None else notes(as_stored(store, run, summary), outcome),
    }


def differences(one: RunFacts, other: RunFacts) -> dict[str, list[tuple[str, Any, Any]]]:
    """Where two runs differ, by section: ``(what, in the one, in the other)``; what is the same is left out."""
    return {
        "Arguments": _unequal(one.asked, other.asked),
        "Puzzle": _unequal(_puzzle(one), _puzzle(other)),
        "Result": _unequal(*({name: getattr(run, field) for name, field in _COMPARED.items()} for run in (one, other))),
        "Methods": _unequal(_by_method(one), _by_method(other)),
    }


_COMPARED = {
    **{name: name for name in ("state", "error", "solved")},
    "best MSE": "best_mse",
    "best method": "best_method",
    **{name: name for name in ("hash", "seconds")},
}


def _puzzle(found: RunFacts) -> dict[str, Any]:
    return {"puzzle": found.pool_puzzle} | {_SIZE_NAMES.get(name, name): size for name, size in found.sizes.items()}


_SIZE_NAMES = {"hidden": "hidden units", "rows": "samples"}


def _by_method(found: RunFacts) -> dict[str, str]:
    """What each method that began came to, in words."""
    said = {}
    for method in found.methods:
        if method.status == NOT_BEGUN:
            continue
        parts = [method.status]
        parts += [] if method.mse is None else [f"MSE {method.mse:.3g}"]
        parts += [] if method.evaluations is None else [f"evaluations: {method.evaluations:,}"]
        said[f"{method.method}, seed {method.seed}"] = ", ".join(parts)
    return said


def _unequal(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    found = [(name, one.get(name), other.get(name)) for name in dict.fromkeys([*one, *other])]
    return [(name, a, b) for name, a, b in found if a != b and not (a in (None, "") and b in (None, ""))]
