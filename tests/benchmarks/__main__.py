"""Runs the benchmarks and prints the table; exit status 1 where a required figure is missed."""

from __future__ import annotations

import os
import sys

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"


def main() -> int:
    """The exit status: 0 when every required figure is held."""
    from rich.console import Console
    from rich.table import Table

    from tests.benchmarks import command, engine
    from tests.benchmarks.record import machine

    if not engine.REAL_PUZZLE.is_dir():
        sys.exit(f"The benchmarks need the published puzzle at {engine.REAL_PUZZLE}.")
    console = Console(width=140, highlight=False)
    console.print(machine())
    cases = [
        engine.fast_on_the_real_puzzle,
        engine.proposals_priced,
        lambda: engine.orders_found(copies=2, seeds=10),
        command.whole_command,
    ]
    table = Table("what", "measured", "required", "ratio", "samples", "")
    figures = []
    for case in cases:
        for figure in case():
            console.print("  ".join(filter(None, figure.cells)), style="dim")
            table.add_row(*figure.cells)
            figures.append(figure)
    console.print(table)
    return 0 if all(figure.held for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
