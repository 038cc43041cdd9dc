"""What ``puzzle.json`` says beside a puzzle's files, and the hash that is known of the published one."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from pairing.errors import PuzzleError
from pairing.io import load
from pairing.io.load import load_puzzle, parse_hash
from pairing.model.puzzle import PUBLISHED_DATA_SHA256, PUBLISHED_TARGET_HASH
from tests.support.paths import PUBLISHED_PUZZLE
from tests.support.puzzle_files import CSV, assert_refused, write_pth_puzzle
from tests.support.puzzles import plant


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_pth_puzzle(
        plant(0, blocks=3, width=4, hidden=6, rows=12, known=False).puzzle, tmp_path / "some-puzzle"
    )


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


def test_hashes_are_normalized_or_refused() -> None:
    assert parse_hash(f"  {'AB' * 32}\n", "here") == "ab" * 32
    for text in ("", "ab" * 31, "ab" * 33, "sha256:" + "ab" * 32):
        with pytest.raises(PuzzleError, match="here"):
            parse_hash(text, "here")


def test_the_published_hash_is_known_only_with_the_published_pieces_and_data(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = hashlib.sha256((folder / CSV).read_bytes()).hexdigest()
    monkeypatch.setattr(load, "PUBLISHED_DATA_SHA256", digest)
    assert load_puzzle(folder).target_hash is None  # with this data, but other pieces, the hash would never match
    monkeypatch.setattr(load, "PUBLISHED_DIGEST", load_puzzle(folder).digest)
    assert load_puzzle(folder).target_hash == PUBLISHED_TARGET_HASH
    describe(folder, {"target_hash": "ab" * 32})
    assert load_puzzle(folder).target_hash == "ab" * 32
    (folder / "puzzle.json").unlink()
    (folder / CSV).write_bytes((folder / CSV).read_bytes() + b"\n")
    assert load_puzzle(folder).target_hash is None


@pytest.mark.real_puzzle
def test_the_published_puzzle() -> None:
    if not PUBLISHED_PUZZLE.is_dir():
        pytest.skip("the published puzzle is not here")
    assert hashlib.sha256((PUBLISHED_PUZZLE / CSV).read_bytes()).hexdigest() == PUBLISHED_DATA_SHA256
    found = load_puzzle(PUBLISHED_PUZZLE)
    assert (found.blocks, found.width, found.hidden, found.outputs, found.rows) == (48, 48, 96, 1, 10_000)
    assert set(found.targets) == {"pred", "true"}
    assert (
        found.target_hash == PUBLISHED_TARGET_HASH == "093be1cf2d24094db903cbc3e8d33d306ebca49c6accaa264e44b0b675e7d9c4"
    )
