"""Pythons that have a few distributions, and what these need."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
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
    """Makes one with Celery and its Redis client in ``folder``: this interpreter, and links to their packages."""
    packages = folder / "celery-alone"
    packages.mkdir()
    link_packages(packages, ["celery[redis]"])
    return BarePython([sys.executable, "-S", "-s"], {"PYTHONPATH": str(packages), "PATH": "/usr/bin:/bin"})


def link_packages(folder: Path, requirements: Iterable[str]) -> None:
    """Links in ``folder`` to the packages of these requirements and of all that they need, as installed here."""
    for name in sorted(_needed(requirements)):
        distribution = importlib.metadata.distribution(name)
        for top in {file.parts[0] for file in distribution.files or () if file.parts[0] not in ("..", "__pycache__")}:
            (folder / top).symlink_to(Path(str(distribution.locate_file(top))))


def _needed(requirements: Iterable[str]) -> Iterator[str]:
    """The distributions of the requirements, and what they require here."""
    seen: set[str] = set()
    waiting = [(requirement.name, requirement.extras) for requirement in map(Requirement, requirements)]
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
