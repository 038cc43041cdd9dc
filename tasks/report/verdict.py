"""What came out of a run, in words, and which of its methods solved it, finished, were interrupted or failed."""

from __future__ import annotations

from tasks.report.run_data import Findings, Method, Summary
from tasks.runs.outcome import stopped_early

GROUPS = ("Solved", "Finished", "Interrupted", "Failed")
RANKED = GROUPS[:2]
"""Whose refinements ran to their end."""
SAME = 2.0
"""By what factor rounding may part one solution's MSEs on two hosts, or those of two equally good orders."""
ROUNDING = 1e-6
"""An MSE that fell to this part of the initial one is taken to have come down to rounding."""


def group_of(method: Method, found: Findings) -> str:
    """One of ``GROUPS``; a method has solved the puzzle if its result is the solution."""
    summary, best = found.summary, found.summary.best
    if not method.ok:
        return "Failed"
    if stopped_early(method.stopped or ""):
        return "Interrupted"
    if not summary.solved or best is None:
        return "Finished"
    course = found.courses.get(method.part)
    same = course is not None and course.orders[-1] == best.inp_sigma
    as_good = method.full_mse is not None and method.full_mse <= SAME * best.full_mse
    itself = (method.method, method.seed) == (best.method, best.seed)
    return "Solved" if itself or method.stopped == "solved" or (same and as_good) else "Finished"


def grouped(found: Findings) -> dict[str, list[Method]]:
    """The methods of every group that has any, each as the summary ranks them, without those that never began."""
    groups: dict[str, list[Method]] = {name: [] for name in GROUPS}
    for method in found.summary.methods:
        if not has_not_begun(method):
            groups[group_of(method, found)].append(method)
    return {name: methods for name, methods in groups.items() if methods}


def has_not_begun(method: Method) -> bool:
    """Whether a method was interrupted before its refinement began."""
    return method.ok and not method.evaluations and method.full_mse is None


def searched(found: Findings) -> list[Method]:
    """The methods that have a rank."""
    return [method for name, methods in grouped(found).items() if name in RANKED for method in methods]


def headline(summary: Summary) -> str:
    """The shortest account."""
    if summary.solved:
        return "Solved"
    return "Not solved" if summary.noise is None else "Solved up to noise"


def account(found: Findings) -> str:
    """What came out, in a sentence or two."""
    summary, best, methods = found.summary, found.summary.best, found.summary.methods
    if best is None:
        return "No refinement was finished."
    solvers = grouped(found).get("Solved", [])
    if not solvers:
        method = next(m for m in methods if (m.method, m.seed) == (best.method, best.seed))
        began = "" if method.start_mse is None else f" It began with {method.start_mse:.3g}."
        return f"The best MSE is {best.full_mse:.3g}, by {best.method}.{began}"
    ends = {method.part: _end(method, found) for method in solvers}
    first = min(solvers, key=lambda method: ends[method.part])
    paired = sum(summary.right(method) == summary.blocks for method in methods)
    everything = f"all {counted(summary.blocks, 'pair')}"
    if paired:
        pairs = f"{paired} of {counted(len(methods), 'method')} found {everything}"
    else:
        pairs = f"The search found {everything}; it repaired {first.repaired_pairs} of those of {first.method}"
    if first.start == "pool":
        return f"{pairs}. The block order came from the solution pool."
    seconds, evaluations = ends[first.part]
    return f"{pairs}; the block order was exact after {counted(evaluations, 'evaluation')}, {seconds:.1f} s."


def _end(method: Method, found: Findings) -> tuple[float, int]:
    """When a refinement found its result, as far as rounding lets it be told from later ones: seconds, evaluations."""
    course = found.courses.get(method.part)
    if course is None or not course.points:
        return method.seconds or 0.0, method.evaluations or 0
    first, last = course.points[0][2], course.points[-1][2]
    most = SAME * last if last <= ROUNDING * first else last
    return next((seconds, evaluations) for seconds, evaluations, mse in course.points if mse <= most)


def counted(count: int, noun: str) -> str:
    """``1 pair``, ``48 pairs``."""
    return f"{count:,} {noun}{'s' if count != 1 else ''}"
