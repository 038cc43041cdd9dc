"""What each record of a run must hold: checked when it is read, since anybody on the broker may have written it."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from tasks.contracts.errors import RecordError
from tasks.contracts.run_request import LAST_TIME

Json = dict[str, Any]


def _permutation(numbers: list[int]) -> list[int]:
    if sorted(numbers) != list(range(len(numbers))):
        raise ValueError("is no permutation")
    return numbers


_Permutation = Annotated[list[int], AfterValidator(_permutation)]
_Count = Annotated[int, Field(ge=0, lt=2**62)]
_Positive = Annotated[float, Field(ge=0)]
_Time = Annotated[float, Field(ge=0, lt=2 * LAST_TIME)]


class _Record(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


class _Entry(_Record):
    run: str
    enqueued_at: _Time
    deadline_at: _Time
    priority: str = ""
    puzzle: str = ""
    note: str = ""


class _Sigmas(_Record):
    inp_sigma: _Permutation
    out_sigma: _Permutation
    full_mse: _Positive | None


class _PoolBest(_Sigmas):
    full_mse: _Positive


class _Plan(_Record):
    pool_best: _PoolBest | None = None
    pool_error: str | None = None


class _End(_Record):
    end: Literal["succeeded", "failed", "cancelled", "timed_out"]
    error: str | None
    exit_status: int = Field(ge=0, le=255)
    at: _Time


class _Attempt(_Record):
    count: int
    progress: int
    owner: str


class _Failure(_Record):
    error: str


class _Times(_Record):
    seconds: _Positive
    cpu: _Positive


class _Progress(_Record):
    stage: str
    best_error: float | None
    evaluations: _Count
    steps: _Count
    seconds_left: float | None


class _Assignment(_Record):
    pairs: _Permutation
    margins: list[float | None]
    confidence: list[float]
    total_similarity: float
    mean_similarity: float
    top_pairs: list[list[float]]
    pairs_matching_pool_best: _Count | None
    pool_order_mse: _Positive | None


class _Refinement(_Record):
    solution: _Sigmas
    annealer: str
    start: str
    start_mse: _Positive | None
    evaluations: _Count
    repaired_pairs: _Count
    stopped: str
    cut_by_deadline: bool
    seconds: _Positive
    verification_seconds: _Positive
    host: str
    uncached: str = ""


class _Checkpoint(_Record):
    evaluations: _Count
    step: _Count = 0
    seconds: _Positive = 0.0


class _Rescue(_Record):
    at: _Time
    times: Annotated[int, Field(ge=1, lt=2**31)]


class _NewestRow(_Record):
    at: _Time | None


class _Stored(_Record):
    id: _Count
    method: str
    full_mse: _Positive
    new: bool


class _Outcome(_Record):
    timed_out: bool
    cancelled: bool
    pool_error: str | None
    lost_winner: str | None
    unrecorded: bool = False


class _Method(_Record):
    method: str
    seed: int
    ok: bool
    error: str | None
    start: str | None
    start_mse: _Positive | None
    full_mse: _Positive | None
    pairs_matching_pool_best: _Count | None
    pool_order_mse: _Positive | None
    evaluations: _Count | None
    seconds: _Positive | None
    stopped: str


class _Best(_PoolBest):
    method: str
    permutation: list[int]
    names: list[str] = []
    hash: str
    hash_match: bool | None


class _Pool(_Record):
    best_before: _Positive | None
    inserted: list[Json]
    stored_later: list[Json]


class _Seconds(_Record):
    total: float
    cpu: float


class _Summary(_Record):
    blocks: _Count
    rows: _Count
    activation: str
    solved: bool
    best: _Best | None
    noise: _Positive | None = None
    undecidable: dict[str, list[tuple[int, int] | list[int]] | int | float] | None
    methods: list[_Method]
    pool: _Pool
    seconds: _Seconds


_MODELS: dict[str, type[_Record]] = {
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
    "summary": _Summary,
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
