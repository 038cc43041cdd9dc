"""Errors of the fleet: its broker and its pool."""

from __future__ import annotations

from pairing.errors import PairingError


class BrokerError(PairingError):
    """The broker cannot be reached, or the embedded one did not start."""

    exit_status = 3


class PoolError(PairingError):
    """The pool database cannot be reached or refused a statement."""

    exit_status = 3


class RunTimeoutError(PairingError):
    """The run was not finished at its deadline."""

    exit_status = 4


class SpoolError(PairingError):
    """A winner can be neither stored nor spooled, or a spooled one not be read. The message names the file."""

    exit_status = 3


class RecordError(PairingError):
    """What stands in the store is not what this project writes there. The message names the key."""
