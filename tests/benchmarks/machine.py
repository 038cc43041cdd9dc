"""What the figures were measured on."""

from __future__ import annotations

import hashlib
import os
import platform
import resource
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from pairing.version import __version__
from tests.support.paths import ROOT

MEASURED = ("pairing", "tasks", "config", "tests/benchmarks", "tests/support")
"""The folders whose code decides what is measured."""


def machine() -> str:
    """Processor, cores, memory, operating system, Python, NumPy and its linear algebra, in one line."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    configuration: Any = np.show_config(mode="dicts")
    blas = configuration["Build Dependencies"]["blas"]
    return (
        f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.release()},"
        f" Python {platform.python_version()}, NumPy {np.__version__} with {blas['name']} {blas['version']},"
        " one thread a process"
    )


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":")[1].strip()
    return platform.processor() or platform.machine()


def peak_memory() -> int:
    """The largest resident memory that this process ever had, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux's getrusage counts the memory of the process that began this one, too
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return 1024 * int(line.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@cache
def code_digest(project: Path = ROOT) -> str:
    """Twelve hexadecimal digits that change whenever the code that is measured, or that measures, does."""
    state = hashlib.sha256()
    for folder in MEASURED:
        for file in sorted((project / folder).rglob("*.py")):
            state.update(f"{file.relative_to(project).as_posix()}\n".encode())
            state.update(file.read_bytes())
    return state.hexdigest()[:12]


@cache
def commit() -> str:
    """The commit that is checked out, ``+`` behind it where files differ from it; empty outside a repository."""
    try:
        head = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.strip()
        changed = subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""
    return head + ("+" if changed else "")


def version() -> str:
    """The software's version."""
    return __version__
