"""On which grid the values of a column lie: rounded to decimals, stored in half or single precision, or both."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array64 = NDArray[np.float64]

ODD = 0.01
"""The part of a column's values that may lie beside its grid; of a hundred or fewer, one may."""
FEWEST = 10
"""With fewer values none may."""
MOST_DECIMALS = 16
CLEAR = 1.25
"""A decimal grid shows where its step is so many times that of the binary one, which has its values anyway."""
SHOWN_PART = 0.5
"""In that part of the values at least, …"""
EVIDENCE = 30.0
"""… or in so many that all of them lie on it by chance with a probability of e⁻³⁰ at most."""
LOOKED_AT = 4096
"""Values of a column that are looked at."""
READ = 512
"""Of these, the ones that are compared with texts."""


def rounding_errors(values: Array64) -> Array64:
    """The squared error to be expected of each value's rounding, step² / 12 of its grid, for columns (R, o).

    (R', o), for some of the rows where there are many; 0 where there is no grid. Decimals that all values of a column
    have in common, also where they were then stored as float16, bfloat16 or float32; or one of these alone, which all
    columns share, by the values themselves or by their shortest texts. Whole numbers count as labels and not as
    rounded, unless other columns tell that they are stored as these are.
    """
    some = values[:: max(1, len(values) // LOOKED_AT)]
    if _nearly_all((np.rint(some) == some).ravel()):
        return np.zeros(some.shape)
    steps, text = _binary_steps(some.ravel())
    squares = (np.square(steps) + 12 * np.square(text)).reshape(some.shape)
    columns = zip(some.T, steps.reshape(some.shape).T, squares.T, strict=True)
    return np.stack([_with_decimals(*column) for column in columns], axis=1) / 12


def _with_decimals(values: Array64, steps: Array64, squares: Array64) -> Array64:
    """The squared steps (R,) of a column whose binary format has these steps, with those of decimals."""
    decimals = _decimals(values, steps)
    if decimals is None:
        return squares
    step = 10.0**-decimals
    if _nearly_all(np.round(values, decimals) == values):  # printed: what they were rounded from nothing else tells
        return np.maximum(squares, step**2 + _squares_before(values, step))
    return squares + step**2


def _squares_before(values: Array64, step: float) -> Array64:
    """(R,): the squared steps of float32, from which nearly every network's decimals are rounded.

    0 where they are finer than float32 and do not lie at its numbers.
    """
    steps = _float32_steps(values)
    finer = CLEAR * step < steps
    beside = np.abs(values - _float32(values)) > step / 2 * (1 + 1e-6)
    if np.count_nonzero(finer) >= SHOWN_PART * len(values) and not _nearly_all(~beside[finer]):
        return np.zeros(len(values))
    return np.square(steps)


def _nearly_all(hits: NDArray[np.bool_]) -> bool:
    odd = len(hits) - int(np.count_nonzero(hits))
    return odd <= (max(1.0, ODD * len(hits)) if len(hits) >= FEWEST else 0)


def _binary_steps(values: Array64) -> tuple[Array64, Array64]:
    """Of the coarsest binary format that holds nearly all values, each one's distance to the next, (R,).

    And how far it lies beside that format where it was read from its shortest text there, (R,). Both 0 for float64.
    """
    formats = (_bfloat16, _bfloat16_steps), (_float16, _float16_steps), (_float32, _float32_steps)
    held = [steps(values) for stored, steps in formats if _nearly_all(stored(values) == values)]
    if held:  # of small numbers with few digits float16 may be coarser than bfloat16
        return max(held, key=lambda steps: float(steps.mean())), np.zeros(len(values))
    some = values[:: max(1, len(values) // READ)]
    for stored, steps in formats[1:]:
        kind = np.float16 if stored is _float16 else np.float32
        if _nearly_all(_shortest(some, kind) == some):
            return steps(values), values - stored(values)
    return np.zeros(len(values)), np.zeros(len(values))


def _decimals(values: Array64, steps: Array64) -> int | None:
    """The fewest decimals that nearly all values are rounded to, before they were stored with these binary steps."""
    if _nearly_all(np.rint(values) == values):
        return None
    for decimals in range(1, MOST_DECIMALS):
        shown = CLEAR * steps < 10.0**-decimals
        some, ratios = values[shown], steps[shown] * 10.0**decimals
        with np.errstate(divide="ignore"):
            evidence = -float(np.log(ratios).sum())
        if len(some) < SHOWN_PART * len(values) and evidence < EVIDENCE:
            return None
        if _nearly_all(np.abs(np.round(some, decimals) - some) <= steps[shown] / 2):
            return decimals
    return None


def _float32(values: Array64) -> Array64:
    with np.errstate(over="ignore"):
        return values.astype(np.float32).astype(np.float64)


def _float16(values: Array64) -> Array64:
    with np.errstate(over="ignore"):
        return values.astype(np.float16).astype(np.float64)


def _bfloat16(values: Array64) -> Array64:
    """The upper half of float32, cut off: what is rounded already stays."""
    with np.errstate(over="ignore"):
        bits = values.astype(np.float32).view(np.uint32) & np.uint32(0xFFFF0000)
    return bits.view(np.float32).astype(np.float64)


def _float32_steps(values: Array64) -> Array64:
    with np.errstate(over="ignore", invalid="ignore"):
        return np.nan_to_num(np.spacing(np.abs(values).astype(np.float32)).astype(np.float64), posinf=0.0)


def _float16_steps(values: Array64) -> Array64:
    with np.errstate(over="ignore", invalid="ignore"):
        return np.nan_to_num(np.spacing(np.abs(values).astype(np.float16)).astype(np.float64), posinf=0.0)


def _bfloat16_steps(values: Array64) -> Array64:
    return _float32_steps(values) * 2.0**16


def _shortest(values: Array64, kind: type[np.floating]) -> Array64:
    """What is read from the shortest texts that tell these values apart in that format."""
    with np.errstate(over="ignore"):
        return np.array([float(str(value)) for value in values.astype(kind)])
