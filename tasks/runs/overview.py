"""What people ask of runs first: which puzzle, how far, and the best MSE so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pairing.errors import InputError
from tasks.contracts.run_request import request_of
from tasks.puzzles.bundles import names_of
from tasks.store.run_store import Store, part_name

OPEN = ("queued", "running")
"""States of runs that have no end yet."""


def overview(store: Store, entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Runs' entries with what they have found; ``entries`` are :func:`tasks.runs.lifecycle.with_states`'s.

    Adds ``puzzle_name``; ``parts``, the number of refinements, and ``parts_ended`` (null before the run is planned);
    ``best_mse`` and ``best_method`` (null where there is none); ``solved``; and that it is not ``recorded``, since the
    store has it. A round trip each for puzzles, requests, progress and failures, however many runs there are.
    """
    names = names_of(store.backend, sorted({str(entry.get("puzzle", "")) for entry in entries}))
    going_on = [entry["run"] for entry in entries if entry["state"] in OPEN]
    requests = dict(zip(going_on, store.records_of_all(going_on, "request"), strict=True))
    progress = dict(zip(going_on, store.parts_of_all(going_on, "progress"), strict=True))
    failures = dict(zip(going_on, store.parts_of_all(going_on, "failure"), strict=True))
    found = []
    for entry in entries:
        run = entry["run"]
        if run in progress:
            about = _so_far(requests[run], progress[run], failures[run])
        else:
            about = _in_the_end(entry.get("found") or {})
        rest = {name: value for name, value in entry.items() if name != "found"}
        found.append({**rest, "puzzle_name": names.get(str(entry.get("puzzle", "")), ""), "recorded": False, **about})
    return found


def found_by(summary: Mapping[str, Any]) -> dict[str, Any]:
    """What a compared run's end says of its result: ``best_mse``, ``best_method``, ``solved``, ``parts``."""
    best, methods = summary["best"] or {}, summary["methods"]
    return {
        "best_mse": best.get("full_mse"),
        "best_method": best.get("method"),
        "solved": summary["solved"] or summary.get("noise") is not None,
        "parts": len(methods),
        "parts_ended": sum(bool(method["ok"]) for method in methods),
    }


def shown_age(seconds: float) -> str:
    """A duration in its largest unit: ``12 s``, ``5 min``, ``3 h``, ``2 d``."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def puzzle_label(entry: Mapping[str, Any]) -> str:
    """A run's puzzle for people: its name, else the beginning of its digest, else its path."""
    puzzle = str(entry.get("puzzle") or "")
    short = puzzle.removeprefix("sha256:")[:12] if puzzle.startswith("sha256:") else puzzle
    return str(entry.get("puzzle_name") or short)


def _so_far(record: Any, progress: Mapping[str, Any], failures: Mapping[str, Any]) -> dict[str, Any]:
    told = [(part["best_error"], name) for name, part in progress.items() if part["best_error"] is not None]
    error, name = min(told, default=(None, None))
    method = name and name.rpartition(".s")[0]
    about = {"best_mse": error, "best_method": method, "solved": False, "parts": None, "parts_ended": None}
    try:
        request = request_of(record) if isinstance(record, dict) else None
    except InputError:  # of another version
        request = None
    if request is None:
        return about

    def is_over(method: str, part: str) -> bool:
        return method in failures or part in failures or bool(progress.get(part, {}).get("ended"))

    ended = sum(is_over(method, part_name(method, seed)) for method, seed in request.parts)
    return {**about, "parts": len(request.parts), "parts_ended": ended}


def _in_the_end(found: Mapping[str, Any]) -> dict[str, Any]:
    names = ("best_mse", "best_method", "solved", "parts", "parts_ended")
    return {name: found.get(name, False if name == "solved" else None) for name in names}
