"""The example notebook runs from its first cell to its last."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.support.paths import EXAMPLES

NOTEBOOK = EXAMPLES / "solve.ipynb"


def test_the_notebook_runs_and_solves_the_puzzle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    executed = NotebookClient(
        notebook, kernel_name="python3", resources={"metadata": {"path": str(EXAMPLES)}}
    ).execute()
    outputs = [output for cell in executed.cells if cell.cell_type == "code" for output in cell.outputs]
    assert all(output.output_type == "execute_result" for output in outputs), outputs
    texts = [output.data["text/plain"] for output in outputs]
    assert texts[0].startswith("<Puzzle 'demo-puzzle': 12 blocks")
    assert re.match("<FoundSolution of 12 blocks: solved by ", texts[1])
    assert float(texts[-1]) < 1e-12


def test_the_notebook_is_small_and_names_no_machine() -> None:
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert len(text) < 80_000
    assert not re.search("/(home|opt|root|srv|tmp|Users|usr|var|work)/", text)
