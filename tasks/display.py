"""What people see of a run: its progress on standard error, its result on standard output."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from tasks.outcome import stopped_early, way_of_ending
from tasks.progress import live_table, overview, progress_of
from tasks.request import Request
from tasks.store import Store

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

PLAIN_SECONDS = 1.0
ENDLESS = 1_000
"""The columns of what is not a terminal: nothing is cut off there."""


class Display:
    """Live progress: on a terminal a table with a line for every part, else a plain line a second about all of them."""

    def __init__(self, request: Request) -> None:
        """Shows nothing yet."""
        self._request = request
        self._live: Live | None = None
        self._shown = ""
        self._began = time.monotonic()
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
        parts = progress_of(store, self._request)
        line = overview(parts)
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
    whole = _ranked(_columns(summary))
    needed = console.measure(whole, options=console.options.update(max_width=ENDLESS)).maximum
    console.print(whole if needed <= console.width else _ranked(_fewer(_columns(summary))))
    for record in summary["methods"]:
        if not record["ok"]:
            console.print(f"{record['method']}: {record['error']}", markup=False)
    best = summary["best"]
    if best is not None:
        console.print("Permutation: " + ",".join(map(str, best["permutation"])))
        if best.get("names"):
            console.print("Layers: " + ", ".join(best["names"]), markup=False)
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
    if summary.get("noise") is not None:
        verdict = "Solved up to noise"
    console.print(f"[bold]{verdict}[/bold] in {seconds}.")


def _ranked(columns: dict[str, list[str]]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for title in columns:
        table.add_column(title, justify="left" if title in ("method", "start", "ended") else "right", no_wrap=True)
    for cells in zip(*columns.values(), strict=True):
        table.add_row(*cells)
    return table


def _columns(summary: dict[str, Any]) -> dict[str, list[str]]:
    """Title → cells, a row a method and seed."""
    records, blocks = summary["methods"], summary["blocks"]
    columns = {
        "": ["–" if stopped_early(m["stopped"]) or not m["ok"] else str(rank) for rank, m in enumerate(records, 1)],
        "method": [m["method"] for m in records],
        "seed": [str(m["seed"]) for m in records],
        "error": [_error(m["full_mse"]) if m["evaluations"] else "" for m in records],
        "start": [m["start"] or "" for m in records],
        "its error": [_error(m["start_mse"]) if m["evaluations"] else "" for m in records],
        "as pool": [_of(m["pairs_matching_pool_best"], blocks) for m in records],
        "pool order": ["" if m["pairs_matching_pool_best"] is None else _error(m["pool_order_mse"]) for m in records],
        "evaluations": [str(m["evaluations"] or "") for m in records],
        "seconds": ["" if m["seconds"] is None else f"{m['seconds']:.1f}" for m in records],
        "ended": [way_of_ending(m["stopped"]) for m in records],
    }
    if len(set(columns["seed"])) == 1:
        del columns["seed"]
    return columns


def _fewer(columns: dict[str, list[str]]) -> dict[str, list[str]]:
    """What matters most of the columns, for a narrow terminal."""
    left_out = ("start", "its error", "pool order", "evaluations")
    return {title: cells for title, cells in columns.items() if title not in left_out}


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
