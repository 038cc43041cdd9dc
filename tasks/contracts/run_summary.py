"""What a finished run's summary holds. `docs/json.md` explains every field."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _permutation(numbers: list[int]) -> list[int]:
    if sorted(numbers) != list(range(len(numbers))):
        raise ValueError("is no permutation")
    return numbers


Permutation = Annotated[list[int], AfterValidator(_permutation)]
"""Each of 0 … n − 1 once."""
Count = Annotated[int, Field(ge=0, lt=2**62)]
Positive = Annotated[float, Field(ge=0)]
"""A finite number, at least 0."""


class Record(BaseModel):
    """What a run keeps. Fields of newer versions are passed over."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False, frozen=True)


class Sigmas(Record):
    """A pairing and a block order with their MSE, which is null where it overflows."""

    inp_sigma: Permutation
    out_sigma: Permutation
    full_mse: Positive | None


class PoolBest(Sigmas):
    """One that a pool holds."""

    full_mse: Positive


class BestSolution(PoolBest):
    """The run's solution of least MSE."""

    method: str
    seed: int
    permutation: list[int]
    names: list[str] = []
    hash: str
    hash_match: bool | None


class BlockSummary(Record):
    """A block of the best solution; see :mod:`pairing.analysis.block_profile`."""

    inp_norm: Positive
    out_norm: Positive
    change: Positive | None


class MethodSummary(Record):
    """A method with one seed."""

    method: str
    seed: int
    ok: bool
    error: str | None
    pairs: list[int] | None
    margins: list[float | None] | None
    pairs_matching_pool_best: Count | None = None
    pool_order_mse: Positive | None = None
    start: str | None
    start_mse: Positive | None
    full_mse: Positive | None
    evaluations: Count | None
    repaired_pairs: Count | None
    stopped: str | None
    seconds: Positive | None


class StoredSolution(Record):
    """A solution for the pool; without ``id`` it waits in the spool."""

    id: Count | None = None
    method: str
    full_mse: Positive | None


class PoolSummary(Record):
    """The pool before and after the run."""

    best_before: Positive | None
    best_after: Positive | None
    inserted: list[StoredSolution]
    stored_later: list[StoredSolution]


class RunSummary(Record):
    """A run's summary."""

    version_of_schema: Literal[1] = Field(alias="schema")
    version: str
    run: str
    puzzle: str
    activation: str
    blocks: int = Field(ge=1)
    width: Count
    hidden: Count
    outputs: Count
    rows: Count
    solved: bool
    noise: Positive | None = None
    best: BestSolution | None
    network: list[BlockSummary] | None = None
    undecidable: dict[str, Any] | None = None
    methods: list[MethodSummary]
    pool: PoolSummary
    seconds: dict[str, float | None]
