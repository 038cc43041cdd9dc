"""What makes Pairing a service: systemd's units and launchd's property lists, filled in for a host."""

from __future__ import annotations

import os
import pwd
import shlex
import subprocess  # systemctl and launchctl, without a shell # nosec B404
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape  # it writes XML, and reads none # nosec B406

import config
from pairing.errors import InputError
from tasks.contracts.queues import ROLES

TEMPLATES = Path(config.__file__).parent
"""The folder with ``systemd/`` and ``launchd/``."""

_UNSEEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108 - by ProtectHome= and PrivateTmp= # nosec B108


@dataclass(frozen=True)
class Place:
    """Where a host keeps services, and what they are filled in with. Paths in files do not know of ``root``."""

    kind: str
    """``systemd`` or ``launchd``"""
    user: bool
    """whether the services are a user's and not the host's"""
    login: str
    """whose they are; launchd runs the host's services, too, as this user"""
    home: Path
    pairing: Path
    """the command of this installation"""
    root: Path = Path("/")
    """a folder that stands for /"""

    @property
    def units(self) -> Path:
        """The folder where the services' files go."""
        if self.kind == "systemd":
            return self._own(".config/systemd/user") if self.user else self._below(Path("/etc/systemd/system"))
        return self._own("Library/LaunchAgents") if self.user else self._below(Path("/Library/LaunchDaemons"))

    @property
    def settings(self) -> Path:
        """The folder of the environment file, and of the list of what was installed."""
        if self.kind == "systemd":
            return self._own(".config/pairing") if self.user else self._below(Path("/etc/pairing"))
        folder = "Library/Application Support/pairing"
        return self._own(folder) if self.user else self._below(Path("/") / folder)

    @property
    def environment(self) -> Path:
        """The environment file, as the services see it."""
        return Path("/") / (self.settings / "environment").relative_to(self.root)

    @property
    def manifest(self) -> Path:
        """The list of what was installed."""
        return self.settings / "installed-services.json"

    def _own(self, folder: str) -> Path:
        return self._below(self.home / folder)

    def _below(self, path: Path) -> Path:
        return self.root / path.relative_to("/")


def host_place(user: bool | None, root: Path = Path("/")) -> Place:
    """This host's place for services of this installation.

    ``user`` says whether they are the user's own; ``None``: unless that is root.

    Raises:
        InputError: a Mac's root does not say (as ``sudo`` does) which user the services shall run as.
    """
    user = os.geteuid() != 0 if user is None else user
    kind = "launchd" if sys.platform == "darwin" else "systemd"
    login = pwd.getpwuid(os.geteuid()).pw_name
    if kind == "launchd" and not user:
        login = os.environ.get("SUDO_USER", login)
        if login == "root":
            raise InputError("No service runs as root: call it with sudo, as the user whose services they shall be.")
    home = Path.home() if user else Path(pwd.getpwnam(login).pw_dir)
    pairing = Path(os.path.abspath(sysconfig.get_path("scripts"))) / "pairing"
    return Place(kind, user, login, home, pairing, Path(os.path.abspath(root)))


def check_installation(place: Place) -> None:
    """Looks whether the services will find this installation.

    Raises:
        InputError: it has no command, or the host's services cannot see it.
    """
    if not os.access(place.pairing, os.X_OK):
        raise InputError(f"{place.pairing}: there is no such command; install Pairing with pip into an environment")
    if place.kind == "systemd" and not place.user:
        for part in (sys.prefix, sys.base_prefix, TEMPLATES):
            if any(Path(part).is_relative_to(unseen) for unseen in _UNSEEN):
                raise InputError(
                    f"{part}: the host's services see nothing of {', '.join(_UNSEEN)}; install Pairing, with a Python "
                    "of the host's, into /opt/pairing, say, or use --user"
                )


def service_files(place: Place) -> dict[Path, str]:
    """The services' files for a place: their texts by their paths."""
    return _units(place) if place.kind == "systemd" else _property_lists(place)


def _units(place: Place) -> dict[Path, str]:
    filled = {
        "@PAIRING@": _quoted(str(place.pairing)),
        "@TARGET@": "default.target" if place.user else "multi-user.target",
    }
    found = {}
    for path in sorted((TEMPLATES / "systemd").rglob("*.*")):
        relative = path.relative_to(TEMPLATES / "systemd")
        common = relative.parent.name == "pairing-.service.d"
        if path.is_file() and (not common or path.stem == ("user" if place.user else "system")):
            found[place.units / relative] = _filled(path, filled)
    return found


def _quoted(path: str) -> str:
    """A path as the first word of ExecStart=."""
    plain = path.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{plain}"' if any(character in path for character in " \t'\"\\") else plain


def _property_lists(place: Place) -> dict[Path, str]:
    found = {}
    for path in sorted((TEMPLATES / "launchd").glob("*.plist")):
        roles = ROLES if path.stem == "pairing.worker" else ("",)
        for role in roles:
            label = f"{path.stem}.{role}" if role not in ("", "all") else path.stem
            user = "" if place.user else f"<key>UserName</key>\n    <string>{escape(place.login)}</string>"
            values = {
                "@LABEL@": label,
                "@PAIRING@": str(place.pairing),
                "@ENVIRONMENT@": str(place.environment),
                "@ROLE@": role,
                "@HOME@": str(place.home),
                "@LOG@": str(place.home / "Library" / "Logs" / f"{label}.log"),
            }
            filled = {name: escape(value) for name, value in values.items()}
            found[place.units / f"{label}.plist"] = _filled(path, {"<!-- @USER@ -->": user, **filled})
    return found


def _filled(path: Path, values: Mapping[str, str]) -> str:
    text = path.read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace(name, value)
    return text


def next_steps(place: Place) -> str:
    """What to do when the files are there, as commands."""
    example, settings = TEMPLATES / "env.example", shlex.quote(str(place.environment))
    owner = f" -o {place.login}" if place.kind == "launchd" and not place.user else ""
    steps = [f"test -e {settings} || install -m 600{owner} {shlex.quote(str(example))} {settings}   # then fill it in"]
    if place.kind == "systemd":
        command = "systemctl --user" if place.user else "systemctl"
        steps += [
            f"{command} daemon-reload",
            f"{command} enable --now pairing-worker.service   # or, for a role, pairing-worker@refine.service",
            f"{command} enable --now pairing-flower.service   # on one host",
            f"{command} enable --now pairing-sweeper.timer   # where no worker reads pairing.pool",
        ]
        if place.user:
            steps.append("loginctl enable-linger   # else they end when you log out")
    else:
        domain = "gui/$(id -u)" if place.user else "system"
        worker = shlex.quote(str(Path("/") / (place.units / "pairing.worker.plist").relative_to(place.root)))
        steps += [
            f"launchctl enable {domain}/pairing.worker   # or pairing.worker.refine, pairing.flower, pairing.sweeper",
            f"launchctl bootstrap {domain} {worker}",
        ]
    return "Next:\n" + "\n".join(f"  {step}" for step in steps)


def running(place: Place) -> list[str]:
    """What this host's manager of services says of ours, a line each; nothing where it cannot be asked."""
    if place.root != Path("/"):
        return []
    if place.kind == "systemd":
        command = ["systemctl", *(["--user"] if place.user else [])]
        command += ["list-units", "--all", "--plain", "--no-legend", "--no-pager", "pairing-*"]
    else:
        command = ["launchctl", "list"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)  # noqa: S603 - no shell # nosec B603
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line for line in said.stdout.splitlines() if "pairing" in line]
