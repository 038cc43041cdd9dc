"""Compiled code and its cache: what cannot be cached, or is damaged, costs a compilation and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.fleet import DEMO, Command, clean_environment
from tests.support.paths import ROOT

COMPILED = """
from pairing.search.compiled import njit
@njit()
def doubled(number):
    return 2 * number
"""

CALL = """
import json, logging
logging.basicConfig(format="%(message)s")
from pairing.search import compiled
{before}
from code_of_ours import doubled
def called(times):
    for _ in range(times):
        assert doubled(21) == 42
    return [compiled.uncached(), sum(doubled.stats.cache_hits.values())]
print(json.dumps(called(2)))
"""

NOWHERE_ELSE = {"NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator"}

FULL_DISK = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
"""


Call = Callable[..., tuple[str, int, str]]


@pytest.fixture
def called(tmp_path: Path) -> Call:
    """What a process says that calls compiled code: its note, how often the cache had the code, its errors."""
    (tmp_path / "code_of_ours.py").write_text(COMPILED)

    def call(cache: Path, before: str = "") -> tuple[str, int, str]:
        settings = {"NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
        command = [sys.executable, "-c", CALL.format(before=before)]
        environment = clean_environment(**settings, **NOWHERE_ELSE)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        said, hits = json.loads(done.stdout)
        return said, hits, done.stderr

    return call


def test_compiled_code_is_cached(called: Call, tmp_path: Path) -> None:
    assert called(tmp_path) == ("", 0, "")
    assert called(tmp_path) == ("", 1, "")


def test_without_a_folder_code_is_compiled_and_that_is_said_once(called: Call, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said, hits, errors = called(tmp_path / "file" / "cache")
    assert hits == 0
    assert "no locator available" in said
    assert "NUMBA_CACHE_DIR" in said
    assert errors.splitlines() == [said]


@pytest.mark.parametrize(("ending", "damage"), [("nbi", b""), ("nbc", b"\x80\x05garbage")])
def test_a_damaged_file_of_the_cache_is_replaced(called: Call, tmp_path: Path, ending: str, damage: bytes) -> None:
    called(tmp_path)
    (file,) = tmp_path.rglob(f"*.{ending}")
    file.write_bytes(damage)
    assert called(tmp_path) == ("", 0, "")
    assert called(tmp_path) == ("", 1, "")


def test_a_cache_that_fills_up_is_no_error(called: Call, tmp_path: Path) -> None:
    said, hits, errors = called(tmp_path, FULL_DISK)
    assert hits == 0
    assert "File too large" in said
    assert errors.splitlines() == [said]


def test_a_run_without_a_cache_says_so_and_solves(pairing: Command, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    environment = {**NOWHERE_ELSE, "NUMBA_CACHE_DIR": str(tmp_path / "file" / "cache")}
    ended = pairing("solve", DEMO, "--methods", "trace", "--workers", 1, "--no-report", environment=environment)
    assert ended.status == 0, ended.errors
    assert "Compiled code cannot be cached" in ended.output


def test_workers_that_cannot_import_what_they_need_end_a_run_at_once(pairing: Command, tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "numba.py").write_text("raise RuntimeError('this library is broken')")
    ended = pairing("solve", DEMO, "--deadline", 300, environment={"PYTHONPATH": str(tmp_path / "broken")})
    assert ended.status == 3
    assert "this library is broken" in ended.errors
    assert "deadline" not in ended.errors
