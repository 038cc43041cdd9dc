"""Soaks a fleet for so many minutes, says what came of it, and keeps the longest one in docs/reliability.md."""

from __future__ import annotations

import random
import re
import secrets
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tests.support.paths import DOCS

if TYPE_CHECKING:
    from tests.soak.stream import Soaked

EVALUATIONS = 4000
"""Of a refinement: four seconds of a core or more, beside others."""

PAGE = DOCS / "reliability.md"
MARKS = ("<!-- soak -->", "<!-- end of soak -->")


@click.command()
@click.option(
    "--minutes", type=click.FloatRange(min=1), default=30, show_default=True, help="how long runs are enqueued"
)
@click.option("--seed", type=click.IntRange(min=0), help="which faults come, and when: repeats a call's")
def main(minutes: float, seed: int | None) -> None:
    """Keep a fleet at work, with a random fault every minute, and write what came of it into docs/reliability.md."""
    from tests.benchmarks.record import put_between_marks
    from tests.soak.stream import soak

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the workers end with it
    seed = secrets.randbelow(10**6) if seed is None else seed
    click.echo(f"Seed {seed} (--seed {seed} brings the same faults again)")
    with tempfile.TemporaryDirectory(prefix="pairing-soak-") as folder:
        soaked = soak(Path(folder) / "site", minutes * 60, random.Random(seed), evaluations=EVALUATIONS, say=click.echo)
    lines = told(soaked, minutes, seed)
    click.echo("\n".join([*soaked.wrong, *lines]))
    if minutes >= _longest():
        put_between_marks(PAGE, "\n".join(lines), *MARKS)
    sys.exit(1 if soaked.wrong else 0)


def told(soaked: Soaked, minutes: float, seed: int) -> list[str]:
    """What came of it, as the page says it."""
    before, after = soaked.before, soaked.after
    assert before is not None
    assert after is not None
    faults = ", ".join(f"{name} {times}" for name, times in sorted(soaked.faults.items()))
    per_run = {kind: (getattr(after, kind) - getattr(before, kind)) / soaked.runs for kind in ("for_ever", "expiring")}
    return [
        f"- {minutes:g} minutes (`--seed {seed}`): {soaked.runs} runs, the slowest took {soaked.slowest:.0f} s;"
        f" {soaked.faults.total()} faults ({faults}).",
        f"- Runs with a winner lost or doubled, another solution, or no end: {len(soaked.wrong)}.",
        f"- Memory: the largest process had {soaked.most:.0f} MiB; of {len(soaked.slopes)} that lived for long enough,"
        f" none grew by more than {max(soaked.slopes, default=0):.1f} MiB an hour.",
        f"- Redis: {per_run['expiring'] / 1024:.0f} kB a run under keys that expire, {per_run['for_ever']:.0f} bytes"
        " under others.",
        f"- At rest, before and after: {before.connections} and {after.connections} connections, {before.temporary} and"
        f" {after.temporary} temporary files, {before.spooled} and {after.spooled} files in the spool.",
    ]


def _longest() -> float:
    """Minutes of the one that the page has."""
    found = re.search(r"^- ([\d.]+) minutes \(`--seed", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return float(found[1]) if found else 0.0


if __name__ == "__main__":
    main()
