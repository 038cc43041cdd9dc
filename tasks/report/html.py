"""A run's report: one HTML file that needs nothing beside it, and its pictures as PNG files."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from pairing.errors import InputError
from tasks.contracts.files import write_whole
from tasks.report import charts, verdict
from tasks.report.charts import Picture
from tasks.report.matrices import HeatMap, heat_maps
from tasks.report.run_data import Findings
from tasks.runs.outcome import way_of_ending

PAGE = "report.html"
FOLDER = "report"
"""Where the PNG files are, beside the page."""
MOST_WAYS = 6
"""Refinements whose trajectory is drawn: the best ones."""


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A report's pictures; a section without data has none."""

    errors: Picture | None
    times: Picture | None
    ways: list[Picture]
    agreement: Picture | None
    matrices: list[HeatMap]

    def pngs(self) -> dict[str, bytes]:
        """A file's name → its contents."""
        pictures = [p for p in (self.errors, self.times, *self.ways, self.agreement) if p is not None]
        matrices = {f"similarity-{number:02}.png": heat.png for number, heat in enumerate(self.matrices, 1)}
        return {f"{picture.name}.png": picture.png for picture in pictures} | matrices


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
        for name, contents in drawn.pngs().items():
            write_whole(images / name, contents)
        write_whole(page, render(found, drawn).encode())
    except OSError as error:
        raise InputError(
            f"{folder}: the report cannot be written ({error.strerror}); make room or choose another --out"
        ) from error
    return page


def draw(found: Findings) -> Drawn:
    """All pictures of a run."""
    summary = found.summary
    courses = [(m, found.courses.get(m.part)) for m in summary.methods]
    ways = [(m, course) for m, course in courses if course and len(course.orders) > 1][:MOST_WAYS]
    with charts.drawing():
        return Drawn(
            errors=charts.errors(found),
            times=charts.times(found),
            ways=[
                charts.way(f"way-{number:02}", charts.label_of(m, summary.several_seeds), course, summary.inp_numbers)
                for number, (m, course) in enumerate(ways, 1)
            ],
            agreement=charts.agreement(found),
            matrices=heat_maps(found),
        )


def render(found: Findings, drawn: Drawn) -> str:
    """The page. Whatever comes from outside is escaped, and no script runs but the page's own, by its hash."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_seen
    )
    environment.filters |= {"error": _error, "way_of_ending": way_of_ending, "counted": verdict.counted}
    template, script = ((files("tasks.report") / f"report.{kind}").read_text("utf-8") for kind in ("html.jinja", "js"))
    return environment.from_string(template).render(
        summary=found.summary,
        notes=found.notes,
        drawn=drawn,
        verdict=verdict,
        account=verdict.account(found),
        groups=verdict.grouped(found),
        unbegun=[method for method in found.summary.methods if verdict.has_not_begun(method)],
        most_ways=MOST_WAYS,
        script=Markup(script),  # noqa: S704 - it is ours
        script_hash=b64encode(sha256(script.encode()).digest()).decode(),
    )


def _seen(value: Any) -> Any:
    return charts.printable(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _error(value: float | None) -> str:
    return "overflow" if value is None else f"{value:.3g}"
