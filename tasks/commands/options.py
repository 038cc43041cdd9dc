"""The options of every command that starts a run, and what every such command's exit status means."""

from __future__ import annotations

from typing import Any

import click

EXIT_HELP = """Exit status: 0 solved; 1 finished, not solved; 2 the call or the input is wrong; 3 broker unreachable, or
a winner could neither be stored nor spooled; 4 cancelled or out of time; 5 every method failed; 6 solved up to noise in
the target; 130 interrupted."""


ACTIVATION_HELP = "relu, gelu, silu, tanh, …, or auto: that with the least MSE  [default: the puzzle's own, else relu]"


def run_options(command: Any) -> Any:
    """The options of every command that starts a run."""
    options = [
        click.option("--methods", default="all", show_default=True, help="comma-separated methods, or all"),
        click.option("--seeds", default=1, show_default=True, help="refinements per method"),
        click.option("--first-seed", default=0, show_default=True, help="the first of their seeds"),
        click.option("--annealer", type=click.Choice(["surrogate", "classic"]), default="surrogate", show_default=True),
        click.option(
            "--start",
            type=click.Choice(["auto", "pool", "greedy", "norm", "delta", "random"]),
            default="auto",
            show_default=True,
            help="initial order; auto: that with the least MSE: the pool best's (not with --compare), greedy or norm",
        ),
        click.option(
            "--diversity",
            type=click.IntRange(0, 10_000),
            default=0,
            show_default=True,
            help="moves of a block by which later seeds start apart from the pool's order",
        ),
        click.option("--budget", default=60.0, show_default=True, help="seconds that each refinement may take"),
        click.option("--deadline", default=300.0, show_default=True, help="seconds that the whole run may take"),
        click.option(
            "--stop-when-solved/--no-stop-when-solved",
            default=True,
            show_default=True,
            help="whether a solved method ends the others",
        ),
        click.option("--compare", is_flag=True, help="give all methods the same evaluations, stop nobody early"),
        click.option(
            "--evaluations", type=int, help="evaluations that each refinement gets  [default: 600 with --compare]"
        ),
        click.option(
            "--insert",
            type=click.Choice(["best", "each"]),
            default="best",
            show_default=True,
            help="what goes into the pool: what beats its best, or each method's that beats the best before the run",
        ),
        click.option(
            "--repair/--no-repair",
            default=True,
            show_default=True,
            help="whether refinements exchange pairs that a method got wrong",
        ),
        click.option("--target", default="pred", show_default=True, help="pred, true, or another column of the data"),
        click.option("--target-hash", metavar="HEX", help="hash of the right solution  [default: the puzzle's own]"),
        click.option("--activation", help=ACTIVATION_HELP),
        click.option("--note", default="", metavar="TEXT", help="kept with the results"),
        click.option("--run", metavar="ID", help="the run's id  [default: generated]"),
    ]
    for option in reversed(options):
        command = option(command)
    return command
