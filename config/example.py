"""The example of an environment file, made of the table of settings.

``python -m config.example > config/env.example`` writes it anew.
"""

from __future__ import annotations

import textwrap
from pathlib import Path

from pydantic import SecretStr
from pydantic_core import PydanticUndefined

from config.settings import Settings, variables

PATH = Path(__file__).with_name("env.example")
"""The example, as it is shipped."""

_HEAD = """\
# Settings of Pairing: for EnvironmentFile= of the services, `pairing --env-file FILE …`, or a container's env_file.
# Every line that begins with "#PAIRING_" is a setting with its default. NAME_FILE names a file that holds the value
# instead. The file holds secrets: chmod 600. Values are taken as they are: no variables, no commands.
"""


def example() -> str:
    """The text of ``env.example``: every setting with its description, commented out."""
    parts = [_HEAD]
    for name, field in Settings.model_fields.items():
        _, *others = variables()[name]
        description = f"{field.description or ''}{f' ({others[0]} is accepted too)' if others else ''}"
        lines = textwrap.wrap(description, 110, initial_indent="# ", subsequent_indent="# ")
        parts.append("\n".join([*lines, f"#{assignment_of(name)}"]))
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def assignment_of(name: str) -> str:
    """``VARIABLE=default`` of a setting; ``VARIABLE_FILE=`` of a secret, which has none."""
    field, variable = Settings.model_fields[name], variables()[name][0]
    secret = SecretStr in (field.annotation, *getattr(field.annotation, "__args__", ()))
    default = "" if field.default is PydanticUndefined or field.default is None else field.default
    value = default.get_secret_value() if isinstance(default, SecretStr) else default
    return f"{variable}_FILE=" if secret and not value else f"{variable}={value}"


if __name__ == "__main__":
    print(example(), end="")  # noqa: T201
