"""The packages on the disk, those that are installed, and that each module can be imported first."""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

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


def test_every_module_can_be_the_first_that_is_imported() -> None:
    """Each can be imported, and no two need each other while they are: imports inside functions wait until called."""
    needs = {module_of(file): set(imported_at_once(file)) for file in FILES}
    graphlib.TopologicalSorter(needs).prepare()  # raises where there is a circle
    code = f"import importlib\nfor name in {sorted(needs)!r}:\n    importlib.import_module(name)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def module_of(file: Path) -> str:
    return ".".join(file.with_suffix("").parts).removesuffix(".__init__")


def imported_at_once(file: Path) -> Iterator[str]:
    """The modules of ours that a module imports while it is imported: it, its packages, and what it takes from them."""
    names = {module_of(file) for file in FILES}
    waiting: list[ast.AST] = [ast.parse((ROOT / file).read_text())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from names.intersection(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from names.intersection({node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)})
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not of_types_alone(node):
            waiting.extend(ast.iter_child_nodes(node))


def of_types_alone(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
