"""The result on standard output: whole where there is room, and never with its cells cut off."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from rich.text import Text

from tasks.commands.terminal import print_result

WIDEST = {
    "ok": True,
    "start": "greedy",
    "start_mse": 1.35e103,
    "full_mse": 7.32e-15,
    "pairs_matching_pool_best": 192,
    "pool_order_mse": 7.32e-15,
    "evaluations": 1_234_567,
    "seconds": 1234.5,
    "stopped": "solved_elsewhere",
}
SUMMARY: dict[str, Any] = {
    "blocks": 192,
    "rows": 10_000,
    "methods": [{**WIDEST, "method": "nonlinear_alignment", "seed": seed} for seed in (0, 1)],
    "best": None,
    "pool": {"best_before": None, "inserted": [], "stored_later": []},
    "seconds": {"total": 2.5},
    "solved": False,
}


def printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: int | None) -> str:
    if columns is not None:
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        monkeypatch.setenv("COLUMNS", str(columns))
    print_result(SUMMARY, [])
    return Text.from_ansi(capsys.readouterr().out).plain


@pytest.mark.parametrize("columns", [None, 200, 120, 100, 80])
def test_nothing_of_the_table_is_cut_off(
    columns: int | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = printed(monkeypatch, capsys, columns)
    assert "…" not in out
    assert "nonlinear_alignment" in out
    assert max(map(len, out.splitlines())) <= (columns or len(out))
    named = out.partition("Left out")[0]
    assert ("evaluations" in named) == (columns in {None, 200, 120})
    assert all(title in named for title in ("MSE", "initial", "shared with", "status"))
    assert ("Left out for want of width: evaluations" in out) == (columns in {100, 80})


def test_methods_without_a_rank_stand_below_a_rule(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    best = {**WIDEST, "method": "trace", "seed": 0, "stopped": "solved"}
    monkeypatch.setitem(SUMMARY, "methods", [best, *SUMMARY["methods"]])
    lines = printed(monkeypatch, capsys, 120).splitlines()
    first = next(number for number, line in enumerate(lines) if "trace" in line)
    assert set(lines[first + 1].strip()) == {"─"}
    assert "nonlinear_alignment" in lines[first + 2]
