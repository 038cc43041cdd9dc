"""Runs the benchmarks and prints their table; exit status 1 where a required figure is missed."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

    from tests.benchmarks.case import Case
    from tests.benchmarks.runs import Run


@click.command()
@click.option("--full", is_flag=True, help="the required numbers of samples; goes on where the last call stopped")
@click.option("--case", "names", multiple=True, metavar="NAME", help="only cases whose name begins so; repeatable")
@click.option("--seed", type=click.IntRange(min=0), help="the run's seed: repeats or resumes that run")
@click.option("--results", type=click.Path(path_type=Path), default="bench-results", show_default=True)
@click.option("--table", is_flag=True, help="run nothing; write the last full run's table into docs/benchmarks.md")
@click.option("--list", "listed", is_flag=True, help="run nothing; list the cases and their samples")
def main(full: bool, names: Sequence[str], seed: int | None, results: Path, table: bool, listed: bool) -> None:
    """Measure what is required of this machine's Pairing, beside what is required."""
    from rich.console import Console

    from tests.benchmarks.cases import CASES
    from tests.benchmarks.puzzles import PUBLISHED_PUZZLE
    from tests.benchmarks.runs import open_run

    console = Console(width=140, highlight=False)
    if listed:
        for case in CASES:
            console.print(f"{case.name:<20} {case.quick:>4} quick {case.full:>4} full")
        return
    networks = results / "networks"
    if table:
        write_table(results, networks)
        return
    chosen = [case for case in CASES if not names or case.name.startswith(tuple(names))]
    chosen = [case for case in chosen if full or case.quick or names]
    if not chosen:
        raise click.UsageError("no case has such a name; --list shows them")
    if any(case.published for case in chosen) and not PUBLISHED_PUZZLE.is_dir():
        raise click.UsageError(f"these cases need the published puzzle at {PUBLISHED_PUZZLE}; put it there")
    run = open_run(results, "full" if full else "quick", networks, seed)
    sys.exit(0 if measured(run, chosen, full, console) else 1)


def measured(run: Run, cases: Sequence[Case], full: bool, console: Console) -> bool:
    """Measures the cases and prints their figures: whether all were measured and every required one is held."""
    from tests.benchmarks.machine import machine
    from tests.benchmarks.record import rich_table
    from tests.benchmarks.runs import carry_out

    began, whole = time.monotonic(), True
    console.print(machine())
    console.print(f"Run seed {run.seed} (repeat or resume it with --seed {run.seed}); records: {run.folder}")
    for case in cases:
        count = case.full if full else max(1, case.quick)
        done = sum(1 for _ in carry_out(run, case, count, console.print))
        whole = whole and done == count
        spent = (time.monotonic() - began) / 60
        for figure in run.figures([case]):
            console.print(f"{spent:6.1f} min  " + "  ".join(filter(None, figure.cells)), style="dim")
    figures = run.figures(cases)
    console.print(rich_table(figures))
    return whole and all(figure.held for figure in figures)


def write_table(results: Path, networks: Path) -> None:
    """Puts the last full run's table into docs/benchmarks.md, with the machine that it was measured on.

    Raises:
        click.UsageError: there is no full run.
    """
    from tests.benchmarks.cases import CASES
    from tests.benchmarks.machine import ROOT
    from tests.benchmarks.record import markdown_table, put_between_marks
    from tests.benchmarks.runs import last_run

    run = last_run(results, networks)
    if run is None:
        raise click.UsageError(f"there is no full run in {results}; make one with --full")
    put_between_marks(ROOT / "docs" / "benchmarks.md", f"{run.about(CASES)}\n\n{markdown_table(run.figures(CASES))}")
    click.echo(f"docs/benchmarks.md: {run.folder}")


if __name__ == "__main__":
    main()
