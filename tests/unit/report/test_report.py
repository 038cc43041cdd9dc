"""The report: whole whatever is missing, harmless whatever it is given, and refusing what no run writes."""

from __future__ import annotations

import io
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from hashlib import sha256
from html.parser import HTMLParser
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pairing.errors import InputError
from tasks.report import charts, verdict
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
    assert None not in (drawn.errors, drawn.times, drawn.agreement)
    assert (len(drawn.ways), len(drawn.matrices)) == (3, 3)
    page = Page(render(found, drawn))
    assert page.count("svg") == 9
    assert page.count("details") == 1  # svd is a legacy method
    for text in ("Solved", "12/12", "1,500 samples", "ab" * 32, "Nothing was inserted.", "0.001", "last layer 24"):
        assert text in page.text
    titles = [attributes["title"] for _, attributes in page.elements if "title" in attributes]
    assert len(titles) == 12
    assert titles[1] == "Block 2: inp piece 2, norm 4; out piece 3, norm 2; change of the state overflow"


def test_a_solved_run_is_told_in_a_sentence() -> None:
    methods = [
        method_record("trace", 5, stopped="solved", evaluations=2, seconds=0.8),
        method_record("svd", 5, full_mse=0.25),
        method_record("cosine", 5, stopped="solved_elsewhere"),
        method_record("late", 5, stopped="solved_elsewhere", evaluations=0, full_mse=None),
        method_record("at once", 5, full_mse=0.5, evaluations=0),
        failed("lost", "its worker was lost", 5, assigned=False),
    ]
    found = findings(summary_of(methods, 5), {"histories": {}}, b"", "it")
    assert verdict.account(found) == (
        "1 of 6 methods found all 5 pairs; the block order was exact after 2 evaluations, 0.8 s."
    )
    assert {group: [m.method for m in some] for group, some in verdict.grouped(found).items()} == {
        "Solved": ["trace"],
        "Finished": ["svd", "at once"],
        "Interrupted": ["cosine"],
        "Failed": ["lost"],
    }
    assert [method.method for method in verdict.searched(found)] == ["trace", "svd", "at once"]
    assert "Interrupted before they began (1)" in page_of(found).text


def test_a_repaired_and_a_stored_solution_are_told_so() -> None:
    records = [method_record("trace", 5, stopped="solved")]
    summary = summary_of(records, 5)
    summary["best"]["out_sigma"] = [*records[0]["pairs"][1:], records[0]["pairs"][0]]
    told = verdict.account(findings(summary, {"histories": {}}, b"", "it"))
    assert told.startswith("The search found all 5 pairs; it repaired 2 of those of trace;")
    records[0]["start"] = "pool"
    told = verdict.account(findings(summary_of(records, 5), {"histories": {}}, b"", "it"))
    assert told == "1 of 1 method found all 5 pairs. The block order came from the solution pool."


def test_an_unsolved_run_says_how_far_it_came() -> None:
    records = [method_record("trace", 5)]
    found = findings(summary_of(records, 5, solved=False), history_of(records, 5), b"", "it")
    assert (verdict.headline(found.summary), [*verdict.grouped(found)]) == ("Not solved", ["Finished"])
    assert verdict.account(found) == "The best MSE is 0.001, by trace. It began with 0.5."


def test_an_order_is_exact_once_rounding_alone_lowers_its_mse() -> None:
    records = [method_record("trace", 3, stopped="budget")]
    history = history_of(records, 3)
    history["histories"]["trace.s0"]["points"] = [[0.1, 0, 0.5], [1.0, 4, 9e-15], [9.0, 90, 7e-15]]
    assert "after 4 evaluations, 1.0 s" in verdict.account(findings(summary_of(records, 3), history, b"", "it"))
    history["histories"]["trace.s0"]["points"] = [[0.1, 0, 0.5], [1.0, 4, 9e-3], [9.0, 90, 7e-3]]
    assert "after 90 evaluations, 9.0 s" in verdict.account(findings(summary_of(records, 3), history, b"", "it"))


def test_curves_are_of_comparable_figures_alone() -> None:
    """The initial MSE over all samples is no point of a curve over some of them."""
    found = ordinary(names=("trace",))
    picture = draw(found).times
    assert picture is not None
    points = re.findall(r'data-points="([^"]*)"', picture.svg)
    assert len(points) == 1
    assert [line.split()[1] for line in points[0].split("\n")] == ["0.4", "0.04", "0.004", "0.0004", "4e-05", "4e-06"]


@pytest.mark.parametrize("mses", [[3e-4], [2e-3, 1e-3], [1e-3, 1e-9], [0.5, 1e-15]])
def test_a_logarithmic_axis_has_two_labels_at_least(mses: list[float]) -> None:
    records = [method_record("trace", 3)]
    history = history_of(records, 3)
    history["histories"]["trace.s0"]["points"] = [[k / 10, k, mse] for k, mse in enumerate(mses)]
    picture = draw(findings(summary_of(records, 3), history, b"", "it")).times
    assert picture is not None
    assert len(set(re.findall(r">(1e[+-]\d\d)<", picture.svg))) >= 2


def test_matrices_are_in_the_order_of_the_solution() -> None:
    pairs = [2, 0, 3, 1]
    matrix = np.zeros((4, 4))
    matrix[range(4), pairs] = 10.0
    records = [method_record("trace", 4, pairs=pairs), method_record("wrong", 4, pairs=[0, 2, 3, 1])]
    summary = summary_of(records, 4)
    summary["best"] |= {"inp_sigma": [3, 1, 0, 2], "out_sigma": [1, 0, 2, 3]}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, trace=matrix + np.eye(4) / 10, wrong=-matrix)
    trace, wrong = draw(findings(summary, history_of(records, 4), buffer.getvalue(), "it")).matrices
    scores = np.frombuffer(b64decode(trace.scores), "<u2").reshape(4, 4)
    assert (np.argmax(scores, axis=1) == range(4)).all()
    assert (trace.wrong, trace.to_see.split(" (")[0]) == ([], "4/4 right, bright diagonal")
    assert (wrong.wrong, wrong.to_see) == ([(1, 2), (2, 1)], "2/4 right")


@pytest.mark.parametrize("blocks", [1, 2, 64, 300])
@pytest.mark.slow
def test_any_number_of_blocks(blocks: int) -> None:
    page = page_of(ordinary(blocks, ("trace", "svd")))
    assert page.count("figure") == 7 if blocks > 1 else page.count("figure") >= 4
    assert f"{verdict.counted(blocks, 'block')} of 16 × 32" in page.text


def test_one_method_alone_agrees_with_nobody() -> None:
    page = page_of(ordinary(names=("trace",)))
    assert page.count("svg") == 4
    assert "Shared pairs" not in page.text


def test_methods_that_failed_say_why() -> None:
    methods = [
        method_record("good", 5),
        method_record("overflowing", 5, full_mse=None, start_mse=None),
        failed("early", "no gradient", 5, assigned=False),
        failed("late", "its worker was lost", 5, assigned=True),
    ]
    found = findings(summary_of(methods, 5), history_of(methods, 5), archive_of(["good", "late"], 5), "it")
    page = page_of(found)
    assert "no gradient" in page.text
    assert "its worker was lost" in page.text
    assert "overflow" in page.text
    errors = draw(found).errors
    assert errors is not None
    assert errors.svg.count(">overflow<") == 1


@pytest.mark.parametrize("methods", [[], [failed("trace", "cancelled", 4, assigned=False)]])
def test_a_run_cancelled_before_any_refinement(methods: list[dict[str, Any]]) -> None:
    found = findings(summary_of(methods, 4), {"histories": {}}, b"", "it")
    page = page_of(found)
    assert page.count("svg") == 0
    for text in ("Not solved", "No refinement was finished", "There are no matrices.", "Nothing was inserted."):
        assert text in page.text


def test_what_comes_from_outside_stays_text() -> None:
    found = hostile()
    page = page_of(found)
    assert page.count("script") == 1  # ours
    charts = page.count("svg") - page.count("image")
    assert page.count("style") == 1 + charts + 1  # ours, and matplotlib's own in each chart; one has an image
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
        assert tag not in ("link", "iframe", "object")


def test_no_script_runs_but_the_page_s_own() -> None:
    text = render(hostile(), draw(hostile()))
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    allowed = b64encode(sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{allowed}'" in text


@pytest.mark.slow
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
    "a network of others": lambda summary, _: summary["network"].pop(),
    "a permutation of others": lambda summary, _: summary["best"]["permutation"].pop(),
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
    assert len(draw(found).matrices) == 2


def test_notes_are_listed() -> None:
    methods = [method_record("trace", 3)]
    found = findings(summary_of(methods, 3), history_of(methods, 3, ["The pool is away.", HOSTILE[0]]), b"", "it")
    assert "The pool is away." in page_of(found).text


@pytest.mark.parametrize("stages", [2, 12])
def test_the_numbers_of_a_way_are_whole_and_apart(monkeypatch: pytest.MonkeyPatch, stages: int) -> None:
    blocks, seen = charts.NAMED_ROWS, []
    monkeypatch.setattr(charts, "_drawn", lambda name, title, figure, tips: seen.append(figure))
    orders = [list(range(blocks)) for _ in range(stages)]
    with charts.drawing():
        charts.way("way", "a way", Course(seconds=1.0, evaluations=1, points=[], orders=orders), list(range(blocks)))
        (figure,) = seen
        texts = {text.get_text(): text.get_window_extent() for text in figure.axes[0].texts}
        numbers = [text.get_window_extent() for text in figure.axes[0].texts if text.get_text().isdigit()]
    assert len(numbers) == 2 * blocks
    whole = figure.bbox
    assert all(whole.x0 <= box.x0 and box.x1 <= whole.x1 for box in numbers)
    label = next(box for text, box in texts.items() if "position" in text)
    assert whole.x0 <= label.x0
    assert not [box for box in numbers if box.overlaps(label)]
