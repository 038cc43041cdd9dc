"""The puzzles that are made here are puzzles, and their answers are the answers."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from pairing.errors import InputError
from pairing.synthetic.datasets import TABLE_NAMES
from pairing.synthetic.make import SyntheticPuzzle, make_puzzle
from pairing.synthetic.recipe import ACTIVATION_NAMES, Recipe

TINY: dict[str, Any] = {"blocks": 3, "width": 4, "rows": 40, "epochs": 2}


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below the folder, by its path in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def read_rows(made: SyntheticPuzzle) -> tuple[list[str], np.ndarray]:
    with (made.folder / "historical_data.csv").open(encoding="ascii", newline="") as file:
        names, *rows = csv.reader(file)
    return names, np.array(rows, dtype=np.float32)


def recompute(made: SyntheticPuzzle, activation: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The answer's network applied by plain torch, and ``pred``: both (rows, outputs)."""
    pieces = [
        torch.load(made.folder / "pieces" / f"piece_{number}.pth", weights_only=True) for number in made.permutation
    ]
    names, rows = read_rows(made)
    x = torch.from_numpy(rows[:, [name.startswith("measurement_") for name in names]])
    pred = torch.from_numpy(rows[:, [name.startswith("pred") for name in names]])
    act = getattr(torch, activation, None) or getattr(functional, activation)
    for inp, out in zip(pieces[:-1:2], pieces[1:-1:2], strict=True):
        x = x + functional.linear(act(functional.linear(x, **inp)), **out)
    return functional.linear(x, **pieces[-1]), pred


@pytest.mark.parametrize("activation", ACTIVATION_NAMES)
def test_the_answer_reproduces_pred(tmp_path: Path, activation: str) -> None:
    made = make_puzzle(tmp_path / "puzzle", Recipe(activation=activation, **TINY))
    y, pred = recompute(made, activation)
    assert float(((y - pred) ** 2).mean()) < 1e-12
    wrong = SyntheticPuzzle(
        **{**vars(made), "permutation": (*made.permutation[2:6], *made.permutation[:2], made.permutation[6])}
    )
    y, pred = recompute(wrong, activation)
    assert float(((y - pred) ** 2).mean()) > 1e-9


def test_the_published_layout(tmp_path: Path) -> None:
    made = make_puzzle(tmp_path / "puzzle", Recipe(**TINY))
    assert set(contents(made.folder)) == {
        "historical_data.csv",
        "puzzle.json",
        *(f"pieces/piece_{number}.pth" for number in range(7)),
    }
    names, rows = read_rows(made)
    assert names == [*(f"measurement_{column}" for column in range(4)), "pred", "true"]
    assert rows.shape == (made.rows, 6) == (40, 6)
    assert np.isfinite(rows).all()
    assert float(np.mean((rows[:, 4] - rows[:, 5]) ** 2, dtype=np.float64)) == pytest.approx(made.training_error)
    shapes = []
    for number in made.permutation:
        piece = torch.load(made.folder / "pieces" / f"piece_{number}.pth", weights_only=True)
        assert set(piece) == {"weight", "bias"}
        assert {tensor.dtype for tensor in piece.values()} == {torch.float32}
        assert piece["bias"].shape == piece["weight"].shape[:1]
        shapes.append(tuple(piece["weight"].shape))
    assert shapes == [(8, 4), (4, 8)] * 3 + [(1, 4)]
    mode = os.umask(0)
    os.umask(mode)
    assert stat.S_IMODE(made.folder.stat().st_mode) == 0o777 & ~mode


def test_the_answer_lies_beside_the_folder(tmp_path: Path) -> None:
    made = make_puzzle(tmp_path / "puzzle", Recipe(**TINY))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["puzzle", "puzzle.answer.json"]
    answer = json.loads(made.answer_path.read_text(encoding="utf-8"))
    assert answer["permutation"] == list(made.permutation)
    assert sorted(answer["permutation"]) == list(range(7))
    about = json.loads((made.folder / "puzzle.json").read_text(encoding="utf-8"))
    joined = ",".join(str(number) for number in answer["permutation"])
    assert about == {"name": "puzzle", "activation": "relu", "target_hash": hashlib.sha256(joined.encode()).hexdigest()}
    assert made.target_hash == about["target_hash"]
    for name, content in contents(made.folder).items():
        assert b"permutation" not in content, name
        assert joined.encode() not in content, name


def test_the_recipe_makes_the_same_puzzle_again(tmp_path: Path) -> None:
    first = make_puzzle(tmp_path / "one" / "puzzle", Recipe(seed=5, **TINY))
    recipe = json.loads(first.answer_path.read_text(encoding="utf-8"))["recipe"]
    recipe.pop("torch")
    again = make_puzzle(tmp_path / "two" / "puzzle", Recipe(**recipe))
    assert contents(first.folder) == contents(again.folder)
    assert first.answer_path.read_bytes() == again.answer_path.read_bytes()
    other = make_puzzle(tmp_path / "three" / "puzzle", Recipe(**{**recipe, "seed": 6}))
    assert contents(first.folder).keys() == contents(other.folder).keys()
    assert contents(first.folder) != contents(other.folder)


def test_several_outputs(tmp_path: Path) -> None:
    made = make_puzzle(tmp_path / "puzzle", Recipe(outputs=3, **TINY))
    names, _ = read_rows(made)
    assert names[4:] == ["pred_0", "pred_1", "pred_2", "true_0", "true_1", "true_2"]
    y, pred = recompute(made, "relu")
    assert y.shape == pred.shape == (40, 3)
    assert float(((y - pred) ** 2).mean()) < 1e-12


def test_inputs_like_signs(tmp_path: Path) -> None:
    made = make_puzzle(tmp_path / "puzzle", Recipe(inputs="signs", **{**TINY, "rows": 400}))
    names, rows = read_rows(made)
    inputs = rows[:, [name.startswith("measurement_") for name in names]].astype(np.float64)
    noise = np.abs(inputs) - 1
    assert np.abs(noise).max() < 0.6  # six standard deviations
    assert noise.std() == pytest.approx(0.1, abs=0.02)
    assert np.mean(inputs > 0) == pytest.approx(0.5, abs=0.1)
    y, pred = recompute(made, "relu")
    assert float(((y - pred) ** 2).mean()) < 1e-12


def test_branches_begin_smaller(tmp_path: Path) -> None:
    sizes = []
    for scale in (1.0, 0.25):
        made = make_puzzle(tmp_path / str(scale), Recipe(branch_scale=scale, **{**TINY, "epochs": 0}))
        pieces = [torch.load(made.folder / f"pieces/piece_{n}.pth", weights_only=True) for n in made.permutation]
        sizes.append([float(value.norm()) for piece in pieces for value in piece.values()])
    ratios = np.divide(sizes[1], sizes[0]).reshape(-1, 2)  # of weight and bias of every layer
    np.testing.assert_allclose(ratios[1:-1:2], 0.25)
    np.testing.assert_array_equal(ratios[[0, 2, 4, 6]], 1)  # untrained, so equal


def test_training_reaches_the_target(tmp_path: Path) -> None:
    recipe = {**TINY, "rows": 300, "learning_rate": 1e-2}
    brief = make_puzzle(tmp_path / "brief", Recipe(**recipe))
    long = make_puzzle(tmp_path / "long", Recipe(**{**recipe, "epochs": 40}))
    assert long.training_error < 0.7 * brief.training_error
    assert long.training_error < 0.3


@pytest.mark.parametrize("table", TABLE_NAMES)
def test_real_tables(tmp_path: Path, table: str) -> None:
    made = make_puzzle(tmp_path / "puzzle", Recipe(table=table, blocks=2, epochs=1))
    columns = {"digits": 64, "diabetes": 10, "wine": 13, "breast_cancer": 30, "iris": 4}[table]
    names, rows = read_rows(made)
    assert names[columns - 1 : columns + 1] == [f"measurement_{columns - 1}", "pred"]
    assert len(rows) == made.rows >= 150
    measurements = rows[:, :columns].astype(np.float64)
    np.testing.assert_allclose(measurements.mean(axis=0), 0, atol=1e-6)
    varying = measurements.std(axis=0) > 0
    assert varying.sum() >= columns - 3  # three of the digits' pixels are never inked
    np.testing.assert_allclose(measurements[:, varying].std(axis=0), 1, atol=1e-5)
    y, pred = recompute(made, "relu")
    assert float(((y - pred) ** 2).mean()) < 1e-12


def test_a_table_with_an_output_a_class_and_some_of_its_rows(tmp_path: Path) -> None:
    made = make_puzzle(tmp_path / "puzzle", Recipe(table="iris", outputs=3, rows=60, width=4, blocks=2, epochs=1))
    names, rows = read_rows(made)
    assert names[4:7] == ["pred_0", "pred_1", "pred_2"]
    assert rows.shape == (60, 10)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"hidden": 4}, "hidden and width are both 4"),
        ({"outputs": 8}, "outputs and hidden are both 8"),
        ({"blocks": 0}, "blocks is 0"),
        ({"width": 0}, "width is 0"),
        ({"hidden": -1}, "hidden is -1"),
        ({"outputs": 0}, "outputs is 0"),
        ({"epochs": -1}, "epochs is -1; give a whole number of at least 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"rows": 0}, "rows is 0"),
        ({"rows": 1}, "fewer than 2 rows"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"learning_rate": 1e30}, "training diverged"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1"),
        ({"branch_scale": 0.0}, "branch_scale is 0.0"),
        ({"seed": -1}, "seed is -1"),
        ({"activation": "softmax"}, "unknown activation 'softmax'; choose one of relu"),
        ({"inputs": "coins"}, "unknown inputs 'coins'; choose one of normal, signs"),
        ({"inputs": "signs", "table": "iris"}, "inputs is 'signs', but a table has its own"),
        ({"table": "moons"}, "unknown table 'moons'; choose one of digits"),
        ({"table": "iris", "width": 5}, "the table iris has 4 columns"),
        ({"table": "iris", "rows": 151}, "the table iris has 150"),
        ({"table": "iris", "outputs": 2}, r"allows 1 or 3 \(one a class\)"),
        ({"table": "diabetes", "width": 10, "outputs": 2}, "allows 1$"),
    ],
)
def test_wrong_arguments(tmp_path: Path, wrong: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        make_puzzle(tmp_path / "puzzle", Recipe(**{**TINY, **wrong}))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_taken_stays_as_it_is(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "letter.txt").write_text("dear", encoding="utf-8")
    with pytest.raises(InputError, match="is not empty"):
        make_puzzle(taken, Recipe(**TINY))
    with pytest.raises(InputError, match=r"letter\.txt is a file"):
        make_puzzle(taken / "letter.txt", Recipe(**TINY))
    assert contents(tmp_path) == {"taken/letter.txt": b"dear"}


def test_an_empty_folder_and_missing_parents_are_fine(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert make_puzzle(tmp_path / "empty", Recipe(**TINY)).folder == tmp_path / "empty"
    assert (make_puzzle(tmp_path / "a" / "b", Recipe(**TINY)).folder / "puzzle.json").is_file()


def test_a_failure_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save, saved = torch.save, []

    def full_disk(*args: Any, **kwargs: Any) -> None:
        save(*args, **kwargs)
        saved.append(args)
        if len(saved) == 4:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(InputError, match=r"cannot write the puzzle to .*: No space left on device"):
        make_puzzle(tmp_path / "puzzle", Recipe(**TINY))
    assert len(saved) == 4
    assert list(tmp_path.iterdir()) == []


def test_without_scikit_learn_a_table_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(InputError, match=r"pairing-fleet\[tables\]"):
        make_puzzle(tmp_path / "puzzle", Recipe(table="iris"))


def test_torch_is_left_as_it_was(tmp_path: Path) -> None:
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    make_puzzle(tmp_path / "puzzle", Recipe(**TINY))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_importing_the_module_does_not_import_torch() -> None:
    code = "import sys, pairing.synthetic.make; print('torch' in sys.modules, 'sklearn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["False", "False"]
