"""Numbers, times and names as the pages show them. What comes out is text, which templates escape."""

from __future__ import annotations

import json
import math
import re
import time
from typing import Any

from tasks.runs.overview import shown_age

STATES = {
    "queued": "waiting",
    "running": "active",
    "succeeded": "done",
    "failed": "bad",
    "timed_out": "bad",
    "cancelled": "done",
    "unknown": "bad",
}
"""What a run's state looks like; its word says the same."""
METHOD_LOOKS = {"solved": "good", "failed": "bad", "refinement": "active", "noise": "good"}


def mse(value: float | None) -> str:
    """An MSE; a dash where there is none."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.3g}"


def number(value: int | None) -> str:
    """A whole number; a dash where there is none."""
    return "–" if value is None else f"{value:,}"


def duration(seconds: float | None) -> str:
    """A duration; a dash where there is none."""
    if seconds is None:
        return "–"
    return f"{seconds:.1f} s" if seconds < 60 else shown_age(seconds)


def age(at: float | None) -> str:
    """How long ago a moment (Unix time) was."""
    return "–" if at is None else f"{shown_age(time.time() - at)} ago"


def moment(at: float | None) -> str:
    """A moment (Unix time) with its zone."""
    return "–" if at is None else time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(at))


def clock(at: float | None = None) -> str:
    """The time of day, now or at a moment (Unix time), with its zone."""
    return time.strftime("%H:%M:%S %z", time.localtime(at))


def size(amount: float) -> str:
    """An amount of bytes."""
    return f"{amount / 2**30:.1f} GiB" if amount >= 2**30 else f"{amount / 2**20:.0f} MiB"


def state(run: Any) -> str:
    """The state of a run in words."""
    return "solved" if run["solved"] else str(run["state"]).replace("_", " ")


def look(run: Any) -> str:
    """The class of a run's state."""
    return "good" if run["solved"] else STATES.get(str(run["state"]), "done")


def method_look(status: str) -> str:
    """The class of a method's status."""
    return METHOD_LOOKS.get(status, "done")


def share(part: int | None, whole: int | None) -> float:
    """A part of a whole in percent."""
    return 100.0 * (part or 0) / whole if whole else 0.0


def value(found: Any) -> str:
    """Any JSON value in a line."""
    if found is None or found == "":
        return "–"
    if isinstance(found, list):
        return ", ".join(map(value, found))
    if isinstance(found, float):
        return f"{found:.6g}"
    return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)


def hexadecimal(digest: str) -> str:
    """The digits of a digest, which addresses hold; empty where it is none."""
    match = re.fullmatch(r"sha256:([0-9a-f]{64})", digest)
    return "" if match is None else match[1]


def short(digest: str) -> str:
    """The beginning of a digest."""
    return digest.removeprefix("sha256:")[:12]
