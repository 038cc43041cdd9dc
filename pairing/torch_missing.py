"""Torch where it is needed, which is to train networks and to export them: a set-up may do without it."""

from __future__ import annotations

import sys

from pairing.errors import InputError


def require_torch(purpose: str, otherwise: str = "") -> None:
    """See that ``import torch`` works here; ``otherwise`` is what can be done without it.

    Raises:
        InputError: it does not. The message says what to install.
    """
    try:
        import torch  # noqa: F401
    except (ImportError, OSError) as error:  # OSError: a library of its own that is not to be found
        raise InputError(
            f"{purpose} needs torch, which cannot be imported here ({error}); "
            f"install it: {sys.executable} -m pip install torch{otherwise}"
        ) from error
