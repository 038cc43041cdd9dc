"""The options of every command that starts a run, and what every such command's exit status means."""

from __future__ import annotations

from typing import Any

import click

EXIT_HELP = """Exit status: 0 solved; 1 finished, not solved; 2 the call or the input is wrong; 3 broker unreachable, or
a winner could neither be stored nor spooled; 4 cancelled or out of time; 5 every method failed; 6 solved up to noise in
the target; 130 interrupted."""


ACTIVATION_HELP = (
    "relu, gelu, silu, tanh, …, or auto: whichever has the smallest MSE  [default: the puzzle's own, else relu]"
)


def run_options(command: Any) -> Any:
    """The options of every command that starts a run."""
    options = [
        click.option(
            "--methods",
            default="all",
            show_default=True,
            help="comma-separated names (pairing methods lists them), or all",
        ),
        click.option("--seeds", default=1, show_default=True, help="refinements per method"),
        click.option("--first-seed", default=0, show_default=True, help="first of the consecutive seeds"),
        click.option(
            "--annealer",
            type=click.Choice(["surrogate", "classic"]),
            default="surrogate",
            show_default=True,
            help="the search; classic is that of an earlier version",
        ),
        click.option(
            "--start",
            type=click.Choice(["auto", "pool", "greedy", "norm", "delta", "random"]),
            default="auto",
            show_default=True,
            help="initial order; auto: the best of greedy, norm and (without --compare) the pool best's",
        ),
        click.option(
            "--diversity",
            type=click.IntRange(0, 10_000),
            default=0,
            show_default=True,
            help="random moves that are applied to the pool best's order before seeds after the first start from it",
        ),
        click.option("--budget", default=60.0, show_default=True, help="seconds that each refinement may take"),
        click.option("--deadline", default=300.0, show_default=True, help="seconds that the whole run may take"),
        click.option(
            "--stop-when-solved/--no-stop-when-solved",
            default=True,
            show_default=True,
            help="end the other methods when one solves the puzzle",
        ),
        click.option(
            "--compare", is_flag=True, help="give all methods the same number of evaluations, and interrupt none"
        ),
        click.option(
            "--evaluations",
            type=int,
            help="block orders that each refinement may evaluate  [default: 600 with --compare]",
        ),
        click.option(
            "--insert",
            type=click.Choice(["best", "each"]),
            default="best",
            show_default=True,
            help="store the run's best solution, or each method's, if better than the pool's best",
        ),
        click.option(
            "--repair/--no-repair", default=True, show_default=True, help="exchange pieces that a method paired wrongly"
        ),
        click.option("--target", default="pred", show_default=True, help="pred, true, or another column of the data"),
        click.option("--target-hash", metavar="HEX", help="hash of the right solution  [default: the puzzle's own]"),
        click.option("--activation", help=ACTIVATION_HELP),
        click.option("--note", default="", metavar="TEXT", help="a text to keep with the results"),
        click.option("--run", metavar="ID", help="the run's id  [default: generated]"),
    ]
    for option in reversed(options):
        command = option(command)
    return command
