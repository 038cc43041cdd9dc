"""What services are installed in tests: as on a host with systemd, or a Mac."""

from __future__ import annotations

import shutil
import sysconfig
from pathlib import Path

import pytest

from tasks.services.installed_files import write_files
from tasks.services.units import Place, service_files
from tests.support.sandbox import Unit, read_unit

PAIRING = Path(sysconfig.get_path("scripts")) / "pairing"
SERVICES = ("pairing-worker", "pairing-worker@refine", "pairing-flower", "pairing-sweeper")


def systemd(root: Path, user: bool = False) -> Place:
    return Place("systemd", user, "somebody", Path("/home/somebody"), Path("/opt/pairing/bin/pairing"), root)


def launchd(root: Path, user: bool = True) -> Place:
    return Place("launchd", user, "somebody", Path("/Users/somebody"), Path("/opt/<pairing>/bin/pairing"), root)


def unit(root: Path, name: str) -> Unit:
    """A service as it is installed."""
    folder = systemd(root).units
    return read_unit(folder / f"{name}.service", folder / "pairing-.service.d" / "system.conf")


def install_services(folder: Path) -> None:
    """Makes a folder that stands for / of a host with systemd, with our services installed."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze here")
    own = Path("/usr/lib/systemd/system")
    shutil.copytree(own, folder / own.relative_to("/"), symlinks=True)
    command = folder / "opt" / "pairing" / "bin" / "pairing"
    command.parent.mkdir(parents=True)
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    place = systemd(folder)
    write_files(service_files(place), place.manifest)
