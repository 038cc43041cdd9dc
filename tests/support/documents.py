"""What the documentation tells people to type."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import textwrap
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.support.paths import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
"""What people read."""

CALL = re.compile(
    r"(?:^|[;&|(]|\bsudo(?: -u \S+)?|\bexec (?:-T )?worker)\s*(?:\S*/bin/)?pairing\s+(?P<words>[^;&|)#>\n]*)"
)
"""A call of the command in a line that somebody types."""


def example(document: str, heading: str) -> str:
    """The first indented block below a heading of a page in ``docs``."""
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    below = text.split(f"\n{heading}\n", 1)[1].split("\n#", 1)[0]
    lines = below.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("    "))
    block = []
    for line in lines[start:]:
        if line and not line.startswith("    "):
            break
        block.append(line)
    return textwrap.dedent("\n".join(block))


def examples(document: str, title: str) -> list[str]:
    """The blocks of code below a heading of a page in ``docs``, up to the next heading."""
    found, here = [], False
    tokens = _tokens(ROOT / "docs" / document)
    for before, token in pairwise(tokens):
        if before.type == "heading_open":
            here = token.content == title
        elif here and token.type in ("fence", "code_block"):
            found.append(token.content)
    assert found, (document, title)
    return found


def blocks(page: Path) -> list[str]:
    """Every block of code on a page."""
    return [token.content for token in _tokens(page) if token.type in ("fence", "code_block")]


def words(page: Path) -> list[str]:
    """What stands between backticks in a page's text."""
    inline = [part for token in _tokens(page) for part in token.children or [] if part.type == "code_inline"]
    return [part.content for part in inline]


def links(page: Path) -> list[str]:
    """Where a page's links and pictures lead."""
    parts = [part for token in _tokens(page) for part in token.children or []]
    return [str(part.attrs[name]) for part in parts for name in ("href", "src") if name in part.attrs]


def calls(text: str) -> list[list[str]]:
    """The words after ``pairing`` of every call of the command in some code."""
    whole = re.sub(r"\\\n\s*", " ", text)
    found = [match["words"] for line in whole.splitlines() for match in CALL.finditer(line)]
    return [shlex.split(each, comments=True) for each in found]


def _tokens(page: Path) -> list[Token]:
    return MarkdownIt("gfm-like", {"linkify": False}).parse(page.read_text(encoding="utf-8"))


def built(folder: Path) -> Path:
    """The documentation as ``make docs`` builds it, in the folder; any warning fails."""
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-d", str(folder / "trees")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, str(ROOT / "docs"), str(folder / "built")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return folder / "built"
