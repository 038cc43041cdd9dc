"""A run's report: one HTML file that needs nothing beside it, and its pictures as PNG files."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from pairing.errors import InputError
from tasks.contracts.files import write_whole
from tasks.report import charts
from tasks.report.charts import Picture
from tasks.report.run_data import Findings
from tasks.runs.outcome import way_of_ending

PAGE = "report.html"
FOLDER = "report"
"""Where the PNG files are, beside the page."""
MOST_WAYS = 6
"""Refinements whose order's way is drawn: the best ones."""


def write_report(found: Findings, folder: Path) -> Path:
    """Writes ``report.html`` and ``report/*.png`` to ``folder``; the page's path. Files of an earlier report go.

    Raises:
        InputError: they cannot be written.
    """
    drawn = draw(found)
    page, images = folder / PAGE, folder / FOLDER
    try:
        images.mkdir(parents=True, exist_ok=True)
        for old in images.glob("*.png"):
            old.unlink()
        for picture in [picture for group in drawn.values() for picture in group]:
            write_whole(images / f"{picture.name}.png", picture.png)
        write_whole(page, render(found, drawn).encode())
    except OSError as error:
        raise InputError(
            f"{folder}: the report cannot be written ({error.strerror}); make room or choose another --out"
        ) from error
    return page


def draw(found: Findings) -> dict[str, list[Picture]]:
    """A section's name → its pictures; a section without data has none."""
    summary = found.summary
    ranked = [(rank, m, found.courses.get(m.part)) for rank, m in enumerate(summary.methods, 1)]
    ways = [(rank, m, course) for rank, m, course in ranked if course and len(course.orders) > 1][:MOST_WAYS]
    several = len({m.seed for m in summary.methods}) > 1
    with charts.drawing():
        return {
            "errors": _there(charts.errors(found)),
            "times": _there(charts.times(found)),
            "ways": [
                charts.way(f"way-{rank:02}", f"{rank} {charts.label_of(m, several)}", course)
                for rank, m, course in ways
            ],
            "similarities": charts.similarities(found),
            "agreement": _there(charts.agreement(found)),
        }


def render(found: Findings, drawn: dict[str, list[Picture]]) -> str:
    """The page. Whatever comes from outside is escaped."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_seen
    )
    environment.filters |= {"error": _error, "way_of_ending": way_of_ending}
    template = environment.from_string((files("tasks.report") / "report.html.jinja").read_text("utf-8"))
    return template.render(summary=found.summary, notes=found.notes, drawn=drawn, most_ways=MOST_WAYS)


def _there(picture: Picture | None) -> list[Picture]:
    return [] if picture is None else [picture]


def _seen(value: Any) -> Any:
    return charts.printable(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _error(value: float | None) -> str:
    return "overflow" if value is None else f"{value:.3g}"
