"""A solved network is put together as one file that answers as the data says, or nothing is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from pairing.errors import InputError
from pairing.export import AssemblyError, assemble, state_of
from tests.support.puzzles import Planted, plain_outputs, plant

SUFFIXES = (".pt", ".pth", ".safetensors")


@pytest.fixture(scope="module")
def planted() -> Planted:
    return plant(0, blocks=5, outputs=2, rows=60, activation="tanh")


def read(path: Path) -> dict[str, np.ndarray]:
    if path.suffix == ".safetensors":
        return load_file(path)
    import torch

    return {name: tensor.numpy() for name, tensor in torch.load(path, weights_only=True).items()}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_file_holds_the_network(suffix: str, planted: Planted, tmp_path: Path) -> None:
    path = tmp_path / f"network{suffix}"
    error = assemble(planted.puzzle, planted.inp_sigma, planted.out_sigma, path)
    assert error <= planted.puzzle.solved_mse
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    state = read(path)
    assert len(state) == 4 * 5 + 2
    x = planted.puzzle.rows_in.astype(np.float64)
    for k in range(5):
        hidden = np.tanh(x @ state[f"blocks.{k}.inp.weight"].T + state[f"blocks.{k}.inp.bias"])
        x = x + hidden @ state[f"blocks.{k}.out.weight"].T + state[f"blocks.{k}.out.bias"]
    answer = x @ state["last.weight"].T + state["last.bias"]
    np.testing.assert_allclose(answer, plain_outputs(planted.puzzle, planted.inp_sigma, planted.out_sigma), atol=1e-10)
    for name, array in state_of(planted.puzzle, planted.inp_sigma, planted.out_sigma).items():
        assert state[name].dtype == np.float32
        np.testing.assert_array_equal(state[name], array)


def test_a_safetensors_file_says_its_activation(planted: Planted, tmp_path: Path) -> None:
    path = tmp_path / "network.safetensors"
    assemble(planted.puzzle, planted.inp_sigma, planted.out_sigma, path)
    with safe_open(path, "numpy") as file:
        assert file.metadata() == {"activation": "tanh"}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_wrong_solution_is_refused_and_nothing_is_left(suffix: str, planted: Planted, tmp_path: Path) -> None:
    path = tmp_path / f"network{suffix}"
    with pytest.raises(AssemblyError) as caught:
        assemble(planted.puzzle, planted.inp_sigma[::-1], planted.out_sigma, path)
    assert caught.value.exit_status == 1
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_is_replaced_by_a_right_one_only(planted: Planted, tmp_path: Path) -> None:
    path = tmp_path / "network.pt"
    path.write_bytes(b"precious")
    with pytest.raises(AssemblyError):
        assemble(planted.puzzle, planted.inp_sigma, planted.out_sigma[::-1], path)
    assert path.read_bytes() == b"precious"
    assemble(planted.puzzle, planted.inp_sigma, planted.out_sigma, path)
    assert set(read(path)) == set(state_of(planted.puzzle, planted.inp_sigma, planted.out_sigma))


@pytest.mark.parametrize("name", ["network", "network.onnx", "network.pt.gz"])
@pytest.mark.parametrize("right", [True, False])
def test_other_endings_are_refused(right: bool, name: str, planted: Planted, tmp_path: Path) -> None:
    inp_sigma = planted.inp_sigma if right else planted.inp_sigma[::-1]
    with pytest.raises(InputError, match=name) as caught:
        assemble(planted.puzzle, inp_sigma, planted.out_sigma, tmp_path / name)
    assert caught.value.exit_status == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("there", ["nothing", "a file"])
def test_a_folder_that_is_missing_is_refused(there: str, suffix: str, planted: Planted, tmp_path: Path) -> None:
    if there == "a file":
        (tmp_path / "nowhere").write_bytes(b"")
    with pytest.raises(InputError, match=r"nowhere.* cannot be written"):
        assemble(planted.puzzle, planted.inp_sigma, planted.out_sigma, tmp_path / "nowhere" / f"network{suffix}")


@pytest.mark.parametrize("wrong", [(0, 1, 2, 3), (0, 1, 2, 3, 3), (0, 1, 2, 3, 4, 5), (0, 1, 2, 3, None)], ids=str)
def test_sigmas_that_are_no_permutations_are_refused(wrong: tuple[Any, ...], planted: Planted, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="inp_sigma"):
        assemble(planted.puzzle, wrong, planted.out_sigma, tmp_path / "network.pt")
    with pytest.raises(InputError, match="out_sigma"):
        assemble(planted.puzzle, planted.inp_sigma, wrong, tmp_path / "network.pt")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_way_is_refused(planted: Planted, tmp_path: Path) -> None:
    (tmp_path / "network.pt").mkdir()
    with pytest.raises(InputError, match=r"network\.pt"):
        assemble(planted.puzzle, planted.inp_sigma, planted.out_sigma, tmp_path / "network.pt")
    assert [file.name for file in tmp_path.iterdir()] == ["network.pt"]
