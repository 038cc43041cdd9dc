"""Does everything with the image and the compose file, prints a line for each, and keeps docs/services.md's table."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click

from tests.containers.engine import running_engine
from tests.containers.fleet import Fleet
from tests.containers.images import copy_of_the_project, make_bases
from tests.containers.packages import NotHere, install_compose, install_programs
from tests.containers.scenarios import SCENARIOS
from tests.containers.site import Site
from tests.support.paths import DOCS
from tests.support.scenarios import NOT_HELD, TITLES, Row, Scenario, choose, do, put_row

LONGEST_SECONDS = 900
"""That all of it may take on a machine that does nothing else, downloads included."""

PAGE, MARKS = DOCS / "services.md", ("<!-- containers -->", "<!-- end of containers -->")
DATA = Path("/var/tmp/pairing-containers")


@click.command()
@click.option("--scenario", "names", multiple=True, metavar="NAME", help="only this one; repeatable")
@click.option("--data", type=click.Path(path_type=Path), default=DATA, show_default=True, help="images are kept here")
@click.option("--fresh", is_flag=True, help="remove what earlier calls have kept there")
@click.option("--list", "listed", is_flag=True, help="do nothing; list the scenarios")
def main(names: Sequence[str], data: Path, fresh: bool, listed: bool) -> None:
    """Run the image and the compose file on a real daemon, and write what came of it into docs/services.md."""
    chosen = choose(SCENARIOS, names, listed)
    began = time.monotonic()
    try:
        rows = _all_done(chosen, data, fresh)
    except NotHere as reason:
        raise click.ClickException(f"{reason}") from None
    click.echo(f"{time.monotonic() - began:6.0f} s  in all, of at most {LONGEST_SECONDS}")
    sys.exit(NOT_HELD in {row[3] for row in rows})


def _all_done(scenarios: Sequence[Scenario[Site]], data: Path, fresh: bool) -> list[Row]:
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


def _done(scenario: Scenario[Site], site: Site) -> Row:
    """Does a scenario and puts its row into the page."""

    def explain() -> None:
        logs = site.engine.folder / "logs" / scenario.name
        logs.mkdir(parents=True, exist_ok=True)
        for container in site.engine.docker("ps", "--all", "--format", "{{.Names}}").stdout.split():
            said = site.engine.docker("logs", "--timestamps", container, status=None)
            (logs / container).write_text(said.stdout + said.stderr)
        click.echo(f"what the containers said is in {logs}", err=True)

    row = do(scenario, site, explain)
    put_row(PAGE, MARKS, TITLES, row, SCENARIOS)
    return row


if __name__ == "__main__":
    main()
