"""What docs/json.md says of every command's JSON is what the command prints."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from config.settings import settings
from tasks.commands.main import cli
from tests.support.fleet import DEMO, Fleet, running_fleet
from tests.support.paths import ROOT

PAGE = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
Call = Callable[..., Any]
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
def call(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Call]:
    """Calls the command in this process, on the fleet's host, after a run with a method that fails."""
    folder = tmp_path_factory.mktemp("caller")
    settings_here = {
        "PAIRING_BROKER_URL": fleet.url,
        "PAIRING_KEY_PREFIX": fleet.prefix,
        "PAIRING_DATA_DIR": str(fleet.data_dir),
        "PAIRING_CACHE_DIR": str(folder / "cache"),
    }
    with pytest.MonkeyPatch.context() as patched:
        for name, value in settings_here.items():
            patched.setenv(name, value)
        patched.chdir(folder)
        settings.cache_clear()

        def call(*arguments: object, exit_statuses: tuple[int, ...] = (0,)) -> Any:
            said = CliRunner().invoke(cli, [*map(str, arguments), "--json"])
            assert said.exit_code in exit_statuses, said.output
            return json.loads(said.stdout)

        summary = call("enqueue", DEMO, "--methods", "trace,raises", "--run", "first", "--wait")
        assert_as_documented(summary, "## The summary")
        yield call
    settings.cache_clear()


def test_of_runs(call: Call) -> None:
    assert_as_documented(call("enqueue", DEMO, "--methods", "svd"), "`pairing enqueue")
    assert_as_documented(call("runs"), "`pairing runs")
    assert_as_documented(call("status"), "`pairing runs")
    assert_as_documented(call("status", "first"), "`pairing status RUN")
    summary = call("results", "first")
    assert_as_documented(summary, "## The summary")
    folder = Path(summary["artefacts"]["summary"]).parent
    assert json.loads((folder / "summary.json").read_text()) == summary
    assert_as_documented(json.loads((folder / "history.json").read_text()), "## The history")
    assert_as_documented(call("watch", "first"), "## The summary")
    assert_as_documented(call("report", "first"), "`pairing report RUN")


def test_of_puzzles(call: Call) -> None:
    assert_as_documented(call("puzzle", "put", DEMO), "`pairing puzzle put")
    assert_as_documented(call("puzzle", "list"), "`pairing puzzle list")
    assert_as_documented(call("verify", DEMO, ANSWER), "`pairing verify")


def test_of_the_fleet(call: Call) -> None:
    assert_as_documented(call("doctor", exit_statuses=(0, 1)), "`pairing doctor")


def test_of_the_pool(call: Call) -> None:
    listed = call("pool", "list", "--puzzle", DEMO)
    assert_as_documented(listed, "`pairing pool list")
    number = listed["rows"][0]["id"]
    shown = call("pool", "show", number, "--puzzle", DEMO)
    assert_as_documented(shown, "`pairing pool show")
    assert shown["row"]["records"]
    best = call("pool", "best", DEMO)
    assert best.keys() == {"schema", "best"}
    assert best["best"].keys() == shown["row"].keys()
    assert_as_documented(call("pool", "verify", DEMO), "`pairing pool verify")


def test_of_methods_and_networks(call: Call, tmp_path: Path) -> None:
    assert_as_documented(call("methods"), "`pairing methods --json`:")
    assembled = call("assemble", DEMO, ANSWER, tmp_path / "network.safetensors")
    assert_as_documented(assembled, "`pairing assemble PUZZLE SOLUTION OUT --json`:")


def test_a_key_that_is_not_documented_would_be_noticed() -> None:
    with pytest.raises(AssertionError):
        assert_as_documented({"schema": 1, "digest": "x", "more": 1}, "`pairing puzzle put")
    with pytest.raises(AssertionError):
        assert_as_documented({"schema": 1}, "`pairing puzzle put")
    with pytest.raises(AssertionError):
        assert_as_documented(
            {"schema": 1, "puzzles": [{"digest": "x", "name": "", "bytes": 1}]}, "`pairing puzzle list"
        )
