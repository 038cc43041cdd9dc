"""How far the parts of a run are: as a table for a terminal, and all of them in one line."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.contracts.run_request import Request
from tasks.runs.outcome import INTERRUPTED, NOT_BEGUN, end_of_refinement
from tasks.store.run_store import Store, part_name

if TYPE_CHECKING:
    from rich.console import Group

STYLES = {
    "solved": "bold green",
    "failed": "bold red",
    "similarity": "dim",
    "assigned": "dim",
    INTERRUPTED: "dim",
    NOT_BEGUN: "dim",
}
"""What a stage looks like; its word says the same."""
BESIDE = 5
"""Lines of a terminal that the table's head, what is left out, and the line about all of them need."""


@dataclass(frozen=True)
class Part:
    """How far one method is with one seed."""

    name: str
    stage: str = "similarity"
    """What it is at: similarity, assigned, refinement; or how it ended."""
    ended: bool = False
    error: float | None = None
    steps: int | None = None
    seconds_left: float | None = None


def progress_of(store: Store, request: Request) -> list[Part]:
    """Every part of the run, in the order that they were asked for."""
    run = request.run
    failures, progress = store.parts(run, "failure"), store.parts(run, "progress")
    assigned, refined = store.parts(run, "assignment"), store.parts(run, "refinement")
    parts = []
    for method, seed in request.parts:
        part = part_name(method, seed)
        name = method if request.seeds == 1 else part
        now = progress.get(part, {})
        error, steps = now.get("best_error"), now.get("steps")
        if method in failures or part in failures:
            parts.append(Part(name, "failed", True, error, steps))
        elif part in refined:
            found = refined[part]
            mse = found["solution"]["full_mse"]
            end = end_of_refinement(found["stopped"], found["evaluations"], mse)
            parts.append(Part(name, end, True, mse, steps))
        elif now:
            parts.append(Part(name, now["stage"], False, error, steps, now["seconds_left"]))
        else:
            parts.append(Part(name, "assigned" if method in assigned else "similarity"))
    return parts


def progress_line(parts: list[Part]) -> str:
    """One line about all parts: how many are where, the best error and whose it is, and the time left."""
    ways = Counter(part.stage for part in parts if part.ended)
    stages = Counter(part.stage for part in parts if not part.ended)
    said = [f"{sum(ways.values())} of {len(parts)} ended"]
    if ways:
        said[0] += f" ({', '.join(f'{count} {way}' for way, count in ways.most_common())})"
    if stages:
        said.append(
            ", ".join(
                f"{count} {stage}" if stage == "assigned" else f"{count} at {stage}" for stage, count in stages.items()
            )
        )
    best = min((part for part in parts if part.error is not None), key=lambda part: part.error or 0.0, default=None)
    if best is not None:
        said.append(f"best MSE {best.error:.3g} by {best.name}")
        if steps := sum(part.steps or 0 for part in parts):
            said.append(f"{steps:,} steps")
    left = [part.seconds_left for part in parts if part.seconds_left is not None]
    if left:
        said.append(f"at most {max(left):.0f} s left")
    return "; ".join(said)


def live_table(parts: list[Part], line: str, height: int) -> Group:
    """A line for every part, and one about all of them below; those that are at work, if not all fit in the height."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("method", "stage", "best MSE", "steps", "time left"):
        table.add_column(title, no_wrap=True, justify="left" if title in ("method", "stage") else "right")
    shown = _shown(parts, max(height - BESIDE, 1))
    best = min((part.error for part in parts if part.error is not None), default=None)
    for part in shown:
        table.add_row(
            part.name,
            part.stage,
            "" if part.error is None else f"{part.error:.3g}",
            "" if part.steps is None else f"{part.steps:,}",
            "" if part.seconds_left is None else f"{part.seconds_left:.0f} s",
            style=STYLES.get(part.stage) or ("bold" if best is not None and part.error == best else None),
        )
    if len(shown) < len(parts):
        table.add_row(f"… and {len(parts) - len(shown)} more")
    return Group(table, Text(line))


def _shown(parts: list[Part], room: int) -> list[Part]:
    """As many as there is room for: first those that are at work, then the best, then those that wait."""
    if len(parts) <= room:
        return parts
    infinite = float("inf")

    def rank(part: Part) -> tuple[bool, bool, float]:
        begun = part.error is not None
        return (part.ended or not begun, not begun, infinite if part.error is None else part.error)

    chosen = {part.name for part in sorted(parts, key=rank)[:room]}
    return [part for part in parts if part.name in chosen]
