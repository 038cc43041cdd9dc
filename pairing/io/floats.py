"""Floating-point types of weights as they lie in files, of which NumPy knows some: as float32."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BYTES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "float8_e5m2": 1, "float8_e4m3fn": 1}
"""The types by torch's names, and the bytes of a number."""


def as_float32(data: bytes, kind: str, order: str = "<") -> NDArray[np.float32]:
    """The numbers in ``data``, of a type in :data:`BYTES`; ``order`` is ``<`` or ``>``. What overflows is infinite.

    Raises:
        ValueError: they are no whole number of them.
    """
    if kind == "bfloat16":  # the upper half of a float32
        upper: NDArray[np.float32] = (np.frombuffer(data, f"{order}u2").astype(np.uint32) << 16).view(np.float32)
        return upper
    if kind == "float8_e5m2":  # the upper half of a float16
        halves: NDArray[np.float16] = (np.frombuffer(data, "u1").astype(np.uint16) << 8).view(np.float16)
        return halves.astype(np.float32)
    if kind == "float8_e4m3fn":
        return np.take(_E4M3FN, np.frombuffer(data, "u1"))
    with np.errstate(over="ignore"):
        return np.frombuffer(data, f"{order}f{BYTES[kind]}").astype(np.float32)


def _e4m3fn() -> NDArray[np.float32]:
    """All 256 numbers of a sign, four bits of exponent (bias 7) and three of mantissa; without infinity."""
    bits = np.arange(256)
    exponent, mantissa = bits >> 3 & 15, bits & 7
    size = np.where(exponent > 0, np.ldexp(8 + mantissa, exponent - 10), np.ldexp(mantissa, -9))
    size[bits & 127 == 127] = np.nan
    numbers: NDArray[np.float32] = np.where(bits & 128, -size, size).astype(np.float32)
    return numbers


_E4M3FN = _e4m3fn()
