"""What a sound puzzle loads as, and that every damaged one is refused with the name of what is damaged."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from pairing.errors import InputError, PuzzleError
from pairing.io.load import load_puzzle
from pairing.io.packed import pack_puzzle, unpack_puzzle
from pairing.model.puzzle import Puzzle
from tests.support.puzzle_files import (
    ARRAYS,
    CSV,
    assert_refused,
    assert_same,
    piece,
    save_piece,
    write_parquet,
    write_pth_puzzle,
)
from tests.support.puzzles import columns_of, csv_of, pieces_of, plant, write_puzzle


@pytest.fixture(scope="module")
def puzzle() -> Puzzle:
    return plant(0, blocks=3, width=4, hidden=6, rows=12, known=False).puzzle


@pytest.fixture
def folder(puzzle: Puzzle, tmp_path: Path) -> Path:
    """A sound puzzle folder with seven ``.pth`` pieces, in the published layout."""
    return write_pth_puzzle(puzzle, tmp_path / "some-puzzle")


# ---- what loads


def test_the_published_layout(folder: Path, puzzle: Puzzle) -> None:
    found = load_puzzle(folder)
    assert_same(found, puzzle)
    assert (found.blocks, found.width, found.hidden, found.outputs, found.rows) == (3, 4, 6, 1, 12)
    assert (found.name, found.activation, found.target, found.target_hash) == ("some-puzzle", "relu", "pred", None)
    np.testing.assert_array_equal(found.target_values, puzzle.targets["pred"])


def test_a_path_may_be_a_text(folder: Path, puzzle: Puzzle) -> None:
    assert_same(load_puzzle(str(folder)), puzzle)


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "float64"])
def test_safetensors_pieces_may_be_of_any_floating_point_type(puzzle: Puzzle, tmp_path: Path, kind: str) -> None:
    import torch
    from safetensors.torch import save_file as save_tensors

    folder = write_puzzle(puzzle, tmp_path / "puzzle")
    expected = {}
    for number, arrays in pieces_of(puzzle).items():
        tensors = {name: torch.from_numpy(array).to(getattr(torch, kind)) for name, array in arrays.items()}
        expected[number] = tensors["weight"].float().numpy()
        (folder / "pieces" / f"piece_{number}.pth").unlink(missing_ok=True)
        save_tensors(tensors, folder / "pieces" / f"piece_{number}.safetensors")
    loaded = load_puzzle(folder)
    for weights, numbers in ((loaded.inp_weight, loaded.inp_numbers), (loaded.out_weight, loaded.out_numbers)):
        for weight, number in zip(weights, numbers, strict=True):
            np.testing.assert_array_equal(weight, expected[number])


@pytest.mark.parametrize("prefix", ["linear.", "module.0."])
def test_keys_may_have_one_prefix_and_that_is_said_once(
    folder: Path, puzzle: Puzzle, caplog: pytest.LogCaptureFixture, prefix: str
) -> None:
    import torch

    for number, arrays in pieces_of(puzzle).items():
        tensors = {prefix + name: torch.from_numpy(array) for name, array in arrays.items()}
        torch.save(tensors, folder / "pieces" / f"piece_{number}.pth")
    assert_same(load_puzzle(folder), puzzle)
    (said,) = caplog.messages
    assert f"'{prefix}'" in said


def test_keys_with_two_prefixes_are_refused(folder: Path) -> None:
    import torch

    torch.save({"a.weight": torch.ones(2, 2), "b.bias": torch.ones(2)}, folder / "pieces" / "piece_0.pth")
    with pytest.raises(PuzzleError, match=r"piece_0\.pth: should hold 'weight'"):
        load_puzzle(folder)


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
    packed = unpack_puzzle(pack_puzzle(pth))
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
    import torch

    monkeypatch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:3")
    for number, arrays in pieces_of(puzzle).items():
        file = save_piece(folder, number, **arrays)
        assert b"cuda:3" in file.read_bytes()
    assert_same(load_puzzle(folder), puzzle)


def test_parameters_and_wider_or_narrower_floats(folder: Path, puzzle: Puzzle) -> None:
    import torch

    last = puzzle.last_number
    weight = torch.nn.Parameter(torch.tensor(puzzle.last_weight))
    torch.save({"weight": weight, "bias": torch.nn.Parameter(torch.tensor(puzzle.last_bias))}, piece(folder, last))
    assert_same(load_puzzle(folder), puzzle)
    torch.save({"weight": weight.double(), "bias": torch.tensor(puzzle.last_bias)}, piece(folder, last))
    assert_same(load_puzzle(folder), puzzle)
    torch.save({"weight": weight.bfloat16(), "bias": torch.tensor(puzzle.last_bias)}, piece(folder, last))
    np.testing.assert_array_equal(load_puzzle(folder).last_weight, weight.detach().bfloat16().float().numpy())


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


# ---- what is refused: tests/hostile has the kinds of damage; here is what some messages say


def spoil(puzzle: Puzzle, folder: Path, number: int, **changes: Any) -> str:
    """Writes piece ``number`` again with changed arrays; None takes one out."""
    arrays = {**pieces_of(puzzle)[number], **changes}
    save_piece(folder, number, **{name: array for name, array in arrays.items() if array is not None})
    return f"piece_{number}.pth"


def test_a_wrong_cell_is_named_by_its_row_and_column(folder: Path, puzzle: Puzzle) -> None:
    for value in (np.nan, np.inf, 1e200):
        target = puzzle.targets["pred"][:, 0].copy()
        target[4] = value
        (folder / CSV).write_text(csv_of(columns_of(puzzle) | {"pred": target}))
        assert_refused(folder, f"{CSV}: row 5 of column 'pred'")


def test_a_lone_stranger_is_named_with_its_shape(folder: Path, puzzle: Puzzle) -> None:
    name = spoil(puzzle, folder, puzzle.out_numbers[1], weight=np.ones((4, 5), np.float32))
    assert_refused(folder, f"{name} (4, 5): alone")


def test_a_missing_piece_is_named_by_its_number(folder: Path) -> None:
    piece(folder, 3).unlink()
    assert_refused(folder, "piece 3 is missing")


def test_two_spellings_of_a_measurement_are_both_named(folder: Path, puzzle: Puzzle) -> None:
    (folder / CSV).write_text(csv_of(columns_of(puzzle) | {"measurement_01": np.arange(12.0)}))
    assert_refused(folder, f"{CSV}: columns 'measurement_1' and 'measurement_01'")


def test_a_column_of_very_many_digits_is_no_measurement(folder: Path, puzzle: Puzzle) -> None:
    (folder / CSV).write_text(csv_of(columns_of(puzzle)).replace("measurement_3", f"measurement_{'9' * 5000}"))
    assert_refused(folder, ".pth")


def test_two_last_layers(folder: Path, puzzle: Puzzle) -> None:
    save_piece(folder, 7, weight=puzzle.last_weight, bias=puzzle.last_bias)
    assert_refused(folder, "surplus or doubled")


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


@pytest.mark.parametrize("name", ["nowhere", "nowhere/deep"])
def test_a_path_with_nothing_there(name: str, tmp_path: Path) -> None:
    assert_refused(tmp_path / name, name)


def test_neither_packed_puzzles_nor_safetensors_need_torch(puzzle: Puzzle, tmp_path: Path) -> None:
    folder = write_puzzle(puzzle, tmp_path / "p")
    (tmp_path / "packed").write_bytes(pack_puzzle(puzzle))
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from pairing import load_puzzle\n"
        "print(*{load_puzzle(path).digest for path in sys.argv[1:]})"
    )
    paths = [str(folder), str(tmp_path / "packed")]
    run = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == puzzle.digest
