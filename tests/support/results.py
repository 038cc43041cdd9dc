"""The demonstration's answer, and what ``pairing solve --json`` prints as it is specified."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pairing import load_puzzle
from pairing.model.network import Network, pairs_of
from pairing.solution import permutation_hash, sigmas_of
from pairing.version import __version__
from tests.support.fleet import DEMO

ANSWER: list[int] = json.loads(DEMO.with_name("demo-puzzle.answer.json").read_text())["permutation"]
SCHEMA = {
    "": (
        "schema version run puzzle activation blocks width hidden outputs rows solved noise noise_floor best"
        " network undecidable methods pool artefacts seconds"
    ),
    "best": "method seed full_mse inp_sigma out_sigma permutation names hash hash_match",
    "network": "inp_norm out_norm change",
    "undecidable": "blocks inp out neighbours by_chance",
    "methods": (
        "method seed ok error total_similarity mean_similarity top_pairs pairs margins confidence"
        " pairs_matching_pool_best pool_order_mse annealer start start_mse full_mse evaluations repaired_pairs stopped"
        " seconds"
    ),
    "pool": "best_before best_after inserted stored_later",
    "artefacts": "matrices summary",
    "seconds": "load similarity assignment refinement verification total cpu",
}
"""The specification's keys of ``--json``, at every level."""

STOPPED = {"solved", "solved_elsewhere", "budget", "cancelled", "converged", "failed"}


def assert_as_specified(summary: dict[str, Any]) -> None:
    """The object's keys are exactly the specification's, and its values are what they say."""
    for name, names in SCHEMA.items():
        part = summary[name] if name else summary
        for record in part if isinstance(part, list) else [part]:
            assert record is None or set(record) == set(names.split()), name
    for row in summary["pool"]["inserted"]:
        assert set(row) == {"id", "method", "full_mse"}
    assert summary["schema"] == 1
    assert summary["version"] == __version__
    assert summary["puzzle"].startswith("sha256:")
    for method in summary["methods"]:
        assert method["stopped"] in STOPPED
        assert method["ok"] == (method["error"] is None)
        if method["ok"]:
            assert sorted(method["pairs"]) == list(range(summary["blocks"]))
            assert len(method["margins"]) == len(method["confidence"]) == summary["blocks"]
            assert all(0 <= stated <= 1 for stated in method["confidence"])
    best = summary["best"]
    if best is not None:
        puzzle = load_puzzle(DEMO)
        assert sigmas_of(puzzle, best["permutation"]) == (tuple(best["inp_sigma"]), tuple(best["out_sigma"]))
        assert best["hash"] == permutation_hash(best["permutation"])
        exact = Network(puzzle, pairs_of(best["inp_sigma"], best["out_sigma"])).full_mse(best["inp_sigma"])
        assert best["full_mse"] == pytest.approx(exact, rel=1e-6, abs=1e-15)
