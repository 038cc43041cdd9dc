"""What a solution gives to notebooks: frames, a torch module, short and harmless HTML."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from pairing import FoundSolution, Puzzle, load_puzzle, solve
from pairing.errors import InputError
from pairing.model.activations import ACTIVATIONS
from pairing.search.history import History
from pairing.solution import solution_of
from tests.support.paths import EXAMPLES
from tests.support.puzzles import PLAIN_ACTIVATIONS, Planted, plant

HOSTILE = "<script>alert('x')</script>\n& \"more\""


@pytest.fixture(scope="module")
def found() -> FoundSolution:
    return solve(EXAMPLES / "demo-puzzle", "trace")


def planted_solution(planted: Planted, puzzle: Puzzle | None = None) -> FoundSolution:
    """The right solution of a planted puzzle, as ``solve`` gives it."""
    puzzle = puzzle or planted.puzzle
    right = solution_of(puzzle, planted.inp_sigma, planted.out_sigma, 0.0)
    return FoundSolution.of(right, puzzle, "trace", 1.0, History(orders=[list(planted.inp_sigma)]))


def test_the_frame_has_a_row_per_block(found: FoundSolution) -> None:
    frame = found.to_frame()
    assert list(frame.columns) == ["position", "inp piece", "out piece", "inp norm", "out norm", "relative change"]
    assert list(frame["position"]) == list(range(12))
    pieces = [number for row in zip(frame["inp piece"], frame["out piece"], strict=True) for number in row]
    assert (*pieces, found.puzzle.last_number) == found.permutation


def test_norms_and_changes_are_those_of_the_blocks() -> None:
    planted = plant(3, blocks=3, activation="tanh")
    puzzle, frame = planted.puzzle, planted_solution(planted).to_frame()
    x = puzzle.rows_in.astype(np.float64)
    for k, (i, j) in enumerate(zip(planted.inp_sigma, planted.out_sigma, strict=True)):
        hidden = PLAIN_ACTIVATIONS["tanh"](x @ puzzle.inp_weight[i].T + puzzle.inp_bias[i])
        change = hidden @ puzzle.out_weight[j].T + puzzle.out_bias[j]
        row = frame.iloc[k]
        assert row["relative change"] == pytest.approx(np.linalg.norm(change) / np.linalg.norm(x), rel=1e-4)
        x = x + change
        assert row["inp norm"] == pytest.approx(np.sqrt(np.sum(puzzle.inp_weight[i] ** 2)), rel=1e-5)
        assert row["out norm"] == pytest.approx(np.sqrt(np.sum(puzzle.out_weight[j] ** 2)), rel=1e-5)


def test_pieces_that_have_names_are_named() -> None:
    planted = plant(0)
    named = replace(planted.puzzle, names=tuple(f"layer-{number}" for number in range(9)))
    frame = planted_solution(planted, named).to_frame()
    assert list(frame["inp name"]) == [f"layer-{number}" for number in frame["inp piece"]]
    assert list(frame["out name"]) == [f"layer-{number}" for number in frame["out piece"]]


def test_the_history_is_a_row_per_improvement(found: FoundSolution) -> None:
    frame = found.history.to_frame()
    assert list(frame.columns) == ["seconds", "evaluations", "sample MSE"]
    assert len(frame) == len(found.history.points) > 0
    assert frame["sample MSE"].is_monotonic_decreasing


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_module_answers_as_the_data_says(activation: str) -> None:
    import torch

    solution = planted_solution(plant(1, blocks=5, outputs=2, rows=60, activation=activation))
    puzzle = solution.puzzle
    with torch.no_grad():
        outputs = solution.to_module()(torch.tensor(puzzle.rows_in)).numpy()
    assert np.mean((outputs - puzzle.target_values) ** 2) <= puzzle.solved_mse


def test_the_module_is_an_ordinary_one(found: FoundSolution) -> None:
    import torch

    before = torch.get_rng_state()
    module = found.to_module()
    assert torch.equal(torch.get_rng_state(), before)
    assert {"blocks.0.inp.weight", "blocks.11.out.bias", "last.weight", "last.bias"} <= module.state_dict().keys()
    assert all(weight.requires_grad for weight in module.parameters())
    weights = found.puzzle.inp_weight.copy()
    with torch.no_grad():
        module.get_parameter("blocks.0.inp.weight").zero_()
    np.testing.assert_array_equal(found.puzzle.inp_weight, weights)


def test_without_torch_a_module_is_one_clear_error(found: FoundSolution, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InputError, match=r"a torch module needs torch, .* install it: .* -m pip install torch"):
        found.to_module()


def test_the_plot_shows_the_search_and_every_block(found: FoundSolution) -> None:
    figure = found.plot()
    search, blocks = figure.axes
    assert search.lines[0].get_ydata().tolist() == found.history.to_frame()["sample MSE"].tolist()
    assert search.get_yscale() == "log"
    assert [bar.get_height() for bar in blocks.patches] == pytest.approx(found.to_frame()["relative change"].tolist())
    for axes in figure.axes:
        assert axes.get_xlabel()
        assert axes.get_ylabel()
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_states_that_overflow_are_no_error() -> None:
    planted = plant(0)
    huge = replace(planted.puzzle, out_weight=planted.puzzle.out_weight * np.float32(1e30))
    found = planted_solution(planted, huge)
    assert not np.isfinite(found.to_frame()["relative change"]).all()
    assert found.plot()._repr_png_().startswith(b"\x89PNG")


def test_a_plot_needs_no_improvements_and_takes_any_name() -> None:
    planted = plant(0)
    for name in (HOSTILE, "$\\bad{$"):
        figure = planted_solution(planted, replace(planted.puzzle, name=name)).plot()
        assert figure._repr_png_().startswith(b"\x89PNG")


def test_only_what_is_asked_for_is_imported() -> None:
    code = "import sys, pairing.comparison; print({'matplotlib', 'pandas', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd="/", capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


class Seen(HTMLParser):
    """The tags of a piece of HTML, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += f"{data}\n"


def test_notebooks_show_short_tables_and_run_nothing() -> None:
    planted = plant(0)
    puzzle = replace(planted.puzzle, name=HOSTILE, target=HOSTILE, targets={HOSTILE: planted.puzzle.target_values})
    for shown in (puzzle, planted_solution(planted, puzzle)):
        html = shown._repr_html_()
        assert Seen(html).tags == {"table", "caption", "tr", "th", "td"}
        assert len(html) < 2000


def test_notebooks_show_what_was_found(found: FoundSolution) -> None:
    seen = Seen(found._repr_html_()).text
    assert "demo-puzzle: solved" in seen
    assert f"{found.hash} (matches the target hash)" in seen
    assert ",".join(map(str, found.permutation)) in seen
    assert (
        "12, of width 16 with 32 hidden units (relu)" in Seen(load_puzzle(EXAMPLES / "demo-puzzle")._repr_html_()).text
    )
