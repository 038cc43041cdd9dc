"""What stages hand to each other: matrices, checkpoints and results, by key and with a lifetime.

Messages carry only ids.
"""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

from tasks.backend import Backend

if TYPE_CHECKING:
    from pairing.puzzle import Array64


RUNS = "pairing.runs"

KEYS = (
    *("request", "plan", "summary", "outcome", "end", "stop", "matrices", "claim.published", "rescue"),
    *("assignment", "refinement", "progress", "failure", "times", "checkpoint", "attempt"),
)
"""Everything that is kept of a run."""


class Store:
    """Names for what is kept: keys start with ``pairing.``."""

    def __init__(self, backend: Backend) -> None:
        """A store over a backend."""
        self.backend = backend

    # --- similarities: named by the puzzle's bundle, shared between runs

    def put_similarity(self, bundle: str, method: str, matrix: Array64) -> None:
        """Keeps a similarity matrix (N, N) float64."""
        import numpy as np

        buffer = io.BytesIO()
        np.save(buffer, matrix, allow_pickle=False)
        self.backend.put(f"pairing.similarity.{bundle}.{method}", buffer.getvalue())

    def similarity(self, bundle: str, method: str) -> Array64 | None:
        """The similarity matrix (N, N) float64, ``None`` where there is none."""
        import numpy as np

        saved = self.backend.get(f"pairing.similarity.{bundle}.{method}")
        if saved is None:
            return None
        matrix: Array64 = np.load(io.BytesIO(saved), allow_pickle=False)
        return matrix

    # --- one run's records, each a JSON object

    def put_record(self, run: str, name: str, record: dict[str, Any]) -> None:
        """Keeps a record of a run: ``request``, ``plan``, ``summary``, …"""
        self.backend.put(_key(run, name), _encoded(record))

    def record(self, run: str, name: str) -> dict[str, Any] | None:
        """A record of a run, ``None`` where there is none."""
        return _decoded(self.backend.get(_key(run, name)))

    def put_new_record(self, run: str, name: str, record: dict[str, Any]) -> bool:
        """Keeps a record of a run unless there is one of that name; says whether it did. Atomic."""
        return self.backend.put_new(_key(run, name), _encoded(record))

    def put_run_entry(self, run: str, entry: dict[str, Any]) -> None:
        """Keeps a run's entry in the list of all runs."""
        self.backend.put_field(RUNS, run, _encoded(entry))

    def run_entry(self, run: str) -> dict[str, Any] | None:
        """A run's entry in the list of all runs, ``None`` where there is none."""
        return _decoded(self.backend.field(RUNS, run))

    def run_entries(self) -> list[dict[str, Any]]:
        """The entries of all runs."""
        return [entry for value in self.backend.fields(RUNS).values() if (entry := _decoded(value)) is not None]

    def forget(self, run: str) -> None:
        """Removes everything of a run; its puzzle and similarities, which other runs may share, stay."""
        self.backend.remove(*(_key(run, name) for name in KEYS))
        self.backend.remove_field(RUNS, run)

    def claim(self, run: str, name: str) -> bool:
        """Whether the caller is the first to claim this part of a run."""
        return self.backend.put_new(_key(run, f"claim.{name}"), b"1")

    def put_part(self, run: str, kind: str, part: str, record: dict[str, Any]) -> None:
        """Keeps what one part of a run says: kind ``assignment``, ``refinement``, ``progress``, ``failure``, …"""
        self.backend.put_field(_key(run, kind), part, _encoded(record))

    def parts(self, run: str, kind: str) -> dict[str, dict[str, Any]]:
        """All parts of one kind by their names."""
        found = self.backend.fields(_key(run, kind)).items()
        return {part: record for part, value in found if (record := _decoded(value)) is not None}

    def part(self, run: str, kind: str, part: str) -> dict[str, Any] | None:
        """What one part of a run says, ``None`` where it says nothing."""
        return _decoded(self.backend.field(_key(run, kind), part))

    def put_checkpoint(self, run: str, part: str, state: dict[str, Any]) -> None:
        """Keeps where a refinement stands."""
        self.backend.put_field(_key(run, "checkpoint"), part, _encoded(state, nan=True))

    def checkpoint(self, run: str, part: str) -> dict[str, Any] | None:
        """Where a refinement stood when it was last saved, ``None`` where it was not."""
        return self.part(run, "checkpoint", part)

    def announce(self, run: str, reason: str) -> None:
        """Tells a run's refinements to end: ``solved_elsewhere`` or ``cancelled``."""
        self.backend.put_new(_key(run, "stop"), reason.encode())

    def announced(self, run: str) -> str | None:
        """Why the run's refinements are to end, ``None`` where they are not."""
        reason = self.backend.get(_key(run, "stop"))
        return None if reason is None else reason.decode()

    def put_matrices(self, run: str, archive: bytes) -> None:
        """Keeps the npz file of a run's similarity matrices."""
        self.backend.put(_key(run, "matrices"), archive)

    def matrices(self, run: str) -> bytes | None:
        """The npz file of a run's similarity matrices."""
        return self.backend.get(_key(run, "matrices"))


def _key(run: str, name: str) -> str:
    return f"pairing.run.{run}.{name}"


def part_name(method: str, seed: int) -> str:
    """``<method>.s<seed>``: the name of one refinement of a run."""
    return f"{method}.s{seed}"


def _encoded(record: dict[str, Any], nan: bool = False) -> bytes:
    return json.dumps(record, allow_nan=nan).encode()


def _decoded(value: bytes | None) -> dict[str, Any] | None:
    if value is None:
        return None
    record: dict[str, Any] = json.loads(value)
    return record
