"""The project under every other supported Python that this machine has: ``python -m tests.pythons``.

Each gets an environment of its own beside ``.venv``, without torch, which is large and has no builds for some. In it
the unit tests run, and those that solve the real puzzle, with the command and with a worker. ``make test`` runs a part
under the newest of them.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

import click

from tests.support.paths import ROOT

SUPPORTED = ("3.11", "3.12", "3.13", "3.14")
RUNNING = "{}.{}".format(*sys.version_info)
TESTS = (
    "tests/unit",
    "tests/integration/project/test_real_puzzle.py::test_the_command_solves_it_in_one_process",
    "tests/integration/project/test_real_puzzle.py::test_the_fleet_solves_it_and_stores_it_once",
    "tests/integration/project/test_without_torch.py",
    "tests/integration/worker/test_worker_logs.py",
)
SMOKE = (
    "tests/unit/puzzles/test_bundles.py",
    "tests/unit/model/test_description.py",
    "tests/unit/worker/test_log_format.py",
    "tests/unit/io/test_packed.py",
    "tests/unit/test_settings.py",
    "tests/integration/project/test_real_puzzle.py::test_the_command_solves_it_in_one_process",
    "tests/integration/project/test_without_torch.py::test_a_worker_and_a_caller",
)
"""Of these, quick ones: what is a Python's own, the real puzzle, and a worker."""
SMOKE_PACKAGES = ("hypothesis", "psutil", "pytest", "pytest-timeout")


def found() -> dict[str, Path]:
    """The interpreter of each supported Python, but the running one's, on the path or installed by pyenv or uv."""
    homes = (Path(os.environ.get("PYENV_ROOT", "~/.pyenv")) / "versions", Path("~/.local/share/uv/python"))
    pythons = {}
    for version in SUPPORTED:
        installed = [home.expanduser().glob(f"*{version}.*/bin/python{version}") for home in homes]
        candidates = itertools.chain(filter(None, [shutil.which(f"python{version}")]), *installed)
        working = next((Path(python) for python in candidates if version != RUNNING and _works(python, version)), None)
        if working:
            pythons[version] = working
    return pythons


def _works(python: str | Path, version: str) -> bool:
    """Whether it starts (pyenv has commands that only say where to find one), and can make environments."""
    code = "import ensurepip, sys, venv; print('{}.{}'.format(*sys.version_info))"
    ended = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return ended.stdout == f"{version}\n"


def set_up(version: str, python: Path, packages: Iterable[str]) -> Path:
    """Makes or renews its environment, with further packages; the environment.

    Raises:
        CalledProcessError: that went wrong, and what it was has been printed.
    """
    environment = ROOT / f".venv-{version}"
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    make = ["make", "--silent", f"VENV={environment.name}", f"PYTHON={python}"]
    subprocess.run([*make, f"{environment.name}/.installed-without-torch"], cwd=ROOT, env=variables, check=True)
    install = [environment / "bin" / "python", "-m", "pip", "install", "--quiet", "--constraint", "constraints.txt"]
    subprocess.run([*install, *packages], cwd=ROOT, env=variables, check=True)
    return environment


def all_packages() -> list[str]:
    """All that the tests need beside the project."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    return [name for name in (*extras["test"], *extras["docs"]) if not name.startswith(project["name"])]


def environments() -> list[Path]:
    """The environments that were made, of Pythons that are still there."""
    return sorted(python.parents[1] for python in ROOT.glob(".venv-3.*/bin/python"))


def run_tests(environment: Path, *arguments: str) -> int:
    """Runs tests in an environment; the exit status. What it lacks is skipped, in CI too."""
    variables = {name: value for name, value in os.environ.items() if name != "CI"}
    command = [environment / "bin" / "python", "-m", "pytest", "--quiet", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=ROOT, env=variables, check=False).returncode


@click.command()
@click.option("--set-up", "only_set_up", is_flag=True, help="make what make test needs, and run nothing")
def main(only_set_up: bool) -> None:
    """Run the unit tests and the real puzzle under every other supported Python that is found."""
    packages = SMOKE_PACKAGES if only_set_up else all_packages()
    failed = 0
    pythons = list(found().items())
    for version, python in pythons[-1:] if only_set_up else pythons:
        try:
            environment = set_up(version, python, packages)
        except subprocess.CalledProcessError:
            failed += 1
            click.echo(f"Python {version} ({python}) could not be set up.", err=True)
            continue
        if not only_set_up:
            click.echo(f"Python {version} ({python}):")
            failed += run_tests(environment, "--numprocesses", "2", "--dist", "loadfile", *TESTS) != 0
    sys.exit(1 if failed and not only_set_up else 0)  # what make test needs and has not got, fails there


if __name__ == "__main__":
    main()
