"""The command ``pairing`` as people and scripts call it: what it says and ends with."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from config.settings import settings
from pairing.signals.registry import methods as known_methods
from pairing.version import __version__
from tasks.commands.main import main
from tests.support.fleet import DEMO, Command, descendants, third_party_methods
from tests.support.puzzles import plant, twins, write_puzzle
from tests.support.results import ANSWER, assert_as_specified

HEAVY = ("torch", "numpy", "scipy", "pandas", "numba", "celery", "sqlalchemy")


@pytest.fixture
def with_third_party(tmp_path: Path) -> Command:
    """The command where a package with methods of its own is installed."""
    return Command(tmp_path, {"PYTHONPATH": str(third_party_methods(tmp_path))})


def assert_one_line_naming(errors: str, *texts: str) -> None:
    """A clear message, no traceback."""
    assert "Traceback" not in errors
    assert len(errors.splitlines()) <= 3, errors
    for text in texts:
        assert text in errors


@pytest.mark.parametrize("call", [["methods"], ["verify", DEMO, "1,2"], ["pool", "list"], ["no-command"], ["--help"]])
def test_a_process_that_has_imported_already_says_what_a_fresh_one_says(call: list[object], pairing: Command) -> None:
    warm = pairing(*call)
    with pairing.start(*call) as process:
        output, errors = process.communicate()
    assert (warm.status, warm.output, warm.errors) == (process.returncode, output, errors)


# --- exit statuses


def test_assemble_refuses_a_wrong_answer(pairing: Command) -> None:
    wrong = [*ANSWER[2:4], *ANSWER[:2], *ANSWER[4:]]
    ended = pairing("assemble", DEMO, ",".join(map(str, wrong)), "network.pt")
    assert ended.status == 1
    assert_one_line_naming(ended.errors)
    assert ended.errors.strip()
    assert not (pairing.folder / "network.pt").exists()


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
    monkeypatch.setattr("tasks.commands.solve.run_embedded", None)  # nothing is to be started
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    assert ended.value.code == 2
    assert said.out == ""
    assert named in said.err
    assert not own_settings.exists()


def test_a_bad_puzzle_ends_with_2_and_leaves_no_process(pairing: Command) -> None:
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
    assert not any(started.is_running() for started in below)
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
    assert time.monotonic() - began < 120  # and not the usual deadline of 300 s


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
        assert f"Non-identifiable: exchanging the {what} pieces at positions " in ended.output


def test_an_error_that_no_hash_explains_is_explained(pairing: Command) -> None:
    write_puzzle(plant(1, blocks=3, rows=50, known=False).puzzle, pairing.folder / "labels")
    ended = pairing("solve", "labels", "--inline", "--methods", "trace", "--evaluations", 20, "--target", "true")
    assert ended.status == 1
    assert "not the network's own output" in ended.output
    assert "not the network's own output" not in pairing("solve", DEMO, "--inline", "--methods", "trace").output


def test_methods_lists_every_method_with_a_line(pairing: Command) -> None:
    heading, nothing, *lines = pairing("methods").output.splitlines()
    assert heading
    assert not nothing
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
        "import tasks, tasks.commands.main, pairing, config",
        "from tasks.commands.main import cli; cli(['--help'], standalone_mode=False)",
        "from tasks.commands.main import cli; cli(['solve', '--help'], standalone_mode=False)",
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(code: str) -> None:
    code += f"\nimport sys; print(sorted(set({HEAVY}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd="/", check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("code", "spared"),
    [
        ("import tasks.commands.solve", {"sqlalchemy", "celery", "numba", "matplotlib"}),
        ("import tasks.worker.launch", {"flower", "prompt_toolkit"}),
        ("import tasks.client.runs_api", {"sqlalchemy", "celery", "numpy"}),
        ("import tasks.pool.repository", {"sqlalchemy.dialects.postgresql"}),
    ],
)
def test_nobody_imports_more_than_they_use(code: str, spared: set[str]) -> None:
    code += f"\nimport sys; print(sorted({spared} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd="/", check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"


def test_making_a_pools_tables_needs_no_numerics(tmp_path: Path) -> None:
    call = ["pool", "init", "--pool", f"sqlite:///{tmp_path / 'pool.sqlite'}"]
    code = f"import sys; from tasks.commands.main import cli; cli({call}, standalone_mode=False)\n"
    code += "print(sorted({'torch', 'numpy', 'scipy', 'pandas', 'numba', 'celery'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd="/", check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"
