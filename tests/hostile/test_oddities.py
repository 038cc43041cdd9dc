"""What is strange and sound: it loads, and as what it is."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from pairing.io.load import load_puzzle
from pairing.model.puzzle import Puzzle
from tests.support.fleet import Command
from tests.support.puzzle_files import CSV, assert_same, piece, write_parquet, write_pth_puzzle
from tests.support.puzzles import Planted, columns_of, csv_of, pieces_of, plant


@pytest.fixture(scope="module")
def planted() -> Planted:
    return plant(0, blocks=3, width=4, hidden=6, rows=12)


@pytest.fixture
def folder(planted: Planted, tmp_path: Path) -> Path:
    return write_pth_puzzle(planted.puzzle, tmp_path / "puzzle")


def linked_files(folder: Path, puzzle: Puzzle) -> None:
    real = folder.with_name("real")
    shutil.move(folder, real)
    (folder / "pieces").mkdir(parents=True)
    for file in (real / "pieces").iterdir():
        (folder / "pieces" / file.name).symlink_to(file)
    (folder / CSV).symlink_to(Path("..") / "real" / CSV)


def linked_folders(folder: Path, puzzle: Puzzle) -> None:
    shutil.move(folder / "pieces", folder.with_name("elsewhere"))
    (folder / "pieces").symlink_to(folder.with_name("elsewhere"))
    shutil.move(folder, folder.with_name("real"))
    folder.symlink_to("real")


def hard_links(folder: Path, puzzle: Puzzle) -> None:
    for file in list((folder / "pieces").iterdir()):
        file.rename(folder.with_name(file.name))
        file.hardlink_to(folder.with_name(file.name))


def hidden_files(folder: Path, puzzle: Puzzle) -> None:
    (folder / "pieces" / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (folder / "pieces" / "._piece_0.pth").write_bytes(b"\0")
    (folder / "README.md").write_text("a puzzle")


def old_pth(folder: Path, puzzle: Puzzle) -> None:
    for file in (folder / "pieces").iterdir():
        torch.save(torch.load(file, weights_only=True), file, _use_new_zipfile_serialization=False)


def pth_without_checksums(folder: Path, puzzle: Puzzle) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        for file in (folder / "pieces").iterdir():
            torch.save(torch.load(file, weights_only=True), file)
    finally:
        torch.serialization.set_crc32_options(True)


def states_of_modules(folder: Path, puzzle: Puzzle) -> None:
    for number, arrays in pieces_of(puzzle).items():
        layer = torch.nn.Linear(*arrays["weight"].shape[::-1])
        with torch.no_grad():
            layer.weight.copy_(torch.tensor(arrays["weight"]))
            layer.bias.copy_(torch.tensor(arrays["bias"]))
        torch.save(layer.state_dict(), piece(folder, number))


def views_of_larger_tensors(folder: Path, puzzle: Puzzle) -> None:
    for number, arrays in pieces_of(puzzle).items():
        wide = torch.tensor(np.hstack([arrays["weight"], arrays["weight"]]))
        state = {"weight": wide[:, : arrays["weight"].shape[1]], "bias": torch.tensor(arrays["bias"])}
        torch.save(state, piece(folder, number))


def doubles_in_safetensors(folder: Path, puzzle: Puzzle) -> None:
    for number, arrays in pieces_of(puzzle).items():
        piece(folder, number).unlink()
        wide = {name: array.astype(np.float64) for name, array in arrays.items()}
        save_file(wide, piece(folder, number).with_suffix(".safetensors"), {"format": "np"})


def bom_crlf_and_quotes(folder: Path, puzzle: Puzzle) -> None:
    lines = csv_of(columns_of(puzzle)).splitlines()
    text = "".join('"' + line.replace(",", '","') + '"\r\n' for line in lines)
    (folder / CSV).write_bytes(b"\xef\xbb\xbf" + text.encode())


def columns_in_another_order(folder: Path, puzzle: Puzzle) -> None:
    (folder / CSV).write_text(csv_of(dict(sorted(columns_of(puzzle).items(), reverse=True))))


def numbers_in_other_spellings(folder: Path, puzzle: Puzzle) -> None:
    header, *rows = csv_of(columns_of(puzzle)).splitlines()
    text = "\n".join(",".join(f"{float(cell):.20E}" for cell in row.split(",")) for row in rows)
    (folder / CSV).write_text(f"{header}\n{text}\n")


def parquet_of_floats(folder: Path, puzzle: Puzzle) -> None:
    write_parquet(puzzle, folder)


ODDITIES: list[Callable[[Path, Puzzle], None]] = [
    linked_files,
    linked_folders,
    hard_links,
    hidden_files,
    old_pth,
    pth_without_checksums,
    states_of_modules,
    views_of_larger_tensors,
    doubles_in_safetensors,
    bom_crlf_and_quotes,
    columns_in_another_order,
    numbers_in_other_spellings,
    parquet_of_floats,
]


@pytest.mark.parametrize("oddity", ODDITIES, ids=lambda oddity: oddity.__name__)
def test_an_oddity_loads(oddity: Callable[[Path, Puzzle], None], folder: Path, planted: Planted) -> None:
    oddity(folder, planted.puzzle)
    assert_same(load_puzzle(folder), planted.puzzle)


def test_numbers_too_small_for_float32_are_nothing_and_denormal_ones_are_kept(folder: Path, planted: Planted) -> None:
    tiny = np.array([5e-324, -5e-324, 1e-310, 1e-45, 1.4e-45, -1e-40, 1e-39, 0.0, -0.0, 1e-30, 1.0, 2.0])
    (folder / CSV).write_text(csv_of(columns_of(planted.puzzle) | {"measurement_1": tiny, "pred": tiny}))
    weight = np.array(pieces_of(planted.puzzle)[0]["weight"])
    weight.flat[:2] = (1e-45, -1e-40)
    torch.save({"weight": torch.tensor(weight)}, piece(folder, 0))
    found = load_puzzle(folder)
    np.testing.assert_array_equal(found.rows_in[:, 1], tiny.astype(np.float32))
    np.testing.assert_array_equal(found.target_values[:, 0], tiny)
    np.testing.assert_array_equal(pieces_of(found)[0]["weight"], weight)


@pytest.mark.parametrize("name", ["two words", "ümläut", "-dash", "日本", "new\nline"])
def test_a_puzzle_in_a_folder_of_a_strange_name_is_solved(name: str, planted: Planted, tmp_path: Path) -> None:
    write_pth_puzzle(planted.puzzle, tmp_path / name)
    assert_same(load_puzzle(tmp_path / name), planted.puzzle)
    assert load_puzzle(tmp_path / name).name.isprintable()


def test_an_undamaged_puzzle_is_solved_by_the_command(folder: Path, planted: Planted, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    pairing = Command(tmp_path / "home")
    ended = pairing("solve", folder, "--inline", "--methods", "trace,transpose", "--out", "out", "--run", "sound")
    assert ended.status == 0, ended.errors
    assert sorted(path.name for path in pairing.folder.iterdir()) == ["data", "out"]
    assert [path.name for path in (pairing.folder / "out").iterdir()] == ["sound"]
