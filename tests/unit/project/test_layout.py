"""The packages on the disk, those that are installed, and that each module can be imported first."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib

import pytest

from tests.support.paths import ROOT

PACKAGES = ("pairing", "tasks", "config")
OPTIONAL = {"torch", "sklearn"}
"""What training and exporting a network needs."""
FILES = [path.relative_to(ROOT) for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def test_every_folder_is_a_package_that_is_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    folders = {".".join(path.parent.parts) for path in FILES}
    assert set(project["tool"]["setuptools"]["packages"]) == folders
    assert all((ROOT.joinpath(*folder.split(".")) / "__init__.py").exists() for folder in folders)


def test_the_librarys_requirements_are_what_it_imports() -> None:
    lines = (ROOT / "requirements-library.txt").read_text().splitlines()
    required = {line for line in lines if line and not line.startswith("#")}
    assert required < set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"])
    trees = [ast.parse((ROOT / file).read_text()) for file in FILES if file.parts[0] == "pairing"]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    imported = {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"pairing"} - OPTIONAL
    assert {re.match(r"[\w-]+", line)[0] for line in required} == imported  # type: ignore[index]


@pytest.mark.slow
def test_every_module_can_be_the_first_that_is_imported() -> None:
    """Import contracts do not see strings and imports inside functions: a circle shows in a fresh process alone."""
    names = [".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in FILES]
    # One process imports what is heavy and forks for each module, which takes none of ours with it.
    code = f"""
import os, sys, traceback
import celery.bin.worker, kombu.transport.redis, matplotlib.pyplot, numba, numpy, pandas, pydantic_settings, redis
import scipy.linalg, scipy.optimize, scipy.special, sqlalchemy.orm, tornado.web
from flower import app
from pydantic import BaseModel
for name in {names!r}:
    child = os.fork()
    if child == 0:
        try:
            __import__(name)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        sys.exit(name)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
