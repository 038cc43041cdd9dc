"""The errors that people get to see.

Every error says what is wrong, where, and what to do next. ``exit_status`` is what the command line ends with.
"""

from __future__ import annotations


class PairingError(Exception):
    """Base of every error that this project raises on purpose."""

    exit_status = 1


class InputError(PairingError):
    """An argument, option or setting is wrong. Correct it and call again."""

    exit_status = 2


class PuzzleError(InputError):
    """A puzzle's files are damaged, missing or ambiguous. The message names the file."""


class MethodError(PairingError):
    """One method could not give its similarity matrix; the other methods are not affected."""


def one_line(text: str) -> str:
    """A text whose line breaks and control characters are escaped, as in Python, so that it stays one line."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shown(text: object) -> str:
    """What an untrusted file calls something, on one line and not longer than a line: for an error's text."""
    line = one_line(str(text)[:200])
    return line if len(line) <= 100 else f"{line[:100]}…"
