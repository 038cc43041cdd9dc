"""What can be wrong with the environment's settings: each kind has a code that stays, and names the variable.

No complaint holds a value: it may be a secret.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from config.kubernetes import is_injected

UNREADABLE_FILE = "PAIRING-E001"
WRONG_TYPE = "PAIRING-E002"
OUT_OF_RANGE = "PAIRING-E003"
SET_TWICE = "PAIRING-E004"
UNKNOWN = "PAIRING-E005"
BROKER_URL = "PAIRING-E006"
POOL_URL = "PAIRING-E007"
POOL_URL_PASSWORD = "PAIRING-E008"  # noqa: S105 - a code, no password # nosec B105
MISSING = "PAIRING-E009"
ACCESS = "PAIRING-E010"
EXPOSED_KEY = "PAIRING-E011"
SIGNING = "PAIRING-E012"

PREFIX = "PAIRING_"
_FILE = "_FILE"
_KINDS = {"missing_setting": MISSING, "unreadable": UNREADABLE_FILE, "access": ACCESS, "exposed": EXPOSED_KEY}
_SAID = {
    "missing": "is missing",
    "extra_forbidden": "is unknown",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
    "finite_number": "must be finite",
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "must be a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "must be a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "must be true or false"),
    "string_type": "must be text",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "literal_error": "must be {expected}",
    "string_pattern_mismatch": "must match {pattern}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
}
"""pydantic's kinds of errors in words of ours."""
_RANGES = ("greater_than", "greater_than_equal", "less_than", "less_than_equal")


@dataclass(frozen=True)
class Complaint:
    """One thing that is wrong with one variable."""

    code: str
    variable: str
    text: str

    def __str__(self) -> str:
        """As people read it."""
        return f"{self.code} {self.variable}: {self.text}"


class SettingsError(ValueError):
    """The environment holds wrong settings; the text tells which, and never a value."""

    def __init__(self, complaints: Sequence[Complaint]) -> None:
        """All that is wrong, in one line."""
        super().__init__("the environment holds a wrong setting: " + "; ".join(map(str, complaints)))
        self.complaints = list(complaints)


def told(problem: Mapping[str, Any]) -> str:
    """What is wrong with a value, in words: ``problem`` is one of pydantic's ``errors()``."""
    said = _SAID.get(problem["type"])
    return str(problem["msg"]).removeprefix("Value error, ") if said is None else said.format(**problem.get("ctx", {}))


def shown(path: str) -> str:
    """A file's path as people may see it: what does not begin like one may be the secret that the file should hold."""
    return path if Path(path).is_absolute() else "what stands there (not shown, since it is not an absolute path)"


def of_names(variables: Mapping[str, Sequence[str]], environment: Mapping[str, str]) -> list[Complaint]:
    """What is wrong with the variables that are set, before their values are looked at.

    Args:
        variables: of every setting, the variables that give it, without their ``_FILE``.
        environment: the environment, its names as they are written.
    """
    given = {name.upper(): value for name, value in environment.items() if value and not is_injected(name, value)}
    known = {name + ending for names in variables.values() for name in names for ending in ("", _FILE)}
    found = []
    for name in sorted(given):
        if name.startswith(PREFIX) and name not in known:
            nearest = difflib.get_close_matches(name, sorted(known), 1, 0.8)
            hint = f"did you mean {nearest[0]}?" if nearest else "config/env.example lists them all"
            found.append(Complaint(UNKNOWN, name, f"there is no such setting; {hint}"))
    # The default would be a broker on this host, which is not what was meant: a secret is missing.
    broker = f"{PREFIX}BROKER_URL"
    if environment.get(broker) == "" and broker + _FILE not in given:
        found.append(Complaint(BROKER_URL, broker, "is empty; set it, or take it away"))
    for names in variables.values():
        plain = [name for name in names if name in given]
        files = [name + _FILE for name in names if name + _FILE in given]
        if plain and files:
            found.append(Complaint(SET_TWICE, plain[0], f"is set, and {files[0]} too; keep one of them"))
        found += [Complaint(UNREADABLE_FILE, name, text) for name in files if (text := _unreadable(given[name]))]
    return found


def _unreadable(path: str) -> str | None:
    """Why a setting's file gives nothing, if so."""
    try:
        empty = not Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        return f"{shown(path)} cannot be read ({error.strerror})"
    except UnicodeDecodeError:
        return f"{shown(path)} is not text in UTF-8"
    return f"{shown(path)} is empty" if empty else None


def of_values(
    error: ValidationError, variables: Mapping[str, Sequence[str]], environment: Mapping[str, str]
) -> list[Complaint]:
    """What is wrong with the values; ``variables`` and ``environment`` as for ``of_names``."""
    given = {name.upper() for name, value in environment.items() if value}
    fields = {name.upper(): field for field, names in variables.items() for name in names}
    found = []
    for problem in error.errors(include_input=False):
        place = str(problem["loc"][0]) if problem["loc"] else str(problem["ctx"]["setting"])
        field = fields.get(place.upper(), place)
        names = [name + ending for name in variables[field] for ending in ("", _FILE)]
        variable = next((name for name in names if name in given), names[0])
        found.append(Complaint(_code(field, problem["type"]), variable, told(problem)))
    return found


def _code(field: str, kind: str) -> str:
    if kind in _KINDS:
        return _KINDS[kind]
    if field == "broker_url":
        return BROKER_URL
    if field == "pool_url":
        return POOL_URL_PASSWORD if kind == "password_in_url" else POOL_URL
    return OUT_OF_RANGE if kind in _RANGES else WRONG_TYPE
