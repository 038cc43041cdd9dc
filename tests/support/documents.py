"""What the documentation tells people to type."""

from __future__ import annotations

import textwrap

from tests.support.fleet import ROOT


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
