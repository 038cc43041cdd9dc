"""What a run is asked to do, as it crosses process boundaries: validated, versioned, plain JSON.

These are the keyword arguments of the task ``pairing.run``, all but ``run``, which is the task's id.
"""

from __future__ import annotations

import re
import secrets
import time
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from config.complaints import told
from config.settings import LONGEST_DEADLINE
from pairing.errors import InputError

SCHEMA_VERSION: Final = 1

RUN_ID: Final = "[A-Za-z0-9][A-Za-z0-9_-]{0,63}"

LAST_TIME: Final = 1e11
"""A Unix time that calendars can show, and nobody has a run at."""

OF_WORKERS: Final = ("protocol", "retry")
"""What workers keep with a request that they have accepted: its version, and what is done again in this try."""

MOST_PARTS: Final = 10_000
"""Refinements of one run: its canvas is one message each, published at once."""

COMPARE_EVALUATIONS = 600
"""Evaluations that every method gets with ``compare``, unless the caller says how many."""


class Request(BaseModel):
    """One run, as any caller may ask for it. Unknown fields are refused, numbers are bounded."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    schema_version: Literal[1] = SCHEMA_VERSION
    run: str = Field(pattern=f"^{RUN_ID}$")
    """The run's id; the id of its ``pairing.run`` task too."""
    puzzle: str = Field(min_length=1, max_length=4096)
    """The digest of a puzzle in the store (``sha256:…``), or a path below an allowed root of the workers' hosts."""
    methods: list[Annotated[str, Field(min_length=1, max_length=100)]] = Field(
        default=["all"], min_length=1, max_length=200
    )
    seeds: int = Field(default=1, ge=1, le=10_000)
    first_seed: int = Field(default=0, ge=0, lt=2**31)
    annealer: Literal["surrogate", "classic"] = "surrogate"
    start: Literal["auto", "pool", "greedy", "norm", "delta", "random"] = "auto"
    diversity: int = Field(default=0, ge=0, le=10_000)
    """How many moves of a block the starts of seeds after the first are away from the pool best's order."""
    budget: float = Field(default=60.0, ge=0.1, le=1e7, allow_inf_nan=False)
    """Seconds that each refinement may take."""
    deadline: float = Field(default=300.0, ge=1, le=LONGEST_DEADLINE, allow_inf_nan=False)
    """Seconds that the whole run may take, from ``enqueued_at`` on."""
    stop_when_solved: bool = True
    compare: bool = False
    """Every refinement gets the same evaluations, and neither the clock nor another's success ends it."""
    evaluations: int | None = Field(default=None, ge=1, le=10**12)
    insert: Literal["best", "each"] = "best"
    """Which solutions go into the pool: what beats its best, or each method's that beats the best before the run."""
    repair: bool = True
    """Whether a refinement may exchange pairs that a method got wrong."""
    target: str | None = Field(default=None, min_length=1, max_length=200)
    """Column of the data; ``None`` for the puzzle's own (``pred``)."""
    target_hash: str | None = Field(default=None, pattern=r"^[0-9a-fA-F]{64}$")
    activation: str | None = Field(default=None, min_length=1, max_length=100)
    priority: Literal["urgent", "ordinary"] = "ordinary"
    note: str = Field(default="", max_length=2000)
    enqueued_at: float = Field(default_factory=time.time, ge=0, lt=LAST_TIME, allow_inf_nan=False)
    """Unix time."""

    def message_priority(self, refines: Literal["surely", "perhaps"] | None = None) -> int:
        """The priority of a message of this run. With Redis 0 comes first, and it is what a message without one has.

        What is short comes before refinements, and of these the ones that are sure of their pairs.
        """
        return 0 if self.priority == "urgent" else {None: 3, "surely": 6, "perhaps": 9}[refines]

    @property
    def arguments(self) -> dict[str, Any]:
        """What makes this run another than one of the same id: what was asked for, and not when."""
        return self.model_dump(exclude={"run", "schema_version", "enqueued_at"}, exclude_defaults=True)

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
        """Every (method, seed) of the run, once it is planned: only then ``all`` is a list of methods."""
        return [(method, seed) for method in self.methods for seed in self.seed_range]


def request_of(values: dict[str, Any]) -> Request:
    """A validated request.

    Raises:
        InputError: a field is missing, unknown or out of range; the message names each.
    """
    try:
        request = Request(**{name: value for name, value in values.items() if name not in OF_WORKERS})
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'request'} {told(problem)}" for problem in error.errors()
        )
        raise InputError(f"the run cannot be started as asked: {problems}") from None
    if request.compare and request.start == "pool":
        raise InputError(
            "the run cannot be started as asked: compare judges what the methods find, and start=pool gives each the"
            " stored solution; choose another start"
        )
    return request


def check_part(run: object, method: object = "", seed: object = 0, tries: object = 0) -> None:
    """Looks at the arguments of a task that works on a part of a run, in its ``tries``-th try after the first.

    Raises:
        InputError: they are none.
    """
    named = isinstance(run, str) and re.fullmatch(RUN_ID, run) and isinstance(method, str) and len(method) <= 100
    if not named or not all(type(number) is int and 0 <= number < 2**32 for number in (seed, tries)):
        raise InputError("a task was sent with arguments that are no run, method and seed; nothing is done")


def new_run_id() -> str:
    """A run id that sorts by time and, by its 64 random bits, is not taken: ``20260131-235959-1f2e3d4c5b6a7988``."""
    return time.strftime("%Y%m%d-%H%M%S-", time.gmtime()) + secrets.token_hex(8)
