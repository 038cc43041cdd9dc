"""The settings, and what is wrong with them in words."""

from __future__ import annotations

from pydantic import ValidationError

from config.settings import Settings, settings
from pairing.errors import InputError


def checked_settings() -> Settings:
    """This process's settings; what is wrong with them as people may read it, with no value in it.

    Raises:
        InputError: a variable has a wrong value, or names a file that cannot be read.
    """
    try:
        return settings()
    except ValidationError as error:
        names = {
            str(problem["loc"][0]): problem["msg"].removeprefix("Value error, ")
            for problem in error.errors(include_input=False)
        }
        problems = "; ".join(
            f"{name if name.isupper() else f'PAIRING_{name.upper()}'}: {text}" for name, text in names.items()
        )
        raise InputError(f"the environment holds a wrong setting: {problems}") from None
    except OSError as error:
        raise InputError(f"{error.filename}: a setting's file cannot be read ({error.strerror})") from error
