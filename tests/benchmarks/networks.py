"""Networks made from recipes, kept in a folder: training takes longer than most of what is measured on them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pairing.io.load import load_puzzle
from pairing.synthetic.make import make_puzzle
from tests.benchmarks.recipes import BenchmarkNetwork
from tests.support.puzzles import Planted, with_answer


def trained(network: BenchmarkNetwork, seed: int, folder: Path) -> Planted:
    """The network of that seed with its answer, trained unless ``folder`` has it; its hash withheld."""
    place = folder / f"{network.name}-{network.digest}-{seed}"
    answer = place.with_name(f"{place.name}.answer.json")
    if not place.is_dir():
        make_puzzle(place, replace(network.recipe, seed=seed))
    return with_answer(replace(load_puzzle(place), target_hash=None), answer)
