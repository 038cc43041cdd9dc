"""The disk that all hosts start from: a small Debian, Redis, PostgreSQL and what Pairing depends on; our wheels."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tomllib
from pathlib import Path

from tests.containers.images import SUITE, copy_of_the_project, download
from tests.containers.packages import NotHere, called, mirror
from tests.support.paths import ROOT

PACKAGES = (
    "ca-certificates",
    "dbus",
    "iproute2",
    "libpam-systemd",  # services of a user's own
    "postgresql",
    "python3",
    "python3-venv",
    "redis-server",
    "systemd",
    "systemd-sysv",
)
"""No libnss-systemd: without it a dynamic user's group has no name."""

PROGRAMS = ("debootstrap", "systemd-nspawn", "nsenter", "unshare", "setpriv", "ip")


def check_machine() -> None:
    """Looks whether hosts can be booted here.

    Raises:
        NotHere: something is missing. The text says what.
    """
    if os.geteuid() != 0:
        raise NotHere("booting hosts needs root")
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        raise NotHere(
            f"booting hosts needs {', '.join(missing)}: "
            "apt-get install debootstrap systemd-container util-linux iproute2"
        )
    if not os.access("/sys/fs/cgroup", os.W_OK) or "cgroup" not in Path("/proc/filesystems").read_text():
        raise NotHere("booting hosts needs cgroups that may be written, at /sys/fs/cgroup")


def base_root(data: Path) -> Path:
    """The root that is kept in a folder; made there, where it is not or of other packages."""
    parts = [SUITE, *PACKAGES, (ROOT / "pyproject.toml").read_text(), (ROOT / "constraints.txt").read_text()]
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    root = data / f"root-{digest}"
    if root.exists():
        return root
    remove_roots(data)
    new = data / "root-new"
    data.mkdir(parents=True, exist_ok=True)
    called("debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, new, mirror())
    packages = new / "packages"
    download(packages)
    shutil.copy(ROOT / "constraints.txt", packages)
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    called("chroot", new, "python3", "-m", "venv", "/opt/pairing")
    pip = ("/opt/pairing/bin/pip", "install", "--quiet", "--no-index", "--find-links=/packages")
    called("chroot", new, *pip, "--constraint=/packages/constraints.txt", *needed)
    for waste in (packages, new / "var/cache/apt", new / "var/lib/apt/lists"):
        shutil.rmtree(waste)
    return new.rename(root)


def remove_roots(data: Path) -> None:
    """Removes those that earlier calls have kept in a folder, and nothing else there."""
    for root in data.glob("root-*"):
        shutil.rmtree(root)


def wheels(folder: Path) -> tuple[Path, Path]:
    """Two of this project: as it is, and another version with another digest of its code."""
    project = folder / "project"
    project.mkdir()
    copy_of_the_project(project)
    made: list[Path] = []
    for number in range(2):
        to = folder / f"wheel-{number}"
        called(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", to, project)
        made += to.glob("*.whl")
        version = project / "pairing" / "version.py"
        version.write_text(version.read_text().replace('__version__ = "', '__version__ = "9.'))
    old, new = made
    return old, new
