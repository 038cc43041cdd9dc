"""Refinements that crash, hang or take too much memory, every time."""

from __future__ import annotations

import random
import time
from pathlib import Path

from tasks.runs.attempts import MOST_ATTEMPTS
from tests.faults.scenario import Found, Scenario, Size
from tests.faults.site import METHODS, open_site
from tests.faults.undisturbed import undisturbed

_POISON = """\
import third_party_methods
import tasks.runs.stages

sound = tasks.runs.stages.refine
poison = {1: third_party_methods.crashes, 2: third_party_methods.hangs, 3: third_party_methods.takes_memory}

def refine(puzzle, *arguments, seed, **options):
    if seed in poison:
        poison[seed](puzzle)
    return sound(puzzle, *arguments, seed=seed, **options)

tasks.runs.stages.refine = refine
"""
"""A module of a worker: refinements with the seeds 1 to 3 are poison."""

METHOD = METHODS[0]
POISONED = {1: "attempts were lost without progress", 2: "attempts were lost without progress", 3: "MemoryError"}


def poisoned(folder: Path, size: Size, rng: random.Random) -> Found:
    """Of four refinements one is sound, one crashes, one hangs in C code and one takes too much memory."""
    limits = {"PAIRING_STALL_SECONDS": str(size.outage), "PAIRING_WORKER_MEMORY_BYTES": str(2**30)}
    with open_site(folder, **limits) as site:
        (folder / "third-party" / "poison.py").write_text(_POISON)
        for _ in range(size.workers):
            site.start_worker("--include", "poison", processes=size.processes)
        began = time.monotonic()
        run = site.enqueue(size.evaluations, seeds=4, methods=[METHOD]).run
        ended = site.wait_for_end(run)
        took = time.monotonic() - began
        assert ended["end"] == "succeeded", ended
        failed = site.store.parts(run, "failure")
        assert sorted(failed) == [f"{METHOD}.s{seed}" for seed in POISONED]
        for part, failure in failed.items():
            assert POISONED[int(part[-1])] in failure["error"], failure
        attempts = site.store.parts(run, "attempt")
        counts = [attempts[f"refinement.{METHOD}.s{seed}"]["count"] for seed in POISONED]
        assert counts == [MOST_ATTEMPTS] * 3
        sound = f"{METHOD}.s0"
        assert site.solutions(run) == {sound: undisturbed(size.evaluations)[sound]}
        logs = "".join(worker.log.read_text() for worker in site.workers)
        assert "third_party_methods.py" in logs  # where it hung
        said = failed[f"{METHOD}.s3"]["error"]
        return Found(times=len(failed), runs=1, recovery=[took], said=said)


SCENARIOS = (
    Scenario(
        name="poison",
        what="refinements that crash, hang in C code or take too much memory, every time",
        holds="three attempts each, then they have failed and the rest is compared",
        work=poisoned,
        full=Size(outage=30.0, processes=2),
        short=Size(outage=6.0, processes=2, workers=1),  # nothing but the guard moves what hangs
    ),
)
