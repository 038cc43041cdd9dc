"""What Debian has to give: the daemon, and Compose 2, which only Debian 13 has; its package runs on Debian 12 too."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

PROGRAMS = {
    "/usr/sbin/dockerd": "docker.io",
    "/usr/sbin/iptables": "iptables",
    "/usr/sbin/debootstrap": "debootstrap",
    "/usr/bin/unshare": "util-linux",
    "/usr/sbin/ip": "iproute2",
}
"""Program → the package that has it."""

COMPOSE_SUITE = "trixie"


class NotHere(Exception):
    """This machine cannot do it. The text says why."""


def called(*command: object, cwd: Path | None = None, environment: Mapping[str, str] | None = None) -> str:
    """What a command printed.

    Raises:
        RuntimeError: it ended with an error; the text holds what it said.
    """
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-40:])
        raise RuntimeError(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{said}")
    return done.stdout


def install_programs() -> None:
    """Installs the programs that are missing.

    Raises:
        NotHere: this is no Debian, or the user is not root.
    """
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise NotHere("containers need root and Debian's packages")
    missing = sorted({package for program, package in PROGRAMS.items() if not Path(program).exists()})
    if missing:
        called("apt-get", "update", "-qq")
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        called("apt-get", "install", "-qq", "-y", "--no-install-recommends", *missing, environment=quiet)


def mirror() -> str:
    """The address from which this machine gets Debian's packages.

    Raises:
        NotHere: it gets none.
    """
    said = called("apt-get", "indextargets", "--format", "$(ORIGIN) $(CODENAME) $(REPO_URI)", "Created-By: Packages")
    for line in said.splitlines():
        origin, suite, address = line.split()[:3]
        if origin == "Debian" and suite.isalpha():  # no security updates, backports, …
            return address
    raise NotHere("no package of Debian's can be had here: apt knows no mirror")


def install_compose(folder: Path) -> None:
    """Puts Compose 2 into a folder of Docker's plugins, unless it is there."""
    plugin = folder / "docker-compose"
    if plugin.exists():
        return
    work = folder / "apt"
    (work / "lists" / "partial").mkdir(parents=True)
    (work / "sources.list").write_text(f"deb {mirror()} {COMPOSE_SUITE} main\n")
    options = {
        "Dir::Etc::sourcelist": work / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::State::lists": work / "lists",
        "Dir::Cache": work,
        "APT::Sandbox::User": "root",
    }
    apt = ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in options.items())]
    called(*apt, "update")
    called(*apt, "download", "docker-compose", cwd=work)
    (package,) = work.glob("docker-compose_*.deb")
    called("dpkg-deb", "--extract", package, work / "unpacked")
    (found,) = (work / "unpacked").rglob("cli-plugins/docker-compose")
    shutil.move(found, plugin)
    shutil.rmtree(work)
