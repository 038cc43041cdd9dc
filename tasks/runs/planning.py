"""The first stage of a run: its puzzle, its activation where nobody says it, and what the pool holds already."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

from pairing.analysis.activation_choice import with_activation
from pairing.errors import InputError
from pairing.io.packed import pack_puzzle
from pairing.model.activations import checked_activation
from pairing.model.puzzle import Puzzle
from pairing.signals.registry import choose_methods
from tasks.contracts.errors import PoolError
from tasks.contracts.run_request import MOST_PARTS, Request, request_of
from tasks.pool.best import Recomputed
from tasks.pool.location import PoolAddress, opened
from tasks.puzzles.bundles import PACKED, ship
from tasks.puzzles.resolver import Puzzles, remember
from tasks.runs.protocol_version import PROTOCOL
from tasks.store.run_store import Store

logger = logging.getLogger(__name__)

POOL_PART = 0.1
"""Of a run's time, for taking the errors of the pool's rows again."""

MOST_MATRIX_BYTES = 256 * 2**20
"""Of a run's similarity matrices, which are kept as one value: Redis takes 512 MiB."""


def accept(store: Store, puzzles: Puzzles, request: Request) -> Request:
    """Validates what a caller asks for, and keeps the puzzle packed, with the run's options, for all other stages.

    Other workers do without the caller's files then. Gives the request as it is worked on: methods one by
    one. A run that was accepted before stays as it was.

    Raises:
        InputError: the puzzle or an argument is wrong, or the store has not got the puzzle.
        PairingError: the puzzle cannot be kept.
    """
    accepted = store.record(request.run, "request")
    if accepted is not None:
        return request_of(accepted)
    puzzle = puzzles.named(store.backend, request.puzzle).with_options(
        target=request.target,
        target_hash=request.target_hash and request.target_hash.lower(),
        activation=request.activation,
    )
    checked_activation(puzzle.activation)
    puzzle.target_values  # noqa: B018 - raises if the data has no such column
    check_size(puzzle.blocks, choose_methods(",".join(request.methods)))
    puzzle = with_activation(puzzle, (request.deadline_at - time.time()) / 2)
    bundle = ship(store.backend, {PACKED: pack_puzzle(puzzle)}, puzzle.name, lifetime=store.lifetime(request.run))
    remember(bundle, puzzle)
    return keep(store, request, bundle)


def check_size(blocks: int, methods: Sequence[str]) -> None:
    """Whether a run's matrices fit into a value of the store.

    Raises:
        InputError: they do not.
    """
    needed = 8 * blocks**2 * len(methods)
    if needed > MOST_MATRIX_BYTES:
        most = MOST_MATRIX_BYTES // (8 * blocks**2)
        raise InputError(
            f"the similarity matrices of {len(methods)} methods for {blocks:,} blocks take {needed / 2**20:,.0f} MiB,"
            f" more than the {MOST_MATRIX_BYTES / 2**20:,.0f} that the broker keeps as one value; "
            + (
                f"name at most {most} methods a run (--methods)"
                if most
                else "solve it on one machine (pairing solve --inline)"
            )
        )


def keep(store: Store, request: Request, bundle: str) -> Request:
    """Keeps the request of a run whose puzzle is known as ``bundle``.

    Raises:
        InputError: a method is unknown, or there are too many parts.
    """
    methods = choose_methods(",".join(request.methods))
    planned = request.model_copy(update={"methods": methods, "puzzle": bundle})
    parts = len(methods) * request.seeds
    if parts > MOST_PARTS:
        raise InputError(
            f"the run would have {parts:,} refinements, more than {MOST_PARTS:,}; enqueue several with fewer seeds or"
            " methods each (--first-seed)"
        )
    store.put_record(request.run, "request", {**planned.model_dump(), "protocol": PROTOCOL})
    return planned


def plan(store: Store, address: PoolAddress, request: Request, puzzle: Puzzle) -> None:
    """Reads the pool best, recomputes its error and keeps it with the run, so that no other stage needs the database.

    A pool that cannot be read costs the run its comparison with it, and nothing else. A run that was planned before
    keeps its plan: by now its own winners may stand in the pool.
    """
    if store.record(request.run, "plan") is not None:
        return
    record: dict[str, Any] = {"pool_best": None, "pool_error": None, "puzzle": puzzle.digest}
    try:
        with opened(address, address.url_for(puzzle)) as pool:
            rows = pool.candidates(puzzle.blocks, puzzle.digest)
            record["pool_best"] = Recomputed(puzzle).best(rows, POOL_PART * (request.deadline_at - time.time()))
    except PoolError as error:
        record["pool_error"] = str(error)
        logger.warning("planned without the pool: %s", error)
    store.put_record(request.run, "plan", record)
    logger.info("planned: %d blocks, %d refinements", puzzle.blocks, len(request.parts))
