"""Services: what is written on a host and taken back, what systemd says of it, and a worker under its restrictions."""

from __future__ import annotations

import json
import os
import plistlib
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
from ruamel.yaml import YAML

from config.celeryconfig import worker_soft_shutdown_timeout
from pairing.errors import InputError
from tasks import services
from tasks.backend import Redis
from tasks.lifecycle import GIVE_UP_SECONDS, register
from tasks.queues import ROLES
from tasks.request import request_of
from tasks.services import Place, check_installation, host_place, next_steps, running, service_files
from tasks.spool import spool_winner
from tasks.store import Store
from tasks.written_files import compare_files, remove_files, write_files
from tests.support.fleet import ROOT, Command, descendants, wait_for
from tests.support.missing import missing
from tests.support.pools import SqlitePoolDatabase, provenance, winner
from tests.support.sandbox import APPLIED, NOT_APPLIED, NoSandboxError, Unit, read_unit, sandboxed

PUZZLE = ROOT.parent / "shared" / "puzzle"
PAIRING = Path(sysconfig.get_path("scripts")) / "pairing"
SERVICES = ("pairing-worker", "pairing-worker@refine", "pairing-flower", "pairing-sweeper")
MOST_EXPOSED = 1.5


@pytest.fixture
def pairing(tmp_path: Path) -> Command:
    home = tmp_path / "home"
    home.mkdir()
    return Command(home, {"HOME": str(home)})


def systemd(root: Path, user: bool = False) -> Place:
    return Place("systemd", user, "somebody", Path("/home/somebody"), Path("/opt/pairing/bin/pairing"), root)


def launchd(root: Path, user: bool = True) -> Place:
    return Place("launchd", user, "somebody", Path("/Users/somebody"), Path("/opt/<pairing>/bin/pairing"), root)


def every_file(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def every_path(root: Path) -> list[Path]:
    return sorted(root.rglob("*"))


# --- written and taken back


def test_the_command_installs_says_and_takes_back(pairing: Command, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "home").mkdir(parents=True)
    before = every_path(root)
    call = ("--user", "--root", root)
    assert pairing("service", "status", *call).status == 1

    installed = pairing("service", "install", *call)
    assert installed.status == 0, installed.errors
    assert "daemon-reload" in installed.output or "launchctl" in installed.output
    written = every_file(root)
    assert any(str(PAIRING).encode() in text for text in written.values())
    assert not any(b"@PAIRING@" in text or b"@TARGET@" in text for text in written.values())

    again = pairing("service", "install", *call)
    assert again.output.count(": unchanged") == len(written) - 1  # all but the list of them
    assert every_file(root) == written
    status = pairing("service", "status", *call)
    assert status.status == 0
    assert status.output.count(": as installed") == len(written) - 1

    assert pairing("service", "uninstall", *call).status == 0
    assert every_path(root) == before
    assert "nothing is installed" in pairing("service", "uninstall", *call).output


@pytest.mark.parametrize("place", [systemd, launchd])
@pytest.mark.parametrize("user", [True, False])
def test_exactly_what_was_written_is_removed(place: Any, user: bool, tmp_path: Path) -> None:
    here = place(tmp_path / "root", user)
    here.units.mkdir(parents=True)
    (here.units / "pairing-other.service").write_text("somebody else's")
    before = every_path(here.root)
    write_files(service_files(here), here.manifest)
    assert remove_files(here.manifest)
    assert every_path(here.root) == before


def test_a_folder_that_stands_for_the_root_may_be_moved(tmp_path: Path) -> None:
    write_files(service_files(systemd(tmp_path / "old")), systemd(tmp_path / "old").manifest)
    (tmp_path / "old").rename(tmp_path / "new")
    moved = systemd(tmp_path / "new")
    assert {news for _, news in compare_files(service_files(moved), moved.manifest)} == {"as installed"}
    remove_files(moved.manifest)
    assert every_file(tmp_path / "new") == {}


def test_another_version_replaces_its_own_files_and_no_others(tmp_path: Path) -> None:
    manifest, kept, gone, edited = (tmp_path / name for name in ("list", "kept", "gone", "edited"))
    write_files({kept: "old", gone: "old", edited: "old"}, manifest)
    edited.write_text("by hand")
    news = compare_files({kept: "new", edited: "old"}, manifest)
    assert dict(news)[kept].startswith("of another installation")
    assert dict(news)[edited] == "edited"
    assert dict(news)[gone].startswith("no longer used")

    before = every_file(tmp_path)
    with pytest.raises(InputError, match="edited"):
        write_files({kept: "new", edited: "new"}, manifest)
    assert every_file(tmp_path) == before

    write_files({kept: "new"}, manifest)
    assert kept.read_text() == "new"
    assert not gone.exists()
    assert edited.read_text() == "by hand"
    assert dict(remove_files(manifest)) == {kept: "removed", edited: "edited, stays"}
    edited.write_text("old")
    remove_files(manifest)
    assert every_path(tmp_path) == []


def test_a_file_of_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "unit").write_text("theirs")
    with pytest.raises(InputError, match="was not written by this command"):
        write_files({tmp_path / "new": "ours", tmp_path / "unit": "ours"}, tmp_path / "list")
    assert every_file(tmp_path) == {"unit": b"theirs"}


def test_a_write_that_fails_leaves_nothing_that_is_not_listed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(InputError, match="as root"):
        write_files({tmp_path / "first": "ours", tmp_path / "file" / "second": "ours"}, tmp_path / "list")
    remove_files(tmp_path / "list")
    assert every_file(tmp_path) == {"file": b"no folder"}


# --- whose, and with what


def test_an_installation_that_the_hosts_services_cannot_see_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place("systemd", False, "root", Path("/root"), PAIRING)
    monkeypatch.setattr(services.sys, "prefix", "/home/somebody/.venv")
    with pytest.raises(InputError, match=r"/home/somebody/\.venv"):
        check_installation(place)
    with pytest.raises(InputError, match="there is no such command"):
        check_installation(systemd(Path("/")))


def test_a_mac_needs_to_know_as_whom(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services.sys, "platform", "darwin")
    monkeypatch.setattr(services.os, "geteuid", lambda: 0)
    monkeypatch.delenv("SUDO_USER", raising=False)
    with pytest.raises(InputError, match="sudo"):
        host_place(None)
    monkeypatch.setenv("SUDO_USER", "nobody")
    place = host_place(None)
    assert (place.kind, place.user, place.login) == ("launchd", False, "nobody")


@pytest.mark.parametrize(
    ("path", "word"),
    [("/opt/pairing", "/opt/pairing"), ("/opt/100%/p", "/opt/100%%/p"), ('/opt/my "p"/p', '"/opt/my \\"p\\"/p"')],
)
def test_a_path_in_a_unit(path: str, word: str) -> None:
    assert services._quoted(path) == word


def test_what_runs_is_asked_of_the_hosts_own_manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "systemctl"
    fake.write_text('#!/bin/sh\necho "pairing-worker.service loaded active running $*"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    (line,) = running(systemd(Path("/"), user=True))
    assert "active running --user" in line
    assert running(systemd(tmp_path)) == []
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert running(systemd(Path("/"))) == []


# --- systemd's own word


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that stands for / of a host with systemd, with our services installed."""
    if shutil.which("systemd-analyze") is None:
        missing("there is no systemd-analyze here")
    folder = tmp_path_factory.mktemp("root")
    own = Path("/usr/lib/systemd/system")
    shutil.copytree(own, folder / own.relative_to("/"), symlinks=True)
    command = folder / "opt" / "pairing" / "bin" / "pairing"
    command.parent.mkdir(parents=True)
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    place = systemd(folder)
    write_files(service_files(place), place.manifest)
    return folder


def test_systemd_has_nothing_to_say(root: Path) -> None:
    units = [*(f"{name}.service" for name in SERVICES), "pairing-sweeper.timer"]
    said = subprocess.run(
        ["systemd-analyze", "verify", f"--root={root}", *units], capture_output=True, text=True, check=False
    )
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")


def test_a_users_systemd_has_nothing_to_say_either(tmp_path: Path, root: Path) -> None:
    place = Place("systemd", True, "somebody", Path("/home/somebody"), PAIRING, tmp_path)
    write_files(service_files(place), place.manifest)
    units = [*(f"{name}.service" for name in SERVICES), "pairing-sweeper.timer"]
    paths = {"SYSTEMD_UNIT_PATH": f"{place.units}:/usr/lib/systemd/user", "XDG_RUNTIME_DIR": str(tmp_path)}
    call = ["systemd-analyze", "--user", "verify", *units]
    said = subprocess.run(call, env={**os.environ, **paths}, capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")


def test_systemd_notices_what_is_wrong(root: Path) -> None:
    wrong = root / "etc" / "systemd" / "system" / "wrong.service"
    wrong.write_text("[Service]\nExecStart=/nowhere\nSurprise=yes\n")
    said = subprocess.run(
        ["systemd-analyze", "verify", f"--root={root}", wrong.name], capture_output=True, text=True, check=False
    )
    wrong.unlink()
    assert "Surprise" in said.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_services_are_hardly_exposed(root: Path, name: str) -> None:
    call = ["systemd-analyze", "security", "--offline=true", f"--root={root}", f"--threshold={int(10 * MOST_EXPOSED)}"]
    said = subprocess.run([*call, f"{name}.service"], capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout[-500:]
    level = float(said.stdout.rpartition(f"{name}.service: ")[2].split()[0])
    assert level <= MOST_EXPOSED


def unit(root: Path, name: str) -> Unit:
    """A service as it is installed."""
    folder = systemd(root).units
    return read_unit(folder / f"{name}.service", folder / "pairing-.service.d" / "system.conf")


@pytest.mark.parametrize("name", ["pairing-worker", "pairing-worker@"])
def test_workers_are_stopped_gently_and_come_back(root: Path, name: str) -> None:
    found = unit(root, name)
    assert "REMAP_SIGTERM=SIGQUIT" in found.directives["Environment"]
    assert found.last("KillMode") == "mixed"
    assert float(found.last("TimeoutStopSec")) > 2 * worker_soft_shutdown_timeout
    assert (found.last("Restart"), found.last("RestartPreventExitStatus")) == ("always", str(InputError.exit_status))


def test_both_workers_differ_in_their_role_alone(root: Path) -> None:
    def meaning(name: str) -> list[str]:
        lines = (systemd(root).units / f"{name}.service").read_text().splitlines()
        return [line for line in lines if line and not line.startswith(("#", "Description="))]

    assert meaning("pairing-worker@") == [line.replace("--role all", "--role %i") for line in meaning("pairing-worker")]


# --- launchd, as far as it can be told without a Mac


@pytest.mark.parametrize("user", [True, False])
def test_property_lists(tmp_path: Path, user: bool) -> None:
    place = launchd(tmp_path, user)
    found = {path.stem: plistlib.loads(text.encode()) for path, text in service_files(place).items()}
    roles = {f"pairing.worker.{role}" for role in ROLES if role != "all"}
    assert set(found) == {"pairing.worker", "pairing.flower", "pairing.sweeper", *roles}
    for label, values in found.items():
        assert values["Label"] == label
        assert values["ProgramArguments"][:3] == [str(place.pairing), "--env-file", str(place.environment)]
        assert values["Disabled"] is True
        assert values.get("UserName") == (None if user else "somebody")
        assert values["StandardErrorPath"] == f"/Users/somebody/Library/Logs/{label}.log"
        assert values["Umask"] == 0o077
        assert "@" not in json.dumps(values)
    worker = found["pairing.worker.refine"]
    assert worker["ProgramArguments"][3:] == ["worker", "--role", "refine"]
    assert worker["EnvironmentVariables"] == {"REMAP_SIGTERM": "SIGQUIT"}
    assert worker["ExitTimeOut"] > 2 * worker_soft_shutdown_timeout
    assert found["pairing.sweeper"]["StartInterval"] == 60
    assert "launchctl" in next_steps(place)


# --- sweeps, and environment files


def test_a_sweep_ends_runs_and_stores_winners(
    redis_url: str, pairing: Command, sqlite_pool: SqlitePoolDatabase, tmp_path: Path
) -> None:
    prefix = f"test-{secrets.token_hex(6)}:"
    file = tmp_path / "environment"
    pool = f"PAIRING_POOL_URL={sqlite_pool.url}"
    file.write_text(f"# a comment\nPAIRING_BROKER_URL='{redis_url}'\nPAIRING_KEY_PREFIX={prefix}\n{pool}\nOTHER=x\n")
    store = Store(Redis(redis_url, prefix))
    late = time.time() - GIVE_UP_SECONDS - 1000
    asked = {"run": "late", "puzzle": f"sha256:{'0' * 64}", "methods": ["trace"], "enqueued_at": late, "deadline": 10}
    register(store, request_of(asked))
    spool_winner(pairing.data_dir / "spool", sqlite_pool.url, winner(), provenance())
    try:
        swept = pairing("--env-file", file, "sweep")
        assert swept.status == 0, swept.errors
        assert "1 runs seen to, 1 winners stored, 0 wait on" in swept.output
        end = store.record("late", "end")
        assert end is not None
        assert end["end"] == "timed_out"
        assert not list((pairing.data_dir / "spool").glob("*.json"))
        other = pairing("--env-file", file, "sweep", environment={"PAIRING_KEY_PREFIX": f"{prefix}other:"})
        assert "0 runs seen to" in other.output  # the environment wins
    finally:
        with redis.Redis.from_url(redis_url) as client:
            for key in client.scan_iter(f"{prefix}*"):
                client.delete(key)


def test_an_environment_file_that_cannot_be_read_is_said(pairing: Command, tmp_path: Path) -> None:
    said = pairing("--env-file", tmp_path / "nowhere", "methods")
    assert said.status == 2
    assert "PAIRING-E001" in said.errors
    assert "nowhere" in said.errors


# --- a worker under the restrictions


def test_every_restriction_is_applied_below_or_known_not_to_be(root: Path) -> None:
    common = read_unit(systemd(root).units / "pairing-.service.d" / "system.conf").directives
    assert set(common) <= APPLIED | NOT_APPLIED
    assert not APPLIED & NOT_APPLIED


def confined(found: Unit, folder: Path, fleet: dict[str, str], command: str | None = None) -> list[str]:
    """The command that starts a unit's own, or another, under the unit's restrictions."""
    own = found.last("ExecStart").replace("/opt/pairing/bin/pairing", str(PAIRING))
    found.directives["ExecStart"] = [command or own]
    try:
        return sandboxed(found, folder, {**fleet, "PYTHONPATH": str(ROOT)}, [])
    except NoSandboxError as error:
        missing(str(error))


COMPILE = "import numba; print(numba.njit(lambda x: x + 1)(1))"


@pytest.mark.parametrize(("name", "compiles"), [("pairing-worker", True), ("pairing-sweeper", False)])
def test_what_may_compile(root: Path, tmp_path: Path, name: str, compiles: bool) -> None:
    # Why workers are allowed to execute what they wrote, and no other service is.
    command = confined(unit(root, name), tmp_path, {}, shlex.join([sys.executable, "-c", COMPILE]))
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (said.returncode == 0) == compiles, said.stderr
    assert (said.stdout == "2\n") == compiles


def test_a_sweep_under_its_restrictions(root: Path, redis_url: str, tmp_path: Path) -> None:
    fleet = {"PAIRING_BROKER_URL": redis_url, "PAIRING_KEY_PREFIX": f"test-{secrets.token_hex(6)}:"}
    command = confined(unit(root, "pairing-sweeper"), tmp_path, fleet)
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    assert "0 runs seen to" in said.stdout


@pytest.fixture
def confined_worker(root: Path, redis_url: str, tmp_path: Path) -> Iterator[tuple[Path, Path, Command]]:
    """A worker in the sandbox that its unit describes: its state and cache folder, its log, and a caller outside."""
    fleet = {"PAIRING_BROKER_URL": redis_url, "PAIRING_KEY_PREFIX": f"test-{secrets.token_hex(6)}:"}
    command = confined(unit(root, "pairing-worker"), tmp_path, fleet)
    log = tmp_path / "log"
    with log.open("wb") as output:
        worker = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        wait_for("the worker", lambda: b" ready." in log.read_bytes() or worker.poll() is not None, 120)
        assert worker.poll() is None, log.read_text()
        yield tmp_path, log, Command(tmp_path, fleet)
    finally:
        for process in [*descendants(worker.pid), psutil.Process(worker.pid)]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        worker.wait()
        with redis.Redis.from_url(redis_url) as client:
            for key in client.scan_iter(f"{fleet['PAIRING_KEY_PREFIX']}*"):
                client.delete(key)


@pytest.mark.real_puzzle
def test_a_worker_solves_the_puzzle_under_its_restrictions(confined_worker: tuple[Path, Path, Command]) -> None:
    if not PUZZLE.is_dir():
        missing("the published puzzle is not at ../shared/puzzle")
    folder, log, caller = confined_worker
    solved = caller("enqueue", PUZZLE, "--methods", "trace", "--wait", "--json")
    assert solved.status == 0, solved.errors + log.read_text()
    assert solved.json["best"]["hash_match"]
    assert list((folder / "cache" / "numba").rglob("*.nbc"))  # compiled once, kept for the next start
    assert list((folder / "state" / "pools").glob("*.sqlite"))
    assert {path.stat().st_mode & 0o077 for path in (folder / "state").rglob("*") if path.is_dir()} == {0}


def test_a_worker_under_its_restrictions_ends_as_systemd_ends_it(
    confined_worker: tuple[Path, Path, Command],
) -> None:
    _, log, caller = confined_worker
    compose = YAML(typ="safe").load(ROOT / "docker-compose.yml")
    check = compose["services"]["worker"]["healthcheck"]["test"][1].replace("$$", "$")
    path = f"{PAIRING.parent}{os.pathsep}{os.environ['PATH']}"
    asked = ["sh", "-c", check]
    environment = {**caller.environment, "PATH": path}
    said = subprocess.run(asked, env=environment, cwd=caller.folder, capture_output=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr

    mine = [process for process in psutil.Process().children(recursive=True) if "celery" in process.cmdline()]
    main = next(process for process in mine if process.cmdline()[1:3] == ["-m", "celery"])
    main.send_signal(signal.SIGTERM)  # KillMode=mixed: to nobody else
    _, left = psutil.wait_procs(mine, timeout=6 * worker_soft_shutdown_timeout)
    assert not left
    assert b"old shutdown" in log.read_bytes()  # SIGTERM was taken for SIGQUIT
