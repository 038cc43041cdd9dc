"""The command ``pairing`` as people and scripts call it: what it prints, writes, leaves behind and ends with."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from safetensors import safe_open

from config.settings import settings
from pairing import load_puzzle
from pairing.network import Network, pairs_of
from pairing.signals import methods as known_methods
from pairing.solution import permutation_hash, sigmas_of
from pairing.version import __version__
from tasks.cli import main
from tasks.inspection import read_permutation
from tests.support.fleet import DEMO, Command, descendants, end_all, third_party_methods, wait_for
from tests.support.pools import PoolDatabase, PostgresPoolDatabase, SqlitePoolDatabase
from tests.support.puzzles import plant, twins, write_puzzle
from tests.support.servers import free_port

ANSWER: list[int] = json.loads(DEMO.with_name("demo-puzzle.answer.json").read_text())["permutation"]
HEAVY = ("torch", "numpy", "scipy", "pandas", "numba", "celery", "sqlalchemy")

SCHEMA = {
    "": (
        "schema version run puzzle activation blocks width hidden outputs rows solved noise_floor best undecidable"
        " methods pool artefacts seconds"
    ),
    "best": "method seed full_mse inp_sigma out_sigma permutation hash hash_match",
    "undecidable": "blocks inp out",
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


@pytest.fixture
def pairing(tmp_path: Path) -> Command:
    return Command(tmp_path)


@pytest.fixture
def with_third_party(tmp_path: Path) -> Command:
    """The command where a package with methods of its own is installed."""
    return Command(tmp_path, {"PYTHONPATH": str(third_party_methods(tmp_path))})


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


def assert_one_line_naming(errors: str, *texts: str) -> None:
    """A clear message, no traceback."""
    assert "Traceback" not in errors
    assert len(errors.splitlines()) <= 3, errors
    for text in texts:
        assert text in errors


# --- a solved run, looked at from all sides


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
    assert set(record) == {"schema", "puzzle", "rows", "full_mse", "hash", "hash_match", "solved"}
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


def test_assemble_refuses_a_wrong_answer(pairing: Command) -> None:
    wrong = [*ANSWER[2:4], *ANSWER[:2], *ANSWER[4:]]
    ended = pairing("assemble", DEMO, ",".join(map(str, wrong)), "network.pt")
    assert ended.status == 1
    assert_one_line_naming(ended.errors)
    assert ended.errors.strip()
    assert not (pairing.folder / "network.pt").exists()


# --- exit statuses


def test_verify_of_a_wrong_answer_ends_with_1(pairing: Command) -> None:
    wrong = [*ANSWER[2:4], *ANSWER[:2], *ANSWER[4:]]
    ended = pairing("verify", DEMO, ",".join(map(str, wrong)))
    assert ended.status == 1
    assert "Not solved." in ended.output
    assert "is not the target hash" in ended.output


def test_not_solved_ends_with_1(pairing: Command) -> None:
    ended = pairing("solve", DEMO, "--methods", "transpose", "--inline", "--evaluations", 5, "--json")
    assert ended.status == 1, ended.errors
    summary = ended.json
    assert_as_specified(summary)
    assert not summary["solved"]
    assert summary["methods"][0]["stopped"] == "budget"
    assert summary["methods"][0]["evaluations"] == 5


BAD_CALLS: dict[str, tuple[list[object], str]] = {
    "no puzzle": (["solve"], "PUZZLE"),
    "no such option": (["solve", DEMO, "--no-such-option"], "--no-such-option"),
    "no such command": (["resolve"], "resolve"),
    "no such method": (["solve", DEMO, "--methods", "trace,voodoo"], "voodoo"),
    "no method": (["solve", DEMO, "--methods", ","], "no method"),
    "no such folder": (["solve", "nowhere"], "nowhere"),
    "no such annealer": (["solve", DEMO, "--annealer", "steel"], "steel"),
    "no such activation": (["solve", DEMO, "--activation", "sin"], "sin"),
    "no such column": (["solve", DEMO, "--target", "measurement_99"], "measurement_99"),
    "no hash": (["solve", DEMO, "--target-hash", "abc"], "--target-hash"),
    "no seeds": (["solve", DEMO, "--seeds", "0"], "seeds"),
    "a budget of nothing": (["solve", DEMO, "--budget", "0"], "budget"),
    "an endless deadline": (["solve", DEMO, "--deadline", "nan"], "deadline"),
    "no workers": (["solve", DEMO, "--workers", "0"], "--workers"),
    "a run id that is a path": (["solve", DEMO, "--run", "../run"], "run"),
    "a pool of another kind": (["solve", DEMO, "--pool", "mysql://host/name"], "PostgreSQL"),
    "verify no permutation": (["verify", DEMO, "nowhere.txt"], "nowhere.txt"),
    "verify too few": (["verify", DEMO, "1,2,3"], "3 piece numbers"),
}


@pytest.fixture
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """This process's settings as the command's would be; the data folder."""
    monkeypatch.setenv("PAIRING_DATA_DIR", str(tmp_path / "data"))
    settings.cache_clear()
    yield tmp_path / "data"
    settings.cache_clear()


@pytest.mark.parametrize("call", BAD_CALLS)
def test_a_wrong_call_ends_with_2(
    call: str, own_settings: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, named = BAD_CALLS[call]
    monkeypatch.setattr(sys, "argv", ["pairing", *map(str, arguments)])
    monkeypatch.setattr("tasks.solve.run_embedded", None)  # nothing is to be started
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    assert ended.value.code == 2
    assert said.out == ""
    assert named in said.err
    assert not own_settings.exists()


def test_a_bad_puzzle_ends_with_2_before_a_broker_starts(pairing: Command) -> None:
    puzzle = pairing.folder / "puzzle"
    shutil.copytree(DEMO, puzzle)
    (puzzle / "pieces" / "piece_3.pth").write_bytes(b"no tensor")
    process = pairing.start("solve", puzzle)
    below: set[psutil.Process] = set()
    while process.poll() is None:
        below.update(descendants(process.pid))
        time.sleep(0.02)  # looks again and again for as long as it runs
    output, errors = process.communicate()
    assert process.returncode == 2
    assert output == ""
    assert_one_line_naming(errors, "piece_3.pth")
    assert not below
    assert not list(pairing.folder.rglob("summary.json"))


@pytest.mark.parametrize("source", ["argument", "environment"])
def test_a_pool_address_with_a_password_is_refused(pairing: Command, source: str) -> None:
    url = "postgresql://user:s3cret-word@127.0.0.1/name"
    if source == "argument":
        ended = pairing("solve", DEMO, "--pool", url)
    else:
        ended = pairing("solve", DEMO, environment={"PAIRING_POOL_URL": url})
    assert ended.status == 2
    assert_one_line_naming(ended.errors, "PAIRING_POOL_PASSWORD")
    assert "s3cret-word" not in ended.errors + ended.output


def test_a_wrong_setting_ends_with_2(pairing: Command) -> None:
    ended = pairing("solve", DEMO, environment={"PAIRING_STORE_LIFETIME": "for-ever"})
    assert ended.status == 2
    assert "Traceback" not in ended.errors
    assert "PAIRING_STORE_LIFETIME" in ended.errors


def test_out_of_time_ends_with_4(pairing: Command) -> None:
    began = time.monotonic()
    ended = pairing("solve", DEMO, "--methods", "cosine", "--annealer", "classic", "--deadline", 8, "--json")
    assert ended.status == 4, ended.errors
    summary = ended.json
    assert_as_specified(summary)
    assert summary["methods"][0]["stopped"] in ("budget", "failed")  # failed: a busy machine did not get that far
    assert "deadline" in ended.errors
    assert time.monotonic() - began < 20


def test_every_method_failing_ends_with_5(with_third_party: Command) -> None:
    ended = with_third_party("solve", DEMO, "--inline", "--methods", "raises,wrong_shape", "--json")
    assert ended.status == 5, ended.errors
    summary = ended.json
    assert_as_specified(summary)
    assert summary["best"] is None
    assert [m["ok"] for m in summary["methods"]] == [False, False]


def test_a_method_of_another_package_takes_part(with_third_party: Command) -> None:
    listed = with_third_party("methods")
    assert listed.status == 0
    assert any(line.split(maxsplit=1) == ["raises", "Never gives anything."] for line in listed.output.splitlines())
    ended = with_third_party("solve", DEMO, "--inline", "--methods", "raises,trace")
    assert ended.status == 0
    assert "raises: method 'raises' failed: RuntimeError: as asked" in ended.output


# --- what people read


def test_people_see_the_table_the_permutation_and_the_verdict(pairing: Command) -> None:
    ended = pairing("solve", DEMO, "--inline", "--methods", "cosine,trace", "--no-repair", "--note", "hello")
    assert ended.status == 0
    lines = ended.output.splitlines()
    assert "Permutation: " + ",".join(map(str, ANSWER)) in lines
    assert any(line.startswith("Hash: ") and "matches the target hash" in line for line in lines)
    ranked = [line.split()[:2] for line in lines if "trace" in line or "cosine" in line][:2]
    assert ranked == [["1", "trace"], ["2", "cosine"]] or ranked == [["1", "trace"], ["–", "cosine"]]
    assert any(line.startswith("Pool: empty before; ") for line in lines)
    assert any(line.startswith("Solved in ") for line in lines)
    assert "trace" in ended.errors  # the progress
    assert "solved" in ended.errors
    folders = list((pairing.folder / "results").iterdir())  # the default of --out
    assert len(folders) == 1


def test_nothing_in_the_table_is_cut_off(pairing: Command) -> None:
    pairing("solve", DEMO, "--inline", "--methods", "trace")  # the pool fills the columns that compare with it
    ended = pairing("solve", DEMO, "--inline", "--no-repair", "--no-stop-when-solved", "--evaluations", 5)
    assert ended.status == 0
    assert "nonlinear_alignment " in ended.output
    assert "…" not in ended.output


def test_what_the_data_cannot_decide_is_said(pairing: Command) -> None:
    planted = twins(plant(1, blocks=5, rows=300, known=False), 1, 3, "inp out")
    write_puzzle(planted.puzzle, pairing.folder / "twins")
    options = ["--inline", "--methods", "trace", "--evaluations", 20]
    summary = pairing("solve", "twins", *options, "--json").json
    for kind, sigma in (("inp", planted.inp_sigma), ("out", planted.out_sigma)):
        found = summary["best"][f"{kind}_sigma"]
        assert sorted(found.index(sigma[k]) for k in (1, 3)) in summary["undecidable"][kind]
    ended = pairing("solve", "twins", *options)
    for what in ("inp", "out"):
        assert f"The data cannot decide: exchanging the {what} pieces at positions " in ended.output


def test_an_error_that_no_hash_explains_is_explained(pairing: Command) -> None:
    write_puzzle(plant(1, blocks=3, rows=50, known=False).puzzle, pairing.folder / "labels")
    ended = pairing("solve", "labels", "--inline", "--methods", "trace", "--evaluations", 20, "--target", "true")
    assert ended.status == 1
    assert "not the network's own answer" in ended.output
    assert "not the network's own answer" not in pairing("solve", DEMO, "--inline", "--methods", "trace").output


def test_methods_lists_every_method_with_a_line(pairing: Command) -> None:
    lines = pairing("methods").output.splitlines()
    assert [line.split()[0] for line in lines] == list(known_methods())
    assert all(len(line.split(maxsplit=1)[1]) > 10 for line in lines)


def test_version_and_help(pairing: Command) -> None:
    assert pairing("--version").output == f"pairing, version {__version__}\n"
    ended = pairing("--help")
    assert ended.status == 0
    for command in ("solve", "verify", "assemble", "methods", "make-puzzle"):
        assert command in ended.output
        assert "Usage: " in pairing(command, "--help").output


@pytest.mark.parametrize(
    "code",
    [
        "import tasks, tasks.cli, pairing, config",
        "from tasks.cli import cli; cli(['--help'], standalone_mode=False)",
        "from tasks.cli import cli; cli(['solve', '--help'], standalone_mode=False)",
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(code: str) -> None:
    code += f"\nimport sys; print(sorted(set({HEAVY}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd="/", check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"


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
    assert "Activation: tanh, of least error" in pairing("solve", "smooth", *auto, "--inline").output.splitlines()
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


# --- the pool


def test_winners_are_stored_and_a_second_run_stores_nothing(any_pool: PoolDatabase, pairing: Command) -> None:
    environment = {} if any_pool.password is None else {"PAIRING_POOL_PASSWORD": any_pool.password}
    call = ["solve", DEMO, "--inline", "--methods", "trace", "--pool", any_pool.url, "--note", "a note", "--json"]
    first = pairing(*call, "--run", "first", environment=environment)
    assert first.status == 0, first.errors
    pool = first.json["pool"]
    assert [row["method"] for row in pool["inserted"]] == ["trace"]
    rows = any_pool.execute("SELECT id, worker, full_mse, hash, hash_match FROM js_puzzle_pool")
    assert len(rows) == 1
    number, worker, error, digest, match = rows[0]
    assert pool["inserted"] == [{"id": number, "method": "trace", "full_mse": error}]
    assert worker == f"weight_pair_trace@{os.uname().nodename}"
    assert digest == first.json["best"]["hash"]
    assert match
    kept = any_pool.execute("SELECT pool_id, run, puzzle, method, seed, rows, note FROM pairing_result")
    assert kept == [(number, "first", first.json["puzzle"], "trace", 0, 1500, "a note")]

    second = pairing(*call, environment=environment)
    assert second.status == 0
    assert second.json["pool"]["inserted"] == second.json["pool"]["stored_later"] == []
    assert second.json["pool"]["best_before"] == pool["best_after"] == second.json["pool"]["best_after"]
    assert second.json["methods"][0]["pairs_matching_pool_best"] == 12
    assert second.json["methods"][0]["start"] == "pool"
    assert len(any_pool.execute("SELECT id FROM js_puzzle_pool")) == 1


def test_seeds_start_apart_near_the_pools_order(pairing: Command) -> None:
    call = ["solve", DEMO, "--inline", "--methods", "trace", "--json"]
    assert pairing(*call).status == 0
    ended = pairing(*call, "--start", "pool", "--seeds", 3, "--diversity", 3, "--no-stop-when-solved")
    assert ended.status == 0, ended.errors
    starts = {method["seed"]: method["start_mse"] for method in ended.json["methods"]}
    assert len(set(starts.values())) == 3
    assert starts[0] == ended.json["pool"]["best_before"]


def test_a_pool_that_may_not_keep_records_says_so(postgres_pool: PostgresPoolDatabase, pairing: Command) -> None:
    postgres_pool.become_guest()
    environment = {"PAIRING_POOL_PASSWORD": str(postgres_pool.password)}
    call = ["solve", DEMO, "--inline", "--methods", "trace", "--pool", postgres_pool.url, "--json"]
    first = pairing(*call, environment=environment)
    assert first.status == 0, first.errors
    assert len(first.json["pool"]["inserted"]) == 1
    assert "no record of where they came from" in first.errors
    second = pairing(*call, environment=environment)
    assert second.json["pool"]["inserted"] == []
    assert "no record" not in second.errors  # nothing was stored


def test_the_fleet_stores_in_postgres(postgres_pool: PostgresPoolDatabase, pairing: Command) -> None:
    secret = pairing.folder / "secret"
    assert postgres_pool.password
    secret.write_text(postgres_pool.password + "\n")
    environment = {"PAIRING_POOL_PASSWORD_FILE": str(secret), "PAIRING_KEY_PREFIX": "of another fleet:"}
    call = ["solve", DEMO, "--methods", "trace,cosine", "--pool", postgres_pool.url, "--json"]
    first = pairing(*call, environment=environment)
    assert first.status == 0, first.errors
    rows = postgres_pool.execute("SELECT id, full_mse FROM js_puzzle_pool ORDER BY id")
    assert [(row["id"], row["full_mse"]) for row in first.json["pool"]["inserted"]] == rows
    assert first.json["pool"]["best_after"] == min(error for _, error in rows)


def test_a_broker_that_the_environment_names_for_others_is_left_alone(pairing: Command) -> None:
    elsewhere = f"redis://127.0.0.1:{free_port()}/0"
    environment = {"CELERY_BROKER_URL": elsewhere, "CELERY_RESULT_BACKEND": elsewhere}
    ended = pairing("solve", DEMO, "--methods", "trace", "--json", environment=environment)
    assert ended.status == 0, ended.errors
    assert ended.json["solved"]


def test_a_pool_that_cannot_be_reached_gets_its_winners_later(pairing: Command) -> None:
    url = f"postgresql://somebody@127.0.0.1:{free_port()}/pool"
    ended = pairing("solve", DEMO, "--inline", "--methods", "trace", "--pool", url, "--json")
    assert ended.status == 0, ended.errors
    pool = ended.json["pool"]
    assert pool["inserted"] == []
    assert [row["method"] for row in pool["stored_later"]] == ["trace"]
    assert pool["best_before"] is None
    assert len(list((pairing.data_dir / "spool").glob("*.json"))) == 1
    assert "The pool could not be used" in ended.errors


def test_a_winner_that_waited_is_stored_exactly_once(pairing: Command) -> None:
    blocked = pairing.folder / "blocked"
    blocked.write_text("a file where the pool's folder should be")
    url = f"sqlite:///{blocked}/pool.sqlite"
    call = ["solve", DEMO, "--inline", "--methods", "trace", "--pool", url, "--json"]
    first = pairing(*call)
    assert first.status == 0, first.errors
    assert len(first.json["pool"]["stored_later"]) == 1
    blocked.unlink()
    second = pairing(*call)
    assert second.status == 0
    assert second.json["pool"]["stored_later"] == []
    assert second.json["pool"]["best_after"] == first.json["best"]["full_mse"]
    assert not list((pairing.data_dir / "spool").glob("*.json"))
    rows = SqlitePoolDatabase(blocked / "pool.sqlite").execute("SELECT full_mse FROM js_puzzle_pool")
    assert rows == [(first.json["best"]["full_mse"],)]


def test_a_winner_that_can_be_neither_stored_nor_kept_ends_with_3(pairing: Command) -> None:
    pairing.data_dir.mkdir()
    (pairing.data_dir / "spool").write_text("a file where the folder should be")
    url = f"postgresql://somebody@127.0.0.1:{free_port()}/pool"
    ended = pairing("solve", DEMO, "--inline", "--methods", "trace", "--pool", url, "--json")
    assert ended.status == 3, ended.errors
    assert "A WINNER IS NOT STORED" in ended.errors
    assert ended.json["solved"] is True  # the answer is told all the same
    assert ended.json["best"]["permutation"] == ANSWER


# --- nothing left behind, nothing given away

SECRETS = {
    "PAIRING_POOL_PASSWORD": "pool-s3cret-a1",
    "CHEROKEE_DB_PASS": "pool-s3cret-b2",
    "PAIRING_BROKER_URL": "redis://:broker-s3cret-c3@redis.invalid:6379/0",
}
LONG = ["solve", DEMO, "--methods", "cosine,transpose", "--annealer", "classic", "--workers", 2, "--budget", 100]


@pytest.fixture
def running(pairing: Command) -> Iterator[subprocess.Popen[str]]:
    """A run on two busy workers that would go on for minutes."""
    process = pairing.start(*LONG, "--json", environment=SECRETS)
    assert process.stderr
    seen = ""
    try:
        while "error" not in seen:  # the first progress of a refinement
            line = process.stderr.readline()
            assert line, f"it ended early: {seen}"
            seen += line
        yield process
    finally:
        left = descendants(process.pid)
        process.kill()
        end_all(left)
        for pipe in (process.stdout, process.stderr):
            if pipe:
                pipe.close()
        process.wait()


def assert_no_secret_in_a_command_line(processes: list[psutil.Process]) -> None:
    lines = [" ".join(process.cmdline()) for process in processes]
    assert sum("celery" in line for line in lines) >= 4  # two workers and their children
    assert any("valkey-server" in line for line in lines)
    for line in lines:
        assert "s3cret" not in line
        assert "redis://" not in line


WAYS = {
    "SIGINT": (signal.SIGINT, 130),
    "SIGTERM": (signal.SIGTERM, 128 + signal.SIGTERM),
    "SIGKILL": (signal.SIGKILL, -signal.SIGKILL),
}


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_left_when_it_is_ended(running: subprocess.Popen[str], way: str, tmp_path: Path) -> None:
    number, status = WAYS[way]
    below = descendants(running.pid)
    assert_no_secret_in_a_command_line([psutil.Process(running.pid), *below])
    if number == signal.SIGINT:
        os.killpg(running.pid, number)  # what a terminal does
    else:
        os.kill(running.pid, number)
    assert end_all(below) == []
    output, errors = running.communicate(timeout=10)
    assert running.returncode == status
    assert output == ""
    assert "Traceback" not in errors
    assert number != signal.SIGINT or errors.splitlines()[-1] == "pairing: interrupted"
    assert not list(tmp_path.rglob("summary.json"))


def test_ctrl_c_ends_an_inline_run_too(pairing: Command) -> None:
    process = pairing.start(*LONG, "--inline")
    assert process.stderr
    try:
        wait_for("the refinement's progress", lambda: "error" in ((process.stderr and process.stderr.readline()) or ""))
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=10)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert list((pairing.folder / "results").glob("*")) == []


def test_a_dead_worker_ends_the_run_with_3(running: subprocess.Popen[str]) -> None:
    below = descendants(running.pid)
    worker = next(p for p in below if "embedded1@" in " ".join(p.cmdline()))
    worker.kill()
    output, errors = running.communicate(timeout=20)
    assert running.returncode == 3
    assert output == ""
    assert "worker-1 ended unexpectedly" in errors
    assert "Traceback" not in errors.splitlines()[0]
    assert end_all(below) == []


def test_the_working_directory_cannot_replace_our_modules(pairing: Command) -> None:
    for name in ("tasks", "pairing", "config", "celeryconfig"):
        (pairing.folder / f"{name}.py").write_text("raise SystemExit('the wrong module')\n")
    ended = pairing("solve", DEMO, "--methods", "trace")
    assert ended.status == 0, ended.errors
