"""What comes over the wire: a task's arguments, and names of puzzles that become paths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pairing.errors import InputError
from pairing.model.puzzle import Puzzle
from tasks.contracts.run_request import MOST_PARTS, request_of
from tasks.puzzles.resolver import Puzzles
from tasks.runs.planning import keep
from tasks.store.memory import Memory
from tasks.store.run_store import Store
from tests.support.puzzles import plant, write_puzzle

METHOD = "cosine"
PART = f"{METHOD}.s0"
DIGEST = f"sha256:{'0' * 64}"


# --- a task's arguments


@pytest.mark.parametrize(
    "wrong",
    [
        {"run": "../run"},
        {"run": "x" * 65},
        {"run": "run\n"},
        {"run": 7},
        {"run": ""},
        {"puzzle": 3},
        {"puzzle": ""},
        {"puzzle": "x" * 5000},
        {"methods": []},
        {"methods": "trace"},
        {"methods": [3]},
        {"methods": ["x" * 101]},
        {"methods": ["trace"] * 201},
        {"seeds": 0},
        {"seeds": 10**9},
        {"seeds": "1"},
        {"seeds": 1.5},
        {"seeds": True},
        {"first_seed": -1},
        {"first_seed": 2**31},
        {"annealer": "pickle"},
        {"start": "__import__('os')"},
        {"diversity": -1},
        {"budget": -60.0},
        {"budget": 0.0},
        {"budget": float("nan")},
        {"budget": float("inf")},
        {"budget": 1e300},
        {"budget": "60"},
        {"budget": 10**400},
        {"deadline": -1.0},
        {"deadline": 1e300},
        {"evaluations": 0},
        {"evaluations": 10**13},
        {"target": ""},
        {"target": ["pred"]},
        {"target_hash": "z" * 64},
        {"target_hash": "a" * 63},
        {"activation": 3},
        {"priority": "highest"},
        {"note": "x" * 2001},
        {"note": None},
        {"enqueued_at": -1.0},
        {"enqueued_at": 1e300},
        {"enqueued_at": float("nan")},
        {"compare": "yes"},
        {"schema_version": 0},
        {"schema_version": "1"},
        {"unknown": 1},
        {"__class__": "x"},
    ],
    ids=lambda wrong: str(wrong)[:40],
)
def test_wrong_arguments_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        request_of({"run": "run1", "puzzle": DIGEST, **wrong})
    assert next(iter(wrong)) in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_unknown_methods_and_far_too_many_parts_are_refused() -> None:
    store = Store(Memory())
    for changes in ({"methods": ["no_such"]}, {"methods": ["trace", METHOD], "seeds": MOST_PARTS}):
        with pytest.raises(InputError):
            keep(store, request_of({"run": "run1", "puzzle": DIGEST, **changes}), DIGEST)
        assert store.record("run1", "request") is None


# --- paths


@pytest.fixture
def roots(tmp_path: Path) -> Path:
    """A folder in which puzzles may be named by their paths, with one in it; there is another beside it."""
    for name in ("roots/inside", "outside"):
        write_puzzle(plant(0, blocks=2).puzzle, tmp_path / name)
    return tmp_path / "roots"


def named(roots: Path, name: object) -> Puzzle:
    return Puzzles(cache_dir=roots.parent / "cache", cache_bytes=0, roots=(roots,)).named(Memory(), str(name))


def test_only_what_is_below_a_root_is_read(roots: Path) -> None:
    assert named(roots, roots / "inside").blocks == 2
    (roots / "link").symlink_to("inside")
    assert named(roots, roots / "link").blocks == 2
    (roots / "out").symlink_to(roots.parent / "outside")
    (roots / "loop").symlink_to("loop")
    wrong = [
        "inside",
        ".",
        "",
        "~/puzzle",
        "file:///etc",
        "http://host/puzzle",
        "sha256:abc",
        f"{DIGEST}\n",
        DIGEST.upper(),
    ]
    paths = [
        roots.parent / "outside",
        roots / ".." / "outside",
        roots / "inside" / ".." / ".." / "outside",
        roots / "out",
        roots / "loop",
        Path("/etc/passwd"),
        f"{roots}/in\0side",
        f"{roots}/{'x' * 3000}",
        f"{roots}2",
    ]
    for name in (*wrong, *paths):
        with pytest.raises(InputError) as caught:
            named(roots, name)
        assert "outside: " not in str(caught.value)


@pytest.mark.parametrize("linked", ["pieces", "historical_data.csv", "puzzle.json", "pieces/piece_0.safetensors"])
def test_links_within_a_puzzle_do_not_lead_out(linked: str, roots: Path) -> None:
    place = roots / "inside" / linked
    target = roots.parent / "outside" / linked
    if not target.exists():
        target.write_text("{}")
    if place.exists():
        place.rename(roots / "moved")
    place.symlink_to(target)
    with pytest.raises(InputError, match="links in it lead elsewhere"):
        named(roots, roots / "inside")
    if (roots / "moved").exists():
        place.unlink()
        place.symlink_to(roots / "moved")
        assert named(roots, roots / "inside").blocks == 2


@pytest.mark.parametrize("name", ["../outside", "/outside", ".", "", "sha256:../outside", f"../{DIGEST}"])
def test_a_forged_digest_is_no_path(name: str, roots: Path) -> None:
    before = sorted(roots.parent.rglob("*"))
    puzzles = Puzzles(cache_dir=roots.parent / "cache", cache_bytes=0)
    with pytest.raises(InputError, match="is not a digest"):
        puzzles.fetched(Memory(), name.replace("/outside", str(roots.parent / "outside")) if name[:1] == "/" else name)
    assert sorted(roots.parent.rglob("*")) == before
