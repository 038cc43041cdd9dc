"""What a finished run means to whoever waited for it."""

from __future__ import annotations

from typing import Any


def exit_status(summary: dict[str, Any], outcome: dict[str, Any]) -> int:
    """The documented exit status of a command that waited for this run."""
    if outcome["lost_winner"]:
        return 3
    if summary["solved"]:
        return 0
    if outcome["cancelled"] or outcome["timed_out"]:  # also where nothing was finished by then
        return 4
    return 1 if any(method["ok"] for method in summary["methods"]) else 5


def notes(outcome: dict[str, Any]) -> list[str]:
    """What the operator should know beside the result, a sentence each."""
    found = []
    if outcome["lost_winner"]:
        found.append(f"A WINNER IS NOT STORED: {outcome['lost_winner']}")
    elif outcome["pool_error"]:
        found.append(f"The pool could not be used: {outcome['pool_error']}")
        found.append(
            "Winners wait in the spool (PAIRING_DATA_DIR), and the next run that reaches this pool stores them."
        )
    if outcome["timed_out"]:
        found.append("The run was ended by its deadline; --deadline sets a longer one.")
    return found
