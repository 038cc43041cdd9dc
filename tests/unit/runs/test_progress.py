"""What people see of a run that goes on: a table with a line a part, and one line about all of them."""

from __future__ import annotations

import io
import itertools
from typing import Any

import pytest
from rich.console import Console

from tasks.commands import terminal
from tasks.commands.terminal import Display
from tasks.contracts.run_request import request_of
from tasks.runs.progress import Part, live_table, progress_line, progress_of

WAITING = Part("svd")
ASSIGNED = Part("cosine", "assigned")
WORKING = Part("gram_cosine", "refinement", error=0.25, steps=1200, seconds_left=31.6)
ENDED = Part("trace", "solved", True, 1.12e-14, 55)
FAILED = Part("transpose", "failed", True)
PARTS = [WAITING, ASSIGNED, WORKING, ENDED, FAILED]


class Records:
    """A store that knows what parts have told."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, Any]] = {}

    def parts(self, _: str, kind: str) -> dict[str, Any]:
        return self.kept.get(kind, {})


def drawn(parts: list[Part], height: int, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, height=height)
    console.print(live_table(parts, f"3 s: {progress_line(parts)}", height))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert isinstance(text, str)
    return text


def test_a_line_about_all_parts() -> None:
    assert progress_line(PARTS) == (
        "2 of 5 ended (1 solved, 1 failed); 1 at similarity, 1 assigned, 1 at refinement; "
        "best MSE 1.12e-14 by trace; 1,255 steps; at most 32 s left"
    )
    assert progress_line([WAITING]) == "0 of 1 ended; 1 at similarity"


def test_a_table_with_a_line_a_part() -> None:
    lines = drawn(PARTS, 24).splitlines()
    assert len(lines) == len(PARTS) + 3  # the head, and the line about all parts, in two
    assert [line.split() for line in lines[1:6]] == [
        ["svd", "similarity"],
        ["cosine", "assigned"],
        ["gram_cosine", "refinement", "0.25", "1,200", "32", "s"],
        ["trace", "solved", "1.12e-14", "55"],
        ["transpose", "failed"],
    ]
    assert lines[6].startswith("3 s: 2 of 5 ended")


@pytest.mark.parametrize("height", [10, 16, 24])
def test_a_low_terminal_shows_who_is_at_work(height: int) -> None:
    ended = [Part(f"ended.s{seed}", "budget", True, 0.1 + seed, 9) for seed in range(30)]
    parts = [*ended, *(Part(f"waits.s{seed}") for seed in range(30)), WORKING]
    text = drawn(parts, height)
    assert len(text.splitlines()) <= height
    assert "gram_cosine" in text  # at work
    assert "ended.s0 " in text  # the best of the others
    assert "waits" not in text
    assert "more" in text


def test_parts_say_what_the_store_knows() -> None:
    request = request_of(
        {"run": "r", "puzzle": f"sha256:{'0' * 64}", "methods": ["trace", "svd", "cosine", "norm_balance"]}
    )
    records = Records()
    records.kept["assignment"] = {"trace": {}, "svd": {}, "cosine": {}}
    told = {"stage": "refinement", "best_error": None, "steps": 4, "seconds_left": 9.0}
    records.kept["progress"] = {"trace.s0": told, "svd.s0": told | {"best_error": 0.5}}
    records.kept["refinement"] = {
        "svd.s0": {"stopped": "solved_elsewhere", "evaluations": 9, "solution": {"full_mse": 0.75}}
    }
    records.kept["failure"] = {"norm_balance": {}}
    assert progress_of(records, request) == [  # type: ignore[arg-type]
        Part("trace", "refinement", False, None, 4, 9.0),
        Part("svd", "interrupted", True, 0.75, 4),
        Part("cosine", "assigned"),
        Part("norm_balance", "failed", True),
    ]


def test_without_a_terminal_a_line_a_second_when_something_changed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = itertools.count(100.0, 0.25)  # a look every quarter of a second
    monkeypatch.setattr(terminal.time, "monotonic", lambda: next(clock))
    request = request_of({"run": "r", "puzzle": f"sha256:{'0' * 64}", "methods": ["trace", "svd"]})
    records = Records()
    with Display(request) as shown:
        for steps in range(40):
            told = {"stage": "refinement", "best_error": 0.5, "steps": min(steps, 20), "seconds_left": None}
            records.kept["progress"] = {"trace.s0": told}
            shown.show(records)  # type: ignore[arg-type]
        records.kept["progress"]["trace.s0"]["steps"] = 99
        shown.show(records, last=True)  # type: ignore[arg-type]
    said = capsys.readouterr()
    assert said.out == ""
    lines = said.err.splitlines()
    assert 4 < len(lines) <= 8  # five seconds with news, five without, and the end
    assert len({line.split("  ", 1)[1] for line in lines}) == len(lines)
    assert lines[-1].endswith("0 of 2 ended; 1 at refinement, 1 at similarity; best MSE 0.5 by trace; 99 steps")
