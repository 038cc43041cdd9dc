"""What ``pairing solve`` prints and writes, whichever way it works."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

from pairing import load_puzzle
from pairing.model.network import pairs_of
from pairing.signals.registry import methods as known_methods
from tasks.client.solution_check import read_permutation
from tests.support.fleet import DEMO, Command
from tests.support.results import ANSWER, assert_as_specified

VERDICT = ("full_mse", "hash", "hash_match", "solved", "noise", "as_good", "by_chance")


@pytest.fixture(scope="module")
def solved(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """The demonstration solved by the embedded fleet with all methods: what was printed, and the results' folder."""
    folder = tmp_path_factory.mktemp("solved")
    ended = Command(folder)("solve", DEMO, "--json", "--out", "out", "--run", "my-run_1", "--workers", 2)
    assert ended.status == 0, ended.errors
    return ended.json, folder / "out" / "my-run_1"


def test_json_is_as_specified(solved: tuple[dict[str, Any], Path]) -> None:
    summary, _ = solved
    assert_as_specified(summary)
    assert summary["run"] == "my-run_1"
    assert summary["solved"] is True
    assert summary["best"]["hash_match"] is True
    assert summary["best"]["permutation"] == ANSWER
    assert {m["method"] for m in summary["methods"]} == set(known_methods())
    assert all(m["ok"] for m in summary["methods"])
    assert (summary["blocks"], summary["width"], summary["hidden"], summary["outputs"]) == (12, 16, 32, 1)
    assert all(seconds >= 0 for seconds in summary["seconds"].values())
    assert summary["pool"]["best_before"] is None
    assert summary["pool"]["best_after"] == summary["best"]["full_mse"]


def test_the_artefacts_are_what_was_printed(solved: tuple[dict[str, Any], Path]) -> None:
    summary, folder = solved
    assert sorted(path.name for path in folder.iterdir()) == [
        "history.json",
        "summary.json",
        "weight_pairing_matrices.npz",
    ]
    assert json.loads((folder / "summary.json").read_text()) == summary
    assert Path(summary["artefacts"]["summary"]).name == "summary.json"
    with np.load(folder / "weight_pairing_matrices.npz", allow_pickle=False) as matrices:
        assert set(matrices.files) == set(known_methods())
        for name in matrices.files:
            assert matrices[name].shape == (12, 12)
            assert matrices[name].dtype == np.float64


def test_the_histories_lead_from_the_start_to_the_result(solved: tuple[dict[str, Any], Path]) -> None:
    summary, folder = solved
    histories = json.loads((folder / "history.json").read_text())["histories"]
    assert set(histories) == {f"{m['method']}.s{m['seed']}" for m in summary["methods"]}
    best = histories[f"{summary['best']['method']}.s{summary['best']['seed']}"]
    assert best["orders"][-1] == summary["best"]["inp_sigma"]
    assert best["points"]


def test_a_report_is_drawn_of_a_results_folder_or_with_the_solution(
    solved: tuple[dict[str, Any], Path], pairing: Command
) -> None:
    copied = pairing.folder / "copied"
    shutil.copytree(solved[1], copied)
    assert pairing("report", "copied", "--json").json == {"schema": 1, "report": "copied/report.html"}
    ended = pairing("solve", DEMO, "--inline", "--methods", "trace", "--json", "--report", "--run", "drawn")
    assert ended.status == 0, ended.errors
    assert ended.json["solved"] is True  # standard output is the JSON alone
    assert ended.errors.endswith("Report: results/drawn/report.html\n")
    for folder in (copied, pairing.folder / "results" / "drawn"):
        assert (folder / "report.html").read_text().startswith("<!DOCTYPE html>")
        assert {"errors.png", "times.png", "similarity-01.png"} <= {p.name for p in (folder / "report").iterdir()}


def test_a_method_stopped_early_stands_behind_the_others(solved: tuple[dict[str, Any], Path]) -> None:
    early = [m["stopped"] == "solved_elsewhere" for m in solved[0]["methods"]]
    assert early == sorted(early)


def test_verify_takes_a_list_a_file_and_a_summary(solved: tuple[dict[str, Any], Path], pairing: Command) -> None:
    summary, folder = solved
    listed = ",".join(map(str, ANSWER))
    (pairing.folder / "plain.txt").write_text("\n".join(map(str, ANSWER)) + "\n")
    assert read_permutation(listed) == read_permutation(str(pairing.folder / "plain.txt")) == ANSWER
    record = pairing("verify", DEMO, folder / "summary.json", "--json").json
    assert set(record) == {"schema", "puzzle", "rows", *VERDICT}
    assert record["solved"] is record["hash_match"] is True
    assert record["hash"] == summary["best"]["hash"]
    assert record["full_mse"] == summary["best"]["full_mse"]


def test_assemble_writes_the_network(pairing: Command, solved: tuple[dict[str, Any], Path]) -> None:
    summary = solved[1] / "summary.json"
    puzzle = load_puzzle(DEMO)
    for name, solution in (("network.pt", summary), ("network.safetensors", ",".join(map(str, ANSWER)))):
        ended = pairing("assemble", DEMO, solution, name)
        assert ended.status == 0, ended.errors
        assert name in ended.output
    state = torch.load(pairing.folder / "network.pt", weights_only=True)
    from safetensors.torch import load_file

    same = load_file(pairing.folder / "network.safetensors")
    assert set(state) == set(same)
    assert all(torch.equal(state[key], same[key]) for key in state)
    assert sum(value.numel() for value in state.values()) == 12 * (2 * 16 * 32 + 32 + 16) + 17
    assert puzzle.blocks == 12


def test_a_packed_puzzle_is_the_same_puzzle(pairing: Command) -> None:
    ended = pairing("pack", DEMO, "demo.safetensors")
    assert ended.status == 0, ended.errors
    assert load_puzzle(pairing.folder / "demo.safetensors").digest == load_puzzle(DEMO).digest
    verdict = pairing("verify", "demo.safetensors", ",".join(map(str, ANSWER)), "--json").json
    assert verdict["hash_match"] is True
    assert pairing("pack", DEMO, "nowhere/demo.safetensors").status == 2


# --- the same answer by other ways


def test_inline_finds_what_the_fleet_finds(pairing: Command) -> None:
    options = ["--methods", "norm_balance,cosine", "--evaluations", 40, "--no-stop-when-solved", "--json"]
    by_fleet = pairing("solve", DEMO, *options, "--pool", f"sqlite:///{pairing.folder}/one.sqlite").json
    inline = pairing("solve", DEMO, *options, "--pool", f"sqlite:///{pairing.folder}/two.sqlite", "--inline").json
    assert inline["best"] == by_fleet["best"]
    wall = {"seconds"}
    for one, other in zip(inline["methods"], by_fleet["methods"], strict=True):
        assert {k: v for k, v in one.items() if k not in wall} == {k: v for k, v in other.items() if k not in wall}
    assert inline["pool"] == by_fleet["pool"]
    assert_as_specified(inline)


def test_compare_gives_everybody_the_same_evaluations(pairing: Command) -> None:
    methods = "transpose,cosine,svd"  # each of which would go on for longer
    ended = pairing("solve", DEMO, "--inline", "--compare", "--evaluations", 50, "--methods", methods, "--json")
    summary = ended.json
    assert_as_specified(summary)
    assert {m["evaluations"] for m in summary["methods"]} == {50}
    assert {m["stopped"] for m in summary["methods"]} == {"budget"}


def test_wrong_pairs_are_repaired_unless_told_otherwise(pairing: Command) -> None:
    options = ["--inline", "--methods", "svd", "--evaluations", 2000, "--json"]  # svd gets ten of twelve pairs wrong
    kept = pairing("solve", DEMO, *options, "--no-repair")
    assert kept.status == 1, kept.errors
    (method,) = kept.json["methods"]
    best = kept.json["best"]
    assert method["repaired_pairs"] == 0
    assert pairs_of(best["inp_sigma"], best["out_sigma"]).tolist() == method["pairs"]
    mended = pairing("solve", DEMO, *options)
    assert mended.status == 0, mended.errors
    (method,) = mended.json["methods"]
    best = mended.json["best"]
    right = pairs_of(best["inp_sigma"], best["out_sigma"])
    assert best["permutation"] == ANSWER
    assert method["repaired_pairs"] == int((right != method["pairs"]).sum()) > 2


def test_the_activation_is_found(pairing: Command) -> None:
    recipe = ["--blocks", 5, "--width", 10, "--rows", 500, "--epochs", 60, "--seed", 1]
    made = pairing("make-puzzle", "smooth", "--activation", "tanh", *recipe)
    assert made.status == 0, made.errors
    auto, permutation = ["--activation", "auto"], pairing.folder / "smooth.answer.json"
    for way in ([], ["--inline"]):  # the fleet's workers all see what one of them has chosen
        ended = pairing("solve", "smooth", *auto, "--methods", "consensus,gram_cosine", *way, "--json")
        assert ended.status == 0, ended.errors
        assert ended.json["activation"] == "tanh"
        assert ended.json["best"]["hash_match"] is True
    assert "Activation: tanh, with the least MSE" in pairing("solve", "smooth", *auto, "--inline").output.splitlines()
    assert pairing("verify", "smooth", permutation, *auto).status == 0
    assert pairing("assemble", "smooth", permutation, "smooth.safetensors", *auto).status == 0
    with safe_open(pairing.folder / "smooth.safetensors", "np") as file:
        assert file.metadata() == {"activation": "tanh"}


def test_a_puzzle_of_ones_own(pairing: Command) -> None:
    made = pairing("make-puzzle", "mine", "--blocks", 5, "--width", 8, "--rows", 400, "--epochs", 40, "--seed", 3)
    assert made.status == 0, made.errors
    answers = [path for path in pairing.folder.iterdir() if "answer" in path.name]
    assert len(answers) == 1
    assert not [path for path in (pairing.folder / "mine").rglob("*") if "answer" in path.name]
    ended = pairing("solve", "mine", "--inline", "--methods", "consensus,trace", "--json")
    assert ended.status == 0, ended.errors
    assert ended.json["best"]["hash_match"]
    assert ended.json["best"]["permutation"] == json.loads(answers[0].read_text())["permutation"]
    assert pairing("verify", "mine", answers[0]).status == 0
