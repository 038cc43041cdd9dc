"""One measured figure, and the table of them all."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from pairing.errors import InputError

COLUMNS = ("what", "measured", "required", "ratio", "samples", "")
START_MARK, END_MARK = "<!-- benchmarks -->", "<!-- end of benchmarks -->"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure of one benchmark; ``required`` is ``None`` for one that is only reported."""

    what: str
    measured: float
    unit: str
    samples: int
    required: float | None = None
    at_least: bool = False
    """Whether more is better; else less is."""

    @property
    def held(self) -> bool:
        """Whether it is as required; what is not a number is not."""
        if self.required is None:
            return True
        return self.measured >= self.required if self.at_least else self.measured <= self.required

    @property
    def cells(self) -> tuple[str, ...]:
        """The row that the table shows."""
        measured = "not in time" if math.isinf(self.measured) else f"{_short(self.measured)} {self.unit}".strip()
        if self.required is None:
            return self.what, measured, "", "", str(self.samples), ""
        sign = "≥" if self.at_least else "≤"
        ratio = self.measured / self.required if self.required else math.inf
        verdict = "held" if self.held else "MISSED"
        return self.what, measured, f"{sign} {self.required:,g}", _short(ratio), str(self.samples), verdict


def _short(number: float) -> str:
    """Three digits, or all before the point where there are more; nothing for what is infinite."""
    if math.isinf(number):
        return ""
    return f"{number:.3g}" if abs(number) < 1000 else f"{number:,.0f}"


def share(what: str, hits: Iterable[bool], *, required: float | None = None) -> Figure:
    """How many per cent of the samples are hits; at least ``required`` are to be."""
    found = list(hits)
    measured = 100 * sum(found) / len(found)
    return Figure(what=what, measured=measured, unit="%", required=required, at_least=True, samples=len(found))


def rich_table(figures: Iterable[Figure]) -> Table:
    """The table as the terminal shows it."""
    table = Table(*COLUMNS)
    for figure in figures:
        table.add_row(*figure.cells, style=None if figure.held else "bold red")
    return table


def markdown_table(figures: Iterable[Figure]) -> str:
    """The table in Markdown, without a line end."""
    rows = [COLUMNS, ("---",) * len(COLUMNS), *(figure.cells for figure in figures)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)


def put_between_marks(file: Path, text: str, start_mark: str = START_MARK, end_mark: str = END_MARK) -> None:
    """Replaces what stands between the two marks in a file by ``text``.

    Raises:
        InputError: the file lacks the marks.
    """
    content = file.read_text(encoding="utf-8")
    before, start, rest = content.partition(start_mark)
    _, end, after = rest.partition(end_mark)
    if not (start and end):
        raise InputError(f"{file}: has no lines '{start_mark}' and '{end_mark}'; put them where the table belongs")
    file.write_text(f"{before}{start}\n{text}\n{end}{after}", encoding="utf-8")
