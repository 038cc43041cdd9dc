"""A run's files: its matrices, its summary and its refinements' histories in a folder named after the run."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from pairing.errors import InputError
from tasks.contracts.files import write_whole
from tasks.store.run_store import Store


def prepare_folder(out: Path, run: str) -> Path:
    """Makes the run's folder, so that a folder that cannot be written is known before anything runs.

    Raises:
        InputError: it cannot be made or written.
    """
    folder = out / run
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(
            f"{folder}: results cannot be written there ({error.strerror}); choose another --out"
        ) from error
    return folder


def history_record(store: Store, run: str, notes: list[str]) -> dict[str, Any]:
    """What a report shows beside the summary: every refinement's history by its part, and what people should know."""
    refined = store.parts(run, "refinement").items()
    # Workers of older versions keep no history.
    histories = {part: record["history"] for part, record in sorted(refined) if "history" in record}
    return {"schema": 1, "run": run, "histories": histories, "notes": notes}


def write_artefacts(folder: Path, summary: dict[str, Any], history: dict[str, Any], matrices: bytes) -> None:
    """Writes the files whole, and puts the paths of matrices and summary into the summary.

    Raises:
        InputError: the disk does not take them.
    """
    paths = {"matrices": folder / "weight_pairing_matrices.npz", "summary": folder / "summary.json"}
    summary["artefacts"] = {name: str(path) for name, path in paths.items()}
    try:
        write_whole(paths["matrices"], matrices)
        write_whole(folder / "history.json", (json.dumps(history, allow_nan=False) + "\n").encode())
        write_whole(paths["summary"], (json.dumps(summary, indent=2, allow_nan=False) + "\n").encode())
    except OSError as error:
        raise InputError(
            f"{folder}: results cannot be written ({error.strerror}); make room or choose another --out"
        ) from error
