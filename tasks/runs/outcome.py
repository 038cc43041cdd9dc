"""What a finished run means to whoever waited for it."""

from __future__ import annotations

from typing import Any

from tasks.runs.lifecycle import End
from tasks.store.run_store import Store, part_name

LISTED = 5
"""Undecidable exchanges of a kind that are named to people; the summary has them all."""

FEWEST_BY_CHANCE = 0.01
"""Orders that fit by chance, as far as can be expected, from which on people are told."""

EXCHANGED = {"blocks": "blocks", "inp": "inp pieces", "out": "out pieces"}

INTERRUPTED = "interrupted"
NOT_BEGUN = "not begun"


def stopped_early(stopped: str) -> bool:
    """Whether a refinement may have ended before it had its due; its error ranks behind the others'."""
    return stopped in ("solved_elsewhere", "cancelled")


def way_of_ending(stopped: str) -> str:
    """What people read of a refinement's end."""
    return INTERRUPTED if stopped_early(stopped) else stopped


def end_of_refinement(stopped: str, evaluations: int | None, mse: float | None) -> str:
    """What people read of the end of a refinement with so many evaluations, whether or not it began."""
    begun = evaluations or mse is not None or stopped == "failed"
    return way_of_ending(stopped) if begun else NOT_BEGUN


def result_of_stage(store: Store, run: str, method: str, seed: int, done: str) -> dict[str, Any]:
    """What a task for a part of a run gives as its Celery result: ``{"status": …}``, and ``error`` where it failed."""
    failures = store.parts(run, "failure")
    failure = failures.get(method) or failures.get(part_name(method, seed))
    if failure is not None:
        return {"status": "failed", "error": failure["error"]}
    if store.announced(run) == "cancelled" or store.record(run, "end") is not None:
        return {"status": INTERRUPTED}
    return {"status": done}


def result_of_refinement(store: Store, run: str, method: str, seed: int) -> dict[str, Any]:
    """What a refinement's task gives as its Celery result: ``{"MSE", "status"}``, the MSE null where there is none."""
    refined = store.parts(run, "refinement").get(part_name(method, seed))  # one that is spoilt is a failure by now
    if refined is None:
        return {"MSE": None, **result_of_stage(store, run, method, seed, NOT_BEGUN)}
    mse = refined["solution"]["full_mse"]
    return {"MSE": mse, "status": end_of_refinement(refined["stopped"], refined["evaluations"], mse)}


def exit_status(summary: dict[str, Any], outcome: dict[str, Any]) -> int:
    """The documented exit status of a command that waited for this run."""
    if outcome["lost_winner"]:
        return 3
    if summary["solved"]:
        return 0
    if summary.get("noise") is not None:  # summaries of older versions say nothing of it
        return 6
    if outcome["cancelled"] or outcome["timed_out"]:  # also where nothing was finished by then
        return 4
    return 1 if any(method["ok"] for method in summary["methods"]) else 5


def end_of(summary: dict[str, Any], outcome: dict[str, Any]) -> End:
    """How a run that was compared has ended."""
    if outcome["cancelled"]:
        return "cancelled"
    if outcome["timed_out"] and not summary["solved"] and summary.get("noise") is None:
        return "timed_out"
    lost = outcome["lost_winner"] or not any(method["ok"] for method in summary["methods"])
    return "failed" if lost else "succeeded"


def notes(summary: dict[str, Any], outcome: dict[str, Any]) -> list[str]:
    """What people should know beside the result, a sentence each."""
    found = _doubts(summary)
    given = list(dict.fromkeys(method["method"] for method in summary["methods"] if method.get("start") == "pool"))
    if given:
        found.append(f"Started from a stored solution, the pool best's order: {', '.join(given)}.")
    if outcome["lost_winner"]:
        found.append(f"A WINNER IS NOT STORED: {outcome['lost_winner']}")
    elif outcome["pool_error"]:
        found.append(f"The pool could not be used: {outcome['pool_error']}")
        if summary["pool"]["stored_later"]:
            found.append(
                "Winners wait in the spool (PAIRING_DATA_DIR) of the host that compared them; workers there, the next"
                " run there or `pairing pool flush` store them when this pool is back."
            )
        else:
            found.append("No winner of this run waits for it.")
    if outcome.get("unrecorded"):  # workers of an older version say nothing of it
        found.append(
            "The pool has the winners, but no record of where they came from, which stays with this run's results:"
            " this user has no right to Pairing's own tables. `pairing pool init` says what to do."
        )
    if outcome["timed_out"]:
        found.append("The run was ended by its deadline; --deadline sets a longer one.")
    return found


def _doubts(summary: dict[str, Any]) -> list[str]:
    """What the data leaves open."""
    found = []
    undecidable = summary["undecidable"] or {}
    for kind, pieces in EXCHANGED.items():
        if pairs := undecidable.get(kind, []):
            some = ", ".join(f"{first + 1} and {second + 1}" for first, second in pairs[:LISTED])
            more = f" and {len(pairs) - LISTED} pairs more" if len(pairs) > LISTED else ""
            found.append(
                f"Non-identifiable: exchanging the {pieces} at positions {some}{more} changes the MSE by"
                " no more than rounding or noise."
            )
    if neighbours := undecidable.get("neighbours"):
        as_good = sum(len(undecidable[kind]) for kind in EXCHANGED)
        if as_good:
            found.append(f"{as_good:,} of the {neighbours:,} solutions that differ by one exchange are equally good.")
    if (by_chance := undecidable.get("by_chance", 0)) >= FEWEST_BY_CHANCE:
        found.append(
            f"The target has few values: about {by_chance:.2g} other orders of these blocks fit as well by chance."
        )
    if summary.get("noise") is not None:
        found.append(
            f"The MSE is consistent with noise of σ = {summary['noise']:.3g} in the target: the residual does not"
            " depend on the network, and no exchange lowers the MSE."
        )
    elif summary["best"] and not summary["solved"] and summary["best"]["hash_match"] is None:
        found.append(
            "The MSE is larger than rounding: some pairs or positions are wrong; or the target is not the network's own"
            " output, and then the order with the least MSE need not be the right one."
        )
    return found
