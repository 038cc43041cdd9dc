"""Does everything with the image and the compose file, prints a line for each, and keeps docs/services.md's table."""

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

from tests.containers.engine import running_engine
from tests.containers.fleet import Fleet
from tests.containers.images import copy_of_the_project, make_bases
from tests.containers.packages import NotHere, install_compose, install_programs
from tests.containers.scenario import Scenario, Site
from tests.containers.scenarios import SCENARIOS
from tests.containers.table import as_row, put_row
from tests.support.paths import DOCS

LONGEST_SECONDS = 900
"""That all of it may take on a machine that does nothing else, downloads included."""

PAGE = DOCS / "services.md"
DATA = Path("/var/tmp/pairing-containers")


@click.command()
@click.option("--scenario", "names", multiple=True, metavar="NAME", help="only this one; repeatable")
@click.option("--data", type=click.Path(path_type=Path), default=DATA, show_default=True, help="images are kept here")
@click.option("--fresh", is_flag=True, help="remove what earlier calls have kept there")
@click.option("--list", "listed", is_flag=True, help="do nothing; list the scenarios")
def main(names: Sequence[str], data: Path, fresh: bool, listed: bool) -> None:
    """Run the image and the compose file on a real daemon, and write what came of it into docs/services.md."""
    if listed:
        for scenario in SCENARIOS:
            click.echo(f"{scenario.name:<20} {scenario.what}")
        return
    if set(names) - {scenario.name for scenario in SCENARIOS}:
        raise click.UsageError("no scenario has such a name; --list shows them")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the daemon ends with it
    began = time.monotonic()
    try:
        held = _all_done([scenario for scenario in SCENARIOS if not names or scenario.name in names], data, fresh)
    except NotHere as reason:
        raise click.ClickException(f"{reason}") from None
    click.echo(f"{time.monotonic() - began:6.0f} s  in all, of at most {LONGEST_SECONDS}")
    sys.exit(0 if all(held) else 1)


def _all_done(scenarios: Sequence[Scenario], data: Path, fresh: bool) -> list[bool]:
    install_programs()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pairing-containers-") as name, running_engine(data, fresh) as engine:
        os.chmod(name, 0o755)  # containers' users look into it
        folder = Path(name)
        install_compose(data / "cli" / "cli-plugins")
        make_bases(engine)
        click.echo(f"{time.monotonic() - began:6.0f} s  a daemon and base images")
        (folder / "project").mkdir()
        project = copy_of_the_project(folder / "project")
        site = Site(engine, project, folder, Fleet(engine, project))
        return [_done(scenario, site) for scenario in scenarios]


def _done(scenario: Scenario, site: Site) -> bool:
    """Does a scenario, prints its line and puts its row into the page: whether it held."""
    began, verdict, measured = time.monotonic(), "held", ""
    try:
        measured = scenario.work(site)
    except Exception:  # the others are to be done all the same
        verdict = "NOT HELD"
        traceback.print_exc()
        logs = site.engine.folder / "logs" / scenario.name
        logs.mkdir(parents=True, exist_ok=True)
        for container in site.engine.docker("ps", "--all", "--format", "{{.Names}}").stdout.split():
            said = site.engine.docker("logs", "--timestamps", container, status=None)
            (logs / container).write_text(said.stdout + said.stderr)
        click.echo(f"what the containers said is in {logs}", err=True)
    click.echo(f"{time.monotonic() - began:6.0f} s  {scenario.name:<20} {verdict}  {measured}")
    put_row(PAGE, as_row(scenario, verdict, measured))
    return verdict == "held"


if __name__ == "__main__":
    main()
