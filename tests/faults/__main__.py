"""Does every fault at full length, prints a line for each, and keeps docs/reliability.md's table."""

from __future__ import annotations

import random
import secrets
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import click

from tests.support.paths import DOCS
from tests.support.scenarios import NOT_HELD, choose, put_row

if TYPE_CHECKING:
    from tests.faults.scenario import Scenario

LONGEST_SECONDS = 2400
"""That all scenarios may take on a machine that does nothing else."""

PAGE, MARKS = DOCS / "reliability.md", ("<!-- faults -->", "<!-- end of faults -->")
TITLES = ("scenario", "what is done", "what must hold", "times", "runs", "", "seconds to recover")


@click.command()
@click.option("--seed", type=click.IntRange(min=0), help="what is hit, and when, by chance: repeats a call's damage")
@click.option("--scenario", "names", multiple=True, metavar="NAME", help="only this one; repeatable")
@click.option("--list", "listed", is_flag=True, help="do nothing; list the scenarios")
def main(seed: int | None, names: Sequence[str], listed: bool) -> None:
    """Do the damage that docs/reliability.md lists, and write there what came of it."""
    from tests.faults.scenario import FULL_SECONDS
    from tests.faults.scenarios import SCENARIOS
    from tests.faults.undisturbed import lasting

    chosen = choose(SCENARIOS, names, listed)
    seed = secrets.randbelow(10**6) if seed is None else seed
    click.echo(f"Seed {seed} (--seed {seed} does the same damage again)")
    began = time.monotonic()
    evaluations = lasting(FULL_SECONDS)
    click.echo(
        f"Refinements have {evaluations:,} evaluations: here they take {FULL_SECONDS:.0f} seconds of a core, or more"
    )
    held = [done(scenario, seed, evaluations) for scenario in chosen]
    click.echo(f"{time.monotonic() - began:6.0f} s  in all, of at most {LONGEST_SECONDS}")
    sys.exit(0 if all(held) else 1)


def done(scenario: Scenario, seed: int, evaluations: int) -> bool:
    """Does a scenario, prints its line and puts its row into the page: whether it held, or could not be done here."""
    from tests.faults.scenario import Found, Skipped
    from tests.faults.scenarios import SCENARIOS

    began, verdict, found = time.monotonic(), "held", Found()
    with tempfile.TemporaryDirectory(prefix="pairing-faults-") as folder:
        try:
            full = replace(scenario.full, evaluations=evaluations)
            found = scenario.work(Path(folder), full, random.Random(f"{seed} {scenario.name}"))
        except Skipped as reason:
            verdict = f"not done: {reason}"
        except Exception:  # the others are to be done all the same
            verdict = NOT_HELD
            traceback.print_exc()
            for log in sorted(Path(folder).rglob("worker-*.log")):
                click.echo(f"--- {log.name}\n{log.read_text(errors='replace')[-3000:]}", err=True)
    seconds = found.recovery
    recovered = f"{median(seconds):.1f}, at most {max(seconds):.1f}" if seconds else ""
    counts = (str(found.times), str(found.runs)) if found.times else ("", "")
    row = (scenario.name, scenario.what, scenario.holds, *counts, verdict, recovered)
    click.echo(f"{time.monotonic() - began:6.0f} s  " + "  ".join([*row, found.said]))
    put_row(PAGE, MARKS, TITLES, row, SCENARIOS)
    return verdict != NOT_HELD


if __name__ == "__main__":
    main()
