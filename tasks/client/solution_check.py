"""Check one solution of a puzzle: read it, and say what it is worth."""

from __future__ import annotations

import json
import re
from pathlib import Path

from pairing.errors import InputError
from pairing.io.load import load_puzzle, parse_hash
from pairing.model.activations import AUTO, checked_activation
from pairing.model.network import Network, pairs_of
from pairing.model.puzzle import Puzzle
from pairing.solution import Solution, sigmas_of, solution_of
from tasks.runs.outcome import FEWEST_BY_CHANCE

JUDGED_SECONDS = 10.0
"""How long a solution is compared with its neighbors, and its MSE with noise."""


def read_puzzle(
    path: Path, target: str | None = None, target_hash: str | None = None, activation: str | None = None
) -> Puzzle:
    """The puzzle with a command's options applied; everything about it is valid.

    Raises:
        InputError: a file or an option is wrong.
    """
    if target_hash is not None:
        target_hash = parse_hash(target_hash, "--target-hash")
    puzzle = load_puzzle(path).with_options(target=target, target_hash=target_hash, activation=activation)
    checked_activation(puzzle.activation)
    try:
        puzzle.target_values  # noqa: B018 - raises if the data has no such column
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return puzzle


def solution_from(path: Path, text: str, **options: str | None) -> tuple[Puzzle, Solution]:
    """The puzzle, and what a permutation is worth on all its rows.

    An activation that is ``auto`` becomes the one with which the permutation's error is least.

    Raises:
        InputError: the puzzle, an option or the permutation is wrong.
    """
    permutation = read_permutation(text)
    puzzle = read_puzzle(path, **options)
    inp_sigma, out_sigma = sigmas_of(puzzle, permutation)
    if puzzle.activation == AUTO:
        from pairing.analysis.activation_choice import activation_of_answer

        puzzle = puzzle.with_options(activation=activation_of_answer(puzzle, inp_sigma, out_sigma))
    full_mse = Network(puzzle, pairs_of(inp_sigma, out_sigma)).full_mse(inp_sigma)
    from pairing.analysis.judgement import judged  # compiles, which those who only read a puzzle need not wait for

    return puzzle, judged(puzzle, solution_of(puzzle, inp_sigma, out_sigma, full_mse), JUDGED_SECONDS)


def read_permutation(text: str) -> list[int]:
    """Piece numbers from ``3,17,…``, or from a file: them, a JSON list, a synthetic puzzle's solution, a run's summary.

    Raises:
        InputError: there is no list of numbers in it.
    """
    source = "PERMUTATION"
    if not re.fullmatch(r"[\d\s,\[\]]+", text):
        source = text
        try:
            text = Path(text).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{text}: is neither a list of piece numbers nor a readable file with one") from error
    if text.lstrip().startswith("{"):
        try:
            record = json.loads(text)
            numbers = record.get("permutation") or (record.get("best") or {})["permutation"]
            if not all(type(number) is int for number in numbers):
                raise TypeError
            return list(numbers)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(f"{source}: holds no 'permutation' of piece numbers") from error
    words = re.sub(r"[\[\],]", " ", text).split()
    if not words or not all(word.isascii() and word.isdigit() for word in words):
        raise InputError(f"{source}: should be piece numbers joined by commas")
    return [int(word) for word in words]


def print_verdict(puzzle: Puzzle, solution: Solution, as_json: bool) -> None:
    """Error, hash and verdict on standard output."""
    import click

    record = {
        "schema": 1,
        "puzzle": puzzle.digest,
        "rows": puzzle.rows,
        "full_mse": solution.full_mse if solution.full_mse < float("inf") else None,
        "hash": solution.hash,
        "hash_match": solution.hash_match,
        "solved": solution.solved,
        "noise": solution.noise,
        "as_good": solution.as_good,
        "by_chance": solution.by_chance,
    }
    if as_json:
        click.echo(json.dumps(record))
        return
    match = {True: "matches the target hash", False: "is not the target hash", None: "no target hash is known"}
    click.echo(f"MSE: {solution.full_mse:.3g} over {puzzle.rows:,} samples (solved: at most {puzzle.solved_mse:.3g})")
    click.echo(f"Hash: {solution.hash} ({match[solution.hash_match]})")
    if solution.as_good:
        click.echo(
            f"Equally good: {solution.as_good:,} of the solutions that differ by one exchange of pieces or blocks"
        )
    if solution.by_chance is not None and solution.by_chance >= FEWEST_BY_CHANCE:
        click.echo(f"By chance: about {solution.by_chance:.2g} other orders fit as well (the target has few values)")
    if solution.noise is not None:
        click.echo(f"Solved up to noise: the MSE is consistent with noise of σ = {solution.noise:.3g} in the target.")
    else:
        click.echo("Solved." if solution.solved else "Not solved.")
