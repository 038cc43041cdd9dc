"""A host that boots: systemd as the first process of a container with a network namespace and cgroups of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.support.fleet import wait_for
from tests.support.hosts import Host

BOOT_SECONDS = 180.0
_REBOOT = 133
"""What systemd-nspawn ends with where it shall be started again."""

_BOOT = """
set -e
mount -t overlay overlay -o "lowerdir=$BASE,upperdir=$FOLDER/upper,workdir=$FOLDER/work" "$FOLDER/root"
for group in $GROUPS_OF_IT; do echo $$ >"$group/cgroup.procs"; done
exec systemd-nspawn --quiet --directory="$FOLDER/root" --boot --register=no --keep-unit --machine="$NAME" \\
    --network-namespace-path="/run/netns/$NETWORK" --console=read-only --resolv-conf=off --link-journal=no
"""


@dataclass
class Machine:
    """One of them. Its disk outlives its being off."""

    name: str
    network: Host
    base: Path
    folder: Path
    groups: list[Path]
    process: subprocess.Popen[bytes] | None = None
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        """Gives it an empty layer above the base's disk."""
        self.log = self.folder / "console.log"
        for part in ("upper/etc", "work", "root"):
            (self.folder / part).mkdir(parents=True)
        (self.folder / "upper/etc/hostname").write_text(f"{self.name}\n")

    @property
    def leader(self) -> int:
        """Its first process; 0 while it is off."""
        with suppress(psutil.NoSuchProcess, FileNotFoundError):
            for child in psutil.Process(self.process.pid if self.process else 0).children():
                status = Path(f"/proc/{child.pid}/status").read_text()
                if any(line.startswith("NSpid:") and line.split()[-1] == "1" for line in status.splitlines()):
                    return int(child.pid)
        return 0

    def switch_on(self) -> None:
        """Boots it, to the end of its booting."""
        subprocess.run(["ip", "-n", self.network.namespace, "link", "set", "net", "up"], check=True)
        environment = {
            "PATH": os.environ["PATH"],
            "BASE": str(self.base),
            "FOLDER": str(self.folder),
            "NAME": self.name,
            "NETWORK": self.network.namespace,
            "GROUPS_OF_IT": " ".join(map(str, self.groups)),
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "sh", "-c", _BOOT],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
            )
        self.wait_until_up()

    def wait_until_up(self) -> None:
        """Waits until all is started that starts by itself."""

        def look() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text(errors="replace")[-3000:]
            return bool(self.leader) and self.run("systemctl", "is-system-running", status=None).stdout.strip() in (
                "running",
                "degraded",
            )

        wait_for(f"the boot of {self.name}", look, BOOT_SECONDS)

    def reboot(self) -> None:
        """Lets it do so, as its operator does, without waiting; `come_up` is what its firmware does then."""
        self.run("systemctl", "reboot", "--no-block", status=None)

    def come_up(self) -> None:
        """Boots it when it has shut itself down to do so."""
        assert self.process is not None
        assert self.process.wait(BOOT_SECONDS) == _REBOOT
        self.switch_on()

    def lose_power(self) -> None:
        """All of it is gone at once; nobody else hears of it, since its cable is dead before."""
        subprocess.run(["ip", "-n", self.network.namespace, "link", "set", "net", "down"], check=True)
        leader, process = self.leader, self.process
        if leader:
            os.kill(leader, signal.SIGKILL)
        if process is not None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(30)
            process.kill()
            process.wait()
        self.process = None

    def run(
        self, *command: object, status: int | None = 0, text: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """A command as its root has it; ``status`` is what it must end with."""
        enter = ["nsenter", "--target", str(self.leader), "--all", "--", "env", "-i", "HOME=/root"]
        path = "PATH=/opt/pairing/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        done = subprocess.run(
            [*enter, path, *map(str, command)], input=text or "", capture_output=True, text=True, check=False
        )
        if status is not None:
            assert done.returncode == status, f"{command} on {self.name}: {done.stdout}{done.stderr}"
        return done

    def shell(self, script: str) -> str:
        """What a script of the shell prints."""
        return self.run("sh", "-ec", script).stdout

    def copy(self, source: Path, target: str) -> None:
        """Puts a file or folder onto its disk."""
        to = Path(f"/proc/{self.leader}/root{target}")
        if source.is_dir():
            shutil.copytree(source, to, dirs_exist_ok=True)
        else:
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, to)

    def journal(self, unit: str) -> str:
        """All that a service has said since its host was made."""
        return self.run("journalctl", "--no-pager", "--output=cat", "--unit", unit).stdout

    def said_now(self, unit: str) -> str:
        """What a service has said since it was last started; nothing while it is down."""
        if self.run("systemctl", "is-active", unit, status=None).stdout.strip() != "active":
            return ""
        started = self.run("systemctl", "show", "--property=InvocationID", "--value", unit).stdout.strip()
        return self.run("journalctl", "--no-pager", "--output=cat", f"_SYSTEMD_INVOCATION_ID={started}").stdout


@contextmanager
def machine(name: str, network: Host, base: Path, folder: Path) -> Iterator[Machine]:
    """A host that is on for the block."""
    groups = _make_groups(f"{folder.parent.name}-{name}")
    made = Machine(name, network, base, folder / name, groups)
    try:
        made.switch_on()
        yield made
    finally:
        made.lose_power()
        for group in groups:
            _remove_group(group)


def _make_groups(name: str) -> list[Path]:
    """A cgroup in every hierarchy, below this process's own: hosts that share one take each other's processes."""
    made = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, kinds, path = line.split(":", 2)
        mounted = Path("/sys/fs/cgroup") / (kinds.removeprefix("name=") or "unified")
        above = mounted if mounted.is_dir() else Path("/sys/fs/cgroup")
        group = above / path.lstrip("/") / name
        group.mkdir()
        for needed in ("cpuset.cpus", "cpuset.mems"):
            if (group / needed).exists() and "cpuset" in kinds:
                (group / needed).write_text((group.parent / needed).read_text())
        made.append(group)
    return made


def _remove_group(group: Path) -> None:
    for below, _, _ in sorted(os.walk(group), reverse=True):
        wait_for(f"the end of what is in {below}", lambda path=below: _removed(path), 30)  # type: ignore[misc]


def _removed(group: str) -> bool:
    with suppress(OSError):
        os.rmdir(group)
    return not os.path.exists(group)
