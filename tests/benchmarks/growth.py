"""How the search grows with the number of blocks: solved or not, and what one linearization takes."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pairing.io.load import load_puzzle
from pairing.io.packed import pack_puzzle
from pairing.model.network import Network
from pairing.search.driver import Limits
from pairing.search.local_search import LEAST_ROWS, MANY_ROWS
from pairing.search.refine import refine
from pairing.search.surrogate import linearize
from pairing.signals.posterior import log_odds
from pairing.signals.registry import similarity
from tests.benchmarks.case import Case, Sample, Values, finite
from tests.benchmarks.machine import peak_memory
from tests.benchmarks.networks import trained
from tests.benchmarks.puzzles import is_answer
from tests.benchmarks.recipes import GROWTH, fresh_seeds
from tests.benchmarks.record import Figure
from tests.support.paths import ROOT
from tests.support.puzzles import Planted

SECONDS = 300.0
MEBIBYTE = 2**20


def _grown(sample: Sample) -> Values:
    """The sample's recipe, refined from the greedy order of the right pairs, and one linearization in a process.

    What the weights say of the pairs goes along, as in a run; the time that it takes counts.
    """
    recipe = GROWTH[sample.index]
    seed = fresh_seeds(sample.run_seed, recipe.name, 1)[0]
    planted = trained(recipe, seed, sample.networks)
    cpu_began, began = time.process_time(), time.monotonic()
    evidence = log_odds(similarity(planted.puzzle, "consensus"))
    options = {"seed": sample.seed, "start": "greedy", "evidence": evidence}
    found = refine(planted.puzzle, planted.pairs, limits=Limits(seconds=SECONDS), **options)
    return {
        "blocks": recipe.blocks,
        "exact": is_answer(planted, found.solution),
        "relative_error": finite(found.solution.full_mse / planted.puzzle.target_variance),
        "seconds": time.monotonic() - began,
        "cpu": time.process_time() - cpu_began,
        **_linearized_in_a_process(planted),
    }


def _linearized_in_a_process(planted: Planted) -> Values:
    with tempfile.TemporaryDirectory() as name:
        packed, pairs = Path(name) / "packed.safetensors", Path(name) / "pairs.npy"
        # Read without torch and pandas, whose memory would hide the rest.
        packed.write_bytes(pack_puzzle(planted.puzzle))
        np.save(pairs, planted.pairs)
        command = [sys.executable, "-m", "tests.benchmarks.growth", str(packed), str(pairs)]
        ended = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    values: Values = json.loads(ended.stdout)
    return values


def _linearization(packed: Path, pairs: Path) -> Values:
    """CPU seconds of a linearization (the second of two), this process's memory before them and its peak after."""
    puzzle = load_puzzle(packed)
    network = Network(puzzle, np.load(pairs))
    order = np.arange(puzzle.blocks)  # a linearization takes as long at one order as at another
    most = min(max(puzzle.blocks * (puzzle.blocks - 1) // 6, LEAST_ROWS), 2 * MANY_ROWS)  # of all that descents take
    rows = np.random.default_rng(0).permutation(puzzle.rows)[:most]
    before = peak_memory()
    linearize(network, order, rows)
    began = time.process_time()
    linearize(network, order, rows)
    return {
        "rows": len(rows),
        "linearization_seconds": time.process_time() - began,
        "before_mebibytes": before / MEBIBYTE,
        "peak_mebibytes": peak_memory() / MEBIBYTE,
    }


def exponent(sizes: Sequence[float], measured: Sequence[float]) -> float:
    """The b of the power law ``a·size^b`` that fits best, by least squares on logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(measured), 1)[0])


def _figures(values: Sequence[Values]) -> list[Figure]:
    figures = []
    for v in values:
        name, seconds = f"{v['blocks']} blocks", v["seconds"] if v["exact"] else math.inf
        figures += [
            Figure(what=f"{name}: exact from greedy", measured=seconds, unit="s", required=SECONDS, samples=1),
            Figure(what=f"{name}: a linearization", measured=v["linearization_seconds"], unit="CPU s", samples=1),
            Figure(what=f"{name}: its process's peak memory", measured=v["peak_mebibytes"], unit="MiB", samples=1),
        ]
    if len(values) > 2:
        sizes = [v["blocks"] for v in values]
        power = exponent(sizes, [v["linearization_seconds"] for v in values])
        what = "a linearization's CPU time grows as N to the power of"
        figures.append(Figure(what=what, measured=power, unit="", samples=len(values)))
    return figures


CASES = (Case(name="growth", measure=_grown, figures=_figures, quick=2, full=len(GROWTH), published=False),)

if __name__ == "__main__":
    print(json.dumps(_linearization(Path(sys.argv[1]), Path(sys.argv[2]))))
