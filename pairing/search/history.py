"""The trajectory of a refinement: its best MSE over time, and a few of its block orders."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from pairing.arrays import Indices
from pairing.errors import MethodError
from pairing.search.state import State

if TYPE_CHECKING:
    from pandas import DataFrame

POINTS = 200
"""Improvements that are kept at most."""
ORDERS = 12
"""Orders that are kept at most."""

Kept = TypeVar("Kept")


@dataclass(kw_only=True, repr=False)
class History:
    """The trajectory of a refinement. It is small, since every checkpoint and the run's record hold it."""

    points: list[tuple[float, int, float]] = field(default_factory=list)
    """(seconds, evaluations, MSE) of the initial order and the improvements, all over the same at most 1,024 samples.

    If there are many, some of them.
    """
    orders: list[list[int]]
    """The first block order, some of the improvements, and the last, each as N indices of inp pieces."""
    seconds: float = 0.0
    """Wall-clock time of all attempts so far."""
    evaluations: int = 0
    """How many MSEs were computed; a linearization counts as one."""

    def begin(self, seconds: float, error: float) -> None:
        """The initial order's MSE over the same samples is ``error``; no point if it overflows."""
        if error < float("inf"):
            self.points = [(round(seconds, 3), 0, float(f"{error:.6g}"))]

    def note(self, seconds: float, state: State) -> None:
        """Keeps the state's best where it is better than the last; ``seconds`` is the time of all attempts so far.

        What is done again after a resumption is no better than what was kept, and is not kept twice.
        """
        self.seconds, self.evaluations = seconds, state.evaluations
        error = float(f"{state.best_error:.6g}")
        if error < (self.points[-1][2] if self.points else float("inf")):
            self.points = _thinned([*self.points, (round(self.seconds, 3), state.evaluations, error)], POINTS)
            self._pass(state.best)

    def end(self, seconds: float, evaluations: int, order: Indices) -> None:
        """The refinement's result is ``order``, (N,) int64."""
        self.seconds, self.evaluations = seconds, evaluations
        self._pass(order)

    def _pass(self, order: Indices) -> None:
        if order.tolist() != self.orders[-1]:
            self.orders = _thinned([*self.orders, order.tolist()], ORDERS)

    def to_frame(self) -> DataFrame:
        """One row per improvement: ``seconds``, ``evaluations``, and ``sample MSE``, over at most 1,024 samples."""
        from pandas import DataFrame

        return DataFrame(self.points, columns=["seconds", "evaluations", "sample MSE"])

    def __repr__(self) -> str:
        """One line: how many improvements, and what they cost."""
        cost = f"{self.evaluations:,} evaluations in {self.seconds:.1f} s"
        return f"<History of {len(self.points)} improvements: {cost}>"

    def to_json(self) -> dict[str, Any]:
        """A record that ``from_json`` makes the same history of: plain numbers and lists."""
        return {
            "seconds": round(self.seconds, 3),
            "evaluations": self.evaluations,
            "points": [list(point) for point in self.points],
            "orders": self.orders,
        }

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> History:
        """The history that ``to_json`` recorded, to be gone on with.

        Raises:
            MethodError: the record is none of that, whoever wrote it.
        """
        try:
            return cls(
                points=[(float(seconds), int(count), float(error)) for seconds, count, error in record["points"]],
                orders=[[int(block) for block in order] for order in record["orders"]],
                seconds=float(record["seconds"]),
                evaluations=int(record["evaluations"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise MethodError(
                "the checkpoint's history is none: somebody else has changed it; enqueue the run again"
            ) from error


def _thinned(kept: list[Kept], most: int) -> list[Kept]:
    """The first, the last and every second of those between, where there are more than ``most``."""
    return kept if len(kept) <= most else [kept[0], *kept[2:-1:2], kept[-1]]
