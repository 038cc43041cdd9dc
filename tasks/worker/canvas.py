"""The canvas of a run, and nothing else.

A flat chord: for every method and seed the chain similarity → assignment → refinement, then the comparison. The ids of
tasks and of the chord are made of the run's id, so that Flower can be read and publishing again is harmless: Celery
counts a part once, whichever of its messages was worked on. Seeds multiply whole chains: a chord inside a chord's
header would hang on Redis when a part of it fails.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from celery import Celery, chain, chord
from celery.canvas import Signature

from tasks.contracts.run_request import RUN_ID, Request
from tasks.store.run_store import part_name

_TASK_ID = re.compile(rf"(?P<run>{RUN_ID})\.(?P<part>.+\.s\d+)\.(?P<stage>[a-z]+)")


def part_of(task_id: str) -> tuple[str, str, str] | None:
    """The run, part (``<method>.s<seed>``) and stage of a task of a canvas by its id; ``None`` for any other task."""
    match = _TASK_ID.fullmatch(task_id)
    return None if match is None else (match["run"], match["part"], match["stage"])


def publish(app: Celery, request: Request, parts: Sequence[tuple[str, int]] | None = None, tries: int = 0) -> None:
    """Publishes the run's canvas; call it from within ``pairing.run``, so that every task's root is the run.

    Of a run that is tried again (for the ``tries``-th time) only these parts are done, perhaps none.
    """
    run = request.run

    def task(name: str, *args: object, suffix: str) -> Signature:
        priority = request.message_priority("perhaps" if name == "refinement" else None)
        options = {"task_id": f"{run}.{suffix}", "priority": priority}
        return app.signature(f"pairing.{name}", args=(run, *args), immutable=True, **options)

    def stages(method: str, seed: int) -> Signature:
        part = part_name(method, seed)
        return chain(
            task("similarity", method, seed, suffix=f"{part}.similarity"),
            task("assignment", method, seed, suffix=f"{part}.assignment"),
            task("refinement", method, seed, suffix=f"{part}.refinement"),
            app=app,
        )

    tried = (tries,) if tries else ()  # workers of older versions know nothing of it
    body = task("comparison", *tried, suffix="comparison")
    # A part that dies hard keeps the body from running; then the comparison comes from the body's errback.
    body.on_error(task("comparison", *tried, suffix="comparison-of-the-rest"))
    header = [stages(*part) for part in (request.parts if parts is None else parts)]
    if header:
        # The chord's own option: one that is set on its group is lost, and each publication would count for itself.
        chord_id = ".".join([run, "parts", *map(str, tried)])
        chord(header, body, app=app, task_id=chord_id).apply_async(task_id=body.id)
    else:
        body.apply_async()
