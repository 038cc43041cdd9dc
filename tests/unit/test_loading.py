"""What a sound puzzle loads as, and that every damaged one is refused with the name of what is damaged."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest
import torch
from safetensors.numpy import save, save_file

from pairing import loading
from pairing.errors import InputError, PuzzleError
from pairing.loading import load_puzzle, parse_hash
from pairing.packing import unpack_puzzle
from pairing.puzzle import PUBLISHED_DATA_SHA256, PUBLISHED_TARGET_HASH, Puzzle
from tests.support.puzzles import columns_of, csv_of, pieces_of, plant, write_data, write_puzzle

CSV = "historical_data.csv"
PARQUET = "historical_data.parquet"
PUBLISHED = Path(__file__).parents[3] / "shared" / "puzzle"
ARRAYS = ("inp_weight", "inp_bias", "out_weight", "out_bias", "last_weight", "last_bias", "rows_in")


@pytest.fixture(scope="module")
def puzzle() -> Puzzle:
    return plant(0, blocks=3, width=4, hidden=6, rows=12, known=False).puzzle


@pytest.fixture
def folder(puzzle: Puzzle, tmp_path: Path) -> Path:
    """A sound puzzle folder with seven ``.pth`` pieces, in the published layout."""
    return write_pth_puzzle(puzzle, tmp_path / "some-puzzle")


def write_pth_puzzle(puzzle: Puzzle, folder: Path) -> Path:
    write_data(puzzle, folder)
    (folder / "pieces").mkdir()
    for number, arrays in pieces_of(puzzle).items():
        save_piece(folder, number, **arrays)
    return folder


def save_piece(folder: Path, number: int, **arrays: Any) -> Path:
    file = folder / "pieces" / f"piece_{number}.pth"
    torch.save({name: torch.as_tensor(np.array(array)) for name, array in arrays.items()}, file)
    return file


def write_parquet(puzzle: Puzzle, folder: Path) -> Path:
    (folder / CSV).unlink(missing_ok=True)
    pd.DataFrame(columns_of(puzzle)).to_parquet(folder / PARQUET)
    return folder / PARQUET


def assert_same(found: Puzzle, expected: Puzzle) -> None:
    for name in ARRAYS:
        array = getattr(found, name)
        assert array.dtype == np.float32, name
        np.testing.assert_array_equal(array, getattr(expected, name), err_msg=name)
    assert (found.inp_numbers, found.out_numbers) == (expected.inp_numbers, expected.out_numbers)
    assert found.last_number == expected.last_number
    assert set(found.targets) == set(expected.targets)
    for name, values in expected.targets.items():
        assert found.targets[name].dtype == np.float64
        np.testing.assert_array_equal(found.targets[name], values)
    assert found.digest == expected.digest


def assert_refused(path: Path, naming: str) -> None:
    with pytest.raises(PuzzleError) as caught:
        load_puzzle(path)
    assert isinstance(caught.value, InputError)
    assert caught.value.exit_status == 2
    assert caught.value.permanent
    assert naming in str(caught.value)


# ---- what loads


def test_the_published_layout(folder: Path, puzzle: Puzzle) -> None:
    found = load_puzzle(folder)
    assert_same(found, puzzle)
    assert (found.blocks, found.width, found.hidden, found.outputs, found.rows) == (3, 4, 6, 1, 12)
    assert (found.name, found.activation, found.target, found.target_hash) == ("some-puzzle", "relu", "pred", None)
    np.testing.assert_array_equal(found.target_values, puzzle.targets["pred"])


def test_a_path_may_be_a_text(folder: Path, puzzle: Puzzle) -> None:
    assert_same(load_puzzle(str(folder)), puzzle)


def test_safetensors_pieces(puzzle: Puzzle, tmp_path: Path) -> None:
    assert_same(load_puzzle(write_puzzle(puzzle, tmp_path / "p")), puzzle)


def test_both_kinds_of_pieces_mixed(folder: Path, puzzle: Puzzle) -> None:
    (folder / "pieces" / "piece_2.pth").unlink()
    save_file(pieces_of(puzzle)[2], folder / "pieces" / "piece_2.safetensors")
    assert_same(load_puzzle(folder), puzzle)


def test_parquet(folder: Path, puzzle: Puzzle) -> None:
    write_parquet(puzzle, folder)
    assert_same(load_puzzle(folder), puzzle)


@pytest.mark.parametrize("outputs", [1, 3])
def test_the_digest_is_the_same_for_every_format(outputs: int, tmp_path: Path) -> None:
    puzzle = plant(3, outputs=outputs).puzzle
    pth = load_puzzle(write_pth_puzzle(puzzle, tmp_path / "pth"))
    tensors = load_puzzle(write_puzzle(puzzle, tmp_path / "safetensors"))
    write_parquet(puzzle, tmp_path / "safetensors")
    parquet = load_puzzle(tmp_path / "safetensors")
    packed = unpack_puzzle(pth.pack())
    assert {p.digest for p in (pth, tensors, parquet, packed)} == {puzzle.digest}
    assert puzzle.digest.startswith("sha256:")
    assert len(puzzle.digest) == len("sha256:") + 64


def test_the_digest_tells_puzzles_apart(puzzle: Puzzle) -> None:
    def nudged(values: np.ndarray) -> np.ndarray:
        changed = values.copy()
        changed.flat[-1] += 1e-3
        return changed

    others = [replace(puzzle, **{name: nudged(getattr(puzzle, name))}) for name in ARRAYS]
    others.append(replace(puzzle, targets={**puzzle.targets, "pred": nudged(puzzle.targets["pred"])}))
    others.append(replace(puzzle, targets={"pred": puzzle.targets["pred"]}))
    first, second, *rest = puzzle.inp_numbers
    others.append(replace(puzzle, inp_numbers=(second, first, *rest)))
    assert len({p.digest for p in (puzzle, *others)}) == len(others) + 1
    renamed = replace(puzzle, name="x", activation="tanh", target="true", target_hash="0" * 64)
    assert renamed.digest == puzzle.digest


def test_tensors_saved_on_another_device(folder: Path, puzzle: Puzzle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:3")
    for number, arrays in pieces_of(puzzle).items():
        file = save_piece(folder, number, **arrays)
        assert b"cuda:3" in file.read_bytes()
    assert_same(load_puzzle(folder), puzzle)


def test_parameters_and_wider_or_narrower_floats(folder: Path, puzzle: Puzzle) -> None:
    last = puzzle.last_number
    weight = torch.nn.Parameter(torch.tensor(puzzle.last_weight))
    torch.save({"weight": weight, "bias": torch.nn.Parameter(torch.tensor(puzzle.last_bias))}, piece(folder, last))
    assert_same(load_puzzle(folder), puzzle)
    torch.save({"weight": weight.double(), "bias": torch.tensor(puzzle.last_bias)}, piece(folder, last))
    assert_same(load_puzzle(folder), puzzle)
    torch.save({"weight": weight.bfloat16(), "bias": torch.tensor(puzzle.last_bias)}, piece(folder, last))
    np.testing.assert_array_equal(load_puzzle(folder).last_weight, weight.detach().bfloat16().float().numpy())


def piece(folder: Path, number: int) -> Path:
    return folder / "pieces" / f"piece_{number}.pth"


def test_a_piece_without_a_bias_has_one_of_zeros(folder: Path, puzzle: Puzzle) -> None:
    for number, arrays in pieces_of(puzzle).items():
        save_piece(folder, number, weight=arrays["weight"])
    found = load_puzzle(folder)
    for name in ("inp_bias", "out_bias", "last_bias"):
        np.testing.assert_array_equal(getattr(found, name), np.zeros_like(getattr(puzzle, name)))
    np.testing.assert_array_equal(found.inp_weight, puzzle.inp_weight)


@pytest.mark.parametrize(
    "shape",
    [
        {"blocks": 1},
        {"blocks": 1, "outputs": 3},
        {"outputs": 5},
        {"width": 5, "outputs": 5, "hidden": 3},
        {"width": 5, "outputs": 5, "hidden": 3, "blocks": 1},
        {"width": 7, "hidden": 3},
        {"width": 1, "hidden": 2},
        {"width": 3, "hidden": 1, "outputs": 2},
        {"blocks": 12, "width": 2, "hidden": 3},
    ],
    ids=str,
)
def test_shapes_are_found_and_not_assumed(shape: dict[str, int], tmp_path: Path) -> None:
    puzzle = plant(1, **shape).puzzle
    assert_same(load_puzzle(write_puzzle(puzzle, tmp_path / "p")), puzzle)


def test_measurements_are_sorted_by_number_and_not_by_text(tmp_path: Path) -> None:
    puzzle = plant(2, width=12, hidden=5).puzzle
    write_puzzle(puzzle, tmp_path / "p")
    columns = columns_of(puzzle)
    (tmp_path / "p" / CSV).write_text(csv_of(dict(sorted(columns.items(), reverse=True))))
    assert_same(load_puzzle(tmp_path / "p"), puzzle)


def quoted(text: str) -> str:
    header, _, rest = text.partition("\n")
    return ",".join(f'"{name}"' for name in header.split(",")) + "\n" + rest


@pytest.mark.parametrize(
    "spelling",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + quoted(text).replace("\n", "\r\n"),
        quoted,
        lambda text: text.removesuffix("\n"),
        lambda text: text + "\n",
    ],
    ids=["bom", "crlf", "bom, quotes and crlf", "quoted header", "no last newline", "empty last line"],
)
def test_spellings_of_csv(spelling: Callable[[str], str], folder: Path, puzzle: Puzzle) -> None:
    text = csv_of(columns_of(puzzle))
    (folder / CSV).write_bytes(spelling(text).encode())
    assert_same(load_puzzle(folder), puzzle)


def test_quoted_cells(folder: Path, puzzle: Puzzle) -> None:
    lines = csv_of(columns_of(puzzle)).splitlines()
    (folder / CSV).write_text("".join('"' + line.replace(",", '","') + '"\n' for line in lines))
    assert_same(load_puzzle(folder), puzzle)


def test_whole_numbers_are_numbers(folder: Path, puzzle: Puzzle) -> None:
    columns = columns_of(puzzle) | {"measurement_1": np.arange(12), "pred": np.arange(12) % 2}
    (folder / CSV).write_text(csv_of(columns))
    found = load_puzzle(folder)
    np.testing.assert_array_equal(found.rows_in[:, 1], np.arange(12))
    np.testing.assert_array_equal(found.target_values[:, 0], np.arange(12) % 2)


def test_any_other_column_can_be_the_target(folder: Path, puzzle: Puzzle) -> None:
    extra = np.linspace(0.5, 7, 12)
    (folder / CSV).write_text(csv_of({"odd name, quoted": extra} | columns_of(puzzle)).replace("odd name, q", "odd q"))
    assert set(load_puzzle(folder).targets) == {"pred", "true", "odd quoted"}
    chosen = load_puzzle(folder).with_options(target="odd quoted")
    np.testing.assert_array_equal(chosen.target_values, extra[:, None])


def test_several_outputs(tmp_path: Path) -> None:
    puzzle = plant(5, outputs=11, hidden=3).puzzle
    write_puzzle(puzzle, tmp_path / "p")
    shuffled = dict(reversed(columns_of(puzzle).items())) | {"extra": np.ones(40), "half_0": np.ones(40)}
    (tmp_path / "p" / CSV).write_text(csv_of(shuffled))
    assert_same(load_puzzle(tmp_path / "p"), puzzle)


def test_an_unknown_target_is_refused_with_the_known_ones(folder: Path, puzzle: Puzzle) -> None:
    with pytest.raises(InputError, match=r"'other'.*pred, true.*--target") as caught:
        _ = load_puzzle(folder).with_options(target="other").target_values
    assert caught.value.exit_status == 2
    columns = {name: values for name, values in columns_of(puzzle).items() if name != "pred"}
    (folder / CSV).write_text(csv_of(columns))
    found = load_puzzle(folder)
    with pytest.raises(InputError, match=r"'pred'.*true"):
        _ = found.target_values
    np.testing.assert_array_equal(found.with_options(target="true").target_values, puzzle.targets["true"])


# ---- puzzle.json


def describe(folder: Path, content: Any) -> None:
    (folder / "puzzle.json").write_text(json.dumps(content))


def test_the_description_is_used_and_options_win(folder: Path) -> None:
    describe(folder, {"name": "Deep", "activation": "gelu", "target_hash": "AB" * 32, "author": ["nobody"]})
    found = load_puzzle(folder)
    assert (found.name, found.activation, found.target_hash) == ("Deep", "gelu", "ab" * 32)
    chosen = found.with_options(target="true", target_hash="cd" * 32, activation="tanh")
    assert (chosen.name, chosen.activation, chosen.target_hash) == ("Deep", "tanh", "cd" * 32)
    assert chosen.target == "true"
    left = found.with_options()
    assert (left.activation, left.target_hash, left.target) == ("gelu", "ab" * 32, "pred")


def test_a_description_may_say_little(folder: Path) -> None:
    describe(folder, {"name": None, "target_hash": None})
    found = load_puzzle(folder)
    assert (found.name, found.activation, found.target_hash) == ("some-puzzle", "relu", None)


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[]",
        b'"text"',
        b"\xff\xfe\x00",
        b'{"name": 3}',
        b'{"activation": ["relu"]}',
        b'{"activation": "swish"}',
        b"[" * 200_000,
        b'{"target_hash": "abc"}',
        b'{"target_hash": 7}',
        b'{"target_hash": "' + b"g" * 64 + b'"}',
    ],
    ids=lambda content: str(content[:40]),
)
def test_a_wrong_description_is_refused(content: bytes, folder: Path) -> None:
    (folder / "puzzle.json").write_bytes(content)
    assert_refused(folder, "puzzle.json")


def test_hashes_are_normalised_or_refused() -> None:
    assert parse_hash(f"  {'AB' * 32}\n", "here") == "ab" * 32
    for text in ("", "ab" * 31, "ab" * 33, "sha256:" + "ab" * 32):
        with pytest.raises(PuzzleError, match="here"):
            parse_hash(text, "here")


def test_the_published_hash_is_known_only_with_the_published_pieces_and_data(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = hashlib.sha256((folder / CSV).read_bytes()).hexdigest()
    monkeypatch.setattr(loading, "PUBLISHED_DATA_SHA256", digest)
    assert load_puzzle(folder).target_hash is None  # with this data, but other pieces, the hash would never match
    monkeypatch.setattr(loading, "PUBLISHED_DIGEST", load_puzzle(folder).digest)
    assert load_puzzle(folder).target_hash == PUBLISHED_TARGET_HASH
    describe(folder, {"target_hash": "ab" * 32})
    assert load_puzzle(folder).target_hash == "ab" * 32
    (folder / "puzzle.json").unlink()
    (folder / CSV).write_bytes((folder / CSV).read_bytes() + b"\n")
    assert load_puzzle(folder).target_hash is None


@pytest.mark.real_puzzle
def test_the_published_puzzle() -> None:
    if not PUBLISHED.is_dir():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("the published puzzle is not here")
    assert hashlib.sha256((PUBLISHED / CSV).read_bytes()).hexdigest() == PUBLISHED_DATA_SHA256
    found = load_puzzle(PUBLISHED)
    assert (found.blocks, found.width, found.hidden, found.outputs, found.rows) == (48, 48, 96, 1, 10_000)
    assert set(found.targets) == {"pred", "true"}
    assert (
        found.target_hash == PUBLISHED_TARGET_HASH == "093be1cf2d24094db903cbc3e8d33d306ebca49c6accaa264e44b0b675e7d9c4"
    )


# ---- what is refused: each damage gives the name that the error must hold

Damage = Callable[[Path, Puzzle], str]
DAMAGES: list[Damage] = []


def damage(function: Damage) -> Damage:
    DAMAGES.append(function)
    return function


def spoil(puzzle: Puzzle, folder: Path, number: int, **changes: Any) -> str:
    """Writes piece ``number`` again with changed arrays; None takes one out."""
    arrays = {**pieces_of(puzzle)[number], **changes}
    save_piece(folder, number, **{name: array for name, array in arrays.items() if array is not None})
    return f"piece_{number}.pth"


def with_value(array: np.ndarray, value: float) -> np.ndarray:
    changed = array.astype(np.float64)
    changed.flat[changed.size // 2] = value
    return changed


@damage
def nan_in_a_weight(folder: Path, puzzle: Puzzle) -> str:
    return spoil(puzzle, folder, puzzle.inp_numbers[1], weight=with_value(puzzle.inp_weight[1], np.nan))


@damage
def infinity_in_a_bias(folder: Path, puzzle: Puzzle) -> str:
    return spoil(puzzle, folder, puzzle.out_numbers[1], bias=with_value(puzzle.out_bias[1], -np.inf))


@damage
def a_weight_too_large_for_float32(folder: Path, puzzle: Puzzle) -> str:
    return spoil(puzzle, folder, puzzle.last_number, weight=with_value(puzzle.last_weight, 1e200))


@damage
def whole_numbers_for_weights(folder: Path, puzzle: Puzzle) -> str:
    return spoil(puzzle, folder, puzzle.inp_numbers[0], weight=np.ones((6, 4), np.int64))


@damage
def truth_values_for_weights(folder: Path, puzzle: Puzzle) -> str:
    return spoil(puzzle, folder, puzzle.inp_numbers[0], weight=np.ones((6, 4), np.bool_))


@damage
def complex_weights(folder: Path, puzzle: Puzzle) -> str:
    return spoil(puzzle, folder, puzzle.inp_numbers[0], weight=np.ones((6, 4), np.complex64))


@damage
def a_piece_without_weight(folder: Path, puzzle: Puzzle) -> str:
    return spoil(puzzle, folder, puzzle.inp_numbers[2], weight=None)


@damage
def a_piece_with_a_surplus_tensor(folder: Path, puzzle: Puzzle) -> str:
    return spoil(puzzle, folder, puzzle.inp_numbers[2], scale=np.ones(3, np.float32))


@damage
def a_flat_weight(folder: Path, puzzle: Puzzle) -> str:
    return spoil(puzzle, folder, puzzle.inp_numbers[2], weight=puzzle.inp_weight[2].ravel())


@damage
def a_weight_of_nothing(folder: Path, puzzle: Puzzle) -> str:
    return spoil(puzzle, folder, puzzle.inp_numbers[2], weight=np.zeros((0, 4), np.float32), bias=None)


@damage
def a_bias_that_does_not_fit(folder: Path, puzzle: Puzzle) -> str:
    return spoil(puzzle, folder, puzzle.inp_numbers[2], bias=np.zeros(5, np.float32))


@damage
def a_weight_of_another_network(folder: Path, puzzle: Puzzle) -> str:
    return spoil(puzzle, folder, puzzle.inp_numbers[2], weight=np.zeros((6, 5), np.float32))


@damage
def a_weight_with_a_row_cut_off(folder: Path, puzzle: Puzzle) -> str:
    weight, bias = puzzle.inp_weight[2][:-1], puzzle.inp_bias[2][:-1]
    return spoil(puzzle, folder, puzzle.inp_numbers[2], weight=weight, bias=bias)


@damage
def a_sparse_weight(folder: Path, puzzle: Puzzle) -> str:
    file = piece(folder, puzzle.inp_numbers[0])
    torch.save({"weight": torch.tensor(puzzle.inp_weight[0]).to_sparse()}, file)
    return file.name


@damage
def a_weight_that_is_one_number_stretched(folder: Path, puzzle: Puzzle) -> str:
    torch.save({"weight": torch.ones(1).expand(10**7, 10**7)}, piece(folder, 3))
    return "piece_3.pth"


@damage
def a_weight_without_data(folder: Path, puzzle: Puzzle) -> str:
    torch.save({"weight": torch.empty(6, 4, device="meta")}, piece(folder, 3))
    return "piece_3.pth"


@damage
def a_weight_of_nothing_by_very_much(folder: Path, puzzle: Puzzle) -> str:
    torch.save({"weight": torch.empty(0, 2**62)}, piece(folder, 3))
    return "piece_3.pth"


@damage
def a_weight_that_numpy_does_not_take(folder: Path, puzzle: Puzzle) -> str:
    torch.save({"weight": torch._neg_view(torch.ones(6, 4))}, piece(folder, 3))
    return "piece_3.pth"


@damage
def a_tensor_instead_of_a_dict(folder: Path, puzzle: Puzzle) -> str:
    torch.save(torch.ones(6, 4), piece(folder, 3))
    return "piece_3.pth"


@damage
def a_list_instead_of_a_dict(folder: Path, puzzle: Puzzle) -> str:
    torch.save([torch.ones(6, 4), torch.ones(6)], piece(folder, 3))
    return "piece_3.pth"


@damage
def a_dict_of_lists(folder: Path, puzzle: Puzzle) -> str:
    torch.save({"weight": [[1.0, 2.0]]}, piece(folder, 3))
    return "piece_3.pth"


@damage
def a_truncated_pth(folder: Path, puzzle: Puzzle) -> str:
    content = piece(folder, 3).read_bytes()
    piece(folder, 3).write_bytes(content[: len(content) // 2])
    return "piece_3.pth"


@damage
def an_empty_pth(folder: Path, puzzle: Puzzle) -> str:
    piece(folder, 3).write_bytes(b"")
    return "piece_3.pth"


@damage
def a_pth_of_text(folder: Path, puzzle: Puzzle) -> str:
    piece(folder, 3).write_text("weight\n")
    return "piece_3.pth"


@damage
def a_truncated_safetensors(folder: Path, puzzle: Puzzle) -> str:
    piece(folder, 3).unlink()
    (folder / "pieces" / "piece_3.safetensors").write_bytes(save(pieces_of(puzzle)[3])[:-4])
    return "piece_3.safetensors"


@damage
def an_empty_safetensors(folder: Path, puzzle: Puzzle) -> str:
    piece(folder, 3).unlink()
    (folder / "pieces" / "piece_3.safetensors").write_bytes(b"")
    return "piece_3.safetensors"


@damage
def a_safetensors_of_whole_numbers(folder: Path, puzzle: Puzzle) -> str:
    piece(folder, 3).unlink()
    save_file({"weight": np.ones((6, 4), np.int32)}, folder / "pieces" / "piece_3.safetensors")
    return "piece_3.safetensors"


@damage
def a_safetensors_with_nan(folder: Path, puzzle: Puzzle) -> str:
    piece(folder, 3).unlink()
    arrays = pieces_of(puzzle)[3]
    arrays["bias"] = with_value(arrays["bias"], np.nan)
    save_file(arrays, folder / "pieces" / "piece_3.safetensors")
    return "piece_3.safetensors"


@damage
def a_safetensors_too_large_for_float32(folder: Path, puzzle: Puzzle) -> str:
    piece(folder, 3).unlink()
    arrays = pieces_of(puzzle)[3]
    arrays["bias"] = with_value(arrays["bias"], 1e200)
    save_file(arrays, folder / "pieces" / "piece_3.safetensors")
    return "piece_3.safetensors"


@damage
def a_folder_for_a_pth(folder: Path, puzzle: Puzzle) -> str:
    piece(folder, 3).unlink()
    piece(folder, 3).mkdir()
    return "piece_3.pth"


@damage
def a_folder_for_a_safetensors(folder: Path, puzzle: Puzzle) -> str:
    piece(folder, 3).unlink()
    (folder / "pieces" / "piece_3.safetensors").mkdir()
    return "piece_3.safetensors"


@damage
def a_missing_piece(folder: Path, puzzle: Puzzle) -> str:
    piece(folder, 3).unlink()
    return "piece 3"


@damage
def the_last_piece_missing(folder: Path, puzzle: Puzzle) -> str:
    piece(folder, 6).unlink()
    return "pieces"


@damage
def a_piece_in_two_formats(folder: Path, puzzle: Puzzle) -> str:
    save_file(pieces_of(puzzle)[3], folder / "pieces" / "piece_3.safetensors")
    return "piece_3.safetensors"


@damage
def a_piece_under_two_spellings(folder: Path, puzzle: Puzzle) -> str:
    shutil.copy(piece(folder, 3), folder / "pieces" / "piece_03.pth")
    return "piece_03.pth"


@damage
def a_surplus_inp_piece(folder: Path, puzzle: Puzzle) -> str:
    save_piece(folder, 7, weight=puzzle.inp_weight[0], bias=puzzle.inp_bias[0])
    return "pieces"


@damage
def a_surplus_out_piece(folder: Path, puzzle: Puzzle) -> str:
    save_piece(folder, 7, weight=puzzle.out_weight[0], bias=puzzle.out_bias[0])
    return "pieces"


@damage
def two_last_layers(folder: Path, puzzle: Puzzle) -> str:
    save_piece(folder, 7, weight=puzzle.last_weight, bias=puzzle.last_bias)
    return "pieces"


@damage
def a_surplus_piece_of_a_strange_shape(folder: Path, puzzle: Puzzle) -> str:
    save_piece(folder, 7, weight=np.ones((9, 4), np.float32))
    return "piece_7.pth"


@damage
def an_out_piece_of_another_shape(folder: Path, puzzle: Puzzle) -> str:
    name = spoil(puzzle, folder, puzzle.out_numbers[1], weight=np.ones((4, 5), np.float32))
    return f"{name} (4, 5): alone"


@damage
def no_out_pieces_and_a_square_one(folder: Path, puzzle: Puzzle) -> str:
    for file in (folder / "pieces").iterdir():
        file.unlink()
    save_piece(folder, 0, weight=np.ones((4, 4), np.float32))
    save_piece(folder, 1, weight=np.ones((6, 4), np.float32))
    return "pieces"


@damage
def a_strange_file_among_the_pieces(folder: Path, puzzle: Puzzle) -> str:
    shutil.copy(piece(folder, 3), folder / "pieces" / "piece_3 (copy).pth")
    return "piece_3 (copy).pth"


@damage
def no_pieces(folder: Path, puzzle: Puzzle) -> str:
    shutil.rmtree(folder / "pieces")
    return "pieces"


@damage
def an_empty_folder_of_pieces(folder: Path, puzzle: Puzzle) -> str:
    shutil.rmtree(folder / "pieces")
    (folder / "pieces").mkdir()
    return "pieces"


@damage
def a_file_for_the_folder_of_pieces(folder: Path, puzzle: Puzzle) -> str:
    shutil.rmtree(folder / "pieces")
    (folder / "pieces").write_bytes(b"")
    return "pieces"


def edit(folder: Path, change: Callable[[list[str]], list[str]]) -> str:
    """Changes the lines of the CSV file."""
    lines = (folder / CSV).read_text().splitlines()
    (folder / CSV).write_text("\n".join(change(lines)) + "\n")
    return CSV


def with_cell(folder: Path, text: str) -> str:
    """Puts ``text`` into the second column of the fifth row."""

    def change(lines: list[str]) -> list[str]:
        cells = lines[5].split(",")
        cells[1] = text
        return [*lines[:5], ",".join(cells), *lines[6:]]

    return edit(folder, change)


@damage
def a_nan_cell(folder: Path, puzzle: Puzzle) -> str:
    return with_cell(folder, "nan")


@damage
def an_infinite_cell(folder: Path, puzzle: Puzzle) -> str:
    return with_cell(folder, "-inf")


@damage
def an_empty_cell(folder: Path, puzzle: Puzzle) -> str:
    return with_cell(folder, "")


@damage
def a_cell_of_text(folder: Path, puzzle: Puzzle) -> str:
    return with_cell(folder, "1.5 m")


@damage
def a_cell_too_large_for_float32(folder: Path, puzzle: Puzzle) -> str:
    return with_cell(folder, "1e300")


@damage
def a_target_too_large_for_float32(folder: Path, puzzle: Puzzle) -> str:
    (folder / CSV).write_text(csv_of(columns_of(puzzle) | {"pred": np.linspace(-1e200, 1e200, 12)}))
    return f"{CSV}: row 1 of column 'pred'"


@damage
def a_cell_too_large_for_float64(folder: Path, puzzle: Puzzle) -> str:
    return with_cell(folder, "1e400")


@damage
def a_column_of_truth_values(folder: Path, puzzle: Puzzle) -> str:
    return edit(folder, lambda lines: [lines[0] + ",flag", *(line + ",true" for line in lines[1:])])


@damage
def a_nan_in_the_target(folder: Path, puzzle: Puzzle) -> str:
    columns = columns_of(puzzle)
    (folder / CSV).write_text(csv_of(columns | {"pred": with_value(columns["pred"], np.nan)}))
    return CSV


@damage
def a_short_row(folder: Path, puzzle: Puzzle) -> str:
    return edit(folder, lambda lines: [*lines[:4], lines[4].rpartition(",")[0], *lines[5:]])


@damage
def a_long_row(folder: Path, puzzle: Puzzle) -> str:
    return edit(folder, lambda lines: [*lines[:4], lines[4] + ",1.0", *lines[5:]])


@damage
def every_row_longer_than_the_header(folder: Path, puzzle: Puzzle) -> str:
    return edit(folder, lambda lines: [lines[0], *(line + ",1.0" for line in lines[1:])])


@damage
def a_short_last_row(folder: Path, puzzle: Puzzle) -> str:
    return edit(folder, lambda lines: [*lines[:-1], lines[-1].split(",")[0]])


@damage
def no_rows(folder: Path, puzzle: Puzzle) -> str:
    return edit(folder, lambda lines: lines[:1])


@damage
def no_header(folder: Path, puzzle: Puzzle) -> str:
    return edit(folder, lambda lines: lines[1:])


@damage
def an_empty_table(folder: Path, puzzle: Puzzle) -> str:
    (folder / CSV).write_bytes(b"")
    return CSV


@damage
def a_missing_measurement(folder: Path, puzzle: Puzzle) -> str:
    return edit(folder, lambda lines: [lines[0].replace("measurement_1", "other"), *lines[1:]])


@damage
def the_last_measurement_missing(folder: Path, puzzle: Puzzle) -> str:
    edit(folder, lambda lines: [lines[0].replace("measurement_3", "other"), *lines[1:]])
    return ".pth"


@damage
def no_measurements(folder: Path, puzzle: Puzzle) -> str:
    return edit(folder, lambda lines: [lines[0].replace("measurement", "column"), *lines[1:]])


@damage
def a_doubled_measurement(folder: Path, puzzle: Puzzle) -> str:
    return edit(folder, lambda lines: [lines[0].replace("measurement_1", "measurement_2"), *lines[1:]])


@damage
def a_measurement_under_two_spellings(folder: Path, puzzle: Puzzle) -> str:
    (folder / CSV).write_text(csv_of(columns_of(puzzle) | {"measurement_01": np.arange(12.0)}))
    return f"{CSV}: columns 'measurement_1' and 'measurement_01'"


@damage
def a_measurement_of_very_many_digits(folder: Path, puzzle: Puzzle) -> str:
    edit(folder, lambda lines: [lines[0].replace("measurement_3", f"measurement_{'9' * 5000}"), *lines[1:]])
    return ".pth"


@damage
def no_target_column(folder: Path, puzzle: Puzzle) -> str:
    columns = columns_of(puzzle)
    (folder / CSV).write_text(csv_of({k: v for k, v in columns.items() if k.startswith("measurement")}))
    return f"{CSV}: has no target"


@damage
def an_unterminated_quote(folder: Path, puzzle: Puzzle) -> str:
    (folder / CSV).write_text('"' + "a,b\n" * 50_000)
    return CSV


@damage
def a_doubled_target(folder: Path, puzzle: Puzzle) -> str:
    return edit(folder, lambda lines: [lines[0].replace("true", '"pred"'), *lines[1:]])


@damage
def a_table_in_latin_1(folder: Path, puzzle: Puzzle) -> str:
    (folder / CSV).write_bytes((folder / CSV).read_text().replace("true", "wéird").encode("latin-1"))
    return CSV


@damage
def a_table_in_utf_16(folder: Path, puzzle: Puzzle) -> str:
    (folder / CSV).write_bytes((folder / CSV).read_text().encode("utf-16"))
    return CSV


@damage
def bytes_that_are_no_text(folder: Path, puzzle: Puzzle) -> str:
    with_cell(folder, "1.5@")
    (folder / CSV).write_bytes((folder / CSV).read_bytes().replace(b"@", b"\xff\xfe\x00"))
    return CSV


@damage
def no_table(folder: Path, puzzle: Puzzle) -> str:
    (folder / CSV).unlink()
    return CSV


@damage
def two_tables(folder: Path, puzzle: Puzzle) -> str:
    text = (folder / CSV).read_bytes()
    write_parquet(puzzle, folder)
    (folder / CSV).write_bytes(text)
    return PARQUET


@damage
def a_folder_for_the_table(folder: Path, puzzle: Puzzle) -> str:
    (folder / CSV).unlink()
    (folder / CSV).mkdir()
    return CSV


@damage
def a_folder_for_the_description(folder: Path, puzzle: Puzzle) -> str:
    (folder / "puzzle.json").mkdir()
    return "puzzle.json"


@damage
def a_truncated_parquet(folder: Path, puzzle: Puzzle) -> str:
    file = write_parquet(puzzle, folder)
    file.write_bytes(file.read_bytes()[:-20])
    return PARQUET


@damage
def a_parquet_of_text(folder: Path, puzzle: Puzzle) -> str:
    (folder / CSV).rename(folder / PARQUET)
    return PARQUET


@damage
def a_parquet_with_nan(folder: Path, puzzle: Puzzle) -> str:
    write_parquet(replace(puzzle, rows_in=with_value(puzzle.rows_in, np.nan)), folder)
    return PARQUET


@damage
def a_parquet_without_rows(folder: Path, puzzle: Puzzle) -> str:
    file = write_parquet(puzzle, folder)
    pd.DataFrame(columns_of(puzzle)).iloc[:0].to_parquet(file)
    return PARQUET


@damage
def a_parquet_with_a_column_of_text(folder: Path, puzzle: Puzzle) -> str:
    file = write_parquet(puzzle, folder)
    pd.DataFrame(columns_of(puzzle) | {"pred": ["a"] * 12}).to_parquet(file)
    return PARQUET


@damage
def a_parquet_with_a_missing_whole_number(folder: Path, puzzle: Puzzle) -> str:
    file = write_parquet(puzzle, folder)
    column = pd.array([1, None] + [2] * 10, dtype="Int64")
    pd.DataFrame(columns_of(puzzle) | {"pred": column}).to_parquet(file)
    return PARQUET


@damage
def a_parquet_with_a_doubled_column(folder: Path, puzzle: Puzzle) -> str:
    file, columns = write_parquet(puzzle, folder), columns_of(puzzle)
    arrays = [pyarrow.array(values) for values in columns.values()]
    pyarrow.parquet.write_table(pyarrow.Table.from_arrays([*arrays, arrays[-1]], names=[*columns, "pred"]), file)
    return PARQUET


@damage
def a_table_of_random_bytes(folder: Path, puzzle: Puzzle) -> str:
    (folder / CSV).write_bytes(np.random.default_rng(0).bytes(5000))
    return CSV


@damage
def a_truncated_table(folder: Path, puzzle: Puzzle) -> str:
    (folder / CSV).write_bytes((folder / CSV).read_bytes()[:-30])
    return CSV


@pytest.mark.parametrize("harm", DAMAGES, ids=lambda harm: harm.__name__)
def test_damage_is_refused_by_name(harm: Damage, folder: Path, puzzle: Puzzle) -> None:
    load_puzzle(folder)
    assert_refused(folder, harm(folder, puzzle))


def test_where_shapes_do_not_tell_which_piece_is_damaged_each_is_named(tmp_path: Path) -> None:
    two = plant(0, blocks=2).puzzle
    folder = write_pth_puzzle(two, tmp_path / "p")
    sound, last = piece(folder, two.inp_numbers[1]).name, piece(folder, two.last_number).name
    damaged = spoil(two, folder, two.inp_numbers[0], weight=np.ones((5, 4), np.float32), bias=None)
    with pytest.raises(PuzzleError, match=r"at most one that may be the last layer") as caught:
        load_puzzle(folder)
    assert damaged in str(caught.value)
    assert last in str(caught.value)
    assert sound not in str(caught.value)


@pytest.mark.parametrize(
    "shape",
    [
        {"width": 5, "hidden": 5},
        {"width": 5, "hidden": 5, "blocks": 1},
        {"width": 5, "hidden": 5, "outputs": 5},
        {"width": 4, "hidden": 6, "outputs": 6},
        {"width": 4, "hidden": 6, "outputs": 6, "blocks": 1},
    ],
    ids=str,
)
def test_shapes_that_do_not_tell_the_layers_apart_are_refused(shape: dict[str, int], tmp_path: Path) -> None:
    write_puzzle(plant(1, **shape).puzzle, tmp_path / "p")
    with pytest.raises(PuzzleError, match="do not tell") as caught:
        load_puzzle(tmp_path / "p")
    assert str(tmp_path / "p") in str(caught.value)


def test_too_few_or_too_many_target_columns_for_the_outputs(tmp_path: Path) -> None:
    puzzle = plant(1, outputs=3).puzzle
    write_puzzle(puzzle, tmp_path / "p")
    columns = {name: values for name, values in columns_of(puzzle).items() if not name.startswith("true")}
    for wrong in (
        {name: values for name, values in columns.items() if name != "pred_1"},
        columns | {"pred_3": np.ones(40)},
    ):
        (tmp_path / "p" / CSV).write_text(csv_of(wrong))
        assert_refused(tmp_path / "p", CSV)


class Trap:
    """What a hostile piece holds: loading it carelessly makes a folder."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return os.mkdir, (str(self.place),)


@pytest.mark.parametrize("legacy", [False, True])
def test_no_code_of_a_piece_is_run(legacy: bool, folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "sprung"
    trap = {"weight": torch.ones(6, 4), "bias": Trap(place)}
    torch.save(trap, piece(folder, 3), _use_new_zipfile_serialization=not legacy)
    assert_refused(folder, "piece_3.pth")
    assert not place.exists()
    torch.load(piece(folder, 3), weights_only=False)
    assert place.exists(), "the trap does not work, and the test says nothing"


@pytest.mark.parametrize("name", ["nowhere", "nowhere/deep"])
def test_a_path_with_nothing_there(name: str, tmp_path: Path) -> None:
    assert_refused(tmp_path / name, name)


def test_neither_packed_puzzles_nor_safetensors_need_torch(puzzle: Puzzle, tmp_path: Path) -> None:
    folder = write_puzzle(puzzle, tmp_path / "p")
    (tmp_path / "packed").write_bytes(puzzle.pack())
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from pairing import load_puzzle\n"
        "print(*{load_puzzle(path).digest for path in sys.argv[1:]})"
    )
    paths = [str(folder), str(tmp_path / "packed")]
    run = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == puzzle.digest
