"""Dozens of small runs through the whole canvas: none lost, none doubled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.support.fleet import Fleet, running_fleet, wait_for
from tests.support.puzzles import plant

RUNS = 30
STAGES = ("trace.s0.similarity", "trace.s0.assignment", "trace.s0.refinement", "comparison")


@pytest.fixture(scope="module")
def fleet(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with running_fleet(redis_url, tmp_path_factory.mktemp("fleet")) as fleet:
        yield fleet


def test_of_many_runs_none_is_lost_and_none_is_done_twice(fleet: Fleet) -> None:
    puzzle = plant(1, blocks=2, rows=50).puzzle
    runs = [fleet.enqueue(puzzle, ["trace"], run=f"many-{number}").run for number in range(RUNS)]
    for run in runs:
        wait_for(f"the end of {run}", lambda run=run: fleet.store.record(run, "end"), 600)
    for run in runs:
        fleet.wait_until_succeeded(f"{run}.comparison")
    done = Counter(event["uuid"] for event in fleet.events if event["type"] == "task-succeeded")
    for run in runs:
        assert [done[f"{run}.{stage}"] for stage in STAGES] == [1] * len(STAGES)
        assert fleet.store.part(run, "attempt", "refinement.trace.s0")["count"] == 1  # type: ignore[index]
        summary = fleet.store.record(run, "summary")
        assert summary is not None
        assert [(method["method"], method["ok"]) for method in summary["methods"]] == [("trace", True)]
    summaries = [fleet.store.record(run, "summary") or {} for run in runs]
    inserted = [row["id"] for summary in summaries for row in summary["pool"]["inserted"]]
    assert len(inserted) == len(set(inserted))
    assert summaries[0]["solved"]
