"""Flower for the fleet, with our pages: an address of our choosing, and never without authentication."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from config.complaints import MISSING, WRONG_TYPE, Complaint
from config.settings import Settings
from pairing.errors import InputError
from tasks.client.environment import checked_settings
from tasks.contracts.message_signing import serializer_of
from tasks.worker.command import worker_environment

PURGE_SECONDS = "600"
"""How long after its last heartbeat a worker that is gone leaves Flower's pages and metrics."""


def flower_environment(found: Settings) -> dict[str, str]:
    """This process's environment with what Flower is told by it: logins are no command line's business.

    Raises:
        InputError: there is no login, or one that is not ``user:password``.
    """
    if found.flower_auth is None:
        text = "Flower can enqueue and revoke, so it does not start without user:password[,user:password…]"
        raise InputError(str(Complaint(MISSING, "PAIRING_FLOWER_AUTH", text)))
    logins = found.flower_auth.get_secret_value()
    if not all(all(login.partition(":")[::2]) for login in logins.split(",")):
        text = "every login is user:password, with a comma between two and none within"
        raise InputError(str(Complaint(WRONG_TYPE, "PAIRING_FLOWER_AUTH", text)))
    environment = worker_environment(
        {
            "FLOWER_BASIC_AUTH": logins,
            "FLOWER_ADDRESS": found.flower_address,
            "FLOWER_PORT": str(found.flower_port),
            "FLOWER_PURGE_OFFLINE_WORKERS": os.environ.get("FLOWER_PURGE_OFFLINE_WORKERS", PURGE_SECONDS),
            "FLOWER_CONF": os.devnull,  # else a flowerconfig.py of the working directory is run
        }
    )
    environment.pop("FLOWER_UNAUTHENTICATED_API", None)
    return environment


def exec_flower(arguments: Sequence[str]) -> None:
    """Replaces this process by Flower; ``arguments`` are its own.

    Raises:
        InputError: a setting is wrong, or nobody is let in.
    """
    found = checked_settings()
    environment = flower_environment(found)
    serializer_of(found)
    command = [sys.executable, "-m", "tasks.web", *arguments]
    os.execve(command[0], command, environment)  # noqa: S606 - our own interpreter, no shell # nosec B606
