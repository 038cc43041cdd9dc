"""Units and property lists: what systemd itself says of them, and launchd's as far as it can be told without a Mac."""

from __future__ import annotations

import json
import os
import plistlib
import subprocess
from pathlib import Path

import pytest

from config.celeryconfig import worker_soft_shutdown_timeout
from pairing.errors import InputError
from tasks.contracts.queues import ROLES
from tasks.services.installed_files import write_files
from tasks.services.units import Place, next_steps, service_files
from tests.support.services import PAIRING, SERVICES, install_services, launchd, systemd, unit

MOST_EXPOSED = 1.5


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that stands for / of a host with systemd, with our services installed."""
    folder = tmp_path_factory.mktemp("root")
    install_services(folder)
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
