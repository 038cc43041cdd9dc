"""Activation functions and their slopes, in NumPy, by their usual names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from pairing.arrays import Array32
from pairing.errors import InputError


@dataclass(frozen=True)
class Activation:
    """``apply(z, out)`` writes act(z) into ``out`` (may be z itself); ``slope(z)`` gives act'(z). float32."""

    apply: Callable[[Array32, Array32], object]
    slope: Callable[[Array32], Array32]


@lru_cache(maxsize=8)
def _zeros(shape: tuple[int, ...]) -> Array32:
    zeros = np.zeros(shape, np.float32)
    zeros.flags.writeable = False
    return zeros


def _relu(z: Array32, out: Array32) -> None:
    # NumPy compares two arrays of one shape five times as fast as an array and a number.
    np.maximum(z, _zeros(z.shape), out=out)


def _sigmoid(z: Array32) -> Array32:
    from scipy.special import expit

    result: Array32 = expit(z)
    return result


def _gelu(z: Array32, out: Array32) -> None:
    # z Φ(z), Hendrycks & Gimpel 2016 (the exact form, torch's default)
    from scipy.special import ndtr

    np.multiply(z, ndtr(z), out=out)


def _gelu_slope(z: Array32) -> Array32:
    from scipy.special import ndtr

    density = np.exp(-0.5 * z * z) * np.float32(0.3989422804014327)
    result: Array32 = ndtr(z) + z * density
    return result


def _silu_slope(z: Array32) -> Array32:
    s = _sigmoid(z)
    return s * (1 + z * (1 - s))


def _elu(z: Array32, out: Array32) -> None:
    np.copyto(out, np.where(z > 0, z, np.expm1(np.minimum(z, 0))))


AUTO = "auto"
"""A puzzle of an activation that nobody knows: it is to be chosen (``pairing.analysis.activation_choice``)."""

ACTIVATIONS: dict[str, Activation] = {
    "relu": Activation(_relu, lambda z: (z > 0).astype(np.float32)),
    "gelu": Activation(_gelu, _gelu_slope),
    "silu": Activation(lambda z, out: np.multiply(z, _sigmoid(z), out=out), _silu_slope),
    "tanh": Activation(lambda z, out: np.tanh(z, out=out), lambda z: 1 - np.square(np.tanh(z))),
    "sigmoid": Activation(lambda z, out: np.copyto(out, _sigmoid(z)), lambda z: _sigmoid(z) * (1 - _sigmoid(z))),
    "leaky_relu": Activation(
        lambda z, out: np.multiply(z, np.where(z > 0, np.float32(1), np.float32(0.01)), out=out),
        lambda z: np.where(z > 0, np.float32(1), np.float32(0.01)),
    ),
    "elu": Activation(_elu, lambda z: np.exp(np.minimum(z, 0))),
    "softplus": Activation(lambda z, out: np.logaddexp(z, np.float32(0), out=out), _sigmoid),
}
"""Name → activation; slopes at a kink are the left one's."""


def checked_activation(name: str) -> str:
    """The name itself, of an activation or ``auto``.

    Raises:
        InputError: there is no such activation; the message lists the known ones.
    """
    if name not in (AUTO, *ACTIVATIONS):
        raise InputError(f"unknown activation '{name}'; known: {AUTO}, {', '.join(ACTIVATIONS)}")
    return name


def activation_of(name: str) -> Activation:
    """The activation of that name.

    Raises:
        InputError: there is none; the message lists the known ones. Or it is still to be chosen.
    """
    if name == AUTO:
        raise InputError("the activation is still to be chosen; see pairing.analysis.activation_choice.with_activation")
    if name not in ACTIVATIONS:
        raise InputError(f"unknown activation '{name}'; known: {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]
