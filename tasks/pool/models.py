"""The records that go into the pool and come out: checked, in plain Python values."""

from __future__ import annotations

import hashlib
import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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


def _integer(name: str, value: Any, bits: int) -> int:
    try:
        number = operator.index(_plain(value))
    except TypeError:
        raise InputError(f"{name} must be an integer, not {value!r}.") from None
    if not -(2 ** (bits - 1)) <= number < 2 ** (bits - 1):
        raise InputError(f"{name} must fit into {bits} bits, and {number} does not.")
    return number


def _integers(name: str, values: Iterable[Any]) -> tuple[int, ...]:
    return tuple(_integer(name, value, 32) for value in values)


def _finite(name: str, value: Any) -> float:
    number = _plain(value)
    if not isinstance(number, int | float) or not math.isfinite(number):
        raise InputError(f"{name} must be a finite number, not {number!r}.")
    return float(number)


def _text(name: str, value: Any) -> str:
    """Text as PostgreSQL can store it: a note's odd character must not cost the winner."""
    if not isinstance(value, str):
        raise InputError(f"{name} must be text, not {value!r}.")
    return value.replace("\0", "?").encode("utf-8", "replace").decode("utf-8")


def _set(record: object, **values: object) -> None:
    for name, value in values.items():
        object.__setattr__(record, name, value)  # the records are frozen for everybody else


@dataclass(frozen=True, kw_only=True)
class Winner:
    """A solution to be stored. NumPy scalars and arrays are accepted and become plain Python values.

    Raises:
        InputError: a sigma is no permutation of 0 … N-1, or a value has the wrong type or is not finite.
    """

    worker: str
    full_mse: float
    inp_sigma: Sequence[int]
    out_sigma: Sequence[int]
    permutation: Sequence[int]
    hash: str
    hash_match: bool

    def __post_init__(self) -> None:
        """Check every value, and convert it."""
        match = _plain(self.hash_match)
        if not isinstance(match, bool):
            raise InputError(f"hash_match must be true or false, not {match!r}.")
        inp, out = _integers("inp_sigma", self.inp_sigma), _integers("out_sigma", self.out_sigma)
        for name, sigma in (("inp_sigma", inp), ("out_sigma", out)):
            if not sigma or not is_permutation(sigma, len(inp)):
                raise InputError(f"{name} must hold each of 0 … {len(inp) - 1} once.")
        _set(
            self,
            worker=_text("worker", self.worker),
            full_mse=_finite("full_mse", self.full_mse),
            inp_sigma=inp,
            out_sigma=out,
            permutation=_integers("permutation", self.permutation),
            hash=_text("hash", self.hash),
            hash_match=match,
        )


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
class Provenance:
    """Where a winner came from. NumPy scalars are accepted and become plain Python values.

    Attributes:
        run: the run's id.
        puzzle: the puzzle's digest.
        method: the method's name.
        seed: the refinement's seed.
        rows: how many rows ``error`` was taken over.
        error: mean squared error over ``rows`` rows.
        seconds: how long the refinement took.
        versions: name of a package → its version.
        host: the host that refined.
        note: anything else worth keeping.

    Raises:
        InputError: a value has the wrong type or is not finite.
    """

    run: str
    puzzle: str
    method: str
    seed: int
    rows: int
    error: float
    seconds: float
    versions: Mapping[str, str]
    host: str
    note: str = ""

    def __post_init__(self) -> None:
        """Check every value, and convert it."""
        _set(self, **{name: _text(name, getattr(self, name)) for name in _PROVENANCE_TEXTS})
        _set(
            self,
            seed=_integer("seed", self.seed, 64),
            rows=_integer("rows", self.rows, 64),
            error=_finite("error", self.error),
            seconds=_finite("seconds", self.seconds),
            versions={_text("versions", k): _text("versions", v) for k, v in self.versions.items()},
        )


_PROVENANCE_TEXTS = ("run", "puzzle", "method", "host", "note")


@dataclass(frozen=True, kw_only=True)
class Inserted:
    """The pool's row for a winner, and whether this insertion made it."""

    id: int
    new: bool
    beaten: bool = False
    """Whether the winner is not stored, because row ``id`` is as good."""
