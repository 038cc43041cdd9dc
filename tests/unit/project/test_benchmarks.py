"""The parts of the benchmarks that measure nothing: recipes, seeds, records, resuming, tables."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from pairing.errors import InputError
from pairing.synthetic.make import make_puzzle
from pairing.synthetic.recipe import Recipe
from tests.benchmarks import data_alone, signals
from tests.benchmarks.__main__ import main
from tests.benchmarks.candidates import exchanges, swaps
from tests.benchmarks.case import Case, Sample, Values
from tests.benchmarks.cases import CASES
from tests.benchmarks.command import imports, pairs_right
from tests.benchmarks.data_alone import DEEP_AND_NARROW, HARDLY_TRAINED, LARGE, UNTRAINED
from tests.benchmarks.fitted import studied
from tests.benchmarks.growth import exponent
from tests.benchmarks.machine import code_digest, machine
from tests.benchmarks.networks import trained
from tests.benchmarks.recipes import GROWTH, HARD, RECIPES, BenchmarkNetwork, fresh_seeds
from tests.benchmarks.record import END_MARK, START_MARK, Figure, markdown_table, put_between_marks, rich_table, share
from tests.benchmarks.repair import permuted
from tests.benchmarks.runs import Run, carry_out, last_run, open_run
from tests.benchmarks.signals import Judged, signal_figures
from tests.support.puzzles import Planted, plain_mse

TINY = BenchmarkNetwork("tiny", "tests", Recipe(blocks=3, width=4, rows=40, epochs=2))
BIGGER = BenchmarkNetwork("bigger", "more tests", replace(TINY.recipe, blocks=4))

ALL = [*RECIPES, HARD, *GROWTH, *UNTRAINED, *HARDLY_TRAINED, *DEEP_AND_NARROW, *LARGE]


# --- recipes --------------------------------------------------------------------------------------------------------


def test_the_networks_cover_what_is_asked_for() -> None:
    assert len(RECIPES) >= 10
    assert all(12 <= network.blocks <= 64 and 16 <= network.width <= 64 for network in RECIPES)
    assert {"gelu", "tanh"} <= {network.recipe.activation for network in RECIPES}
    assert any(network.recipe.outputs > 1 for network in RECIPES)
    assert any(network.blocks == 64 for network in RECIPES)
    assert any(network.recipe.table == "digits" for network in RECIPES)
    assert (HARD.blocks, HARD.width) == (48, 48)
    assert [network.blocks for network in GROWTH] == [16, 32, 64, 96, 192]
    assert {network.width for network in GROWTH} == {32}


@pytest.mark.parametrize("network", ALL, ids=lambda network: network.name)
@pytest.mark.slow
def test_a_network_can_be_made(network: BenchmarkNetwork, tmp_path: Path) -> None:
    less = replace(network.recipe, blocks=2, rows=20, epochs=1)
    assert make_puzzle(tmp_path / "puzzle", less).rows == 20


def test_names_and_digests_tell_recipes_apart() -> None:
    assert len({recipe.name for recipe in ALL}) == len({recipe.digest for recipe in ALL}) == len(ALL)
    assert replace(TINY, recipe=replace(TINY.recipe, rows=41)).digest != TINY.digest


def test_a_network_is_trained_once(tmp_path: Path) -> None:
    planted = trained(TINY, 3, tmp_path)
    assert planted.puzzle.target_hash is None
    assert plain_mse(planted.puzzle, planted.inp_sigma, planted.out_sigma) < 1e-10
    written = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")}
    assert trained(TINY, 3, tmp_path).puzzle.digest == planted.puzzle.digest
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")} == written
    assert trained(TINY, 4, tmp_path).puzzle.digest != planted.puzzle.digest


def test_a_fitted_network_is_its_answer() -> None:
    planted = studied(3, 2, seed=5)
    assert plain_mse(planted.puzzle, planted.inp_sigma, planted.out_sigma) < 1e-10
    assert studied(3, 2, seed=5).puzzle.digest == planted.puzzle.digest
    assert len({studied(3, epochs, seed).puzzle.digest for epochs, seed in ((0, 5), (2, 5), (2, 6))}) == 3


def test_fresh_seeds() -> None:
    seeds = fresh_seeds(7, "a", 100)
    assert len(set(seeds)) == 100
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert fresh_seeds(7, "a", 3) == seeds[:3]
    assert not set(seeds) & {*fresh_seeds(8, "a", 100), *fresh_seeds(7, "b", 100)}


# --- runs -----------------------------------------------------------------------------------------------------------


def counting(measured: list[int], broken: Sequence[int] = ()) -> Case:
    """A case that notes which samples were measured, and fails at some."""

    def measure(sample: Sample) -> Values:
        if sample.index in broken:
            raise ValueError("broken on purpose")
        measured.append(sample.index)
        return {"seed": sample.seed}

    return Case(
        name="counting seeds",
        measure=measure,
        figures=lambda values: [
            Figure(what="most", measured=max(v["seed"] for v in values), unit="", samples=len(values))
        ],
        full=4,
        published=False,
    )


def test_records_say_what_was_measured(tmp_path: Path) -> None:
    run = open_run(tmp_path, "full", tmp_path, seed=5)
    case = counting([])
    values = list(carry_out(run, case, 2, pytest.fail))
    records = run.records(case)
    assert [record["values"] for record in records] == values
    for index, record in enumerate(records):
        assert {"schema": 1, "case": case.name, "sample": index, "run_seed": 5}.items() <= record.items()
        assert record["seed"] == record["values"]["seed"] == fresh_seeds(5, case.name, 2)[index]
        assert record["code"] == code_digest()
        assert record["machine"] == machine()
        assert {"version", "commit", "at", "seconds"} <= record.keys()


def test_a_second_call_goes_on_where_the_first_stopped(tmp_path: Path) -> None:
    run, measured, said = open_run(tmp_path, "full", tmp_path, seed=5), [], []
    first = list(carry_out(run, counting(measured, broken=[1]), 3, said.append))
    assert measured == [0, 2]
    assert said == ["counting seeds, sample 1: ValueError: broken on purpose"]
    again = list(carry_out(run, counting(measured), 4, pytest.fail))
    assert measured == [0, 2, 1, 3]
    assert [again[0], again[2]] == first
    assert [figure.samples for figure in run.figures([counting(measured)])] == [4]
    assert not [file for file in tmp_path.rglob("*") if file.name.startswith(".")]


def test_which_run_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = open_run(tmp_path, "full", tmp_path, seed=5)
    named.folder.mkdir()
    assert open_run(tmp_path, "full", tmp_path) == named
    quick = open_run(tmp_path, "quick", tmp_path)
    quick.folder.mkdir()
    assert quick.seed > 5
    assert last_run(tmp_path, tmp_path) == named
    monkeypatch.setattr("tests.benchmarks.runs.code_digest", lambda: "0" * 12)
    assert open_run(tmp_path, "full", tmp_path).seed > 5  # of other code: begun anew
    assert last_run(tmp_path / "none", tmp_path) is None


def test_code_has_a_digest(tmp_path: Path) -> None:
    (tmp_path / "pairing").mkdir()
    file = tmp_path / "pairing" / "module.py"
    digests = [code_digest(tmp_path)]
    for text in ("a = 1\n", "a = 2\n"):
        code_digest.cache_clear()
        file.write_text(text)
        digests.append(code_digest(tmp_path))
    assert len(set(digests)) == 3


# --- figures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("measured", "at_least", "held"),
    [(1.0, False, True), (2.5, False, False), (2.5, True, True), (1.0, True, False), (math.nan, True, False)],
)
def test_what_is_held(measured: float, at_least: bool, held: bool) -> None:
    figure = Figure(what="w", measured=measured, unit="s", samples=3, required=2.0, at_least=at_least)
    assert figure.held is held
    assert figure.cells[-2:] == ("3", "held" if held else "MISSED")
    assert replace(figure, required=None).held


def test_cells_give_what_measured_required_ratio() -> None:
    figure = Figure(what="start", measured=math.inf, unit="s", samples=2, required=90)
    assert figure.cells == ("start", "not in time", "≤ 90", "", "2", "MISSED")
    assert share("hits", [True, True, True, False], required=50).cells == ("hits", "75 %", "≥ 50", "1.5", "4", "held")
    assert Figure(what="rate", measured=1234567.8, unit="/s", samples=1).cells[1] == "1,234,568 /s"


def test_tables_hold_every_figure() -> None:
    figures = [share("a|b", [True]), share("c", [False], required=100)]
    head, rule, *rows = markdown_table(figures).splitlines()
    assert head.startswith("| what | measured | required | ratio | samples |")
    assert set(rule) <= set("| -")
    assert [row.split(" | ")[0] for row in rows] == ["| a\\|b", "| c"]
    assert rich_table(figures).row_count == 2


def test_a_table_goes_between_the_marks(tmp_path: Path) -> None:
    file = tmp_path / "README.md"
    file.write_text(f"before\n{START_MARK}\nold\n{END_MARK}\nafter\n")
    put_between_marks(file, "new")
    put_between_marks(file, "newer")
    assert file.read_text() == f"before\n{START_MARK}\nnewer\n{END_MARK}\nafter\n"
    file.write_text("no marks\n")
    with pytest.raises(InputError, match="has no lines"):
        put_between_marks(file, "new")


def test_growth_is_the_power_of_a_power_law() -> None:
    sizes = [16, 32, 64, 96]
    assert exponent(sizes, [0.3 * size**2.5 for size in sizes]) == pytest.approx(2.5)


@pytest.mark.parametrize("wrong", [2, 4, 48])
def test_permuted_pairs_are_wrong_in_k_places(wrong: int) -> None:
    rng = np.random.default_rng(wrong)
    pairs = rng.permutation(48).astype(np.int64)
    changed = permuted(pairs, wrong, rng)
    assert sorted(changed) == list(range(48))
    assert int((changed != pairs).sum()) == wrong


def test_the_base_is_an_import_that_works() -> None:
    assert imports(["json"]) > 0
    with pytest.raises(subprocess.CalledProcessError):
        imports(["no_such_module"])


def test_candidates_are_all_changes_of_their_kind() -> None:
    inp, out = np.array([2, 0, 1, 3]), np.array([1, 3, 0, 2])
    neighbours = {((0, 2, 1, 3), (3, 1, 0, 2)), ((2, 1, 0, 3), (1, 0, 3, 2)), ((2, 0, 3, 1), (1, 3, 2, 0))}
    assert {(tuple(i), tuple(o)) for i, o in zip(*swaps(inp, out), strict=True)} == neighbours
    first, second = exchanges(inp, out)
    assert first.tolist() == [inp.tolist()] * len({tuple(o) for o in second}) == [inp.tolist()] * 6
    assert [int((o != out).sum()) for o in second] == [2] * 6


def test_right_pairs_of_a_permutation() -> None:
    assert pairs_right((3, 1, 0, 2, 4), (0, 2, 3, 1, 4)) == 2
    assert pairs_right((3, 1, 0, 2, 4), (0, 1, 3, 2, 4)) == 0
    assert pairs_right((3, 1, 0, 2, 4), ()) == 0


def test_every_network_from_data_alone_is_measured_as_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def solved(planted: Planted, deadline: int) -> Values:
        made.append(planted.puzzle.blocks)
        return {"exact": True, "seconds": deadline + made.count(planted.puzzle.blocks) - 2}

    monkeypatch.setattr("tests.benchmarks.data_alone.solved", solved)
    kind = replace(data_alone.KINDS[0], networks=data_alone.recipes([TINY, BIGGER]))
    case = Case(
        name="kind",
        measure=partial(data_alone.measured, kind),
        figures=partial(data_alone.figures_of, kind=kind),
        full=6,
    )
    values = list(carry_out(open_run(tmp_path, "full", tmp_path / "networks", seed=4), case, 6, pytest.fail))
    assert made == [3, 4, 3, 4, 3, 4]
    exact, *medians = case.figures(values)
    assert (exact.measured, exact.samples) == (pytest.approx(200 / 3), 6)
    assert [(median.measured, median.samples) for median in medians] == [(300, 3), (300, 3)]


def judged(method: str, right: Sequence[bool], stated: Sequence[float]) -> Judged:
    return Judged(network="n", method=method, right=np.array(right), stated=np.array(stated))


def test_signals_are_judged_by_strong_ones_and_by_what_they_state() -> None:
    weak = [True] * 5 + [False] * 5
    consensus = judged("consensus", weak, [0.95] * 5 + [0.5] * 4 + [0.99])
    behind, shared, sure, *bins = signal_figures([consensus, judged("trace", [True] * 10, [0.4] * 10)])
    assert (behind.measured, behind.held) == (1, False)
    assert shared.measured == 0.5
    assert (sure.measured, sure.samples, sure.held) == (pytest.approx(500 / 6), 6, False)
    assert sorted((figure.samples, figure.measured) for figure in bins) == [(1, 0), (4, 0), (5, 100), (10, 100)]
    assert all(figure.required is None for figure in bins)
    behind, _, sure, *_ = signal_figures([consensus, judged("trace", weak, [0.95] * 5 + [0.1] * 5)])
    assert (behind.measured, behind.held) == (0, True)
    assert (sure.measured, sure.held) == (pytest.approx(1000 / 11), True)


def test_the_commands_own_networks_are_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = [replace(TINY, name=name) for name in ("one", "two")]
    monkeypatch.setattr("tests.benchmarks.signals.ORDERED", tiny)
    (case,) = signals.CASES
    run = open_run(tmp_path, "full", tmp_path / "networks", seed=4)
    values = list(carry_out(run, case, 4, pytest.fail))
    seeds = {name: fresh_seeds(4, f"recipe {name}", 2) for name in ("one", "two")}
    assert [v["network"] for v in values] == [f"{name} {seeds[name][k]}" for k in (0, 1) for name in ("one", "two")]
    assert case.figures(values)[0].samples == 4


# --- the command ----------------------------------------------------------------------------------------------------


def test_cases_have_names_of_their_own_and_samples() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    assert all(0 <= case.quick <= case.full and case.full > 0 for case in CASES)
    listed = CliRunner().invoke(main, ["--list"]).output
    assert all(case.name in listed for case in CASES)


def test_exit_status_and_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = counting([])
    missed = replace(case, name="missed", figures=lambda values: [share("hits", [False] * len(values), required=50)])
    monkeypatch.setattr("tests.benchmarks.cases.CASES", (case, missed))
    monkeypatch.setattr("tests.benchmarks.machine.ROOT", tmp_path)
    page = tmp_path / "docs" / "benchmarks.md"
    page.parent.mkdir()
    page.write_text(f"{START_MARK}\n{END_MARK}\n")

    def call(*arguments: str) -> int:
        return CliRunner().invoke(main, [*arguments, "--results", str(tmp_path / "bench-results")]).exit_code

    assert call("--table") == 2  # nothing was measured
    assert call("--full", "--seed", "3", "--case", "counting") == 0
    assert call("--full", "--case", "missed") == 1
    assert call("--case", "unknown") == 2
    (folder,) = (tmp_path / "bench-results").glob("full-*-3")
    assert {json.loads(file.read_text())["case"] for file in folder.rglob("*.json")} == {case.name, "missed"}
    assert call("--table") == 0
    text = page.read_text()
    assert "| hits | 0 % | ≥ 50 | 0 | 4 | MISSED |" in text
    assert f"run seed 3, on: {machine()}" in text


def test_runs_are_told_by_code_and_seed(tmp_path: Path) -> None:
    run = open_run(tmp_path, "full", tmp_path / "networks", seed=9)
    assert run == Run(folder=tmp_path / f"full-{code_digest()}-9", seed=9, networks=tmp_path / "networks")
