"""What docs/json.md says of every command's JSON is what the command prints."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.fleet import DEMO, ROOT, Command, Fleet, running_fleet

PAGE = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
ANSWER = DEMO.with_name("demo-puzzle.answer.json")


def documented(title: str) -> set[str]:
    """The keys of the first table below a line of the page that begins so."""
    below = PAGE.split(f"\n{title}", 1)[1]
    table = re.search(r"^\| key \| \|\n\|---\|---\|\n((?:\|.*\n)+)", below, re.MULTILINE)
    assert table is not None, title
    return {key for row in table[1].splitlines() for key in re.findall(r"`([^`]+)`", row.split("|")[1])}


def paths(value: Any, keys: set[str], at: str = "") -> Iterator[tuple[str, Any]]:
    """Every path in a JSON value, and what is there; where names are no keys but data, ``*`` stands for them."""
    if isinstance(value, dict):
        for name, item in value.items():
            path = f"{at}.*" if f"{at}.*" in keys else ".".join(filter(None, (at, name)))
            yield path, item
            yield from paths(item, keys, path)
    elif isinstance(value, list):
        for item in value:
            yield from paths(item, keys, f"{at}[]")


def assert_as_documented(value: Any, title: str) -> None:
    """Every key is documented, and every documented key is there, but below what is null or empty."""
    keys = documented(title)
    found = list(paths(value, keys))
    there = {path for path, _ in found}
    groups = {path for path, item in found if isinstance(item, dict) and any(k.startswith(f"{path}.") for k in keys)}
    assert there - keys - groups == set(), title
    empty = tuple(f"{path}{sign}" for path, item in found if item in (None, [], {}) for sign in (".", "[]"))
    assert {key for key in keys - there if not key.startswith(empty)} == set(), title


@pytest.fixture(scope="module")
def fleet(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with running_fleet(redis_url, tmp_path_factory.mktemp("fleet")) as fleet:
        yield fleet


@pytest.fixture(scope="module")
def command(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """The command on the fleet's host, after a run with a method that fails."""
    folder = tmp_path_factory.mktemp("caller")
    settings = {"PAIRING_BROKER_URL": fleet.url, "PAIRING_KEY_PREFIX": fleet.prefix}
    command = Command(folder, settings | {"PAIRING_DATA_DIR": str(fleet.data_dir)})
    said = command("enqueue", DEMO, "--methods", "trace,raises", "--run", "first", "--wait", "--json")
    assert said.status == 0, said.errors
    assert_as_documented(said.json, "## The summary")
    return command


def test_of_a_run_on_this_machine(tmp_path: Path) -> None:
    command = Command(tmp_path)
    said = command("solve", DEMO, "--methods", "trace", "--inline", "--run", "here", "--json")
    assert_as_documented(said.json, "## The summary")
    folder = tmp_path / "results" / "here"
    assert json.loads((folder / "summary.json").read_text()) == said.json
    assert_as_documented(json.loads((folder / "history.json").read_text()), "## The history")
    assert_as_documented(command("report", folder, "--json").json, "`pairing report RUN")


def test_of_runs(command: Command) -> None:
    assert_as_documented(command("enqueue", DEMO, "--methods", "svd", "--json").json, "`pairing enqueue")
    assert_as_documented(command("runs", "--json").json, "`pairing runs")
    assert_as_documented(command("status", "--json").json, "`pairing runs")
    assert_as_documented(command("status", "first", "--json").json, "`pairing status RUN")
    assert_as_documented(command("results", "first", "--json").json, "## The summary")
    assert_as_documented(command("watch", "first", "--json").json, "## The summary")


def test_of_puzzles(command: Command) -> None:
    assert_as_documented(command("puzzle", "put", DEMO, "--json").json, "`pairing puzzle put")
    assert_as_documented(command("puzzle", "list", "--json").json, "`pairing puzzle list")
    assert_as_documented(command("verify", DEMO, ANSWER, "--json").json, "`pairing verify")


def test_of_the_pool(command: Command) -> None:
    listed = command("pool", "list", "--puzzle", DEMO, "--json").json
    assert_as_documented(listed, "`pairing pool list")
    number = listed["rows"][0]["id"]
    shown = command("pool", "show", number, "--puzzle", DEMO, "--json").json
    assert_as_documented(shown, "`pairing pool show")
    assert shown["row"]["records"]
    best = command("pool", "best", DEMO, "--json").json
    assert best["best"].keys() == shown["row"].keys()
    assert_as_documented(command("pool", "verify", DEMO, "--json").json, "`pairing pool verify")


def test_a_key_that_is_not_documented_would_be_noticed() -> None:
    with pytest.raises(AssertionError):
        assert_as_documented({"schema": 1, "digest": "x", "more": 1}, "`pairing puzzle put")
    with pytest.raises(AssertionError):
        assert_as_documented({"schema": 1}, "`pairing puzzle put")
    with pytest.raises(AssertionError):
        assert_as_documented(
            {"schema": 1, "puzzles": [{"digest": "x", "name": "", "bytes": 1}]}, "`pairing puzzle list"
        )
