"""Puzzles on their way: the digest, the store, this host's cache."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairing import load_puzzle
from pairing.errors import InputError, PairingError, PuzzleError
from tasks.puzzles import bundles
from tasks.puzzles.bundles import PACKED, bundle_digest, fetch, puzzle_files, remove, ship, shipped
from tasks.puzzles.disk_cache import cached
from tasks.store.memory import Memory
from tests.support.fleet import DEMO

MANY = 2**40
NAMES = ("historical_data.csv", "pieces/piece_0.pth", "pieces/piece_1.pth", "puzzle.json")

contents = st.dictionaries(st.sampled_from(NAMES), st.binary(max_size=300), min_size=1)


def plain_digest(files: Mapping[str, bytes]) -> str:
    """What the documentation says, to the letter."""
    whole = b"".join(
        name.encode() + b"\0" + str(len(files[name])).encode() + b"\0" + files[name] for name in sorted(files)
    )
    return f"sha256:{hashlib.sha256(whole).hexdigest()}"


def put(backend: Memory, files: Mapping[str, bytes]) -> str:
    return ship(backend, dict(files), "test", most_bytes=MANY, quota=MANY)


def content_of(folder: Path) -> dict[str, bytes]:
    return {f.relative_to(folder).as_posix(): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


@given(contents)
def test_the_digest_is_that_of_the_documentation(files: dict[str, bytes]) -> None:
    assert bundle_digest(files) == plain_digest(files)


@given(contents, contents)
def test_other_files_have_another_digest(one: dict[str, bytes], other: dict[str, bytes]) -> None:
    assert (bundle_digest(one) == bundle_digest(other)) == (one == other)


@given(files=contents, part=st.integers(1, 200))
def test_what_is_shipped_is_what_is_fetched(
    files: dict[str, bytes], part: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bundles, "PART_BYTES", part)
        backend, folder = Memory(), tmp_path_factory.mktemp("fetched")
        digest = put(backend, files)
        fetch(backend, digest, folder)
        assert content_of(folder) == files
        assert [bundle.digest for bundle in shipped(backend)] == [digest]
        assert remove(backend, digest)
        assert not remove(backend, digest)
        assert shipped(backend) == []


def test_a_folder_is_shipped_as_it_is_and_loads(tmp_path: Path) -> None:
    (tmp_path / "puzzle").symlink_to(DEMO)
    files = puzzle_files(tmp_path / "puzzle")
    backend, folder = Memory(), tmp_path / "fetched"
    folder.mkdir()
    digest = ship(backend, files, "demo", most_bytes=MANY, quota=MANY)
    fetch(backend, digest, folder)
    assert load_puzzle(folder).digest == load_puzzle(DEMO).digest
    assert digest == bundle_digest(puzzle_files(DEMO))


@pytest.mark.parametrize("name", ["pieces/a b.pth", "pieces/ü.pth"])
def test_a_name_that_is_none_of_a_piece_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "pieces").mkdir()
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(PuzzleError, match=r"\.pth"):
        puzzle_files(tmp_path)


def test_what_is_too_large_is_refused_before_it_is_sent() -> None:
    backend = Memory()
    with pytest.raises(InputError, match="PAIRING_PUZZLE_BYTES"):
        ship(backend, {"puzzle.json": b"12345"}, "large", most_bytes=4, quota=MANY)
    ship(backend, {"puzzle.json": b"12345"}, "first", most_bytes=5, quota=8)
    with pytest.raises(InputError, match="pairing prune"):
        ship(backend, {"puzzle.json": b"other"}, "second", most_bytes=5, quota=8)
    ship(backend, {"puzzle.json": b"12345"}, "first again", most_bytes=5, quota=8)
    assert len(shipped(backend)) == 1


@pytest.mark.parametrize(
    "manifest",
    [
        {"files": [["../escaped", 1]]},
        {"files": [["/absolute", 1]]},
        {"files": [["pieces/../../escaped", 1]]},
        {"files": [["historical_data.csv", -1]]},
        {"files": [["historical_data.csv", "1"]]},
        {"files": "no list"},
        {"parts": 10**9},
        {"parts": None},
        {"schema": 2},
    ],
    ids=str,
)
def test_a_forged_manifest_writes_nothing(tmp_path: Path, manifest: dict[str, object]) -> None:
    backend, folder = Memory(), tmp_path / "folder"
    folder.mkdir()
    digest = put(backend, {"historical_data.csv": b"x"})
    sound = json.loads(backend.get(f"pairing.bundle.{digest}") or b"")
    backend.put(f"pairing.bundle.{digest}", json.dumps({**sound, **manifest}).encode())
    with pytest.raises(InputError, match="pairing puzzle put"):
        fetch(backend, digest, folder)
    assert content_of(tmp_path) == {}


def test_changed_and_missing_parts_are_noticed(tmp_path: Path) -> None:
    backend = Memory()
    digest = put(backend, {"historical_data.csv": b"content"})
    part = f"pairing.bundle.{digest}.0"
    for content, message in ((b"Content", "changed"), (b"cont", "not whole")):
        backend.put(part, content)
        with pytest.raises(InputError, match=message), cached(backend, digest, tmp_path, MANY):
            pass
        assert content_of(tmp_path) == {f".{digest.removeprefix('sha256:')}.lock": b""}


# --- the cache


def test_a_host_fetches_once_and_then_needs_no_store(tmp_path: Path) -> None:
    backend = Memory()
    digest = put(backend, {PACKED: b"packed"})
    with cached(backend, digest, tmp_path, MANY) as path:
        assert path.read_bytes() == b"packed"
    remove(backend, digest)
    with cached(backend, digest, tmp_path, MANY) as path:
        assert path.read_bytes() == b"packed"


def test_many_at_once_find_one_whole_copy(tmp_path: Path) -> None:
    backend = Memory()
    digest = put(backend, {"historical_data.csv": b"x" * 100_000, "pieces/piece_0.pth": b"y"})

    def read(_: int) -> dict[str, bytes]:
        with cached(backend, digest, tmp_path, MANY) as path:
            return content_of(path)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(read, range(32)))
    assert all(set(content) == {"historical_data.csv", "pieces/piece_0.pth"} for content in found)
    assert len([place for place in tmp_path.iterdir() if place.is_dir()]) == 1


def test_the_copy_used_least_recently_goes_but_none_that_is_used(tmp_path: Path) -> None:
    backend = Memory()
    digests = [put(backend, {PACKED: bytes([k]) * 100}) for k in range(3)]
    places = [tmp_path / digest.removeprefix("sha256:") for digest in digests]
    with cached(backend, digests[0], tmp_path, 250):
        with cached(backend, digests[1], tmp_path, 250):
            pass
        os.utime(places[0], (1, 1))  # the oldest, but in use
        os.utime(places[1], (2, 2))
        with cached(backend, digests[2], tmp_path, 250):
            pass
        assert [place.is_dir() for place in places] == [True, False, True]
    with cached(backend, digests[1], tmp_path, 250):
        pass
    assert [place.is_dir() for place in places] == [False, True, True]


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    backend = Memory()
    digest = put(backend, {PACKED: b"packed"})
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(PairingError, match="PAIRING_CACHE_DIR"), cached(backend, digest, tmp_path / "file", MANY):
        pass


def test_what_a_killed_worker_left_is_removed_later(tmp_path: Path) -> None:
    backend = Memory()
    digest = put(backend, {PACKED: b"packed"})
    left = tmp_path / ".0123.abc"
    left.mkdir()
    os.utime(left, (1, 1))
    with cached(backend, digest, tmp_path, MANY):
        pass
    assert not left.exists()


def test_a_copy_that_somebody_removed_is_fetched_again(tmp_path: Path) -> None:
    backend = Memory()
    digest = put(backend, {PACKED: b"packed"})
    with cached(backend, digest, tmp_path, MANY) as path:
        pass
    shutil.rmtree(path.parent)
    with cached(backend, digest, tmp_path, MANY) as path:
        assert path.read_bytes() == b"packed"
