"""What ``pip install`` gives is whole: the wheel is built, installed apart, and imported from ``/``."""

from __future__ import annotations

import email
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.support.bare import link_packages
from tests.support.documents import example
from tests.support.paths import EXAMPLES, ROOT

PACKAGES = ("pairing", "tasks", "config")


def run(*command: str | Path, cwd: str | Path) -> str:
    """Run a command in a plain environment (no paths of ours, no downloads) and return what it prints."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_", "VIRTUAL_"))}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**plain, "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


# What running and editing leave behind.
LITTER = shutil.ignore_patterns("__pycache__", ".*", "*.nbi", "*.nbc")


def package_files(folder: Path) -> set[str]:
    """Every file of the three packages, code and data, by its path in the project's folder."""
    paths = (path for package in PACKAGES for path in (folder / package).rglob("*"))
    return {path.relative_to(folder).as_posix() for path in paths if path.is_file()}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy: setuptools leaves ``build/`` behind, and old files there get packed."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=LITTER)
    for name in ("pyproject.toml", "README.md", "MANIFEST.in"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, source)
    build = (sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation")
    run(*build, "--wheel-dir", folder, source, cwd="/")
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def packed_files(wheel: Path) -> set[str]:
    """Every file in the wheel but its metadata."""
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


@pytest.fixture(scope="module")
def clean_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has the wheel installed, and for the rest this Python's packages."""
    folder = tmp_path_factory.mktemp("clean")
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd="/")
    python = folder / "bin" / "python"
    own = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd="/").strip())
    # A folder named in a .pth file comes last in the path, and .pth files inside it have no effect:
    # this Python's own (editable) installation of the project stays out of sight.
    borrowed = dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))
    (own / "borrowed.pth").write_text("\n".join(borrowed) + "\n", encoding="utf-8")
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", wheel, cwd="/")
    return python


def test_the_wheel_holds_every_file_of_the_packages(wheel: Path, packed_files: set[str]) -> None:
    # A new subpackage or data file is missing here until pyproject.toml names it.
    assert packed_files == package_files(wheel.parent / "source")


def test_no_index_accepts_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(name))
    assert metadata["Name"] == "pairing-fleet"
    assert "Private :: Do Not Upload" in metadata.get_all("Classifier", [])


def test_the_packages_are_imported_from_the_wheel(clean_python: Path) -> None:
    code = "import pairing, tasks, config; print(pairing.__file__, tasks.__file__, config.__file__, sep='\\n')"
    files = [Path(line) for line in run(clean_python, "-c", code, cwd="/").splitlines()]
    site = clean_python.parents[1] / "lib"
    assert [file.parent.name for file in files] == list(PACKAGES)
    for file in files:
        assert file.is_relative_to(site), file


@pytest.fixture
def library_python(wheel: Path, tmp_path: Path) -> Path:
    """A Python that has the wheel and the packages of requirements-library.txt, and no others."""
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "library", cwd="/")
    python = tmp_path / "library" / "bin" / "python"
    own = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd="/").strip())
    lines = (ROOT / "requirements-library.txt").read_text(encoding="utf-8").splitlines()
    link_packages(own, [line for line in lines if line and not line.startswith("#")])
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", wheel, cwd="/")
    return python


def test_the_library_needs_no_package_of_the_fleet(library_python: Path, tmp_path: Path) -> None:
    fleet = ("celery", "flower", "kombu", "psycopg2", "redis", "sqlalchemy", "pydantic", "click", "torch")
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    code = f"""
import importlib.util
assert not [name for name in {fleet!r} if importlib.util.find_spec(name)]
{example("solving.md", "## As a library")}
assert solution.solved
assert len(solution.to_frame()) == 12
assert list(compare(puzzle, "trace")["status"]) == ["solved"]
"""
    assert run(library_python, "-c", code, cwd=tmp_path).startswith("True (4, 3, 16,")


def test_the_command_is_installed(clean_python: Path) -> None:
    assert os.access(clean_python.with_name("pairing"), os.X_OK)
