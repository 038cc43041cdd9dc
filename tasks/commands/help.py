"""The help of the command ``pairing``: its commands by what they are for, each told in one line."""

from __future__ import annotations

import click

SECTIONS = {
    "Solve": {
        "solve": "Solve PUZZLE on this machine.",
        "verify": "Check whether a permutation solves PUZZLE.",
        "assemble": "Write the network that a solution gives.",
        "report": "Draw the report of a run.",
        "methods": "List the methods.",
        "make-puzzle": "Train a network, take it apart, and write the puzzle.",
        "pack": "Write PUZZLE as one file, which every command accepts.",
    },
    "Fleet": {
        "worker": "Start a worker in the foreground.",
        "enqueue": "Enqueue a run of PUZZLE.",
        "watch": "Show a run until it ends, then its result.",
        "status": "Show how far a run is.",
        "runs": "List the runs, the newest first.",
        "results": "Fetch the summary and the matrices of a run.",
        "cancel": "End a run and compare what it found.",
        "retry": "Retry what failed in a run.",
        "drop": "Remove a run that has ended.",
        "puzzle": "Send, list and remove puzzles.",
        "prune": "Remove ended runs, and puzzles that no run needs.",
    },
    "Solution pool": {"pool": "List, check, export and import solutions."},
    "Operate": {
        "doctor": "Check the fleet, and say what to do about each problem.",
        "service": "Install services: workers, Flower, sweeps.",
        "flower": "Start Flower in the foreground, behind a login.",
        "sweep": "End overdue runs, and store solutions that wait.",
    },
}
"""Heading → command → what it does, short enough for 80 columns."""


class SectionedGroup(click.Group):
    """A group that lists its commands in those sections."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Writes the sections."""
        for heading, commands in SECTIONS.items():
            with formatter.section(heading):
                formatter.write_dl(list(commands.items()))
