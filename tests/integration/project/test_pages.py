"""The documentation's longer examples, done as they are written: a method of one's own, another network, two hosts."""

from __future__ import annotations

import json
import runpy
import sys
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
import torch
from click.testing import CliRunner, Result

from config.settings import settings
from pairing import load_puzzle, solve
from pairing.signals.registry import methods
from pairing.synthetic.recipe import Recipe
from pairing.synthetic.training import make_linear_layers, private_torch, train
from tasks.commands.main import cli
from tasks.contracts.errors import PoolError
from tests.support.documents import calls, examples
from tests.support.fleet import DEMO, Command, end_all, wait_for
from tests.support.hosts import Host, HostsMissing, hosts
from tests.support.paths import ROOT
from tests.support.servers import Postgres, made_postgres, run_redis


@contextmanager
def starting(command: Command, *arguments: object) -> Iterator[Callable[[], Path]]:
    """Starts a worker, which ends with the block: what waits until it is ready, and gives its log."""
    log = command.folder / f"worker-{len(list(command.folder.glob('worker-*')))}.log"
    log.touch()
    with command.start(*arguments, "--logfile", log) as process:

        def ready() -> Path:
            wait_for("the worker", lambda: process.poll() is not None or " ready." in log.read_text())
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            return log

        try:
            yield ready
        finally:
            process.terminate()
            assert end_all([psutil.Process(process.pid)]) == []


# --- a method of one's own


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The page's package, as pip would install it: the folder to put on ``PYTHONPATH``."""
    module, project = examples("own-method.md", "The package")
    about = tomllib.loads(project)["project"]
    folder = tmp_path / "site-packages"
    metadata = folder / f"my_methods-{about['version']}.dist-info"
    metadata.mkdir(parents=True)
    (folder / "my_methods.py").write_text(module, encoding="utf-8")
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {about['name']}\nVersion: {about['version']}\n")
    points = about["entry-points"]["pairing.signals"]
    lines = [f"{name} = {place}\n" for name, place in points.items()]
    (metadata / "entry_points.txt").write_text(f"[pairing.signals]\n{''.join(lines)}")
    return folder


@pytest.fixture
def call(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Calls the command in this process, where the package is installed; what it says."""
    monkeypatch.setenv("PAIRING_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("PAIRING_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(package)
    settings.cache_clear()
    methods.cache_clear()

    def call(*arguments: object) -> str:
        said = CliRunner().invoke(cli, list(map(str, arguments)))
        assert said.exit_code == 0, said.output
        return said.stdout

    yield call
    settings.cache_clear()
    methods.cache_clear()
    sys.modules.pop("my_methods", None)


def test_a_method_of_ones_own_solves(call: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = call("methods").splitlines()[-1]
    assert listed.split(None, 1)[0] == "push_back"
    assert listed.endswith("How much of W_out W_in pushes back along what it reads, of all that it does.")
    said = call("solve", DEMO, "--methods", "push_back", "--inline", "--json", "--out", tmp_path / "results")
    assert json.loads(said)["best"]["method"] == "push_back"
    monkeypatch.chdir(ROOT)
    names: dict[str, Any] = {}
    exec(examples("own-method.md", "Use it")[1], names)
    assert len(names["found"].pairs) == names["puzzle"].blocks


def test_a_method_of_ones_own_solves_in_a_worker(package: Path, tmp_path: Path, redis_url: str) -> None:
    settings = {"PAIRING_BROKER_URL": redis_url, "PAIRING_KEY_PREFIX": "own-method:", "PYTHONPATH": str(package)}
    command = Command(tmp_path, settings)
    with starting(command, "worker", "--concurrency", 1) as ready:
        ready()
        caller = Command(tmp_path, {name: value for name, value in settings.items() if name != "PYTHONPATH"})
        said = caller("enqueue", DEMO, "--methods", "push_back", "--wait", "--json")
    assert (said.status, said.json["best"]["method"]) == (0, "push_back"), said.errors


def test_a_method_that_cannot_be_loaded_is_named_as_the_page_says(
    call: Callable[..., str], package: Path, tmp_path: Path
) -> None:
    (package / "my_methods.py").unlink()
    (message,) = examples("own-method.md", "When it fails")
    options = ("--no-stop-when-solved", "--inline", "--json", "--out", tmp_path / "results")
    said = call("solve", DEMO, "--methods", "push_back,trace", *options)
    errors = {method["method"]: method["error"] for method in json.loads(said)["methods"]}
    assert errors == {"trace": None, "push_back": message.strip()}
    assert call("methods").splitlines()[-1].endswith("  cannot be loaded from my_methods:push_back")


# --- another network


def test_a_network_dropped_as_the_page_says_is_put_together_again(tmp_path: Path) -> None:
    (program,) = (block for block in examples("another-network.md", "Drop your own") if "def drop" in block)
    names: dict[str, Any] = {}
    exec(program, names)
    with private_torch(5):
        layers = make_linear_layers(5, 8, 16, 2, 1.0)
        x = torch.randn(600, 8)
        y = torch.stack([x[:, 0] * x[:, 1], torch.sin(2 * x[:, 2])], dim=1)
        recipe = Recipe(activation="tanh", epochs=60, learning_rate=0.01, weight_decay=0.05)
        train(layers, x, (y - y.mean(0)) / y.std(0), recipe)
    blocks = list(zip(layers[:-1:2], layers[1:-1:2], strict=True))
    answer = names["drop"](blocks, layers[-1], x, tmp_path / "mine", "tanh")
    puzzle = load_puzzle(tmp_path / "mine")
    assert (puzzle.activation, puzzle.outputs, puzzle.target_hash) == ("tanh", 2, None)
    solution = solve(puzzle)
    assert solution.solved
    assert list(solution.permutation) == answer


# --- two hosts


def test_the_tutorials_fleet_of_two_hosts(tmp_path: Path) -> None:
    """Every block of the tutorial's second half, on two hosts: only names, passwords and ports are of this place."""
    with ExitStack() as stack:
        try:
            one, two = stack.enter_context(hosts(2))
        except HostsMissing as error:
            pytest.skip(f"network namespaces cannot be made here: {error}")
        with one.inside():
            url = stack.enter_context(run_redis(address=one.address))
            made = stack.enter_context(made_postgres({"listen_addresses": f"127.0.0.1,{one.address}"}))
            with (made.folder / "data" / "pg_hba.conf").open("a") as file:
                file.write(f"host all all {one.address}/32 scram-sha-256\n")
            postgres = stack.enter_context(made.running())
            lines, statements = examples("tutorial.md", "Redis and PostgreSQL, on host one")
            with redis.Redis.from_url(url) as client:
                for line in lines.splitlines():
                    name, _, value = line.partition(" ")
                    if name in ("appendonly", "maxmemory-policy", "requirepass"):
                        client.config_set(name, value)
            for statement in statements.strip().splitlines():
                postgres.execute(statement)
        port = url.rpartition(":")[2].partition("/")[0]
        first, second, init = examples("tutorial.md", "The environment files")
        folders = {one: tmp_path / "one", two: tmp_path / "two"}
        for folder, text in zip(folders.values(), (first, second), strict=True):
            folder.mkdir()
            here = text.replace("one.example:6379", f"{one.address}:{port}")
            (folder / "environment").write_text(here.replace("one.example:5432", f"{one.address}:{postgres.port}"))

        def typed(host: Host, line: str) -> list[str]:
            """The words of a line, its paths those of this place."""
            (call,) = calls(line)
            places = {"/etc/pairing/environment": str(folders[host] / "environment"), "examples/demo-puzzle": str(DEMO)}
            return [places.get(word, word) for word in call]

        commands = {host: Command(folder, fresh=True) for host, folder in folders.items()}
        with one.inside():
            said = commands[one](*typed(one, init))
            assert said.status == 0, said.errors
        plan, others, examination = examples("tutorial.md", "The workers")
        workers = []
        for host, line in ((one, plan), *((two, line) for line in others.splitlines())):
            with host.inside():
                workers.append(stack.enter_context(starting(commands[host], *typed(host, line))))
        logs = [ready() for ready in workers]
        for host in (one, two):
            with host.inside():
                said = commands[host](*typed(host, examination))
            assert said.status == 0, said.output
            assert "pairing-plan@" in said.output
        enqueue, looks, best = examples("tutorial.md", "A run")
        with two.inside():
            said = commands[two](*typed(two, enqueue))
            assert said.status == 0, said.errors
            assert "Solved in" in said.output
            for line in looks.splitlines():
                assert commands[two](*typed(two, line)).status == 0
        assert (folders[two] / "results" / "first" / "report.html").exists()
        assert "first.trace.s0.refinement" in logs[2].read_text()
        with one.inside():
            said = commands[one](*typed(one, best))
        assert "matches" in said.output, said.errors


# --- a password that changes


def test_redis_passwords_are_rotated_without_a_gap(tmp_path: Path) -> None:
    """What operating.md says: both passwords at once, then the old one away."""
    add, remove = (block.split() for block in examples("operating.md", "Redis"))
    with run_redis() as url, redis.Redis.from_url(url) as admin:
        old = url.partition("//:")[2].partition("@")[0]
        new_url = url.replace(old, "new-password")

        def acl(words: list[str]) -> None:
            rule = words[words.index("default") + 1].strip("'").replace("<password", f"<{old}")
            assert admin.execute_command("ACL", "SETUSER", "default", rule) in ("OK", b"OK")

        before = Command(tmp_path, {"PAIRING_BROKER_URL": url})
        after = Command(tmp_path, {"PAIRING_BROKER_URL": new_url})
        acl(add)
        with starting(after, "worker", "--concurrency", 1) as ready:
            ready()
            said = before("enqueue", DEMO, "--methods", "trace", "--run", "between", "--wait")
            assert said.status == 0, said.errors
            acl(remove)
            refused = before("runs")
            assert refused.status == 3
            assert old not in refused.errors
            assert after("enqueue", DEMO, "--methods", "trace", "--run", "afterwards", "--wait").status == 0


def test_a_password_of_postgresql_is_rotated_in_its_file(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = examples("tutorial.md", "Redis and PostgreSQL, on host one")[1].splitlines()[0]
    (alter,) = examples("operating.md", "PostgreSQL")
    secret = tmp_path / "password"
    with ExitStack() as stack:
        postgres.execute(create)
        stack.callback(postgres.execute, "DROP ROLE fleet")
        name = stack.enter_context(postgres.database())
        postgres.execute(f"ALTER DATABASE {name} OWNER TO fleet")
        monkeypatch.setenv("PAIRING_POOL_URL", f"postgresql://fleet@127.0.0.1:{postgres.port}/{name}")
        monkeypatch.setenv("PAIRING_POOL_PASSWORD_FILE", str(secret))
        monkeypatch.setenv("PAIRING_DATA_DIR", str(tmp_path))
        stack.callback(settings.cache_clear)

        def asked(password: str) -> Result:
            secret.write_text(password)
            settings.cache_clear()
            return CliRunner().invoke(cli, ["pool", "init", "--shared-table"])

        assert asked("POOL-PASSWORD").exit_code == 0
        postgres.execute(alter)
        assert asked("POOL-PASSWORD").exit_code == 0  # the connection that is kept goes on
        assert asked("new-password").exit_code == 0
        assert isinstance(asked("POOL-PASSWORD").exception, PoolError)  # which needs a new one


# --- pictures


def test_the_pictures_are_drawn_of_any_puzzle_and_follow_the_readers_colors(tmp_path: Path) -> None:
    module = runpy.run_path(str(ROOT / "docs" / "pictures.py"))
    module["draw"].__globals__.update(ALLOWANCE=60, WRONG=(2,))
    module["draw"](load_puzzle(DEMO), tmp_path / "pictures")
    drawn = {path.name for path in (tmp_path / "pictures").glob("*.svg")}
    committed = {path.name for path in (ROOT / "docs" / "pictures").iterdir()}
    assert drawn == committed == {f"{name}.svg" for name in module["PICTURES"]}
    for path in [*(tmp_path / "pictures").iterdir(), *(ROOT / "docs" / "pictures").iterdir()]:
        text = path.read_text(encoding="utf-8")
        ET.fromstring(text)
        assert "prefers-color-scheme: dark" in text
        assert 'href="http' not in text
        assert len(text) < 100_000
