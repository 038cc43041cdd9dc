"""The pool's rows are looked at as long as there is time, and one of them in any case."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from pairing.model.network import Network
from tasks.pool import best as pool_best
from tasks.pool.best import Recomputed
from tasks.pool.repository import PoolRow
from tests.support.puzzles import plant

PLANTED = plant(3, blocks=4, rows=50)


def row(number: int, order: list[int]) -> PoolRow:
    known = {"id": number, "full_mse": 0.0, "inp_sigma": tuple(order), "out_sigma": tuple(order)}
    return PoolRow(**{field.name: known.get(field.name) for field in fields(PoolRow)})  # type: ignore[arg-type]


@pytest.mark.parametrize(("seconds", "looked_at"), [(float("inf"), 5), (35.0, 3), (10.0, 1), (-5.0, 1)])
def test_only_so_many_are_looked_at_as_there_is_time_for(
    monkeypatch: pytest.MonkeyPatch, seconds: float, looked_at: int
) -> None:
    clock, taken = [0.0], list[int]()

    def slow(network: Network, order: Any) -> float:
        clock[0] += 10.0
        taken.append(len(taken))
        return 1.0 / len(taken)

    monkeypatch.setattr(Network, "full_mse", slow)
    monkeypatch.setattr(pool_best.time, "monotonic", lambda: clock[0])
    rng = np.random.default_rng(0)
    rows = [row(number, rng.permutation(4).tolist()) for number in range(5)]
    best = Recomputed(PLANTED.puzzle).best(rows, seconds)
    assert len(taken) == len({(r.inp_sigma, r.out_sigma) for r in rows[:looked_at]})
    assert best is not None
