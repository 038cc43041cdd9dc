"""What a run is asked to do, as it crosses process boundaries: validated, versioned, plain JSON."""

from __future__ import annotations

import secrets
import time
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pairing.errors import InputError

COMPARE_EVALUATIONS = 600
"""Evaluations that every method gets with ``compare``, unless the caller says how many."""


class Request(BaseModel):
    """One run. Unknown fields are refused, numbers are bounded."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    schema_version: Literal[1] = 1
    run: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")
    """The run's id; the id of its ``pairing.run`` task too."""
    bundle: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")
    """The packed puzzle in the store."""
    methods: list[str] = Field(min_length=1, max_length=200)
    seeds: int = Field(default=1, ge=1, le=10_000)
    first_seed: int = Field(default=0, ge=0, lt=2**31)
    annealer: str = "surrogate"
    start: str = "auto"
    diversity: int = Field(default=0, ge=0, le=10_000)
    """How many moves of a block the starts of seeds after the first are away from the pool best's order."""
    budget: float = Field(default=60.0, ge=0.1, le=1e7, allow_inf_nan=False)
    """Seconds that each refinement may take."""
    deadline: float = Field(default=300.0, ge=1, le=1e7, allow_inf_nan=False)
    """Seconds that the whole run may take, from ``enqueued_at`` on."""
    stop_when_solved: bool = True
    compare: bool = False
    """Every refinement gets the same evaluations, and neither the clock nor another's success ends it."""
    evaluations: int | None = Field(default=None, ge=1, le=10**12)
    repair: bool = True
    """Whether a refinement may exchange pairs that a method got wrong."""
    note: str = Field(default="", max_length=2000)
    enqueued_at: float = Field(default_factory=time.time, ge=0, allow_inf_nan=False)
    """Unix time."""

    @property
    def deadline_at(self) -> float:
        """The Unix time by which the run is to have ended."""
        return self.enqueued_at + self.deadline

    @property
    def allowance(self) -> int | None:
        """The evaluations that each refinement gets; ``None`` for as many as its budget allows."""
        return self.evaluations if self.evaluations or not self.compare else COMPARE_EVALUATIONS

    @property
    def seed_range(self) -> range:
        """The seeds of every method."""
        return range(self.first_seed, self.first_seed + self.seeds)

    @property
    def parts(self) -> list[tuple[str, int]]:
        """Every (method, seed) of the run."""
        return [(method, seed) for method in self.methods for seed in self.seed_range]


def request_of(values: dict[str, Any]) -> Request:
    """A validated request.

    Raises:
        InputError: a field is missing, unknown or out of range; the message names each.
    """
    try:
        return Request(**values)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'request'}: {problem['msg']}" for problem in error.errors()
        )
        raise InputError(f"the run cannot be started as asked: {problems}") from None


def new_run_id() -> str:
    """A run id that sorts by time and is not taken: ``20260131-235959-1f2e``."""
    return time.strftime("%Y%m%d-%H%M%S-", time.gmtime()) + secrets.token_hex(2)
