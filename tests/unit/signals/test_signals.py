"""Every pairing method: its formula, its contract, and methods of other packages."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pairing.arrays import Array64
from pairing.assignment import assign
from pairing.errors import InputError, MethodError
from pairing.model.puzzle import Puzzle
from pairing.signals import consensus
from pairing.signals.registry import choose_methods, methods, similarity
from tests.support.puzzles import PLAIN_ACTIVATIONS, plant

Floats = np.ndarray
OLD = ("cosine", "transpose", "svd", "activation")
BASE = (
    *OLD,
    "trace",
    "dominance",
    "aligned_cosine",
    "neuron_cosine",
    "gram_cosine",
    "asymmetry",
    "product_norm",
    "residual_cosine",
    "norm_balance",
    "error_alignment",
    "nonlinear_alignment",
    "joint_ridge",
    "logit_search",
)
OURS = (*BASE, "consensus")

# ---- the formulas of the field notes, pair by pair, in float64


def cosine(a: Floats, b: Floats) -> float:
    a, b = a.ravel(), b.ravel()
    return float(a @ b / math.sqrt((a @ a) * (b @ b)))


def pearson(a: Floats, b: Floats) -> float:
    return cosine(a - a.mean(), b - b.mean())


def frobenius(a: Floats) -> float:
    return math.sqrt(float((a * a).sum()))


def branch(puzzle: Puzzle, i: int, j: int, most: int | None = None) -> tuple[Floats, Floats]:
    """All rows, or the first of them, and f_ij of them."""
    act = PLAIN_ACTIVATIONS[puzzle.activation]
    rows = puzzle.rows_in[:most].astype(np.float64)
    inp, out = puzzle.inp_weight[i].astype(np.float64), puzzle.out_weight[j].astype(np.float64)
    return rows, np.array([out @ act(inp @ x + puzzle.inp_bias[i]) + puzzle.out_bias[j] for x in rows])


def of_weights(formula: Callable[[Floats, Floats, Floats], float]) -> Callable[[Puzzle, int, int], float]:
    """A score from W_in, W_out and M."""

    def score(puzzle: Puzzle, i: int, j: int) -> float:
        inp, out = puzzle.inp_weight[i].astype(np.float64), puzzle.out_weight[j].astype(np.float64)
        return formula(inp, out, out @ inp)

    return score


def mean_neuron_cosine(inp: Floats, out: Floats, _: Floats) -> float:
    return sum(abs(cosine(inp[k], out[:, k])) for k in range(len(inp))) / len(inp)


def norm_balance(inp: Floats, out: Floats, _: Floats) -> float:
    return pearson(np.array([frobenius(row) for row in inp]), np.array([frobenius(out[:, k]) for k in range(len(inp))]))


def singular_values(a: Floats) -> Floats:
    return np.linalg.svd(a, compute_uv=False)


def of_errors(error: Callable[[Puzzle, Floats, Floats], Floats]) -> Callable[[Puzzle, int, int], float]:
    """Cosine of the covariance of an error (S, o) with the hidden units, and of W_last W_out."""

    def score(puzzle: Puzzle, i: int, j: int) -> float:
        act = PLAIN_ACTIVATIONS[puzzle.activation]
        rows, target = puzzle.rows_in.astype(np.float64), puzzle.target_values
        hidden = np.array([act(puzzle.inp_weight[i].astype(np.float64) @ x + puzzle.inp_bias[i]) for x in rows])
        wrong = error(puzzle, rows, target)
        covariance = (wrong - wrong.mean(axis=0)).T @ (hidden - hidden.mean(axis=0))
        read = puzzle.last_weight.astype(np.float64) @ puzzle.out_weight[j].astype(np.float64)
        return cosine(covariance, read) if covariance.any() else 0.0

    return score


def without_blocks(puzzle: Puzzle, rows: Floats, target: Floats) -> Floats:
    return target - rows @ puzzle.last_weight.T.astype(np.float64)


def not_linear(_: Puzzle, rows: Floats, target: Floats) -> Floats:
    inputs = np.column_stack([rows, np.ones(len(rows))])
    error = target - inputs @ (np.linalg.pinv(inputs) @ target)
    return error if len(rows) > inputs.shape[1] else np.zeros_like(error)


def joint_ridge(puzzle: Puzzle, i: int, j: int) -> float:
    """Cosine of block i's coefficients in a regression on all hidden units together, and of W_last W_out."""
    act, rows = PLAIN_ACTIVATIONS[puzzle.activation], puzzle.rows_in.astype(np.float64)
    pieces = zip(puzzle.inp_weight.astype(np.float64), puzzle.inp_bias, strict=True)
    features = np.hstack([act(rows @ weight.T + bias) for weight, bias in pieces])
    features -= features.mean(axis=0)
    penalty = 0.1 * np.square(features).sum() / len(rows)
    padded = np.vstack([features, math.sqrt(penalty) * np.eye(features.shape[1])])
    error = not_linear(puzzle, rows, puzzle.target_values)
    told = np.linalg.lstsq(padded, np.vstack([error, np.zeros((features.shape[1], error.shape[1]))]), rcond=None)[0]
    mine = told[i * puzzle.hidden : (i + 1) * puzzle.hidden].T
    return cosine(mine, puzzle.last_weight.astype(np.float64) @ puzzle.out_weight[j]) if mine.any() else 0.0


FORMULAS: dict[str, Callable[[Puzzle, int, int], float]] = {
    "cosine": of_weights(lambda inp, out, _: cosine(inp, out)),
    "transpose": of_weights(lambda inp, out, _: float((inp * out.T).sum())),
    "svd": of_weights(lambda inp, out, _: pearson(singular_values(inp), singular_values(out))),
    "activation": lambda puzzle, i, j: -frobenius(branch(puzzle, i, j, 500)[1]),
    "trace": of_weights(lambda _inp, _out, m: -float(np.trace(m))),
    "dominance": of_weights(lambda _inp, _out, m: abs(float(np.trace(m))) / frobenius(m)),
    "aligned_cosine": of_weights(lambda inp, out, _: abs(cosine(inp, out.T))),
    "neuron_cosine": of_weights(mean_neuron_cosine),
    "gram_cosine": of_weights(lambda inp, out, _: cosine(inp @ inp.T, out.T @ out)),
    "asymmetry": of_weights(lambda _inp, _out, m: -frobenius(m - m.T) / frobenius(m)),
    "product_norm": of_weights(lambda _inp, _out, m: frobenius(m)),
    "residual_cosine": lambda puzzle, i, j: abs(cosine(*branch(puzzle, i, j))),
    "norm_balance": of_weights(norm_balance),
    "error_alignment": of_errors(without_blocks),
    "nonlinear_alignment": of_errors(not_linear),
    "joint_ridge": joint_ridge,
    "logit_search": lambda _puzzle, _i, _j: 0.0,
}

SHAPES = [
    {"blocks": 3, "width": 4, "hidden": 6, "rows": 30},
    {"blocks": 5, "width": 6, "hidden": 3, "rows": 7},
    {"blocks": 2, "width": 3, "hidden": 8, "rows": 530, "outputs": 2},
    {"blocks": 1, "width": 3, "hidden": 4, "rows": 5},
]


def by_formula(puzzle: Puzzle, method: str) -> Floats:
    blocks = range(puzzle.blocks)
    return np.array([[FORMULAS[method](puzzle, i, j) for j in blocks] for i in blocks])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("method", BASE)
def test_formula(method: str, shape: dict[str, int]) -> None:
    puzzle = plant(7, **shape).puzzle
    np.testing.assert_allclose(similarity(puzzle, method), by_formula(puzzle, method), rtol=2e-4, atol=2e-5)


FROM_DATA = ("residual_cosine", "error_alignment", "nonlinear_alignment", "joint_ridge")


@pytest.mark.parametrize("method", ["activation", *FROM_DATA])
@pytest.mark.parametrize("activation", PLAIN_ACTIVATIONS)
def test_signals_from_data_take_the_networks_own_activation(activation: str, method: str) -> None:
    puzzle = plant(8, activation=activation).puzzle
    np.testing.assert_allclose(similarity(puzzle, method), by_formula(puzzle, method), rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("method", FROM_DATA)
def test_rows_of_a_long_table_are_drawn_from_all_of_it(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = plant(12, rows=2000).puzzle
    order = np.argsort(whole.rows_in[:, 0], kind="stable")
    by_kind = replace(whole, rows_in=whole.rows_in[order], targets={"pred": whole.target_values[order]})
    expected = similarity(by_kind, method)
    monkeypatch.setattr("pairing.model.costs.SIGNAL_COST", 0)
    monkeypatch.setattr("pairing.model.costs.RIDGE_COST", 0)
    found = similarity(by_kind, method)
    assert (found != expected).any()
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.9


def test_the_joint_regression_pairs_what_no_other_signal_does() -> None:
    """Untrained, small branches, inputs that tell much of each other."""
    planted = plant(13, blocks=16, width=12, hidden=24, rows=3000, alike=0.8, scale=0.05)
    right = {name: int((assign(similarity(planted.puzzle, name)).pairs == planted.pairs).sum()) for name in OURS}
    assert right.pop("joint_ridge") == 16
    assert right.pop("consensus") >= 15
    assert max(right.values()) <= 8, right


def test_all_the_methods_are_there_and_the_old_ones_come_last() -> None:
    assert set(OURS) <= set(methods())
    ours = [name for name in methods() if name in OURS]
    assert set(ours[-len(OLD) :]) == set(OLD)


def test_every_method_says_what_it_is() -> None:
    for name, method in methods().items():
        assert method.name == name
        assert method.summary
        assert "\n" not in method.summary


# ---- the contract, for every method


@pytest.mark.parametrize("shape", SHAPES[:3], ids=str)
@pytest.mark.parametrize("method", OURS)
def test_a_similarity_is_square_finite_and_float64(method: str, shape: dict[str, int]) -> None:
    puzzle = plant(9, **shape).puzzle
    matrix = similarity(puzzle, method)
    assert matrix.shape == (puzzle.blocks, puzzle.blocks)
    assert matrix.dtype == np.float64
    assert np.isfinite(matrix).all()


@pytest.mark.parametrize("method", OURS)
def test_renumbering_pieces_renumbers_rows_and_columns(method: str) -> None:
    puzzle = plant(10, blocks=5).puzzle
    rng = np.random.default_rng(0)
    rows, columns = rng.permutation(5), rng.permutation(5)
    other = replace(
        puzzle,
        inp_weight=puzzle.inp_weight[rows],
        inp_bias=puzzle.inp_bias[rows],
        out_weight=puzzle.out_weight[columns],
        out_bias=puzzle.out_bias[columns],
    )
    expected = similarity(puzzle, method)[rows][:, columns]
    np.testing.assert_allclose(similarity(other, method), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", OURS)
def test_the_puzzle_is_left_as_it_was(method: str) -> None:
    puzzle = plant(11).puzzle
    digest = replace(puzzle).digest
    first = similarity(puzzle, method)
    assert replace(puzzle).digest == digest
    np.testing.assert_array_equal(similarity(puzzle, method), first)


def zeros(puzzle: Puzzle) -> Puzzle:
    parts = ("inp_weight", "inp_bias", "out_weight", "out_bias")
    return replace(puzzle, **{name: np.zeros_like(getattr(puzzle, name)) for name in parts})


DEGENERATE: dict[str, Puzzle] = {
    "zeros": zeros(plant(0).puzzle),
    "zero rows": replace(plant(0).puzzle, rows_in=np.zeros((40, 4), np.float32)),
    "all alike": replace(plant(0).puzzle, inp_weight=np.ones((4, 6, 4), np.float32)),
    "one row": plant(0, rows=1).puzzle,
    "one block": plant(0, blocks=1).puzzle,
    "width one": plant(0, width=1).puzzle,
    "hidden one": plant(0, hidden=1).puzzle,
    "huge": plant(0, scale=1e35).puzzle,
    "tiny": plant(0, scale=1e-30).puzzle,
}


@pytest.mark.parametrize("name", DEGENERATE)
@pytest.mark.parametrize("method", OURS)
def test_degenerate_puzzles_give_finite_values_or_a_method_error(method: str, name: str) -> None:
    puzzle = DEGENERATE[name]
    try:
        matrix = similarity(puzzle, method)
    except MethodError:
        return
    assert matrix.shape == (puzzle.blocks, puzzle.blocks)
    assert np.isfinite(matrix).all()


@pytest.mark.parametrize("method", BASE)
def test_zeros_are_no_failure(method: str) -> None:
    matrix = similarity(DEGENERATE["zeros"], method)
    np.testing.assert_array_equal(matrix, np.zeros((4, 4)))


# ---- names


def test_names_are_chosen_without_doubles_in_the_order_given() -> None:
    assert choose_methods("all") == choose_methods(" all ") == list(methods())
    assert choose_methods("svd, trace,svd,,") == ["svd", "trace"]


@pytest.mark.parametrize("names", ["", " , ", "trace,nonsense", "Trace"])
def test_unknown_names_are_refused_with_the_known_ones(names: str) -> None:
    with pytest.raises(InputError, match="norm_balance") as caught:
        choose_methods(names)
    assert caught.value.exit_status == 2


@pytest.mark.parametrize("name", ["nonsense", "", "all"])
def test_a_similarity_of_no_method_is_refused(name: str) -> None:
    with pytest.raises((InputError, MethodError)):
        similarity(plant(0).puzzle, name)


# ---- methods of other packages

PLUGIN = '''
"""Methods of a package that is not ours."""
import numpy as np

def by_number(puzzle):
    """Minus the difference of the piece numbers.

    More text.
    """
    return -np.abs(np.subtract.outer(puzzle.inp_numbers, puzzle.out_numbers))

def plain(puzzle):
    return [[1, 2], [3, 4]]

def raising(puzzle):
    raise RuntimeError("no luck today")

def nan(puzzle):
    return np.full((puzzle.blocks, puzzle.blocks), np.nan)

def flat(puzzle):
    return np.zeros(puzzle.blocks)

def large(puzzle):
    return np.zeros((puzzle.blocks + 1, puzzle.blocks + 1))

def text(puzzle):
    return "similar"

def nothing(puzzle):
    return None

def ragged(puzzle):
    return [[1.0], [1.0, 2.0]]
'''
FAILING = ("raising", "nan", "flat", "large", "text", "nothing", "ragged")


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Puts a package on the path that offers these methods (name → function of PLUGIN)."""

    def offer(**points: str) -> None:
        info = tmp_path / "third_party_signals-1.0.dist-info"
        info.mkdir()
        (tmp_path / "third_party_signals.py").write_text(PLUGIN)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: third-party-signals\nVersion: 1.0\n")
        lines = [f"{name} = third_party_signals:{function}\n" for name, function in points.items()]
        (info / "entry_points.txt").write_text("[pairing.signals]\n" + "".join(lines))
        monkeypatch.syspath_prepend(tmp_path)
        methods.cache_clear()

    yield offer
    methods.cache_clear()
    sys.modules.pop("third_party_signals", None)


def test_another_packages_method_is_found_and_used(install: Callable[..., None]) -> None:
    install(third="by_number")
    assert list(methods())[-1] == "third"
    assert methods()["third"].summary == "Minus the difference of the piece numbers."
    assert "third" in choose_methods("all")
    puzzle = plant(0, blocks=3).puzzle
    matrix = similarity(puzzle, "third")
    assert matrix.dtype == np.float64
    assert matrix[1, 2] == -abs(puzzle.inp_numbers[1] - puzzle.out_numbers[2])


def test_another_packages_method_may_give_lists_and_say_nothing_of_itself(install: Callable[..., None]) -> None:
    install(third="plain")
    assert methods()["third"].summary
    np.testing.assert_array_equal(similarity(plant(0, blocks=2).puzzle, "third"), [[1.0, 2.0], [3.0, 4.0]])


@pytest.mark.parametrize("function", FAILING)
def test_a_failing_method_is_a_method_error_and_costs_the_others_nothing(
    function: str, install: Callable[..., None]
) -> None:
    install(third=function)
    puzzle = plant(0).puzzle
    with pytest.raises(MethodError, match="third") as caught:
        similarity(puzzle, "third")
    assert caught.value.exit_status == 1
    assert np.isfinite(similarity(puzzle, "trace")).all()


def test_the_reason_of_a_failure_is_told(install: Callable[..., None]) -> None:
    install(third="raising")
    with pytest.raises(MethodError, match="no luck today") as caught:
        similarity(plant(0).puzzle, "third")
    assert isinstance(caught.value.__cause__, RuntimeError)


@pytest.mark.parametrize(("module", "reason"), [("third_party_signals", "AttributeError"), ("no_such", "No module")])
def test_a_method_that_cannot_be_loaded_costs_the_others_nothing(
    module: str, reason: str, install: Callable[..., None], tmp_path: Path
) -> None:
    install(third="by_number")
    points = tmp_path / "third_party_signals-1.0.dist-info" / "entry_points.txt"
    points.write_text(f"[pairing.signals]\nthird = {module}:no_such_function\n")
    assert "third" in choose_methods("all")
    assert "cannot be loaded" in methods()["third"].summary
    puzzle = plant(0).puzzle
    with pytest.raises(MethodError, match=rf"'third' cannot be loaded from {module}:.*{reason}"):
        similarity(puzzle, "third")
    assert np.isfinite(similarity(puzzle, "trace")).all()


def test_a_name_that_is_taken_is_refused(install: Callable[..., None]) -> None:
    install(trace="by_number")
    with pytest.raises(InputError, match=r"'trace'.*third_party_signals"):
        methods()


@pytest.mark.parametrize("method", ["norm_balance", "svd"])
def test_what_is_equal_but_for_rounding_is_correlated_with_nothing(method: str) -> None:
    """Rows of one norm (weight normalization), or singular values that are all one: their differences are rounding."""
    puzzle = plant(4, blocks=6, width=8, hidden=8).puzzle
    if method == "svd":
        inp, _ = np.linalg.qr(puzzle.inp_weight.astype(np.float64))
        equal = replace(puzzle, inp_weight=inp.astype(np.float32))
    else:
        norms = np.linalg.norm(puzzle.inp_weight, axis=2, keepdims=True)
        equal = replace(puzzle, inp_weight=puzzle.inp_weight / norms)
    assert np.abs(similarity(equal, method)).max() == 0
    assert np.abs(similarity(puzzle, method)).max() > 0.1


def test_a_method_that_would_take_longer_than_there_is_time_is_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    puzzle = plant(4, blocks=6).puzzle
    assert similarity(puzzle, "asymmetry", seconds=0.0).shape == (6, 6)  # it takes no time worth speaking of
    monkeypatch.setattr("pairing.model.pace._rate", lambda *_: 100.0)
    with pytest.raises(MethodError, match=r"method 'asymmetry' takes about [\d,]+ s .* 3 s are left; give more time"):
        similarity(puzzle, "asymmetry", seconds=3.0)


def test_a_consensus_takes_what_is_known_already() -> None:
    puzzle = plant(3, blocks=6, rows=100).puzzle
    matrices = {source.__name__: source(puzzle) for source in consensus.SOURCES}
    asked: list[str] = []

    def known(name: str) -> Array64 | None:
        asked.append(name)
        return None if name == "trace" else matrices[name] + 1.0  # a consensus is of units that no sum changes

    np.testing.assert_allclose(similarity(puzzle, "consensus", known=known), similarity(puzzle, "consensus"))
    assert set(asked) == set(matrices)
