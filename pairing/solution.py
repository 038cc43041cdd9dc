"""From sigmas to the solution's permutation and hash, and back."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral

from pairing.errors import InputError
from pairing.model.puzzle import Puzzle


@dataclass(frozen=True, kw_only=True, repr=False)
class Solution:
    """Which piece stands where, and how well that predicts."""

    inp_sigma: tuple[int, ...]
    """Index into the inp pieces (sorted by piece number) of the block applied k-th."""
    out_sigma: tuple[int, ...]
    """Index into the out pieces of the block applied k-th."""
    full_mse: float
    """MSE against the puzzle's target, over all samples and outputs."""
    permutation: tuple[int, ...]
    """Piece numbers ``inp, out, inp, out, …, last``."""
    hash: str
    """SHA-256 of the permutation joined by commas, lower-case hexadecimal."""
    hash_match: bool | None
    """Whether the hash is the target hash; ``None`` where none is known."""
    solved: bool
    """Whether the hash is the target hash or, where none is known, ``full_mse`` is at most ``puzzle.solved_mse``."""
    noise: float | None = None
    """The standard deviation of the noise that alone explains the MSE (``pairing.search.noise``); else ``None``."""
    as_good: int | None = None
    """How many solutions, one exchange of pieces or blocks away, the data cannot tell from this one.

    ``None`` where this was not examined (``pairing.search.identifiability``).
    """
    by_chance: float | None = None
    """About how many other block orders fit as well by chance; ``None`` where this was not examined."""

    @property
    def verdict(self) -> str:
        """``solved``, ``solved up to noise`` or ``not solved``."""
        return "solved" if self.solved else "not solved" if self.noise is None else "solved up to noise"

    def __repr__(self) -> str:
        """One line: whether it solves the puzzle, its MSE and its hash."""
        size = f"{len(self.inp_sigma)} blocks"
        return f"<Solution of {size}: {self.verdict}, MSE {self.full_mse:.3g}, hash {self.hash[:12]}…>"


def permutation_of(puzzle: Puzzle, inp_sigma: Sequence[int], out_sigma: Sequence[int]) -> tuple[int, ...]:
    """The piece numbers in the order in which they are applied, as plain ints.

    Raises:
        InputError: a sigma is not a permutation of 0 … N−1.
    """
    for name, sigma in (("inp_sigma", inp_sigma), ("out_sigma", out_sigma)):
        if not all(map(_is_whole, sigma)) or sorted(sigma) != list(range(puzzle.blocks)):
            raise InputError(f"{name} is not a permutation of 0 … {puzzle.blocks - 1}")
    pairs = zip(inp_sigma, out_sigma, strict=True)
    numbers = [n for i, o in pairs for n in (puzzle.inp_numbers[i], puzzle.out_numbers[o])]
    return (*numbers, puzzle.last_number)


def sigmas_of(puzzle: Puzzle, permutation: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """``(inp_sigma, out_sigma)`` of a list of piece numbers.

    Raises:
        InputError: the list is not ``inp, out, …, last`` with every piece once; says what stands wrong.
    """
    expected = 2 * puzzle.blocks + 1
    if len(permutation) != expected:
        raise InputError(f"the permutation has {len(permutation)} piece numbers; this puzzle has {expected} pieces")
    places = {n: ("inp", k) for k, n in enumerate(puzzle.inp_numbers)}
    places |= {n: ("out", k) for k, n in enumerate(puzzle.out_numbers)}
    places[puzzle.last_number] = ("last", 0)
    kinds = ["inp", "out"] * puzzle.blocks + ["last"]
    sigmas: dict[str, list[int]] = {"inp": [], "out": [], "last": []}
    for position, (number, kind) in enumerate(zip(permutation, kinds, strict=True)):
        if not _is_whole(number):
            raise InputError(
                f"position {position} of the permutation holds a {type(number).__name__}, not a piece number"
            )
        if number not in places:
            raise InputError(f"position {position} of the permutation names piece {number}, which does not exist")
        found, index = places[number]
        if found != kind:
            raise InputError(
                f"position {position} of the permutation wants an {kind} piece, but piece {number} is an {found} piece"
                " (the layout is inp, out, inp, out, …, last)"
            )
        if index in sigmas[kind]:
            first = list(permutation).index(number)
            raise InputError(
                f"piece {number} stands in the permutation twice, at position {first} and at position {position}"
            )
        sigmas[kind].append(index)
    return tuple(sigmas["inp"]), tuple(sigmas["out"])


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def permutation_hash(permutation: Sequence[int]) -> str:
    """SHA-256 of the piece numbers joined by commas without spaces, lower-case hexadecimal."""
    return hashlib.sha256(",".join(str(int(n)) for n in permutation).encode()).hexdigest()


def solution_of(puzzle: Puzzle, inp_sigma: Sequence[int], out_sigma: Sequence[int], full_mse: float) -> Solution:
    """The full record of a solution whose MSE is known.

    Raises:
        InputError: a sigma is not a permutation of 0 … N−1.
    """
    permutation = permutation_of(puzzle, inp_sigma, out_sigma)
    digest = permutation_hash(permutation)
    match = None if puzzle.target_hash is None else digest == puzzle.target_hash
    return Solution(
        inp_sigma=tuple(map(int, inp_sigma)),
        out_sigma=tuple(map(int, out_sigma)),
        full_mse=full_mse,
        permutation=permutation,
        hash=digest,
        hash_match=match,
        solved=full_mse <= puzzle.solved_mse if match is None else match,
    )
