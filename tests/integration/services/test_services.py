"""Services: what is written on a host and taken back, for whom, and what they do when they run."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import CliRunner

from pairing.errors import InputError
from tasks.contracts.run_request import request_of
from tasks.pool.spool import spool_winner
from tasks.runs.lifecycle import GIVE_UP_SECONDS, register
from tasks.services import units
from tasks.services.installed_files import compare_files, remove_files, write_files
from tasks.services.units import Place, check_installation, host_place, running, service_files
from tasks.store.redis import Redis
from tasks.store.run_store import Store
from tests.support.fleet import Command
from tests.support.pools import SqlitePoolDatabase, provenance, winner
from tests.support.services import PAIRING, launchd, systemd


@pytest.fixture
def pairing(tmp_path: Path) -> Command:
    home = tmp_path / "home"
    home.mkdir()
    return Command(home, {"HOME": str(home)})


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
    monkeypatch.setattr(units.sys, "prefix", "/home/somebody/.venv")
    with pytest.raises(InputError, match=r"/home/somebody/\.venv"):
        check_installation(place)
    with pytest.raises(InputError, match="there is no such command"):
        check_installation(systemd(Path("/")))


def test_a_mac_needs_to_know_as_whom(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units.sys, "platform", "darwin")
    monkeypatch.setattr(units.os, "geteuid", lambda: 0)
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
    assert units._quoted(path) == word


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
        assert "1 overdue runs, 1 winners stored, 0 still wait" in swept.output
        end = store.record("late", "end")
        assert end is not None
        assert end["end"] == "timed_out"
        assert not list((pairing.data_dir / "spool").glob("*.json"))
        other = pairing("--env-file", file, "sweep", environment={"PAIRING_KEY_PREFIX": f"{prefix}other:"})
        assert "0 overdue runs" in other.output  # the environment wins
    finally:
        with redis.Redis.from_url(redis_url) as client:
            for key in client.scan_iter(f"{prefix}*"):
                client.delete(key)


def test_an_environment_file_that_cannot_be_read_is_said(pairing: Command, tmp_path: Path) -> None:
    said = pairing("--env-file", tmp_path / "nowhere", "methods")
    assert said.status == 2
    assert "PAIRING-E001" in said.errors
    assert "nowhere" in said.errors


# --- booted hosts: make services


@pytest.mark.parametrize(("user", "programs", "said"), [(1000, True, "needs root"), (0, False, "systemd-nspawn")])
def test_where_hosts_cannot_be_booted_it_is_said(
    user: int, programs: bool, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from tests.hosts.__main__ import main

    monkeypatch.setattr(os, "geteuid", lambda: user)
    if not programs:
        monkeypatch.setenv("PATH", str(tmp_path))
    ended = CliRunner().invoke(main, ["--data", str(tmp_path / "data")])
    assert ended.exit_code == 1
    assert said in ended.output
    assert not (tmp_path / "data").exists()
