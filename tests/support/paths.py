"""Where the project's folders are."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The project."""
DOCS = ROOT / "docs"
EXAMPLES = ROOT / "examples"
PUBLISHED_PUZZLE = ROOT.parent / "shared" / "puzzle"
"""Jane Street's pieces and data, which are no part of the project."""
