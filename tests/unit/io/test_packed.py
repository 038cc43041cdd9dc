"""A packed puzzle unpacks to itself, and whatever is wrong with one is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from pairing.io.load import load_puzzle
from pairing.io.packed import pack_puzzle, unpack_puzzle
from pairing.model.puzzle import Puzzle
from tests.support.puzzle_files import assert_refused, assert_same
from tests.support.puzzles import plant


@pytest.fixture(scope="module")
def puzzle() -> Puzzle:
    return plant(0, blocks=3, width=4, hidden=6, rows=12, known=False).puzzle


def test_packed(puzzle: Puzzle, tmp_path: Path) -> None:
    described = replace(puzzle, name="näme", activation="tanh", target="true", target_hash="ab" * 32)
    file = tmp_path / "any.name"
    file.write_bytes(pack_puzzle(described))
    for found in (load_puzzle(file), unpack_puzzle(pack_puzzle(described))):
        assert_same(found, described)
        assert (found.name, found.activation, found.target) == ("näme", "tanh", "true")
        assert found.target_hash == "ab" * 32
    assert unpack_puzzle(pack_puzzle(puzzle)).target_hash is None


def repacked(packed: bytes, *, meta: dict[str, Any] | None = None, **arrays: Any) -> bytes:
    """The packed puzzle with other arrays (None takes one out) or other entries of its description."""
    header = json.loads(packed[8 : 8 + int.from_bytes(packed[:8], "little")])
    about = json.loads(header["__metadata__"]["pairing"]) | (meta or {})
    changed = {k: v for k, v in {**load(packed), **arrays}.items() if v is not None}
    return save(changed, {"pairing": json.dumps({k: v for k, v in about.items() if v is not None})})


PACKED_DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda packed: b"",
    "text": lambda packed: b"measurement_0,pred\n1,2\n",
    "truncated": lambda packed: packed[:-1],
    "truncated header": lambda packed: packed[:40],
    "surplus bytes": lambda packed: packed + b"\0",
    "other safetensors": lambda packed: save({"weight": np.ones(3, np.float32)}),
    "an array missing": lambda packed: repacked(packed, inp_bias=None),
    "an array too many": lambda packed: repacked(packed, surplus=np.ones(3, np.float32)),
    "wrong bias": lambda packed: repacked(packed, inp_bias=np.ones((3, 5), np.float32)),
    "wrong rows": lambda packed: repacked(packed, **{"target.pred": np.ones((11, 1))}),
    "nan": lambda packed: repacked(packed, rows_in=np.full((12, 4), np.nan, np.float32)),
    "infinite target": lambda packed: repacked(packed, **{"target.pred": np.full((12, 1), np.inf)}),
    "no numbers": lambda packed: repacked(packed, meta={"numbers": None}),
    "numbers of another kind": lambda packed: repacked(packed, meta={"numbers": "[1, 2]"}),
    "a flat array": lambda packed: repacked(packed, inp_weight=np.ones((3, 4), np.float32)),
    "a flatter array": lambda packed: repacked(packed, inp_weight=np.ones(3, np.float32)),
    "a scalar": lambda packed: repacked(packed, last_weight=np.array(1.0, np.float32)),
    "whole numbers for weights": lambda packed: repacked(packed, inp_weight=np.ones((3, 6, 4), np.int32)),
    "wide weights": lambda packed: repacked(packed, inp_weight=np.ones((3, 6, 4))),
    "whole numbers for a target": lambda packed: repacked(packed, **{"target.pred": np.ones((12, 1), np.int32)}),
    "a target too large for float32": lambda packed: repacked(packed, **{"target.pred": np.full((12, 1), 1e200)}),
    "no rows": lambda packed: repacked(
        packed, rows_in=np.ones((0, 4), np.float32), **{"target.pred": np.ones((0, 1)), "target.true": np.ones((0, 1))}
    ),
    "no target": lambda packed: repacked(packed, **{"target.pred": None, "target.true": None}),
    "a number for the activation": lambda packed: repacked(packed, meta={"activation": 3}),
    "an unknown activation": lambda packed: repacked(packed, meta={"activation": "swish"}),
    "a list for the name": lambda packed: repacked(packed, meta={"name": ["a"]}),
    "a wrong target hash": lambda packed: repacked(packed, meta={"target_hash": "xyz"}),
    "another schema": lambda packed: repacked(packed, meta={"schema": "99"}),
    "no schema": lambda packed: repacked(packed, meta={"schema": None}),
    "too few blocks numbered": lambda packed: repacked(packed, meta={"numbers": "[[0],[1],2]"}),
    "doubled numbers": lambda packed: repacked(packed, meta={"numbers": "[[0,0,0],[1,1,1],1]"}),
    "texts for numbers": lambda packed: repacked(packed, meta={"numbers": '[["a","b","c"],["d","e","f"],null]'}),
    "truth values for numbers": lambda packed: repacked(packed, meta={"numbers": "[[0,true,2],[3,4,5],6]"}),
    "numbers in no order": lambda packed: repacked(packed, meta={"numbers": "[[4,2,0],[1,3,5],6]"}),
    "numbers split unevenly": lambda packed: repacked(packed, meta={"numbers": "[[0,1],[2,3,4,5],6]"}),
    "a number too large": lambda packed: repacked(packed, meta={"numbers": "[[0,1,2],[3,4,5],1000000000]"}),
    "a number twice": lambda packed: repacked(packed, meta={"numbers": "[[0,1,2],[3,4,5],5]"}),
    "a name for some": lambda packed: repacked(packed, meta={"names": '["a", "b"]'}),
    "names that are none": lambda packed: repacked(packed, meta={"names": "[1, 2, 3, 4, 5, 6, 7]"}),
    "deeply nested numbers": lambda packed: repacked(packed, meta={"numbers": "[" * 200_000}),
    "a deeply nested description": lambda packed: save(load(packed), {"pairing": "[" * 200_000}),
    "a deeply nested header": lambda packed: (200_000).to_bytes(8, "little") + b"[" * 200_000,
}


def test_repacking_itself_does_no_harm(puzzle: Puzzle) -> None:
    assert_same(unpack_puzzle(repacked(pack_puzzle(puzzle))), puzzle)


@pytest.mark.parametrize("harm", PACKED_DAMAGES.values(), ids=PACKED_DAMAGES)
def test_a_damaged_packed_puzzle_is_refused(harm: Callable[[bytes], bytes], puzzle: Puzzle, tmp_path: Path) -> None:
    file = tmp_path / "packed.pairing"
    file.write_bytes(harm(pack_puzzle(puzzle)))
    assert_refused(file, str(file))
