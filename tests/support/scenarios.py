"""Scenarios: things done to real parts, one after the other; each gets a line, and a row in the documentation."""

from __future__ import annotations

import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import click

from tests.benchmarks.record import put_between_marks

Place = TypeVar("Place")
Row = tuple[str, ...]

TITLES = ("scenario", "what is done", "what must hold", "", "measured")
NOT_HELD = "NOT HELD"


class Named(Protocol):
    """Whatever can be chosen by its name."""

    @property
    def name(self) -> str: ...
    @property
    def what(self) -> str: ...


Choice = TypeVar("Choice", bound=Named)


@dataclass(frozen=True, kw_only=True)
class Scenario(Generic[Place]):
    """That it holds is said by its having come to its end; ``work`` gives the figure that the table shows, if any."""

    name: str
    what: str
    holds: str
    work: Callable[[Place], str]
    fault: bool = False
    """Whether it is damage, and so stands in docs/reliability.md too."""


def choose(scenarios: Sequence[Choice], names: Sequence[str], listed: bool) -> list[Choice]:
    """Those of these names, or all; ``listed`` prints them and ends. From here on SIGTERM ends what is started."""
    if listed:
        for scenario in scenarios:
            click.echo(f"{scenario.name:<20} {scenario.what}")
        sys.exit()
    if set(names) - {scenario.name for scenario in scenarios}:
        raise click.UsageError("no scenario has such a name; --list shows them")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    return [scenario for scenario in scenarios if not names or scenario.name in names]


def do(scenario: Scenario[Place], place: Place, explain: Callable[[], None]) -> Row:
    """Does a scenario and prints its line: its row. One that fails is explained, and stops no other."""
    began, verdict, measured = time.monotonic(), "held", ""
    try:
        measured = scenario.work(place)
    except Exception:
        verdict = NOT_HELD
        traceback.print_exc()
        explain()
    click.echo(f"{time.monotonic() - began:6.0f} s  {scenario.name:<20} {verdict}  {measured}")
    return scenario.name, scenario.what, scenario.holds, verdict, measured


def put_row(page: Path, marks: tuple[str, str], titles: Row, row: Row, scenarios: Sequence[Named]) -> None:
    """Puts a scenario's row into the page's table; the others', which may be of earlier calls, stay."""
    table = page.read_text(encoding="utf-8").partition(marks[0])[2].partition(marks[1])[0]
    lines = [tuple(cell.strip() for cell in line[1:-1].split("|")) for line in table.strip().splitlines()]
    rows = {**{cells[0]: cells for cells in lines[2:]}, row[0]: row}
    known = [rows[scenario.name] for scenario in scenarios if scenario.name in rows]
    text = ["| " + " | ".join(cells) + " |" for cells in (titles, ("---",) * len(titles), *known)]
    put_between_marks(page, "\n".join(text), *marks)
