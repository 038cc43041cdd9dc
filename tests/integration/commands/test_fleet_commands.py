"""A fleet from outside: enqueued in every way, watched, cancelled, its results fetched, its store kept small."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pairing import load_puzzle
from pairing.io.packed import pack_puzzle
from pairing.signals.registry import choose_methods
from tasks.contracts.run_request import RUN_ID, new_run_id
from tests.support.fleet import DEMO, Command, Ended, Fleet, running_fleet, variant, wait_for
from tests.support.puzzles import plant, write_puzzle


@pytest.fixture(scope="module")
def fleet(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with running_fleet(redis_url, tmp_path_factory.mktemp("fleet"), roots=DEMO.parent) as fleet:
        yield fleet


@pytest.fixture
def command(fleet: Fleet, tmp_path: Path) -> Command:
    """The command on another host, so to speak: it shares nothing with the worker but the broker."""
    return Command(tmp_path, {"PAIRING_BROKER_URL": fleet.url, "PAIRING_KEY_PREFIX": fleet.prefix})


def ended(fleet: Fleet, run: str, seconds: float = 120.0) -> dict[str, Any]:
    return wait_for(f"the end of {run}", lambda: fleet.store.record(run, "end"), seconds)


# --- called in every way


def test_enqueue_prints_the_id_and_the_result_is_fetched_from_elsewhere(fleet: Fleet, command: Command) -> None:
    said = command("enqueue", DEMO, "--methods", "trace,cosine", "--note", "by shell")
    assert said.status == 0, said.errors
    run = said.output.strip()
    assert ended(fleet, run)["end"] == "succeeded"

    fetched = command("results", run, "--out", "fetched", "--json")
    assert fetched.status == 0
    assert fetched.json["solved"]
    folder = command.folder / "fetched" / run
    assert json.loads((folder / "summary.json").read_text())["run"] == run
    with np.load(folder / "weight_pairing_matrices.npz") as matrices:
        assert sorted(matrices) == ["cosine", "trace"]

    status = command("status", run, "--json").json
    assert (status["state"], status["note"], status["error"]) == ("succeeded", "by shell", None)
    assert set(status["parts"]["refined"]) == {"trace.s0", "cosine.s0"}
    assert run in command("status", run).output
    listed = command("runs", "--json").json["runs"]
    assert [entry["state"] for entry in listed if entry["run"] == run] == ["succeeded"]
    assert run in command("runs").output


def test_enqueue_waits_with_the_exit_status_of_solve(command: Command) -> None:
    solved = command("enqueue", DEMO, "--methods", "trace", "--wait", "--json", "--run", "waited-for")
    assert solved.status == 0, solved.errors
    assert solved.json["solved"]
    assert (command.folder / "results" / "waited-for" / "summary.json").is_file()
    again = command("watch", "waited-for")  # it has ended: the result at once
    assert again.status == 0
    assert "Solved" in again.output


def test_not_solved_is_exit_status_1(fleet: Fleet, command: Command) -> None:
    fleet_options = ["--methods", "cosine", "--no-repair", "--start", "norm", "--evaluations", "1"]
    said = command("enqueue", DEMO, *fleet_options, "--wait", "--target-hash", "0" * 64)
    assert said.status == 1, said.errors


def test_a_wrong_puzzle_is_an_error_result(fleet: Fleet, command: Command) -> None:
    broken = command.folder / "broken"
    shutil.copytree(DEMO, broken)
    (broken / "pieces" / "piece_3.pth").write_bytes(b"no piece")
    said = command("enqueue", broken, "--wait")
    assert said.status == 2
    assert "piece_3.pth" in said.errors
    assert "Traceback" not in said.errors
    run = said.errors.split()[0]
    assert ended(fleet, run)["end"] == "failed"


def test_a_folder_that_is_none_is_said_before_anything_is_sent(command: Command) -> None:
    said = command("enqueue", "nowhere")
    assert said.status == 2
    assert "nowhere" in said.errors
    assert command("enqueue", command.folder).status == 2


def test_python_enqueues_without_anything_heavy(fleet: Fleet, command: Command) -> None:
    program = (
        "import sys\n"
        "from tasks import enqueue\n"
        f"print(enqueue({str(DEMO)!r}, methods=['trace', 'cosine'], seeds=2, priority='urgent'))\n"
        "heavy = {'torch', 'scipy', 'pandas', 'numba', 'numpy', 'sqlalchemy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    called = subprocess.run(
        [sys.executable, "-c", program],
        env=command.environment,
        capture_output=True,
        text=True,
        cwd=command.folder,
        check=False,
    )
    assert called.returncode == 0, called.stderr
    run = called.stdout.strip()
    assert ended(fleet, run)["end"] == "succeeded"
    assert len(fleet.store.record(run, "summary")["methods"]) == 4


@pytest.fixture
def old_script(redis_url: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """The example, called beside a puzzle; on a fleet that offers no methods but ours, for it asks for all."""
    puzzle = write_puzzle(plant(1, blocks=3, rows=100).puzzle, tmp_path / "track2_permutation")
    with running_fleet(redis_url, tmp_path, third_party=False) as fleet:
        command = Command(tmp_path, {"PAIRING_BROKER_URL": fleet.url, "PAIRING_KEY_PREFIX": fleet.prefix})
        assert command("enqueue", puzzle, "--methods", "trace", "--wait").status == 0  # the pool has a best one
        return subprocess.run(
            [sys.executable, DEMO.parent / "weight_pairing_solver.py"],
            env=command.environment,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            check=False,
        )


def test_the_example_is_the_script_that_the_fleet_had(
    old_script: subprocess.CompletedProcess[str], tmp_path: Path
) -> None:
    called = old_script
    assert called.returncode == 0, called.stderr
    _, *methods = called.stdout.split("comparison (least error first)")[0].strip().split("\n\n")
    assert [text.split("\n")[0] for text in methods[:4]] == ["svd", "activation", "transpose", "cosine"]
    assert sorted(text.split("\n")[0] for text in methods) == sorted(choose_methods("all"))
    for text in methods:
        name, similarity, top, pool, order, refined = text.split("\n")
        assert re.fullmatch(r"  similarity: total \S+, mean \S+", similarity)
        assert len(re.findall(r"\d+-\d+ \(\S+\)", top)) == 3
        assert re.fullmatch(r"  as the pool best: \d+ of 3 pairs", pool)
        assert re.fullmatch(r"  the pool best's order with these pairs: error \S+", order)
        assert re.fullmatch(r"  refined from '\w+': error \S+ -> \S+", refined)
        assert re.search(rf"^  \d+\. {name} ", called.stdout, re.M)
    assert called.stdout.endswith("\nsolved\n")
    with np.load(tmp_path / "results" / "weight_pairing_matrices.npz") as matrices:
        assert sorted(matrices) == sorted(choose_methods("all"))


CALLER = """
import json, sys
from celery import Celery
asked = json.load(sys.stdin)
app = Celery(broker=asked["url"], backend=asked["url"])
app.conf.broker_transport_options = {"global_keyprefix": asked["prefix"]}
app.conf.result_backend_transport_options = {"global_keyprefix": asked["prefix"]}
result = app.send_task("pairing.run", kwargs=asked["arguments"], task_id=asked["run"])
try:
    print(json.dumps({"run": result.id, "result": result.get(timeout=100)}))
except Exception as error:
    print(json.dumps({"run": result.id, "error": type(error).__name__, "message": str(error)}))
"""
"""A program that has Celery and nothing of ours, in the default queue of Celery."""


def call(fleet: Fleet, folder: Path, arguments: dict[str, Any], run: str | None = None) -> dict[str, Any]:
    asked = {"url": fleet.url, "prefix": fleet.prefix, "arguments": arguments, "run": run}
    said = subprocess.run(
        [sys.executable, "-c", CALLER], input=json.dumps(asked), capture_output=True, text=True, cwd=folder, check=True
    )
    answer: dict[str, Any] = json.loads(said.stdout)
    return answer


def test_a_run_by_name_and_path_below_an_allowed_root(fleet: Fleet, tmp_path: Path) -> None:
    answer = call(fleet, tmp_path, {"puzzle": str(DEMO), "methods": ["trace"], "note": "by name"})
    assert answer["result"] == answer["run"]
    assert ended(fleet, answer["run"])["end"] == "succeeded"
    assert fleet.store.record(answer["run"], "summary")["solved"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"methods": ["trace"]}, "puzzle is missing"),
        ({"puzzle": str(DEMO), "seeds": 0}, "seeds must be at least 1"),
        ({"puzzle": str(DEMO), "budget": -1}, "budget must be at least 0.1"),
        ({"puzzle": str(DEMO), "surprise": 1}, "surprise is unknown"),
        ({"puzzle": str(DEMO), "methods": ["no_such_method"]}, "unknown method 'no_such_method'"),
        ({"puzzle": str(DEMO), "activation": "step"}, "unknown activation 'step'"),
        ({"puzzle": f"sha256:{'0' * 64}"}, "pairing puzzle put"),
        ({"puzzle": "/etc"}, "not below a folder"),
        ({"puzzle": f"{DEMO}/../../pairing"}, "not below a folder"),
        ({"puzzle": "demo-puzzle"}, "neither a digest"),
    ],
    ids=lambda value: next(iter(value.values())) if isinstance(value, dict) else None,
)
def test_a_wrong_argument_comes_back_as_a_clear_error(
    fleet: Fleet, tmp_path: Path, asked: dict[str, Any], message: str
) -> None:
    answer = call(fleet, tmp_path, asked)
    assert answer["error"] == "InputError"
    assert message in answer["message"]
    assert ended(fleet, answer["run"])["end"] == "failed"


def test_the_same_id_twice_is_one_run(fleet: Fleet, tmp_path: Path) -> None:
    for _ in range(2):
        assert call(fleet, tmp_path, {"puzzle": str(DEMO), "methods": ["trace"]}, "the-same")["result"] == "the-same"
    ended(fleet, "the-same")
    wait_for("both messages", lambda: len(fleet.happened("task-succeeded", "the-same")) == 2)
    fleet.wait_until_succeeded("the-same.comparison")
    assert len(fleet.happened("task-started", "the-same.trace.s0.refinement")) == 1


# --- puzzles


def test_an_id_is_not_taken_for_another_run(fleet: Fleet, command: Command) -> None:
    call = ("enqueue", DEMO, "--methods", "trace", "--run", "taken")
    assert command(*call).status == 0
    assert command(*call).output == "taken\n"  # the same again is harmless
    for _ in range(2):
        refused = command(*call, "--seeds", "3", "--note", "another")
        assert (refused.status, refused.output) == (2, "")
        assert "the run taken is known with other arguments (note, seeds)" in refused.errors
        assert ended(fleet, "taken")["end"] == "succeeded"
    entry = fleet.store.run_entry("taken")
    assert entry is not None
    assert (entry["seeds"], entry["note"]) == (1, "")


@pytest.mark.parametrize("arguments", [{"seeds": 3}, {"seeds": 0}], ids=["other", "wrong"])
def test_whoever_enqueues_by_name_ends_no_other_run(fleet: Fleet, arguments: dict[str, int]) -> None:
    request = fleet.enqueue(variant(1480 + arguments["seeds"]), ["trace", "cosine"], budget=2, repair=False)
    wait_for("its plan", lambda: fleet.store.record(request.run, "plan"))
    sent = {**request.arguments, **arguments}
    fleet.app.send_task("pairing.run", kwargs=sent, task_id=request.run, queue="pairing.pool")
    wait_for("what the worker says", lambda: f"refused: {words(arguments)}" in fleet.log.read_text())
    assert ended(fleet, request.run)["end"] == "succeeded"


def words(arguments: dict[str, int]) -> str:
    return "the run cannot be started as asked: seeds" if arguments["seeds"] == 0 else "the run "


def test_ids_that_are_made_up_have_64_random_bits() -> None:
    made = new_run_id()
    assert re.fullmatch(r"\d{8}-\d{6}-[0-9a-f]{16}", made)
    assert re.fullmatch(RUN_ID, made)


def test_a_puzzle_is_put_listed_named_by_its_digest_and_removed(fleet: Fleet, command: Command) -> None:
    packed = command.folder / "variant.safetensors"
    packed.write_bytes(pack_puzzle(variant(1201)))
    digest = command("puzzle", "put", packed).output.strip()
    assert command("puzzle", "put", packed, "--json").json["digest"] == digest
    entry = next(e for e in command("puzzle", "list", "--json").json["puzzles"] if e["digest"] == digest)
    assert (entry["name"], entry["bytes"]) == (packed.name, packed.stat().st_size)
    assert digest in command("puzzle", "list").output

    solved = command("enqueue", digest, "--methods", "trace", "--wait", "--json")
    assert solved.json["puzzle"] == load_puzzle(packed).digest

    assert command("puzzle", "rm", digest).status == 0
    assert command("puzzle", "rm", digest).status == 2
    gone = command("enqueue", digest, "--methods", "trace", "--wait", environment={"PAIRING_CACHE_DIR": "elsewhere"})
    assert gone.status in (0, 2)  # the worker's own copy may still be there
    assert command("puzzle", "rm", "digest").status == 2


# --- steering


def test_a_cancelled_run_ends_as_cancelled_and_the_worker_goes_on(fleet: Fleet, command: Command) -> None:
    options = ["--methods", "cosine", "--no-repair", "--seeds", "6", "--deadline", "1000"]
    options += ["--compare", "--evaluations", str(10**9)]
    run = command("enqueue", DEMO, *options).output.strip()
    wait_for("a refinement", lambda: fleet.store.parts(run, "progress"), 120)
    began = time.monotonic()
    assert command("cancel", run).status == 0
    assert ended(fleet, run)["end"] == "cancelled"
    again = command("cancel", run)
    assert (again.status, again.errors.split(";")[0]) == (1, f"pairing: the run {run} has already ended (cancelled)")
    assert time.monotonic() - began < 60  # a safeguard, no measurement
    summary = fleet.store.record(run, "summary")
    assert (bool(summary["best"]), summary["undecidable"]) == (True, None)  # which may take long
    assert command("watch", run).status == 4
    assert command("enqueue", DEMO, "--methods", "trace", "--wait").status == 0


def test_what_nobody_knows_is_said(command: Command) -> None:
    for arguments in (["status", "nobody"], ["watch", "nobody"], ["cancel", "nobody"], ["results", "nobody"]):
        said = command(*arguments)
        assert said.status == 2
        assert "there is no run nobody" in said.errors


def test_a_broker_that_is_not_there_is_exit_status_3(command: Command) -> None:
    url = "redis://:secret-password@127.0.0.1:1/0"
    for arguments in (["enqueue", DEMO], ["runs"], ["puzzle", "put", DEMO]):
        said = command(*arguments, environment={"PAIRING_BROKER_URL": url})
        assert said.status == 3, said.errors
        assert "127.0.0.1:1" in said.errors
        assert "secret-password" not in said.errors


def test_runs_that_the_store_has_forgotten_are_listed_from_the_record(fleet: Fleet, command: Command) -> None:
    away = {"PAIRING_BROKER_URL": "redis://127.0.0.1:1/0"}
    nothing = command("runs", environment=away)
    assert (nothing.status, nothing.output) == (3, "")
    command("enqueue", DEMO, "--methods", "trace", "--wait", "--run", "forgotten")
    assert not entry_of(command("runs", "--json"), "forgotten")["recorded"]
    assert command("drop", "forgotten").status == 0
    on_host = {"PAIRING_DATA_DIR": str(fleet.data_dir)}
    found = entry_of(command("runs", "--json", environment=on_host), "forgotten")
    assert (found["recorded"], found["solved"], found["methods"]) == (True, True, ["trace"])
    without_broker = command("runs", environment={**on_host, **away})
    assert without_broker.status == 3
    assert "forgotten" in without_broker.output


def entry_of(said: Ended, run: str) -> dict[str, Any]:
    (found,) = (entry for entry in said.json["runs"] if entry["run"] == run)
    return found


def test_prune_removes_what_has_ended_and_nothing_else(fleet: Fleet, command: Command) -> None:
    command("enqueue", DEMO, "--methods", "trace", "--wait", "--run", "to-be-pruned")
    puzzle = fleet.store.record("to-be-pruned", "request")["puzzle"]
    assert command("prune").status == 0
    assert command("status", "to-be-pruned").status == 0  # it ended only now
    assert fleet.store.similarity(puzzle, "trace") is not None
    assert command("prune", "--older-than", "0").status == 0
    assert command("status", "to-be-pruned").status == 2
    left = [entry["run"] for entry in fleet.store.run_entries()]
    assert "to-be-pruned" not in left
    assert not fleet.store.backend.fields("pairing.run.to-be-pruned.refinement")
    assert fleet.store.similarity(puzzle, "trace") is None
