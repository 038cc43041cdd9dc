"""A unit's restrictions without systemd: bubblewrap, setpriv and a system call filter, as far as these reach."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support.paths import ROOT

NOT_APPLIED = {
    "DevicePolicy", "KeyringMode", "PrivateUsers", "ProtectClock", "ProtectKernelLogs", "ProtectKernelModules",
    "RemoveIPC", "RestrictRealtime", "SystemCallArchitectures", "SystemCallErrorNumber", "StateDirectoryMode",
    "CacheDirectoryMode",
}  # fmt: skip
"""What has no part of its own here: it forbids what the others forbid already, or what needs systemd."""

APPLIED = {
    "AmbientCapabilities", "CacheDirectory", "CapabilityBoundingSet", "DynamicUser", "Environment", "EnvironmentFile",
    "LockPersonality", "MemoryDenyWriteExecute", "NoNewPrivileges", "PrivateDevices", "PrivateIPC", "PrivateMounts",
    "PrivateTmp", "ProcSubset", "ProtectControlGroups", "ProtectHome", "ProtectHostname",
    "ProtectKernelTunables", "ProtectProc", "ProtectSystem", "RestrictAddressFamilies", "RestrictNamespaces",
    "RestrictSUIDSGID", "StateDirectory", "SystemCallFilter", "UMask", "User", "WorkingDirectory",
}  # fmt: skip

_FOLDERS = {"%S": "/var/lib", "%C": "/var/cache", "%E": "/etc"}
_NOBODY = 65534
# /proc of processes alone, and only of one's own: bubblewrap has no option for it.
_PROC = 'mount -t proc -o subset=pid,hidepid=invisible proc /proc && exec "$@"'


class NoSandboxError(Exception):
    """This machine cannot do it; the text says why."""


@dataclass(frozen=True)
class Unit:
    """A unit with its drop-ins: of every directive of ``[Service]`` its values, in their order."""

    directives: dict[str, list[str]]

    def last(self, name: str) -> str:
        """A directive that has one value."""
        return self.directives[name][-1]


def read_unit(*paths: Path) -> Unit:
    """Reads a unit's file and its drop-ins'."""
    directives: dict[str, list[str]] = {}
    for path in paths:
        section = ""
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("["):
                section = line
            elif section == "[Service]" and line and not line.startswith("#"):
                name, _, value = line.partition("=")
                directives.setdefault(name, []).append(value)
    return Unit(directives)


def sandboxed(unit: Unit, folder: Path, environment: dict[str, str], seen: list[Path]) -> list[str]:
    """The command that starts a unit's own under its restrictions, its state and cache below ``folder``.

    ``environment`` stands for the environment file. ``seen`` is shown read-only where it is, even where the unit hides
    it: this installation, which is not where the host's would be.

    Raises:
        NoSandboxError: a program is missing, or the kernel does not let us.
    """
    for program in ("bwrap", "setpriv", "systemd-analyze"):
        if shutil.which(program) is None:
            raise NoSandboxError(f"there is no {program} here")
    if os.geteuid() != 0:
        raise NoSandboxError("only root can leave its rights behind as a service does")
    state, cache = folder / "state", folder / "cache"
    for path in (state, cache):
        path.mkdir(mode=0o700)
        os.chown(path, _NOBODY, _NOBODY)
    hidden = ["/home", "/root", "/run/user", "/tmp", "/var/tmp", "/var/lib", "/var/cache"]
    mounts = ["--ro-bind", "/", "/", "--dev", "/dev", "--perms", "1777", "--tmpfs", "/dev/shm"]
    for path in hidden:
        mode = "1777" if path.endswith("tmp") else "0755"
        mounts += ["--perms", mode, "--tmpfs", path] if Path(path).is_dir() else []
    for path in sorted({*seen, ROOT, Path(sys.prefix), Path(sys.base_prefix)}):
        for parent in reversed(path.parents):
            if any(parent.is_relative_to(place) and parent != Path(place) for place in hidden):
                mounts += ["--perms", "0755", "--dir", str(parent)]  # else it is made for root alone
        mounts += ["--ro-bind", str(path), str(path)]
    mounts += ["--bind", str(state), "/var/lib/pairing", "--bind", str(cache), "/var/cache/pairing"]
    mounts += ["--remount-ro", "/var/lib", "--remount-ro", "/var/cache"]
    variables = {**_environment(unit), **environment}
    settings = [word for name, value in variables.items() for word in ("--setenv", name, value)]
    bubble = ["bwrap", *mounts, "--unshare-ipc", "--unshare-uts", "--die-with-parent", "--new-session"]
    bubble += ["--clearenv", *settings, "--chdir", _path(unit.last("WorkingDirectory"))]
    rights = ["setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups", "--no-new-privs"]
    rights += ["--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"]
    confined = [sys.executable, "-I", str(ROOT / "tests" / "support" / "confined.py"), json.dumps(_facts(unit))]
    whole = [*bubble, "--cap-add", "ALL", "sh", "-c", _PROC, "sh"]
    tried = subprocess.run([*whole, *rights, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        raise NoSandboxError(f"bubblewrap cannot work here: {tried.stderr.strip()}")
    return [*whole, *rights, *confined, *shlex.split(unit.last("ExecStart"))]


def _environment(unit: Unit) -> dict[str, str]:
    found = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "USER": "pairing"}
    for line in unit.directives["Environment"]:
        for assignment in shlex.split(line):
            name, _, value = assignment.partition("=")
            found[name] = _path(value)
    return found


def _path(value: str) -> str:
    for specifier, folder in _FOLDERS.items():
        value = value.replace(specifier, folder)
    return value


def _facts(unit: Unit) -> dict[str, object]:
    """What ``confined`` takes on."""
    calls: set[str] = {"execve"}
    for line in unit.directives["SystemCallFilter"]:
        for group in line.removeprefix("~").split():
            calls = calls - _calls(group) if line.startswith("~") else calls | _calls(group)
    families = [int(getattr(socket, name)) for name in unit.last("RestrictAddressFamilies").split()]
    execute = unit.last("MemoryDenyWriteExecute") != "yes"
    return {"calls": sorted(calls), "families": families, "execute": execute, "umask": unit.last("UMask")}


def _calls(group: str) -> set[str]:
    """The system calls of a group, by systemd's own list."""
    if not group.startswith("@"):
        return {group}
    said = subprocess.run(["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, check=True)
    names = [line.strip() for line in said.stdout.splitlines()[1:] if line.strip() and not line.strip().startswith("#")]
    return {call for name in names for call in _calls(name)}
