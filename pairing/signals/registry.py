"""Pairing signals: a method's name → a similarity matrix of inp and out pieces.

A signal is a function ``signal(puzzle) -> (N, N) float64``: row i is an inp piece, column j an out piece (indices into
the pieces by number), and larger means "rather a pair". Other packages add theirs with an entry point in the group
``pairing.signals``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points

import numpy as np

from pairing.arrays import Array64
from pairing.errors import InputError, MethodError
from pairing.model import costs
from pairing.model.pace import Pace
from pairing.model.puzzle import Puzzle
from pairing.signals import consensus, data, weights

Signal = Callable[[Puzzle], Array64]

LEAST_SECONDS = 1.0
"""A method that takes less is tried however little time is left."""


@dataclass(frozen=True)
class Method:
    """A registered pairing method."""

    name: str
    summary: str
    signal: Signal


def _method(signal: Signal, name: str = "") -> Method:
    summary = ((signal.__doc__ or "").strip() or "no description").splitlines()[0]
    return Method(name or signal.__name__, summary, signal)


def _method_at(point: EntryPoint) -> Method:
    """Another package's method; one that cannot be loaded fails when it is used, and costs the others nothing."""
    try:
        return _method(point.load(), point.name)
    except Exception as error:  # importing another package can raise anything
        reason = f"{type(error).__name__}: {error}"

    def unloadable(_: Puzzle) -> Array64:
        raise MethodError(
            f"method '{point.name}' cannot be loaded from {point.value} ({reason}); mend or uninstall its package"
        )

    return Method(point.name, f"cannot be loaded from {point.value}", unloadable)


# In the order in which a run works on them: what tells most networks apart comes first, so that a run which stops when
# it is solved seldom gets to the last four (legacy methods, kept for comparison).
_SIGNALS: tuple[Signal, ...] = (
    weights.trace,
    data.joint_ridge,
    data.error_alignment,
    data.nonlinear_alignment,
    weights.norm_balance,
    weights.dominance,
    weights.aligned_cosine,
    weights.neuron_cosine,
    data.residual_cosine,
    weights.gram_cosine,
    weights.asymmetry,
    weights.product_norm,
    consensus.consensus,  # behind those that it combines
    data.logit_search,
    weights.svd,
    data.activation,
    weights.transpose,
    weights.cosine,
)

LEGACY = ("svd", "activation", "transpose", "cosine")
"""Methods of an earlier version, kept for comparison."""


@cache
def methods() -> dict[str, Method]:
    """Every known method by its name: ours, then those that installed packages offer.

    Raises:
        InputError: two packages offer methods of the same name.
    """
    known = {signal.__name__: _method(signal) for signal in _SIGNALS}
    for point in entry_points(group="pairing.signals"):
        if point.name in known:
            raise InputError(f"the method '{point.name}' of {point.value} has a name that is taken; uninstall one")
        known[point.name] = _method_at(point)
    return known


def choose_methods(names: str) -> list[str]:
    """The method names of a comma-separated list, or of ``all``, without doubles, in the order given.

    Raises:
        InputError: a name is unknown.
    """
    if names.strip() == "all":
        return list(methods())
    chosen = list(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    unknown = [name for name in chosen if name not in methods()]
    if unknown or not chosen:
        what = f"unknown method '{unknown[0]}'" if unknown else "no method is named"
        raise InputError(f"{what}; known: all, {', '.join(methods())}")
    return chosen


def similarity(
    puzzle: Puzzle, method: str, seconds: float = float("inf"), known: Callable[[str], Array64 | None] = lambda _: None
) -> Array64:
    """The method's similarity matrix (N, N) float64: row = inp piece, column = out piece, larger is better.

    ``known`` gives the matrix of another method where it is known already, which a consensus takes then.

    Raises:
        InputError: there is no such method.
        MethodError: the method cannot be loaded, raised, or gave a wrong shape or values that are not finite; or, as
            far as its cost is known, takes longer than ``seconds``.
    """
    (name,) = choose_methods(method) if method != "all" else ("",)
    needed = Pace(puzzle, float("inf")).seconds(costs.signal(puzzle, name))
    if needed > max(seconds, LEAST_SECONDS):
        raise MethodError(
            f"method '{name}' takes about {needed:,.0f} s for {puzzle.blocks} blocks of this size, and"
            f" {max(0.0, seconds):.0f} s are left; give more time (--deadline), or try other methods"
        )
    try:
        with np.errstate(all="ignore"):
            signal = methods()[name].signal
            found = consensus.consensus(puzzle, known) if signal is consensus.consensus else signal(puzzle)
            matrix = np.asarray(found, np.float64)
    except MethodError:
        raise
    except Exception as error:  # whatever a method raises, the others go on without it
        raise MethodError(f"method '{name}' failed: {type(error).__name__}: {error}") from error
    if matrix.shape != (puzzle.blocks, puzzle.blocks):
        raise MethodError(f"method '{name}' gave a matrix of shape {matrix.shape} for {puzzle.blocks} blocks")
    if not np.isfinite(matrix).all():
        raise MethodError(f"method '{name}' gave values that are not finite")
    return matrix
