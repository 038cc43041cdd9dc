"""Does everything with services on booted hosts, prints a line for each, and keeps the tables in the documentation."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

import click

from tests.benchmarks.record import put_between_marks
from tests.containers.packages import NotHere
from tests.hosts.fleet import Fleet
from tests.hosts.machine import machine
from tests.hosts.root import base_root, check_machine, remove_roots, wheels
from tests.hosts.scenario import Scenario
from tests.hosts.scenarios import SCENARIOS
from tests.support.hosts import HostsMissing, hosts
from tests.support.paths import DOCS

LONGEST_SECONDS = 900
"""That all of it may take on a machine that does nothing else, downloads included."""


PAGES = {DOCS / "services.md": False, DOCS / "reliability.md": True}
"""Which page has the table, and whether of damage alone."""
MARKS = ("<!-- hosts -->", "<!-- end of hosts -->")
TITLES = ("scenario", "what is done", "what must hold", "", "measured")
DATA = Path("/var/tmp/pairing-hosts")

Row = tuple[str, ...]


@click.command()
@click.option("--scenario", "names", multiple=True, metavar="NAME", help="only this one, and what it needs; repeatable")
@click.option("--data", type=click.Path(path_type=Path), default=DATA, show_default=True, help="the disk is kept here")
@click.option("--fresh", is_flag=True, help="remove what earlier calls have kept there")
@click.option("--list", "listed", is_flag=True, help="do nothing; list the scenarios")
def main(names: Sequence[str], data: Path, fresh: bool, listed: bool) -> None:
    """Boot two hosts with the services on them, and write what came of it into the documentation."""
    if listed:
        for scenario in SCENARIOS:
            click.echo(f"{scenario.name:<20} {scenario.what}")
        return
    if set(names) - {scenario.name for scenario in SCENARIOS}:
        raise click.UsageError("no scenario has such a name; --list shows them")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the hosts end with it
    chosen = [scenario for scenario in SCENARIOS if not names or scenario.name in (*names, "installed")]
    began = time.monotonic()
    try:
        check_machine()
        if fresh:
            remove_roots(data)
        rows = _all_done(chosen, data, keep=not names)
    except (NotHere, HostsMissing) as reason:
        raise click.ClickException(f"{reason}") from None
    click.echo(f"{time.monotonic() - began:6.0f} s  in all, of at most {LONGEST_SECONDS}")
    sys.exit(0 if "NOT HELD" not in {row[3] for row in rows} else 1)


def _all_done(scenarios: Sequence[Scenario], data: Path, *, keep: bool) -> list[Row]:
    began = time.monotonic()
    base = base_root(data)
    click.echo(f"{time.monotonic() - began:6.0f} s  a disk")
    with tempfile.TemporaryDirectory(prefix="pairing-hosts-", dir="/var/tmp") as name, hosts(2) as networks:
        os.chmod(name, 0o755)  # the hosts' users look into it
        folder, began = Path(name), time.monotonic()
        made = wheels(folder)
        one, two = networks
        with machine("one", one, base, folder) as first, machine("two", two, base, folder) as second:
            fleet = Fleet(first, second, made)
            fleet.prepare()
            click.echo(f"{time.monotonic() - began:6.0f} s  two hosts")
            rows = []
            for scenario in scenarios:
                rows.append(_done(scenario, fleet))
                if keep:
                    put_tables(rows)
            return rows


def put_tables(rows: Sequence[Row]) -> None:
    """Puts what is known so far into the pages: an interrupted call says what it had done."""
    damage = {scenario.name for scenario in SCENARIOS if scenario.fault}
    for page, of_damage in PAGES.items():
        shown = [row for row in rows if row[0] in damage or not of_damage]
        table = [TITLES, ("---",) * len(TITLES), *shown]
        put_between_marks(page, "\n".join("| " + " | ".join(cells) + " |" for cells in table), *MARKS)


def _done(scenario: Scenario, fleet: Fleet) -> Row:
    """Does a scenario and prints its line: its row of the table."""
    began, verdict, measured = time.monotonic(), "held", ""
    try:
        measured = scenario.work(fleet)
    except Exception:  # the others are to be done all the same
        verdict = "NOT HELD"
        traceback.print_exc()
        for host in fleet.machines:
            if not host.leader:
                host.switch_on()
            click.echo(f"--- {host.name}\n{host.run('journalctl', '--no-pager', '-n', 40).stdout}", err=True)
    click.echo(f"{time.monotonic() - began:6.0f} s  {scenario.name:<20} {verdict}  {measured}")
    return scenario.name, scenario.what, scenario.holds, verdict, measured


if __name__ == "__main__":
    main()
