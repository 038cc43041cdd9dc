"""What a report is made of: a run's summary, its refinements' histories and its matrices, checked before use."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, ValidationError, model_validator

from config.complaints import told
from pairing.arrays import Array64, Indices
from pairing.assignment import agreement
from pairing.errors import InputError
from pairing.model.network import pairs_of
from tasks.contracts.run_summary import MethodSummary, Record, RunSummary
from tasks.store.run_store import part_name

Finite = Annotated[float, Field(allow_inf_nan=False)]


class Method(MethodSummary):
    """One entry of the summary's ``methods``."""

    @property
    def part(self) -> str:
        """The name of its refinement."""
        return part_name(self.method, self.seed)


class Summary(RunSummary):
    """A run's summary, whose pairings and orders are of its blocks."""

    methods: list[Method]  # type: ignore[assignment] # which only adds to them

    @model_validator(mode="after")
    def _of_so_many_blocks(self) -> Summary:
        sigmas = [] if self.best is None else [self.best.inp_sigma, self.best.out_sigma]
        for pairs in [*sigmas, *(method.pairs for method in self.methods if method.pairs is not None)]:
            _check_order(pairs, self.blocks)
        if self.network is not None and len(self.network) != self.blocks:
            raise ValueError(f"the network's blocks are not {self.blocks}")
        if self.best is not None and len(self.best.permutation) != 2 * self.blocks + 1:
            raise ValueError(f"the permutation is not of {2 * self.blocks + 1} pieces")
        if any(method.margins is not None and len(method.margins) != self.blocks for method in self.methods):
            raise ValueError(f"a method's margins are not {self.blocks}")
        return self

    @property
    def solution(self) -> Indices | None:
        """The right pairs, (N,) int64, where the run has found them."""
        if self.best is None or not self.solved:
            return None
        return pairs_of(self.best.inp_sigma, self.best.out_sigma)

    @property
    def inp_numbers(self) -> list[int]:
        """The inp pieces' numbers by their indices; without a solution the indices themselves."""
        if self.best is None:
            return list(range(self.blocks))
        return [self.best.permutation[2 * place] for place in np.argsort(self.best.inp_sigma)]

    @property
    def several_seeds(self) -> bool:
        """Whether a method's name alone does not tell its refinements apart."""
        return len({method.seed for method in self.methods}) > 1

    def right(self, method: Method) -> int | None:
        """How many of the method's pairs are right; ``None`` where that is not known."""
        return None if self.solution is None or method.pairs is None else common(method.pairs, self.solution)


class Course(Record, strict=False):
    """A refinement's history as :mod:`pairing.search.history` records it."""

    seconds: Finite
    evaluations: int
    points: list[tuple[Finite, int, Finite]]
    orders: list[list[int]]


@dataclass(frozen=True, kw_only=True)
class Findings:
    """All that a report shows."""

    summary: Summary
    courses: dict[str, Course]
    """A refinement's part name → its history. Workers of older versions leave none."""
    notes: list[str]
    matrices: dict[str, Array64]
    """Method → its similarities, (N, N) float64."""


def common(pairs: list[int], others: Indices) -> int:
    """How many pairs two pairings share; ``others`` is (N,) int64."""
    return agreement(np.array(pairs, np.int64), others)


def findings(summary: object, history: object, archive: bytes, where: str) -> Findings:
    """Checks a run's records; ``where`` says whose they are.

    ``history`` is what :func:`tasks.report.result_files.history_record` gives, ``archive`` the npz file of the matrices
    (empty: there are none).

    Raises:
        InputError: they are damaged, or not what a run writes.
    """
    try:
        checked = Summary.model_validate(summary)
        record = _History.model_validate(history)
        for course in record.histories.values():
            for order in course.orders:
                _check_order(order, checked.blocks)
        matrices = _matrices(archive, checked.blocks) if archive else {}
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "it"
        raise InputError(f"{where}: is not what a run writes ({place} {told(first)}); run it again") from None
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{where}: is not what a run writes ({error}); run it again") from None
    return Findings(summary=checked, courses=record.histories, notes=record.notes, matrices=matrices)


def read_folder(folder: Path) -> Findings:
    """What ``pairing solve`` or ``pairing results`` wrote to ``folder``.

    Raises:
        InputError: a file cannot be read, or is damaged. Only the summary has to be there.
    """
    try:
        summary = json.loads((folder / "summary.json").read_bytes())
        history_path, archive_path = folder / "history.json", folder / "weight_pairing_matrices.npz"
        history: Any = json.loads(history_path.read_bytes()) if history_path.exists() else {"histories": {}}
        archive = archive_path.read_bytes() if archive_path.exists() else b""
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror}); name a run or its results' folder") from error
    except ValueError as error:
        raise InputError(f"{folder}: its JSON is damaged ({error}); fetch the results again") from error
    return findings(summary, history, archive, str(folder))


class _History(Record, strict=False):
    histories: dict[str, Course]
    notes: list[str] = Field(default=[])


def _check_order(order: list[int], blocks: int) -> None:
    if sorted(order) != list(range(blocks)):
        raise ValueError(f"pairs or orders are not of 0 … {blocks - 1}, each once")


def _matrices(archive: bytes, blocks: int) -> dict[str, Array64]:
    with np.load(io.BytesIO(archive), allow_pickle=False) as arrays:
        found = {name: np.asarray(arrays[name], np.float64) for name in arrays.files}
    if any(matrix.shape != (blocks, blocks) for matrix in found.values()):
        raise ValueError(f"a matrix of similarities is not {blocks} × {blocks}")
    return found
