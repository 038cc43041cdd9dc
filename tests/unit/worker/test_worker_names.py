"""Names of workers: one each on a host, and as many hosts as like may share the folder of locks."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pairing.errors import InputError
from tasks.contracts.errors import BrokerError
from tasks.worker import command
from tasks.worker.command import _claimed
from tests.support.servers import free_port

NAMES = ["pairing-all", "pairing-all-2"]


@pytest.fixture(autouse=True)
def _locks() -> Iterator[None]:
    """Closes what the claims leave open, as the end of a process does."""
    before = set(os.listdir("/dev/fd"))
    yield
    for file in set(os.listdir("/dev/fd")) - before:
        try:
            os.close(int(file))
        except OSError:
            continue  # the listing's own


def as_host(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: name)


def test_every_worker_of_a_host_has_a_name_of_its_own(tmp_path: Path) -> None:
    assert [_claimed(tmp_path, NAMES), _claimed(tmp_path, NAMES)] == NAMES
    with pytest.raises(InputError, match="runs on this host already"):
        _claimed(tmp_path, NAMES)


def test_workers_of_two_hosts_that_share_a_folder_have_the_same_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for host in ("one", "two"):  # containers of one volume
        as_host(host, monkeypatch)
        assert _claimed(tmp_path, NAMES) == "pairing-all"
    assert len(list(tmp_path.iterdir())) == 2


def test_nothing_is_left_of_a_host_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pairing-all@gone.lock").touch()
    as_host("here", monkeypatch)
    _claimed(tmp_path, NAMES)
    assert [path.name for path in tmp_path.iterdir()] == ["pairing-all@here.lock"]


def test_a_worker_whose_broker_does_not_answer_ends_with_3(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(command, "BROKER_SECONDS", 0.1)
    monkeypatch.setenv("PAIRING_BROKER_URL", f"redis://127.0.0.1:{free_port()}/0")
    monkeypatch.setenv("PAIRING_DATA_DIR", str(tmp_path))
    with pytest.raises(BrokerError, match="cannot be reached") as caught:
        command.exec_worker("all", None, None, ())
    assert caught.value.exit_status == 3
