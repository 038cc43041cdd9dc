"""The records that go into the pool and come out: checked, in plain Python values."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from config.complaints import told
from pairing.errors import InputError


def is_permutation(sigma: object, blocks: int) -> bool:
    """Whether ``sigma`` holds each of the ints 0 … blocks-1 once. Anything may be asked, NULL too."""
    return (
        isinstance(sigma, Sequence)
        and len(sigma) == blocks
        and all(type(index) is int for index in sigma)
        and set(sigma) == set(range(blocks))
    )


def solution_digest(inp_sigma: Sequence[int], out_sigma: Sequence[int]) -> bytes:
    """Of a pair of sigmas: 16 bytes of SHA-256 of ``"0,1,2;2,0,1"``."""
    text = ";".join(",".join(map(str, sigma)) for sigma in (inp_sigma, out_sigma))
    return hashlib.sha256(text.encode()).digest()[:16]


def _plain(value: Any) -> Any:
    """A NumPy scalar's Python value; anything else as it is. No driver adapts ``numpy.int64``."""
    return value.item() if hasattr(value, "item") else value


def _plain_all(values: Any) -> Any:
    return tuple(map(_plain, values)) if isinstance(values, Iterable) and not isinstance(values, str) else values


def storable(text: Any) -> Any:
    """Text as PostgreSQL can store it: a note's odd character must not cost the winner."""
    return text.replace("\0", "?").encode("utf-8", "replace").decode("utf-8") if isinstance(text, str) else text


_Integer = Annotated[int, Field(ge=-(2**63), lt=2**63), BeforeValidator(_plain)]
_Integers = Annotated[
    tuple[Annotated[int, Field(ge=-(2**31), lt=2**31)], ...], Field(max_length=300_000), BeforeValidator(_plain_all)
]
_Number = Annotated[float, BeforeValidator(_plain)]
_Text = Annotated[str, Field(max_length=10_000), BeforeValidator(storable)]


class _Stored(BaseModel):
    """What is stored: NumPy scalars and arrays are accepted and become plain Python values."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True, allow_inf_nan=False)

    def __init__(self, **values: Any) -> None:
        """Checks every value.

        Raises:
            InputError: a value has the wrong type or is not finite.
        """
        try:
            super().__init__(**values)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            raise InputError(f"{'.'.join(map(str, first['loc'])) or 'the sigmas'} {told(first)}") from None


class Winner(_Stored):
    """A solution to be stored; its sigmas are permutations of 0 … N-1."""

    worker: _Text
    full_mse: _Number
    inp_sigma: _Integers
    out_sigma: _Integers
    permutation: _Integers
    hash: _Text
    hash_match: Annotated[bool, BeforeValidator(_plain)]

    @field_validator("inp_sigma", "out_sigma")
    @classmethod
    def _check_sigma(cls, sigma: tuple[int, ...]) -> tuple[int, ...]:
        if not sigma or not is_permutation(sigma, len(sigma)):
            raise ValueError(f"must hold each of 0 … {len(sigma) - 1} once")
        return sigma

    @model_validator(mode="after")
    def _check_lengths(self) -> Winner:
        if len(self.inp_sigma) != len(self.out_sigma):
            raise ValueError("inp_sigma and out_sigma must be of one length")
        return self


class Provenance(_Stored):
    """Where a winner came from."""

    run: _Text
    puzzle: _Text
    """The puzzle's digest."""
    method: _Text
    seed: _Integer
    rows: _Integer
    """How many rows ``error`` was taken over."""
    error: _Number
    """Mean squared error over ``rows`` rows."""
    seconds: _Number
    """How long the refinement took."""
    versions: Annotated[dict[_Text, _Text], Field(max_length=100)]
    """Name of a package → its version."""
    host: _Text
    """The host that refined."""
    note: _Text = ""


@dataclass(frozen=True, kw_only=True)
class PoolRow:
    """A row as it was found. Its sigmas are sound; the other columns of other writers need not be."""

    id: int
    worker: str | None
    full_mse: float
    inp_sigma: tuple[int, ...]
    out_sigma: tuple[int, ...]
    permutation: tuple[int, ...] | None
    hash: str | None
    hash_match: bool
    run: str | None = None
    """The run that found it, where it is on record for the puzzle that was asked for."""


@dataclass(frozen=True, kw_only=True)
class Inserted:
    """The pool's row for a winner, and whether this insertion made it."""

    id: int
    new: bool
    beaten: bool = False
    """Whether the winner is not stored, because row ``id`` is as good."""
