"""The settings, and what is wrong with them as an error of ours."""

from __future__ import annotations

from config.complaints import SettingsError
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
