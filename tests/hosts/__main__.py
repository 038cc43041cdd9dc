"""Does everything with services on booted hosts, prints a line for each, and keeps the tables in the documentation."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click

from tests.containers.packages import NotHere
from tests.hosts.fleet import Fleet
from tests.hosts.machine import machine
from tests.hosts.root import base_root, check_machine, remove_roots, wheels
from tests.hosts.scenarios import SCENARIOS
from tests.support.hosts import HostsMissing, hosts
from tests.support.paths import DOCS
from tests.support.scenarios import NOT_HELD, TITLES, Row, Scenario, choose, do, put_row

LONGEST_SECONDS = 900
"""That all of it may take on a machine that does nothing else, downloads included."""


PAGES = {DOCS / "services.md": False, DOCS / "reliability.md": True}
"""Which page has the table, and whether of damage alone."""
MARKS = ("<!-- hosts -->", "<!-- end of hosts -->")
DATA = Path("/var/tmp/pairing-hosts")


@click.command()
@click.option("--scenario", "names", multiple=True, metavar="NAME", help="only this one, and what it needs; repeatable")
@click.option("--data", type=click.Path(path_type=Path), default=DATA, show_default=True, help="the disk is kept here")
@click.option("--fresh", is_flag=True, help="remove what earlier calls have kept there")
@click.option("--list", "listed", is_flag=True, help="do nothing; list the scenarios")
def main(names: Sequence[str], data: Path, fresh: bool, listed: bool) -> None:
    """Boot two hosts with the services on them, and write what came of it into the documentation."""
    chosen = choose(SCENARIOS, [*names, "installed"] if names else names, listed)
    began = time.monotonic()
    try:
        check_machine()
        if fresh:
            remove_roots(data)
        rows = _all_done(chosen, data)
    except (NotHere, HostsMissing) as reason:
        raise click.ClickException(f"{reason}") from None
    click.echo(f"{time.monotonic() - began:6.0f} s  in all, of at most {LONGEST_SECONDS}")
    sys.exit(NOT_HELD in {row[3] for row in rows})


def _all_done(scenarios: Sequence[Scenario[Fleet]], data: Path) -> list[Row]:
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
            return [_done(scenario, fleet) for scenario in scenarios]


def _done(scenario: Scenario[Fleet], fleet: Fleet) -> Row:
    """Does a scenario and puts its row into the pages."""

    def explain() -> None:
        for host in fleet.machines:
            if not host.leader:
                host.switch_on()
            click.echo(f"--- {host.name}\n{host.run('journalctl', '--no-pager', '-n', 40).stdout}", err=True)

    row = do(scenario, fleet, explain)
    for page, of_damage in PAGES.items():
        if scenario.fault or not of_damage:
            put_row(page, MARKS, TITLES, row, SCENARIOS)
    return row


if __name__ == "__main__":
    main()
