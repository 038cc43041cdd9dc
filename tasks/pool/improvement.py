"""When a solution beats another: what nobody gains by is rounding."""

from __future__ import annotations

RELATIVE_GAIN = 1e-6
VARIANCE_GAIN = 1e-12


def is_winner(full_mse: float | None, best: float | None, variance: float) -> bool:
    """Whether an error beats the pool best: by more than 1e-6 of it and 1e-12 of the target's variance.

    Against an empty pool (``None``) every finite error does.
    """
    if full_mse is None:
        return False
    return best is None or best - full_mse > max(RELATIVE_GAIN * best, VARIANCE_GAIN * variance)
