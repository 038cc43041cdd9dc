"""What each record of a run must hold: checked when it is read, since anybody on the broker may have written it."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import Field

from tasks.contracts.errors import RecordError
from tasks.contracts.run_request import LAST_TIME
from tasks.contracts.run_summary import Count, Permutation, PoolBest, Positive, Record, RunSummary, Sigmas

Json = dict[str, Any]


_Time = Annotated[float, Field(ge=0, lt=2 * LAST_TIME)]


class _Entry(Record):
    run: str
    enqueued_at: _Time
    deadline_at: _Time
    priority: str = ""
    puzzle: str = ""
    note: str = ""


class _Plan(Record):
    pool_best: PoolBest | None = None
    pool_error: str | None = None


class _Found(Record):
    best_mse: Positive | None
    best_method: str | None
    solved: bool
    parts: Count
    parts_ended: Count


class _End(Record):
    end: Literal["succeeded", "failed", "cancelled", "timed_out"]
    error: str | None
    exit_status: int = Field(ge=0, le=255)
    at: _Time
    found: _Found | None = None


class _Attempt(Record):
    count: int
    progress: int
    owner: str


class _Failure(Record):
    error: str


class _Times(Record):
    seconds: Positive
    cpu: Positive


class _Progress(Record):
    stage: str
    best_error: float | None
    evaluations: Count
    steps: Count
    seconds_left: float | None
    ended: bool = False


class _Assignment(Record):
    pairs: Permutation
    margins: list[float | None]
    confidence: list[float]
    total_similarity: float
    mean_similarity: float
    top_pairs: list[list[float]]
    pairs_matching_pool_best: Count | None
    pool_order_mse: Positive | None


class _Refinement(Record):
    solution: Sigmas
    annealer: str
    start: str
    start_mse: Positive | None
    evaluations: Count
    repaired_pairs: Count
    stopped: str
    cut_by_deadline: bool
    seconds: Positive
    verification_seconds: Positive
    host: str
    uncached: str = ""


class _Checkpoint(Record):
    evaluations: Count
    step: Count = 0
    seconds: Positive = 0.0


class _Rescue(Record):
    at: _Time
    times: Annotated[int, Field(ge=1, lt=2**31)]


class _NewestRow(Record):
    at: _Time | None


class _Stored(Record):
    id: Count
    method: str
    full_mse: Positive
    new: bool


class _Outcome(Record):
    timed_out: bool
    cancelled: bool
    pool_error: str | None
    lost_winner: str | None
    unrecorded: bool = False


_MODELS: dict[str, type[Record]] = {
    "entry": _Entry,
    "plan": _Plan,
    "end": _End,
    "attempt": _Attempt,
    "failure": _Failure,
    "times": _Times,
    "progress": _Progress,
    "assignment": _Assignment,
    "refinement": _Refinement,
    "checkpoint": _Checkpoint,
    "stored": _Stored,
    "newest row": _NewestRow,
    "rescue": _Rescue,
    "outcome": _Outcome,
    "summary": RunSummary,
}


def parse_record(kind: str, value: bytes, key: str) -> Json:
    """The record of that kind that stands as ``value`` under ``key`` in the store. A request is checked by its reader.

    Raises:
        RecordError: it is none, or not such a one.
    """
    try:
        record = json.loads(value)
        if not isinstance(record, dict):
            raise TypeError
        if kind in _MODELS:
            _MODELS[kind].model_validate(record)
    except (ValueError, TypeError, RecursionError):
        raise RecordError(
            f"{key} in the store is not what a worker writes there; somebody else has changed it. Enqueue the run again"
        ) from None
    return record
