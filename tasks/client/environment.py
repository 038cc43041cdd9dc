"""The settings, and what is wrong with them as an error of ours."""

from __future__ import annotations

import os
from pathlib import Path

from config.complaints import UNREADABLE_FILE, Complaint, SettingsError
from config.settings import Settings, settings
from pairing.errors import InputError


def checked_settings() -> Settings:
    """This process's settings; what is wrong with them as people may read it, with no value in it.

    Raises:
        InputError: a variable has a wrong value, names a file that cannot be read, or is none of ours.
    """
    try:
        return settings()
    except SettingsError as error:
        raise InputError(str(error)) from None


def read_environment(path: Path) -> None:
    """Puts what an environment file (``NAME=VALUE`` lines) sets into this process's environment.

    What is in the environment already stays. Nothing in the file is a variable or a command.

    Raises:
        InputError: the file cannot be read.
    """
    from dotenv import dotenv_values

    try:
        with path.open(encoding="utf-8") as file:
            found = dotenv_values(stream=file, interpolate=False)
    except OSError as error:
        raise InputError(str(Complaint(UNREADABLE_FILE, "--env-file", f"{path}: {error.strerror}"))) from error
    except UnicodeDecodeError:
        raise InputError(str(Complaint(UNREADABLE_FILE, "--env-file", f"{path} is not text in UTF-8"))) from None
    for name, value in found.items():
        if value is not None:
            os.environ.setdefault(name, value)
