"""The table of docs/services.md."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks.record import put_between_marks
from tests.containers.scenario import Scenario
from tests.containers.scenarios import SCENARIOS

Row = tuple[str, ...]

TITLES = ("scenario", "what is done", "what must hold", "", "measured")
MARKS = ("<!-- containers -->", "<!-- end of containers -->")


def as_row(scenario: Scenario, verdict: str, measured: str) -> Row:
    """A scenario's line."""
    return scenario.name, scenario.what, scenario.holds, verdict, measured


def put_row(page: Path, row: Row) -> None:
    """Puts a scenario's row into the page; the others', which may be of earlier calls, stay."""
    rows = {**_rows(page), row[0]: row}
    known = [rows[scenario.name] for scenario in SCENARIOS if scenario.name in rows]
    lines = ["| " + " | ".join(cells) + " |" for cells in (TITLES, ("---",) * len(TITLES), *known)]
    put_between_marks(page, "\n".join(lines), *MARKS)


def _rows(page: Path) -> dict[str, Row]:
    table = page.read_text(encoding="utf-8").partition(MARKS[0])[2].partition(MARKS[1])[0]
    rows = [tuple(cell.strip() for cell in line[1:-1].split("|")) for line in table.strip().splitlines()]
    return {row[0]: row for row in rows[2:]}
