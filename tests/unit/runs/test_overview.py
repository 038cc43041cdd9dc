"""What lists and pages say of a run, by what stands in the store."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.contracts.run_request import request_of
from tasks.runs.facts import MethodFacts, RunFacts, differences, facts_of
from tasks.runs.lifecycle import finish, register, run_entries_of
from tasks.runs.outcome import result_of_refinement, result_of_stage
from tasks.runs.overview import overview, puzzle_label, shown_age
from tasks.store.memory import Memory
from tasks.store.run_store import Store

TOLD = {"stage": "refinement", "best_error": 0.5, "evaluations": 3, "steps": 2, "seconds_left": 9.0}
REFINED: dict[str, Any] = {
    "solution": {"inp_sigma": [0], "out_sigma": [0], "full_mse": 0.25},
    **{"annealer": "surrogate", "start": "greedy", "start_mse": 1.0, "evaluations": 4, "repaired_pairs": 0},
    **{"stopped": "budget", "cut_by_deadline": False, "seconds": 1.0, "verification_seconds": 0.0, "host": "there"},
}
DIGEST = f"sha256:{'0123456789abcdef' * 4}"


@pytest.fixture
def store() -> Store:
    """One that knows a planned run ``one`` of two methods and two seeds."""
    found, asked = Store(Memory()), request_of({"run": "one", "puzzle": DIGEST, "methods": ["a", "b.s1"], "seeds": 2})
    register(found, asked)
    found.put_record("one", "request", asked.model_dump())
    found.put_record("one", "plan", {"pool_best": None, "pool_error": None, "puzzle": DIGEST})
    return found


def about(store: Store) -> dict[str, Any]:
    (entry,) = overview(store, run_entries_of(store, 10))
    return entry


def test_a_run_that_is_not_planned_has_no_number_of_parts() -> None:
    store = Store(Memory())
    register(store, request_of({"run": "one", "puzzle": DIGEST}))
    assert (about(store)["parts"], about(store)["parts_ended"], about(store)["best_mse"]) == (None, None, None)
    assert puzzle_label(about(store)) == "0123456789ab"


def test_parts_count_as_ended_once_however_they_ended(store: Store) -> None:
    assert (about(store)["parts"], about(store)["parts_ended"]) == (4, 0)
    store.put_part("one", "progress", "a.s0", TOLD)
    store.put_part("one", "progress", "a.s1", {**TOLD, "ended": True, "best_error": 0.125})
    store.put_part("one", "failure", "b.s1", {"error": "as told"})
    found = about(store)
    assert (found["parts_ended"], found["best_mse"], found["best_method"]) == (3, 0.125, "a")
    store.put_part("one", "failure", "a.s1", {"error": "also"})
    assert about(store)["parts_ended"] == 3


def test_an_ended_run_says_what_it_found_and_an_older_versions_says_nothing(store: Store) -> None:
    found = {"best_mse": 0.5, "best_method": "a", "solved": True, "parts": 4, "parts_ended": 3}
    finish(store, "one", "succeeded", found=found)
    assert {name: about(store)[name] for name in found} == found
    register(store, request_of({"run": "two", "puzzle": DIGEST}))
    finish(store, "two", "failed", "as told")
    older = next(entry for entry in overview(store, run_entries_of(store, 10)) if entry["run"] == "two")
    assert (older["best_mse"], older["solved"], older["parts"]) == (None, False, None)


def test_facts_have_every_part_the_best_first(store: Store) -> None:
    store.put_part("one", "assignment", "a", {"pairs": [0]})  # unsound, and so not there
    store.put_part("one", "progress", "a.s0", TOLD)
    store.put_part("one", "refinement", "a.s1", REFINED)
    store.put_part("one", "failure", "b.s1", {"error": "as told"})
    store.put_part("one", "attempt", "refinement.a.s0", {"count": 1, "progress": 0, "owner": "here:1:ab"})
    facts = facts_of(store, "one")
    assert facts is not None
    assert [(m.method, m.seed, m.status, m.mse) for m in facts.methods] == [
        ("a", 1, "budget", 0.25),
        ("a", 0, "refinement", 0.5),
        ("b.s1", 0, "failed", None),
        ("b.s1", 1, "failed", None),
    ]
    assert facts.hosts == ["here", "there"]
    assert facts.is_open
    assert facts_of(store, "another") is None
    assert RunFacts.model_validate_json(facts.model_dump_json()) == facts


def test_a_refinement_that_needed_no_evaluation_was_begun_if_it_has_an_mse(store: Store) -> None:
    nothing = {**REFINED, "evaluations": 0, "solution": {**REFINED["solution"], "full_mse": None}}
    store.put_part("one", "refinement", "a.s0", {**REFINED, "evaluations": 0, "stopped": "solved"})
    store.put_part("one", "refinement", "a.s1", {**nothing, "stopped": "solved_elsewhere"})
    facts = facts_of(store, "one")
    assert facts is not None
    found = {(method.method, method.seed): method.status for method in facts.methods}
    assert (found["a", 0], found["a", 1]) == ("solved", "not begun")


def test_runs_differ_in_what_is_not_the_same() -> None:
    one = RunFacts(run="one", state="succeeded", enqueued_at=1.0, asked={"methods": ["a"], "seeds": 2})
    other = one.model_copy(update={"run": "two", "asked": {"methods": ["b"], "seeds": 2, "note": ""}})
    assert {title: rows for title, rows in differences(one, other).items() if rows} == {
        "Arguments": [("methods", ["a"], ["b"])]
    }
    searched = other.model_copy(update={"methods": [MethodFacts(method="b", seed=0, status="solved", mse=0.5)]})
    assert differences(one, searched)["Methods"] == [("b, seed 0", None, "solved, MSE 0.5")]


def test_a_task_says_its_mse_and_how_it_ended(store: Store) -> None:
    assert result_of_refinement(store, "one", "a", 1) == {"MSE": None, "status": "not begun"}
    store.put_part("one", "refinement", "a.s1", REFINED)
    assert result_of_refinement(store, "one", "a", 1) == {"MSE": 0.25, "status": "budget"}
    overflow = {**REFINED, "solution": {**REFINED["solution"], "full_mse": None}, "stopped": "solved_elsewhere"}
    store.put_part("one", "refinement", "a.s0", overflow)
    assert result_of_refinement(store, "one", "a", 0) == {"MSE": None, "status": "interrupted"}
    assert result_of_stage(store, "one", "a", 0, "computed") == {"status": "computed"}
    store.put_part("one", "failure", "b.s1", {"error": "as told"})
    assert result_of_refinement(store, "one", "b.s1", 1) == {"MSE": None, "status": "failed", "error": "as told"}
    store.announce("one", "cancelled")
    assert result_of_stage(store, "one", "a", 0, "computed") == {"status": "interrupted"}


@pytest.mark.parametrize(
    ("seconds", "shown"), [(-3.0, "0 s"), (59.0, "59 s"), (60.0, "1 min"), (7200.0, "2 h"), (200_000.0, "2 d")]
)
def test_ages_have_their_largest_unit(seconds: float, shown: str) -> None:
    assert shown_age(seconds) == shown
