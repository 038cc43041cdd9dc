"""What people see of a run: its progress on standard error, its result on standard output."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from tasks.request import Request
from tasks.store import Store, part_name

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

PLAIN_SECONDS = 1.0
WIDE = 120
"""Columns of a terminal that takes the whole table."""


class Display:
    """Live progress, a line per method: a table on a terminal, else a plain line for what changed, once a second."""

    def __init__(self, request: Request) -> None:
        """Shows nothing yet."""
        self._request = request
        self._live: Live | None = None
        self._shown: dict[str, str] = {}
        self._last = 0.0
        self._terminal = sys.stderr.isatty()

    def __enter__(self) -> Display:
        """Begins to show."""
        if self._terminal:
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(stderr=True), refresh_per_second=8, transient=True)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leaves the terminal as it was."""
        if self._live is not None:
            self._live.stop()

    def show(self, store: Store, *, last: bool = False) -> None:
        """Shows how far the run is; ``last`` shows it even if it was shown just before."""
        now = time.monotonic()
        if now - self._last < (0.2 if self._live else PLAIN_SECONDS) and not last:
            return
        self._last = now
        lines = _lines(store, self._request)
        if self._live is not None:
            self._live.update(_live_table(lines))
            return
        for name, line in lines:
            text = "  ".join(filter(None, line.values()))
            if self._shown.get(name) != text:
                self._shown[name] = text
                print(f"{name:<20} {text}", file=sys.stderr, flush=True)  # noqa: T201


def _lines(store: Store, request: Request) -> list[tuple[str, dict[str, str]]]:
    """(method, what its columns say) for every part of the run."""
    run = request.run
    failures, progress = store.parts(run, "failure"), store.parts(run, "progress")
    assigned, refined = store.parts(run, "assignment"), store.parts(run, "refinement")
    lines = []
    for method, seed in request.parts:
        part = part_name(method, seed)
        name = method if request.seeds == 1 else part
        line = {"stage": "similarity", "error": "", "steps": "", "left": ""}
        if method in assigned:
            line["stage"] = "assignment"
        if part in progress:
            now = progress[part]
            line = {
                "stage": now["stage"],
                "error": "" if now["best_error"] is None else f"error {now['best_error']:.3g}",
                "steps": f"{now['steps']} steps",
                "left": "" if now["seconds_left"] is None else f"{now['seconds_left']:.0f} s left",
            }
        if part in refined:
            found = refined[part]
            error = found["solution"]["full_mse"]
            line |= {
                "stage": found["stopped"],
                "left": "",
                "error": "" if error is None else f"error {error:.3g}",
            }
        if method in failures or part in failures:
            line |= {"stage": "failed", "left": ""}
        lines.append((name, line))
    return lines


def _live_table(lines: list[tuple[str, dict[str, str]]]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in ("method", "stage", "best error", "steps", "time left"):
        table.add_column(title, no_wrap=True)
    for name, line in lines:
        table.add_row(name, line["stage"], line["error"].removeprefix("error "), line["steps"], line["left"])
    return table


def print_result(summary: dict[str, Any], notes: list[str]) -> None:
    """The ranked table, the permutation and the verdict, for people, on standard output."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else WIDE)
    columns = _columns(summary, console.width >= WIDE)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for title in columns:
        table.add_column(title, justify="left" if title in ("method", "start", "ended") else "right", no_wrap=True)
    for cells in zip(*columns.values(), strict=True):
        table.add_row(*cells)
    console.print(table)
    for record in summary["methods"]:
        if not record["ok"]:
            console.print(f"{record['method']}: {record['error']}", markup=False)
    best = summary["best"]
    if best is not None:
        console.print("Permutation: " + ",".join(map(str, best["permutation"])))
        console.print(f"Hash: {best['hash']} ({_verdict(best['hash_match'])})")
        console.print(f"Error: {best['full_mse']:.3g} over {summary['rows']:,} rows, by {best['method']}")
    pool = summary["pool"]
    before = "empty" if pool["best_before"] is None else f"best {pool['best_before']:.3g}"
    later = f", {len(pool['stored_later'])} to be stored later" if pool["stored_later"] else ""
    console.print(f"Pool: {before} before; {len(pool['inserted'])} inserted{later}")
    for note in notes:
        console.print(note, markup=False)
    seconds = f"{summary['seconds']['total']:.1f} s"
    verdict = "Solved" if summary["solved"] else "Not solved"
    console.print(f"[bold]{verdict}[/bold] in {seconds}.")


def _columns(summary: dict[str, Any], wide: bool) -> dict[str, list[str]]:
    """Title → cells, a row a method and seed; a narrow terminal gets what matters most."""
    records, blocks = summary["methods"], summary["blocks"]
    columns = {
        "": ["–" if _early(m) or not m["ok"] else str(rank) for rank, m in enumerate(records, 1)],
        "method": [m["method"] for m in records],
        "seed": [str(m["seed"]) for m in records],
        "error": [_error(m["full_mse"]) if m["ok"] else "" for m in records],
        "start": [m["start"] or "" for m in records],
        "its error": [_error(m["start_mse"]) if m["ok"] else "" for m in records],
        "as pool": [_of(m["pairs_matching_pool_best"], blocks) for m in records],
        "pool order": ["" if m["pairs_matching_pool_best"] is None else _error(m["pool_order_mse"]) for m in records],
        "evaluations": [str(m["evaluations"] or "") for m in records],
        "seconds": ["" if m["seconds"] is None else f"{m['seconds']:.1f}" for m in records],
        "ended": ["stopped early" if _early(m) else str(m["stopped"]) for m in records],
    }
    if len(set(columns["seed"])) == 1:
        del columns["seed"]
    if not wide:
        for title in ("start", "its error", "pool order", "evaluations"):
            del columns[title]
    return columns


def _early(record: dict[str, Any]) -> bool:
    return record["stopped"] in ("solved_elsewhere", "cancelled")


def _of(count: int | None, whole: int) -> str:
    return "" if count is None else f"{count}/{whole}"


def _error(value: float | None) -> str:
    return "overflow" if value is None else f"{value:.3g}"


def _verdict(match: bool | None) -> str:
    return {
        True: "matches the target hash",
        False: "is not the target hash",
        None: "no target hash is known",
    }[match]
