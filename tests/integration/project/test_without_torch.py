"""Workers, callers and the command without torch: they solve, and what needs torch says so."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.fleet import DEMO, Command, running_fleet
from tests.support.results import ANSWER

CALLER = f"""
from tasks import enqueue, wait
summary, matrices = wait(enqueue({str(DEMO)!r}, methods=["trace", "cosine"]))
print(summary["best"]["permutation"])
"""


@pytest.fixture
def without_torch(tmp_path: Path) -> dict[str, str]:
    """The environment of a Python that cannot import torch."""
    folder = tmp_path / "without-torch"
    folder.mkdir()
    (folder / "torch.py").write_text('raise ImportError("there is no torch")\n')
    return {"PYTHONPATH": str(folder)}


def test_a_worker_and_a_caller(redis_url: str, without_torch: dict[str, str], tmp_path: Path) -> None:
    with running_fleet(redis_url, tmp_path, third_party=False, **without_torch) as fleet:
        environment = {"PAIRING_BROKER_URL": redis_url, "PAIRING_KEY_PREFIX": fleet.prefix, **without_torch}
        caller = subprocess.run(
            [sys.executable, "-c", CALLER],
            env=Command(tmp_path).environment | environment,
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )
    assert caller.returncode == 0, caller.stderr
    assert caller.stdout == f"{ANSWER}\n"


def test_a_solve_with_workers_of_its_own(without_torch: dict[str, str], pairing: Command) -> None:
    ended = pairing("solve", DEMO, "--json", "--workers", 1, environment=without_torch)
    assert ended.status == 0, ended.errors
    assert ended.json["best"]["permutation"] == ANSWER


def test_what_needs_torch_says_what_to_install(without_torch: dict[str, str], pairing: Command) -> None:
    answer = ",".join(map(str, ANSWER))
    needed = r"needs torch, which cannot be imported here \(there is no torch\); install it: \S+ -m pip install torch"

    made = pairing("make-puzzle", "puzzle", environment=without_torch)
    assert made.status == 2
    assert re.fullmatch(rf"pairing: training a network {needed}\n", made.errors)

    written = pairing("assemble", DEMO, answer, "network.pth", environment=without_torch)
    assert written.status == 2
    otherwise = r"or name network\.safetensors, which needs none"
    assert re.fullmatch(rf"pairing: network\.pth: a torch state dict {needed}; {otherwise}\n", written.errors)
    assert list(pairing.folder.glob("network*")) == []
    assert pairing("assemble", DEMO, answer, "network.safetensors", environment=without_torch).status == 0
