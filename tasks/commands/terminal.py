"""What people see of a run: its progress on standard error, its result on standard output."""

from __future__ import annotations

import itertools
import signal
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from tasks.contracts.run_request import Request
from tasks.runs.outcome import end_of_refinement, stopped_early
from tasks.runs.progress import live_table, progress_line, progress_of
from tasks.store.run_store import Store

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

PLAIN_SECONDS = 1.0
ENDLESS = 1_000
"""The columns of what is not a terminal: nothing is cut off there."""
UNRANKED = "–"


class Display:
    """Live progress: on a terminal a table with a line for every part, else a plain line a second about all of them."""

    def __init__(self, request: Request, *, cancels: bool = False) -> None:
        """Shows nothing yet. With ``cancels``, the first Ctrl-C cancels the run, which keeps what it has."""
        self._request = request
        self._cancels = cancels
        self.interrupted = False
        """Whether somebody has pressed Ctrl-C."""
        self._cancelled = False
        self._live: Live | None = None
        self._shown = ""
        self._began = time.monotonic()
        self._last = 0.0
        self._terminal = sys.stderr.isatty()

    def __enter__(self) -> Display:
        """Begins to show."""
        if self._cancels:
            self._former = signal.signal(signal.SIGINT, self._interrupt)
        if self._terminal:
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(stderr=True), refresh_per_second=8, transient=True)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leaves the terminal as it was."""
        if self._cancels:
            signal.signal(signal.SIGINT, self._former)
        if self._live is not None:
            self._live.stop()

    def _interrupt(self, *_: object) -> None:
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True
        print("Ending the run with its best so far; Ctrl-C again abandons it.", file=sys.stderr, flush=True)  # noqa: T201

    def show(self, store: Store, *, last: bool = False) -> None:
        """Shows how far the run is; ``last`` shows it even if it was shown just before."""
        if self.interrupted and not self._cancelled:
            self._cancelled = True
            store.announce(self._request.run, "cancelled")
        now = time.monotonic()
        if now - self._last < (0.2 if self._live else PLAIN_SECONDS) and not last:
            return
        self._last = now
        parts = progress_of(store, self._request)
        line = progress_line(parts)
        seconds = f"{now - self._began:.0f} s"
        if self._live is not None:
            self._live.update(live_table(parts, f"{seconds}: {line}", self._live.console.height))
        elif line != self._shown:
            self._shown = line
            print(f"{seconds:>6}  {line}", file=sys.stderr, flush=True)  # noqa: T201


def print_result(summary: dict[str, Any], notes: list[str]) -> None:
    """The ranked table, the permutation and the verdict, for people, on standard output."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else ENDLESS)
    unbounded = console.options.update(max_width=ENDLESS)
    table, left_out = _fitting(
        _columns(summary), lambda whole: console.measure(whole, options=unbounded).maximum <= console.width
    )
    console.print(table)
    if left_out:
        why = f"Left out for want of width: {', '.join(left_out)}. A wider terminal or the report has them."
        console.print(why, soft_wrap=False)
    for record in summary["methods"]:
        if not record["ok"]:
            console.print(f"{record['method']}: {record['error']}", markup=False)
    best = summary["best"]
    if best is not None:
        console.print("Permutation: " + ",".join(map(str, best["permutation"])))
        if best.get("names"):
            console.print("Layers: " + ", ".join(best["names"]), markup=False)
        console.print(f"Hash: {best['hash']} ({_verdict(best['hash_match'])})")
        console.print(f"MSE: {best['full_mse']:.3g} over {summary['rows']:,} samples, by {best['method']}")
    pool = summary["pool"]
    before = "empty" if pool["best_before"] is None else f"best {pool['best_before']:.3g}"
    later = f", {len(pool['stored_later'])} to be stored later" if pool["stored_later"] else ""
    console.print(f"Pool: {before} before; {len(pool['inserted'])} inserted{later}")
    for note in notes:
        console.print(note, markup=False)
    seconds = f"{summary['seconds']['total']:.1f} s"
    verdict = "Solved" if summary["solved"] else "Not solved"
    if summary.get("noise") is not None:
        verdict = "Solved up to noise"
    console.print(f"[bold]{verdict}[/bold] in {seconds}.")


def _ranked(columns: dict[str, list[str]]) -> Table:
    """The table, with a rule above the methods that have no rank."""
    from rich.box import SIMPLE_HEAD, Box
    from rich.table import Table

    lines = str(SIMPLE_HEAD).splitlines()
    table = Table(box=Box("\n".join([*lines[:4], lines[2], *lines[5:]]) + "\n"), pad_edge=False, padding=(0, 1, 0, 0))
    for title in columns:
        justify: Literal["left", "right"] = "left" if title in ("method", "start", "status") else "right"
        table.add_column(title, justify=justify, vertical="bottom", no_wrap=True)
    rows = list(zip(*columns.values(), strict=True))
    for row, following in itertools.zip_longest(rows, rows[1:]):
        table.add_row(*row, end_section=row[0] != UNRANKED and following is not None and following[0] == UNRANKED)
    return table


def _columns(summary: dict[str, Any]) -> dict[str, list[str]]:
    """Title → cells, a row a method and seed."""
    records, blocks = summary["methods"], summary["blocks"]
    columns = {
        "": [
            UNRANKED if stopped_early(m["stopped"]) or not m["ok"] else str(rank) for rank, m in enumerate(records, 1)
        ],
        "method": [m["method"] for m in records],
        "seed": [str(m["seed"]) for m in records],
        "MSE": [_error(m["full_mse"]) if m["evaluations"] else "" for m in records],
        "start": [m["start"] or "" for m in records],
        "initial\nMSE": [_error(m["start_mse"]) if m["evaluations"] else "" for m in records],
        "pairs\nshared with\npool best": [_of(m["pairs_matching_pool_best"], blocks) for m in records],
        "MSE in\npool order": [
            "" if m["pairs_matching_pool_best"] is None else _error(m["pool_order_mse"]) for m in records
        ],
        "evaluations": [str(m["evaluations"] or "") for m in records],
        "seconds": [f"{m['seconds']:.1f}" if m["evaluations"] else "" for m in records],
        "status": [end_of_refinement(m["stopped"], m["evaluations"], m["full_mse"]) for m in records],
    }
    if len(set(columns["seed"])) == 1:
        del columns["seed"]
    if not any(columns["pairs\nshared with\npool best"]):  # the pool was empty
        del columns["pairs\nshared with\npool best"], columns["MSE in\npool order"]
    return columns


LEFT_OUT = ("evaluations", "MSE in\npool order", "start", "seconds")
"""Columns that a narrow terminal does without, the first first."""


def _fitting(columns: dict[str, list[str]], fits: Callable[[Table], bool]) -> tuple[Table, list[str]]:
    """The table with as many columns as fit, and the titles of those that are left out."""
    table, left_out = _ranked(columns), list[str]()
    for title in (title for title in LEFT_OUT if title in columns):
        if fits(table):
            break
        left_out.append(title.replace("\n", " "))
        columns = {other: cells for other, cells in columns.items() if other != title}
        table = _ranked(columns)
    return table, left_out


def _of(count: int | None, whole: int) -> str:
    return "" if count is None else f"{count}/{whole}"


def _error(value: float | None) -> str:
    return "overflow" if value is None else f"{value:.3g}"


def _verdict(match: bool | None) -> str:
    return {True: "matches the target hash", False: "is not the target hash", None: "no target hash is known"}[match]
