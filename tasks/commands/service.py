"""The commands that make Pairing a service of this host. Nothing heavy is imported before one needs it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


@click.command()
def sweep() -> None:
    """Do one sweep: bring runs that are past their deadline to an end, and store winners that wait in the spool.

    Workers that read pairing.pool do this every few seconds. Ends with 1 if winners still wait.
    """
    from tasks.client.environment import checked_settings
    from tasks.client.submit import caller_store
    from tasks.pool.location import address_of
    from tasks.pool.spool_flush import flush_all
    from tasks.runs.spooled_winners import note_stored
    from tasks.worker.maintenance import sweep_runs

    found = checked_settings()
    flushed = flush_all(address_of(found))
    waiting = [winner for winner in flushed if winner.inserted is None]
    for winner in waiting:
        click.echo(f"{winner.path.name}: still waits: {winner.error}")
    store = caller_store(found)
    note_stored(store, flushed)
    swept = sweep_runs(store, found)
    for run in swept:
        click.echo(f"{run}: is past its deadline")
    stored = len(flushed) - len(waiting)
    click.echo(f"{len(swept)} overdue runs, {stored} winners stored, {len(waiting)} still wait")
    sys.exit(1 if waiting else 0)


@click.group()
def service() -> None:
    """Make workers, Flower and sweeps services of this host: of systemd, or of a Mac's launchd."""


def _place_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Whose services they are, and below which folder."""
    for option in (
        click.option("--root", type=click.Path(path_type=Path), default="/", help="a folder that stands for /"),
        click.option(
            "--user/--system",
            "user",
            default=None,
            help="yours, or the host's  [default: the host's for root, else yours]",
        ),
    ):
        command = option(command)
    return command


@service.command()
@_place_options
def install(user: bool | None, root: Path) -> None:
    """Write the services' files. Nothing is enabled or started; what to do next is printed. Safe to repeat.

    A file of the same name that this command has not written, or that was edited since, is never overwritten.
    """
    from tasks.services.installed_files import write_files
    from tasks.services.units import check_installation, host_place, next_steps, service_files

    place = host_place(user, root)
    check_installation(place)
    for path, news in write_files(service_files(place), place.manifest):
        click.echo(f"{path}: {news}")
    click.echo(next_steps(place))


@service.command()
@_place_options
def uninstall(user: bool | None, root: Path) -> None:
    """Remove the files that install wrote, and nothing else. Stop the services first.

    Ends with 1 if one was edited since: it stays.
    """
    from tasks.services.installed_files import remove_files
    from tasks.services.units import host_place

    found = remove_files(host_place(user, root).manifest)
    for path, news in found:
        click.echo(f"{path}: {news}")
    if not found:
        click.echo("nothing is installed")
    sys.exit(1 if any(news == "edited, stays" for _, news in found) else 0)


@service.command(short_help="Compare the files with what this installation would write.")
@_place_options
def status(user: bool | None, root: Path) -> None:
    """Say of every file whether it is as this installation would write it, and what runs. Ends with 1 if one is not."""
    from tasks.services.installed_files import compare_files
    from tasks.services.units import host_place, running, service_files

    place = host_place(user, root)
    found = compare_files(service_files(place), place.manifest)
    for path, news in found:
        click.echo(f"{path}: {news}")
    for line in running(place):
        click.echo(line)
    sys.exit(0 if all(news == "as installed" for _, news in found) else 1)


SERVICE_COMMANDS = (sweep, service)
"""For ``pairing``."""
