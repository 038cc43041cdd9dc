"""The command line. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import atexit
import gc
import json
import os
import signal
import sys
import time
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, NoReturn

import click

from pairing.errors import InputError, PairingError
from pairing.version import __version__
from tasks.commands.doctor import doctor
from tasks.commands.fleet import COMMANDS
from tasks.commands.help import SectionedGroup
from tasks.commands.options import ACTIVATION_HELP, EXIT_HELP, run_options
from tasks.commands.pool import pool_commands
from tasks.commands.service import SERVICE_COMMANDS


@click.group(
    cls=SectionedGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog=EXIT_HELP,
)
@click.version_option(__version__, prog_name="pairing")
@click.option(
    "--env-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="file of settings, a line NAME=VALUE each; variables of the environment take precedence",
)
def cli(env_file: Path | None) -> None:
    """Reassemble a residual network from its shuffled linear layers."""
    if env_file is not None:
        from tasks.client.environment import read_environment

        read_environment(env_file)


cli.add_command(pool_commands)


@cli.command(epilog=EXIT_HELP)
@click.argument("puzzle", type=click.Path(path_type=Path))
@run_options
@click.option("--pool", metavar="URL", help="pool database, without a password  [default: an SQLite file per puzzle]")
@click.option("--workers", type=click.IntRange(1, 256), help="worker processes  [default: the cores]")
@click.option("--inline", is_flag=True, help="run in one process, without a broker")
@click.option("--out", type=click.Path(path_type=Path), default="results", show_default=True, help="folder for results")
@click.option("--json", "as_json", is_flag=True, help="one JSON object on standard output")
@click.option("--report/--no-report", "with_report", default=None, help="draw the report  [default: unless --json]")
def solve(
    puzzle: Path,
    pool: str | None,
    workers: int | None,
    inline: bool,
    out: Path,
    as_json: bool,
    with_report: bool | None,
    **options: Any,
) -> None:
    """Solve PUZZLE on this machine: a folder in the published layout, or a packed puzzle.

    Starts a broker and workers of its own, compares the methods, stores winners in the pool, and leaves no process
    behind.
    """
    began = time.time()
    if sys.stderr.isatty():  # what is imported next takes a second
        click.echo(f"Reading {puzzle} …", err=True)
    from tasks.client.environment import checked_settings
    from tasks.embedded.fleet import embedded_fleet
    from tasks.pool.location import address_of

    with_report = not as_json if with_report is None else with_report
    address = address_of(checked_settings(), pool)
    environment = {"PAIRING_POOL_URL": address.url, "PAIRING_DATA_DIR": str(address.data_dir)}
    with nullcontext() if inline else embedded_fleet(workers or os.cpu_count() or 1, environment) as fleet:
        from tasks.commands.solve import solve_here  # it imports and reads while the fleet starts

        sys.exit(solve_here(puzzle, address, fleet, began, out, as_json, with_report, options))


@cli.command()
@click.argument("puzzle", type=click.Path(path_type=Path))
@click.argument("permutation")
@click.option("--target", default="pred", show_default=True, help="pred, true, or another column of the data")
@click.option("--target-hash", metavar="HEX", help="hash of the right solution  [default: the puzzle's own]")
@click.option("--activation", help=ACTIVATION_HELP)
@click.option("--json", "as_json", is_flag=True, help="one JSON object on standard output")
def verify(puzzle: Path, permutation: str, as_json: bool, **options: Any) -> None:
    """Compute MSE and hash of a PERMUTATION, and whether it solves PUZZLE.

    PERMUTATION is piece numbers joined by commas, or a file of them: plain text, a JSON list, or a run's summary.json.
    Ends with 0 if it solves the puzzle, with 6 if it does up to noise in the target, else with 1.
    """
    from tasks.client.solution_check import print_verdict, solution_from

    found, solution = solution_from(puzzle, permutation, **options)
    print_verdict(found, solution, as_json)
    sys.exit(0 if solution.solved else 1 if solution.noise is None else 6)


@cli.command()
@click.argument("puzzle", type=click.Path(path_type=Path))
@click.argument("solution")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--activation", help=ACTIVATION_HELP)
@click.option("--json", "as_json", is_flag=True, help="one JSON object on standard output")
def assemble(puzzle: Path, solution: str, out: Path, activation: str | None, as_json: bool) -> None:
    """Write the network that SOLUTION makes of PUZZLE to OUT (.pt, .pth: torch state dict; or .safetensors).

    SOLUTION is a permutation or a file that holds one, as for verify. The network is checked against the data.
    """
    from pairing.export import assemble as write_network
    from tasks.client.solution_check import solution_from

    found, right = solution_from(puzzle, solution, activation=activation)
    error = write_network(found, right.inp_sigma, right.out_sigma, out)
    if as_json:
        click.echo(json.dumps({"schema": 1, "network": str(out), "blocks": found.blocks, "full_mse": error}))
    else:
        click.echo(f"{out}: {found.blocks} blocks; its MSE against '{found.target}' is {error:.3g} over all samples")


@cli.command()
@click.argument("puzzle", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
def pack(puzzle: Path, out: Path) -> None:
    """Write PUZZLE as one safetensors file, OUT. Every command takes it in place of the folder, and reads it faster."""
    from pairing.io.packed import pack_puzzle
    from tasks.client.solution_check import read_puzzle
    from tasks.contracts.files import write_whole

    found = read_puzzle(puzzle)
    try:
        write_whole(out, pack_puzzle(found))
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror}); choose another place") from error
    click.echo(f"{out}: {found.blocks} blocks, {found.rows:,} samples, {found.digest}")


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="one JSON object on standard output")
def methods(as_json: bool) -> None:
    """List the pairing methods."""
    from pairing.signals.registry import methods as known

    if as_json:
        found = [{"name": method.name, "summary": method.summary} for method in known().values()]
        click.echo(json.dumps({"schema": 1, "methods": found}))
        return
    click.echo("Each scores every pair of an inp piece W_in and an out piece W_out; M is their product, W_out W_in.\n")
    width = max(map(len, known()))
    for method in known().values():
        click.echo(f"{method.name:<{width}}  {method.summary}")


@cli.command("make-puzzle")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--blocks", default=8, show_default=True, help="residual blocks")
@click.option("--width", type=int, help="inputs  [default: 16, or the table's]")
@click.option("--hidden", type=int, help="hidden units of a block  [default: twice the width]")
@click.option("--outputs", default=1, show_default=True, help="outputs of the last layer")
@click.option("--activation", default="relu", show_default=True, help="relu, gelu, silu, tanh, …")
@click.option("--rows", type=int, help="samples  [default: 2000, or all of the table's]")
@click.option(
    "--epochs", default=150, show_default=True, help="passes over the samples; 0 leaves the network untrained"
)
@click.option("--lr", default=0.01, show_default=True, help="learning rate of AdamW")
@click.option("--weight-decay", default=0.1, show_default=True, help="of AdamW")
@click.option("--batch-size", default=64, show_default=True, help="samples in a step of the training")
@click.option("--branch-scale", default=1.0, show_default=True, help="factor on the out layers' initial weights")
@click.option("--seed", default=0, show_default=True, help="of all random numbers")
@click.option(
    "--inputs",
    type=click.Choice(["normal", "signs"]),
    default="normal",
    show_default=True,
    help="distribution of synthetic inputs: standard normal, or +1 and -1 with a little noise",
)
@click.option("--table", metavar="NAME", help="train on a table of scikit-learn: digits, diabetes, wine, …")
def make_puzzle(out: Path, lr: float, **recipe: Any) -> None:
    """Train a network, take it apart, and write the puzzle to the folder OUT; the solution goes to a file beside it."""
    from pairing.synthetic.make import make_puzzle as make
    from pairing.synthetic.recipe import Recipe

    made = make(out, Recipe(learning_rate=lr, **recipe))
    click.echo(
        f"{made.folder}: {made.rows:,} samples, training MSE {made.training_error:.3g}; solution in {made.answer_path}"
    )


for command in (*COMMANDS, doctor, *SERVICE_COMMANDS):
    cli.add_command(command)

OBJECTS_BETWEEN_COLLECTIONS = 50_000
"""Instead of Python's 700: a tenth of a short command's time went into looking for garbage among what it imports."""


def run_command() -> NoReturn:
    """Entry point: ``main`` as a process, which ends after what Python does at its end and before C++ does its part.

    That part aborts about one in fifty processes that pyarrow refused a table in, with a thread of its still at work
    (apache/arrow#34314), and takes a tenth of a second where torch is loaded.
    """
    status: int | str | None = 0
    try:
        main()
    except SystemExit as end:
        status = end.code
    except BrokenPipeError:
        status = 1  # who reads the output has seen enough
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(BrokenPipeError):
            stream.flush()
    os._exit(status if isinstance(status, int) else 1)


def main() -> None:
    """The command in this process: errors become one clear message and a documented exit status."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")  # more threads than one are slower at these sizes
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # tidies up as any other end does
    try:
        cli(standalone_mode=False)
    except click.Abort:
        _end("interrupted", 130)
    except KeyboardInterrupt:
        _end("interrupted", 130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except PairingError as error:
        _end(str(error), error.exit_status)


def _end(message: str, status: int) -> None:
    click.echo(f"{click.style('pairing:', fg='red', bold=True)} {message}", err=True)  # plain where it is no terminal
    sys.exit(status)
