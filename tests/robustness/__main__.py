"""Makes odd puzzles and checks what is reported of each; exit status 1 where anything is wrong."""

from __future__ import annotations

import sys
import time
import traceback

import click

TESTED = 1_000
"""The first seed that ``make test`` never takes."""


@click.command()
@click.option("--count", default=2_000, show_default=True, help="how many puzzles")
@click.option("--first-seed", type=int, help="the first puzzle's seed  [default: another every day]")
def main(count: int, first_seed: int | None) -> None:
    """Make valid puzzles of every odd kind, solve them, and check that all that is reported is true."""
    from tests.robustness.checks import check, compile_loops
    from tests.robustness.puzzles import description, odd_puzzle

    first = TESTED + int(time.time() // 86_400) * 100_000 if first_seed is None else first_seed
    compile_loops()
    wrong, began = 0, time.monotonic()
    for seed in range(first, first + count):
        try:
            check(seed)
        except Exception:  # whatever a puzzle does, the others are tried too
            wrong += 1
            print(
                f"seed {seed} ({description(odd_puzzle(seed)[0].puzzle)}):\n{traceback.format_exc(limit=-3)}",
                flush=True,
            )
    print(f"{count:,} puzzles from seed {first}: {wrong} wrong, {time.monotonic() - began:.0f} s")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
