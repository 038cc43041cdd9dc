"""The report: whole whatever is missing, harmless whatever it is given, and refusing what no run writes."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pairing.errors import InputError
from tasks.report import charts
from tasks.report.charts import ink_on
from tasks.report.html import draw, render, write_report
from tasks.report.run_data import Course, Findings, findings, read_folder
from tests.support.reports import HOSTILE, archive_of, failed, history_of, hostile, method_record, ordinary, summary_of


class Page(HTMLParser):
    """A page's elements and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)


def page_of(found: Findings) -> Page:
    return Page(render(found, draw(found)))


def test_everything_is_shown() -> None:
    found = ordinary(names=("trace", "consensus", "svd"))
    drawn = draw(found)
    assert {name: len(group) for name, group in drawn.items()} == {
        "errors": 1,
        "times": 1,
        "ways": 3,
        "similarities": 3,
        "agreement": 1,
    }
    page = Page(render(found, drawn))
    assert page.count("svg") == 9
    for text in ("Solved", "12/12", "1,500 samples", "ab" * 32, "Nothing was inserted.", "0.001"):
        assert text in page.text


@pytest.mark.parametrize("blocks", [1, 2, 64, 300])
def test_any_number_of_blocks(blocks: int) -> None:
    page = page_of(ordinary(blocks, ("trace", "svd")))
    assert page.count("figure") == 7 if blocks > 1 else page.count("figure") >= 4
    assert f"{blocks} blocks" in page.text


def test_one_method_alone_agrees_with_nobody() -> None:
    page = page_of(ordinary(names=("trace",)))
    assert page.count("svg") == 4
    assert "Fewer than two methods have paired the pieces." in page.text


def test_methods_that_failed_say_why() -> None:
    methods = [
        method_record("good", 5),
        method_record("overflowing", 5, full_mse=None, start_mse=None),
        failed("early", "no gradient", 5, assigned=False),
        failed("late", "its worker was lost", 5, assigned=True),
    ]
    found = findings(summary_of(methods, 5), history_of(methods, 5), archive_of(["good", "late"], 5), "it")
    page = page_of(found)
    assert "failed: no gradient" in page.text
    assert "failed: its worker was lost" in page.text
    assert "overflow" in page.text
    (errors,) = draw(found)["errors"]
    assert errors.svg.count(">failed<") == 2
    assert errors.svg.count(">overflow<") == 1


def test_what_had_not_begun_when_the_run_was_solved_has_no_errors() -> None:
    nothing = {"start": "", "start_mse": None, "full_mse": None, "evaluations": 0, "stopped": "solved_elsewhere"}
    methods = [method_record("trace", 5), method_record("svd", 5, **nothing)]
    found = findings(summary_of(methods, 5), history_of(methods, 5), archive_of(["trace", "svd"], 5), "it")
    assert "not begun" in page_of(found).text
    (errors,) = draw(found)["errors"]
    assert errors.svg.count(">not begun<") == 1


@pytest.mark.parametrize("methods", [[], [failed("trace", "cancelled", 4, assigned=False)]])
def test_a_run_cancelled_before_any_refinement(methods: list[dict[str, Any]]) -> None:
    found = findings(summary_of(methods, 4), {"histories": {}}, b"", "it")
    page = page_of(found)
    assert page.count("svg") == 0
    for text in ("Not solved", "no refinement was finished", "There are no matrices.", "Nothing was inserted."):
        assert text in page.text


def test_what_comes_from_outside_stays_text() -> None:
    found = hostile()
    page = page_of(found)
    assert page.count("script") == 0
    assert page.count("style") == 1 + page.count("svg")  # ours, and matplotlib's own in each picture
    assert page.count("img") == 0
    assert not [attribute for _, attributes in page.elements for attribute in attributes if attribute.startswith("on")]
    assert "<script>alert(1)</script>" in page.text
    assert "{{ 7*7 }} {% x %}" in page.text
    assert not set("\0\x1b\u202e\ud800") & set(page.text)
    identifiers = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))


def test_the_page_needs_nothing_beside_it() -> None:
    page = page_of(ordinary())
    for tag, attributes in page.elements:
        for name in ("src", "href", "xlink:href"):
            address = attributes.get(name) or "#"
            assert address.startswith(("#", "data:image/png;base64,")), (tag, address)
        assert tag not in ("link", "script", "iframe", "object")


def test_its_files(tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "similarity-99.png").write_bytes(b"of an earlier report")
    found = ordinary()
    assert write_report(found, tmp_path) == tmp_path / "report.html"
    assert (tmp_path / "report.html").read_text("utf-8") == render(found, draw(found))
    pictures = sorted((tmp_path / "report").iterdir())
    assert len(pictures) == 9
    for path in pictures:
        with Image.open(path) as image:
            assert image.format == "PNG"
            assert len(image.convert("RGB").getcolors(1 << 24) or []) > 10  # not an empty sheet


def test_hostile_names_are_no_paths(tmp_path: Path) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    methods = [method_record("../../escaped", 3), method_record("/absolute", 3)]
    write_report(findings(summary_of(methods, 3), history_of(methods, 3), b"", "it"), folder)
    assert list(tmp_path.iterdir()) == [folder]
    assert {path.name for path in folder.iterdir()} == {"report.html", "report"}


def test_a_place_that_takes_no_report_is_named(tmp_path: Path) -> None:
    (tmp_path / "report").write_text("in the way")
    with pytest.raises(InputError, match="report cannot be written"):
        write_report(ordinary(), tmp_path)


def test_numbers_are_read_on_every_color() -> None:
    linear = {"black": 0.0, "white": 1.0}
    for red, green, blue in product(np.linspace(0, 1, 12), repeat=3):
        parts = np.array([red, green, blue])
        ground = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]
        low, high = sorted((ground, linear[ink_on((red, green, blue, 1.0))]))
        assert (high + 0.05) / (low + 0.05) >= 4.5


DAMAGES: dict[str, Callable[[dict[str, Any], dict[str, Any]], Any]] = {
    "another schema": lambda summary, _: summary.update(schema=2),
    "no methods": lambda summary, _: summary.pop("methods"),
    "pairs that are none": lambda summary, _: summary["methods"][0].update(pairs=[0, 0, 1]),
    "too few margins": lambda summary, _: summary["methods"][0].update(margins=[1.0]),
    "an order of others": lambda _, history: history["histories"]["trace.s0"].update(orders=[[0, 1, 5]]),
    "times that are text": lambda _, history: history["histories"]["trace.s0"].update(points=[["soon", 1, 0.5]]),
    "infinite errors": lambda summary, _: summary["methods"][0].update(full_mse=float("inf")),
    "no blocks": lambda summary, _: summary.update(blocks=0),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_records_that_no_run_writes_are_refused(damage: Callable[..., Any], tmp_path: Path) -> None:
    methods = [method_record("trace", 3)]
    summary, history = summary_of(methods, 3), history_of(methods, 3)
    damage(summary, history)
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    (tmp_path / "history.json").write_text(json.dumps(history))
    with pytest.raises(InputError, match="is not what a run writes"):
        read_folder(tmp_path)


@pytest.mark.parametrize("archive", [b"no archive", archive_of(["trace"], 4), archive_of(["trace"], 3)[:200]])
def test_damaged_matrices_are_refused(archive: bytes) -> None:
    methods = [method_record("trace", 3)]
    with pytest.raises(InputError, match="it: is not what a run writes"):
        findings(summary_of(methods, 3), history_of(methods, 3), archive, "it")


def test_a_folder_needs_its_summary_alone(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="name a run or its results' folder"):
        read_folder(tmp_path)
    (tmp_path / "summary.json").write_text("{")
    with pytest.raises(InputError, match="its JSON is damaged"):
        read_folder(tmp_path)
    (tmp_path / "summary.json").write_text(json.dumps(summary_of([method_record("trace", 3)], 3)))
    found = read_folder(tmp_path)
    assert (found.courses, found.matrices, found.notes) == ({}, {}, [])
    assert page_of(found).count("svg") == 1


def test_matrices_that_are_not_finite_are_drawn() -> None:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, trace=np.full((3, 3), np.nan), svd=np.diag([np.inf, 1.0, 2.0]))
    methods = [method_record("trace", 3, margins=[None, None, 1.0]), method_record("svd", 3)]
    found = findings(summary_of(methods, 3), history_of(methods, 3), buffer.getvalue(), "it")
    assert len(draw(found)["similarities"]) == 2


def test_notes_are_listed() -> None:
    methods = [method_record("trace", 3)]
    found = findings(summary_of(methods, 3), history_of(methods, 3, ["The pool is away.", HOSTILE[0]]), b"", "it")
    assert "The pool is away." in page_of(found).text


@pytest.mark.parametrize("stages", [2, 12])
def test_the_numbers_of_a_way_are_whole_and_apart(monkeypatch: pytest.MonkeyPatch, stages: int) -> None:
    blocks, seen = charts.NAMED_ROWS, []
    monkeypatch.setattr(charts, "_drawn", lambda name, title, figure: seen.append(figure))
    orders = [list(range(blocks)) for _ in range(stages)]
    with charts.drawing():
        charts.way("way", "a way", Course(seconds=1.0, evaluations=1, points=[], orders=orders))
        (figure,) = seen
        texts = {text.get_text(): text.get_window_extent() for text in figure.axes[0].texts}
        numbers = [text.get_window_extent() for text in figure.axes[0].texts if text.get_text().isdigit()]
    assert len(numbers) == 2 * blocks
    whole = figure.bbox
    assert all(whole.x0 <= box.x0 and box.x1 <= whole.x1 for box in numbers)
    label = next(box for text, box in texts.items() if "position" in text)
    assert whole.x0 <= label.x0
    assert not [box for box in numbers if box.overlaps(label)]
