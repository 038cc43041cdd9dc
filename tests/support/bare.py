"""A Python that has Celery, its Redis client and what these need, and nothing of ours."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement


@dataclass(frozen=True)
class BarePython:
    """``command`` starts it in ``environment``."""

    command: list[str]
    environment: Mapping[str, str]

    def run(self, program: str, folder: Path) -> subprocess.CompletedProcess[str]:
        """Runs a program to its end, in ``folder``."""
        return subprocess.run(
            [*self.command, "-c", program],
            env=dict(self.environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )


def bare_python(folder: Path) -> BarePython:
    """Makes one in ``folder``: this interpreter without its packages, but for links to Celery's."""
    packages = folder / "celery-alone"
    packages.mkdir()
    for name in sorted(_needed("celery", {"redis"})):
        distribution = importlib.metadata.distribution(name)
        for top in {file.parts[0] for file in distribution.files or () if file.parts[0] not in ("..", "__pycache__")}:
            (packages / top).symlink_to(Path(str(distribution.locate_file(top))))
    return BarePython([sys.executable, "-S", "-s"], {"PYTHONPATH": str(packages), "PATH": "/usr/bin:/bin"})


def _needed(name: str, extras: set[str]) -> Iterator[str]:
    """A distribution and what it requires here, with these extras."""
    seen: set[str] = set()
    waiting = [(name, extras)]
    while waiting:
        name, extras = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        yield name
        for text in importlib.metadata.requires(name) or ():
            requirement = Requirement(text)
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras | {""}):
                waiting.append((requirement.name, requirement.extras))
