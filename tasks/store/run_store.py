"""What stages hand to each other: matrices, checkpoints and results, by key and with a lifetime.

Messages carry only ids.
"""

from __future__ import annotations

import io
import json
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tasks.contracts.errors import RecordError
from tasks.store.backend import Backend
from tasks.store.record_models import parse_record

if TYPE_CHECKING:
    from pairing.arrays import Array64


Change = Callable[[dict[str, Any] | None], dict[str, Any] | None]

RUNS = "pairing.runs"

DUE = "pairing.due"
"""Every run by the time at which somebody has to look whether it needs a hand …"""
ENQUEUED = "pairing.enqueued"
"""… by when it was enqueued …"""
OPEN = "pairing.open"
"""… and those that have no end by that, too."""

UNRECORDED = "pairing.unrecorded"
"""Runs that have ended and are not on record yet, by when they ended."""

COUNTS = "pairing.counts"

NEWEST_ROW = "pairing.newest-row"

STOPS = (b"solved_elsewhere", b"cancelled")

LOOK_AGAIN_SECONDS = 60.0
"""How long a process takes a run's deadline for what it was: it may be another one when the run is tried again."""
MOST_DEADLINES = 10_000
"""Of how many runs a process knows the deadline."""

KEYS = (
    *("asked", "request", "plan", "summary", "outcome", "end", "stop", "matrices", "published"),
    *("claim.published", "claim.publication", "claim.rescue", "rescue"),
    *("assignment", "refinement", "progress", "failure", "times", "checkpoint", "attempt", "stored"),
)
"""Everything that is kept of a run."""


class Store:
    """Names for what is kept: keys start with ``pairing.``."""

    def __init__(self, backend: Backend) -> None:
        """A store over a backend."""
        self.backend = backend
        self._deadlines: dict[str, tuple[float, float]] = {}
        self._all_entered = False

    # --- similarities: named by the puzzle's bundle, shared between runs

    def put_similarity(self, bundle: str, method: str, matrix: Array64, run: str) -> None:
        """Keeps a similarity matrix (N, N) float64 for a run, unless there is one."""
        import numpy as np

        buffer = io.BytesIO()
        np.save(buffer, matrix, allow_pickle=False)
        key = f"pairing.similarity.{bundle}.{method}"
        if not self.backend.put_new(key, buffer.getvalue(), self.lifetime(run)):
            self.keep_similarity(bundle, method, run)

    def keep_similarity(self, bundle: str, method: str, run: str) -> None:
        """Keeps a similarity matrix that is there for another run, too."""
        self.backend.renew(f"pairing.similarity.{bundle}.{method}", lifetime=self.lifetime(run))

    def similarity(self, bundle: str, method: str) -> Array64 | None:
        """The similarity matrix (N, N) float64, finite; ``None`` where there is none.

        Raises:
            RecordError: something else is there.
        """
        import numpy as np

        key = f"pairing.similarity.{bundle}.{method}"
        saved = self.backend.get(key)
        if saved is None:
            return None
        try:
            matrix: Array64 = np.lib.format.read_array(io.BytesIO(saved), allow_pickle=False)
            if matrix.dtype != np.float64 or matrix.ndim != 2 or not np.isfinite(matrix).all():
                raise ValueError
        except Exception:  # bytes that anybody wrote can raise anything
            raise RecordError(
                f"{key} in the store is not a similarity matrix; somebody else has changed it. Enqueue the run again"
            ) from None
        return matrix

    def forget_similarities(self, bundle: str, methods: Iterable[str]) -> None:
        """Removes the similarity matrices of these methods."""
        self.backend.remove(*(f"pairing.similarity.{bundle}.{method}" for method in methods))

    # --- what is counted for those who watch the fleet: see tasks.worker.metrics

    def count(self, amounts: Mapping[str, int]) -> None:
        """Adds to the fleet's counts, by their names."""
        with suppress(RecordError):  # somebody else has spoilt it, and no work fails for a count
            self.backend.add_to_fields(COUNTS, amounts)

    def counts(self) -> dict[str, int]:
        """The fleet's counts by their names; what is none is left out."""
        return {name: int(value) for name, value in self.backend.fields(COUNTS).items() if _is_count(value)}

    def put_newest_row(self, at: float | None) -> None:
        """Keeps when (Unix time) the pool got its newest row; ``None`` for an empty pool."""
        self.backend.put(NEWEST_ROW, _encoded({"at": at}))

    def newest_row(self) -> dict[str, Any] | None:
        """``{"at": …}`` as it was kept last, ``None`` where it was not.

        Raises:
            RecordError: something else is there.
        """
        value = self.backend.get(NEWEST_ROW)
        return None if value is None else parse_record("newest row", value, NEWEST_ROW)

    # --- one run's records, each a JSON object; they are kept for the usual lifetime beyond the run's deadline

    def lifetime(self, run: str) -> float:
        """For how long (seconds) what belongs to a run is kept from now on."""
        now = time.time()
        deadline, looked = self._deadlines.get(run, (0.0, -math.inf))
        if now - looked > LOOK_AGAIN_SECONDS:
            with suppress(RecordError):  # somebody else has spoilt it: as long as others, then
                deadline = float((self.run_entry(run) or {}).get("deadline_at", 0.0))
            self.note_deadline(run, deadline)
        return self.backend.lifetime + max(0.0, deadline - now)

    def note_deadline(self, run: str, deadline: float) -> None:
        """Says when (Unix time) a run has to end, where that is not in the store yet."""
        if len(self._deadlines) > MOST_DEADLINES:
            self._deadlines.clear()
        self._deadlines[run] = deadline, time.time()

    def put_record(self, run: str, name: str, record: dict[str, Any]) -> None:
        """Keeps a record of a run: ``request``, ``plan``, ``summary``, …"""
        self.backend.put(_key(run, name), _encoded(record), self.lifetime(run))

    def record(self, run: str, name: str) -> dict[str, Any] | None:
        """A record of a run, ``None`` where there is none.

        Raises:
            RecordError: something else is there.
        """
        key = _key(run, name)
        value = self.backend.get(key)
        return None if value is None else parse_record(name, value, key)

    def records_of_all(self, runs: Sequence[str], name: str) -> list[dict[str, Any] | RecordError | None]:
        """A record of each run, ``None`` where there is none, an error where something else is; in one round trip."""
        keys = [_key(run, name) for run in runs]
        return [_decoded_or_error(name, *pair) for pair in zip(keys, self.backend.get_all(keys), strict=True)]

    def parts_of_all(self, runs: Sequence[str], kind: str) -> list[dict[str, dict[str, Any]]]:
        """All parts of one kind of each run, in one round trip; what is none is left out."""
        return [_sound(kind, fields) for fields in self.backend.fields_of_all([_key(run, kind) for run in runs])]

    def remove_records(self, run: str, *names: str) -> None:
        """Removes records of a run, those that are there."""
        self.backend.remove(*(_key(run, name) for name in names))

    def put_new_record(self, run: str, name: str, record: dict[str, Any]) -> bool:
        """Keeps a record of a run unless there is one of that name; says whether it did. Atomic."""
        return self.backend.put_new(_key(run, name), _encoded(record), self.lifetime(run))

    def put_run_entry(self, run: str, entry: dict[str, Any]) -> None:
        """Keeps a run's entry in the list of all runs."""
        self.note_deadline(run, float(entry.get("deadline_at", 0.0)))
        self._enter(run, entry)  # first: whoever is killed in between leaves no run that nobody looks at
        self.backend.put_field(RUNS, run, _encoded(entry), self.lifetime(run))

    def _enter(self, run: str, entry: dict[str, Any], ended: bool = False) -> None:
        self.put_due(run, float(entry.get("deadline_at", 0.0)))
        for key in (ENQUEUED,) if ended else (ENQUEUED, OPEN):
            self.backend.put_times(key, {run: float(entry.get("enqueued_at", 0.0))}, self.lifetime(run))

    def put_due(self, run: str, at: float) -> None:
        """Says when (Unix time) somebody has to look at a run."""
        self.backend.put_times(DUE, {run: at}, self.lifetime(run))

    def close(self, run: str) -> None:
        """Says that a run has an end."""
        self.backend.remove_time(OPEN, run)

    def put_unrecorded(self, run: str) -> None:
        """Says that a run has ended, and is to be put on record."""
        self.backend.put_times(UNRECORDED, {run: time.time()}, self.lifetime(run))

    def unrecorded(self) -> list[str]:
        """The runs that are to be put on record, the one that ended first first."""
        return self.backend.until(UNRECORDED, math.inf)

    def note_recorded(self, run: str) -> None:
        """Says that a run is on record, as far as it can be."""
        self.backend.remove_time(UNRECORDED, run)

    def due(self, now: float) -> list[str]:
        """The runs that somebody has to look at by now."""
        self._enter_all()
        return self.backend.until(DUE, now)

    def open_entries(self) -> list[dict[str, Any]]:
        """The entries of all runs that have no end, the newest first."""
        self._enter_all()
        return self._entries(self.backend.until(OPEN, math.inf)[::-1])

    def newest_entries(self, count: int) -> list[dict[str, Any]]:
        """The entries of so many runs, the newest first."""
        self._enter_all()
        return self._entries(self.backend.latest(ENQUEUED, count))

    def _entries(self, runs: Sequence[str]) -> list[dict[str, Any]]:
        values = self.backend.some_fields(RUNS, runs)
        found = _sound("entry", {run: value for run, value in zip(runs, values, strict=True) if value is not None})
        return [entry for run, entry in found.items() if entry["run"] == run]

    def _enter_all(self) -> None:
        """Enters the runs that a version before this one has left, once."""
        if self._all_entered:
            return
        known = set(self.backend.until(ENQUEUED, math.inf))
        missing = [entry for entry in self.run_entries() if entry["run"] not in known]
        ends = self.records_of_all([entry["run"] for entry in missing], "end")
        for entry, end in zip(missing, ends, strict=True):
            self._enter(entry["run"], entry, ended=end is not None)
        self._all_entered = True

    def run_entry(self, run: str) -> dict[str, Any] | None:
        """A run's entry in the list of all runs, ``None`` where there is none."""
        value = self.backend.field(RUNS, run)
        return None if value is None else parse_record("entry", value, f"{RUNS} {run}")

    def run_entries(self) -> list[dict[str, Any]]:
        """The entries of all runs; what is none is left out."""
        entries = _sound("entry", self.backend.fields(RUNS))
        return [entry for run, entry in entries.items() if entry["run"] == run]

    def forget(self, run: str) -> None:
        """Removes everything of a run; its puzzle and similarities, which other runs may share, stay."""
        self.backend.remove(*(_key(run, name) for name in KEYS))
        self.backend.remove_field(RUNS, run)
        for key in (DUE, ENQUEUED, OPEN):
            self.backend.remove_time(key, run)

    def claim_for(self, run: str, name: str, seconds: float) -> bool:
        """Whether nobody else has claimed this within so many seconds."""
        return self.backend.put_new(_key(run, f"claim.{name}"), b"1", seconds)

    def put_published(self, run: str) -> None:
        """Notes that the run's canvas is published, whole."""
        self.backend.put(_key(run, "published"), b"1", self.lifetime(run))

    def is_published(self, run: str) -> bool:
        """Whether the run's canvas is published, whole."""
        return self.backend.get(_key(run, "published")) is not None

    def put_part(self, run: str, kind: str, part: str, record: dict[str, Any]) -> None:
        """Keeps what one part of a run says: kind ``assignment``, ``refinement``, ``progress``, ``failure``, …"""
        self.backend.put_field(_key(run, kind), part, _encoded(record), self.lifetime(run))

    def parts(self, run: str, kind: str) -> dict[str, dict[str, Any]]:
        """All parts of one kind by their names; what is none is left out."""
        return _sound(kind, self.backend.fields(_key(run, kind)))

    def part(self, run: str, kind: str, part: str) -> dict[str, Any] | None:
        """What one part of a run says, ``None`` where it says nothing.

        Raises:
            RecordError: something else is there.
        """
        key = _key(run, kind)
        value = self.backend.field(key, part)
        return None if value is None else parse_record(kind, value, f"{key} {part}")

    def remove_part(self, run: str, kind: str, part: str) -> None:
        """Removes what one part of a run says, if it says anything."""
        self.backend.remove_field(_key(run, kind), part)

    def change_part(self, run: str, kind: str, part: str, change: Change) -> None:
        """Makes of what a part says what ``change`` makes of it, whoever else does so at the same time.

        ``change`` is given the record, ``None`` where there is none, and may be called again; ``None`` leaves it.

        Raises:
            RecordError: something else is there.
        """
        key = _key(run, kind)
        while True:
            value = self.backend.field(key, part)
            changed = change(None if value is None else parse_record(kind, value, f"{key} {part}"))
            if changed is None or self.backend.swap_field(key, part, value, _encoded(changed), self.lifetime(run)):
                return

    def put_checkpoint(self, run: str, part: str, state: dict[str, Any]) -> None:
        """Keeps where a refinement stands."""
        self.backend.put_field(_key(run, "checkpoint"), part, _encoded(state, nan=True), self.lifetime(run))

    def checkpoint(self, run: str, part: str) -> dict[str, Any] | None:
        """Where a refinement stood when it was last saved, ``None`` where it was not."""
        return self.part(run, "checkpoint", part)

    def announce(self, run: str, reason: str) -> None:
        """Tells a run's refinements to end: ``solved_elsewhere`` or ``cancelled``."""
        self.backend.put_new(_key(run, "stop"), reason.encode(), self.lifetime(run))

    def announced(self, run: str) -> str | None:
        """Why the run's refinements are to end, ``None`` where they are not.

        Raises:
            RecordError: what is there is no reason.
        """
        reason = self.backend.get(_key(run, "stop"))
        if reason not in (None, *STOPS):
            raise RecordError(f"{_key(run, 'stop')} in the store is not a reason to end; somebody else has changed it")
        return None if reason is None else reason.decode()

    def put_matrices(self, run: str, archive: bytes) -> None:
        """Keeps the npz file of a run's similarity matrices."""
        self.backend.put(_key(run, "matrices"), archive, self.lifetime(run))

    def matrices(self, run: str) -> bytes | None:
        """The npz file of a run's similarity matrices."""
        return self.backend.get(_key(run, "matrices"))


def _key(run: str, name: str) -> str:
    return f"pairing.run.{run}.{name}"


def part_name(method: str, seed: int) -> str:
    """``<method>.s<seed>``: the name of one refinement of a run."""
    return f"{method}.s{seed}"


def _encoded(record: dict[str, Any], nan: bool = False) -> bytes:
    return json.dumps(record, allow_nan=nan).encode()


def _is_count(value: bytes) -> bool:
    return value.isdigit() and len(value) < 20


def _decoded_or_error(kind: str, key: str, value: bytes | None) -> dict[str, Any] | RecordError | None:
    try:
        return None if value is None else parse_record(kind, value, key)
    except RecordError as error:
        return error


def _sound(kind: str, fields: Mapping[str, bytes]) -> dict[str, dict[str, Any]]:
    found = {}
    for name, value in fields.items():
        with suppress(RecordError):
            found[name] = parse_record(kind, value, name)
    return found
