"""The table of docs/reliability.md."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from tests.benchmarks.record import put_between_marks
from tests.faults.scenario import Found, Scenario
from tests.faults.scenarios import SCENARIOS

Row = tuple[str, ...]

TITLES = ("scenario", "what is done", "what must hold", "times", "runs", "", "seconds to recover")
MARKS = ("<!-- faults -->", "<!-- end of faults -->")


def as_row(scenario: Scenario, found: Found, verdict: str) -> Row:
    """A scenario's line."""
    seconds = found.recovery
    recovered = f"{median(seconds):.1f}, at most {max(seconds):.1f}" if seconds else ""
    counts = (str(found.times), str(found.runs)) if found.times else ("", "")
    return scenario.name, scenario.what, scenario.holds, *counts, verdict, recovered


def put_row(page: Path, row: Row) -> None:
    """Puts a scenario's row into the page; the others', which may be of earlier calls, stay."""
    rows = {**_rows(page), row[0]: row}
    known = [rows[scenario.name] for scenario in SCENARIOS if scenario.name in rows]
    lines = ["| " + " | ".join(cells) + " |" for cells in (TITLES, ("---",) * len(TITLES), *known)]
    put_between_marks(page, "\n".join(lines), *MARKS)


def _rows(page: Path) -> dict[str, Row]:
    found = {}
    for line in page.read_text(encoding="utf-8").splitlines():
        cells = tuple(cell.strip() for cell in line.strip("|").split(" | "))
        if line.startswith("|") and len(cells) == len(TITLES):
            found[cells[0]] = cells
    return found
