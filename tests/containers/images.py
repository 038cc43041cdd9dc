"""Images without a registry: bases of Debian's packages under the names that the files use, and the project's own."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.containers.engine import Engine
from tests.containers.packages import called, mirror
from tests.support.paths import ROOT

SUITE = "bookworm"
ENTRYPOINT = Path(__file__).with_name("postgres-entrypoint")
DOCKERFILE = ROOT / "config" / "docker" / "Dockerfile"
IMAGE = "pairing-fleet:local"

APART = ("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc")
"""What is mounted and started below, and is still there when it is interrupted, goes with its first process."""


@dataclass(frozen=True)
class Base:
    """A stand-in: what it is made of, and what the real one brings along."""

    repository: str
    packages: tuple[str, ...]
    script: str
    """A shell's, run in its root."""
    changes: tuple[str, ...] = ()
    """Lines of a Dockerfile."""


BASES = (
    Base(
        "python",
        ("python3", "python3-venv"),
        # Our packages lie in it, so that what is installed needs no index.
        "printf '[global]\\nno-index = true\\nfind-links = /packages\\n' >/etc/pip.conf",
    ),
    Base(
        "redis",
        ("redis-server",),
        "groupmod --gid 1000 redis && usermod --uid 999 redis && install --directory --owner 999 --group 1000 /data",
        ("VOLUME /data", "WORKDIR /data"),
    ),
    Base(
        "postgres",
        ("postgresql-15",),
        "groupmod --gid 70 postgres && usermod --uid 70 postgres"
        " && rm -rf /var/lib/postgresql && mkdir /docker-entrypoint-initdb.d"
        " && install --directory --owner 70 --group 70 --mode 1777 /var/lib/postgresql /var/lib/postgresql/data"
        " && install --directory --owner 70 --group 70 --mode 3777 /var/run/postgresql",
        (
            "ENV PATH=/usr/lib/postgresql/15/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "ENV PGDATA=/var/lib/postgresql/data",
            "VOLUME /var/lib/postgresql/data",
            'ENTRYPOINT ["postgres-entrypoint"]',
            'CMD ["postgres"]',
        ),
    ),
)


def tag_of(repository: str) -> str:
    """The name of a base image, as the project's files write it."""
    text = DOCKERFILE.read_text() + (ROOT / "docker-compose.yml").read_text()
    (name,) = set(re.findall(rf"^(?:FROM|\s+image:) ({repository}:\S+)", text, re.MULTILINE))
    return str(name)


def make_bases(engine: Engine) -> None:
    """Makes those that the daemon has not got yet, all at once."""
    with ThreadPoolExecutor() as threads:
        for made in [threads.submit(_make, engine, base) for base in BASES if not _is_there(engine, base)]:
            made.result()


def _is_there(engine: Engine, base: Base) -> bool:
    found = engine.docker("image", "inspect", "--format", "{{.Config.Labels.of}}", tag_of(base.repository), status=None)
    return found.stdout.strip() == _digest(base)


def _digest(base: Base) -> str:
    """Of what it is made of."""
    files = (ENTRYPOINT, ROOT / "constraints.txt", ROOT / "pyproject.toml")
    return hashlib.sha256(repr(base).encode() + b"".join(file.read_bytes() for file in files)).hexdigest()


def _make(engine: Engine, base: Base) -> None:
    with tempfile.TemporaryDirectory(prefix="pairing-base-", dir=engine.folder) as name:
        root = Path(name) / "root"
        packages = ",".join(("ca-certificates", *base.packages))
        called(*APART, "debootstrap", "--variant=minbase", f"--include={packages}", SUITE, root, mirror())
        called("chroot", root, "sh", "-c", base.script)
        if base.repository == "python":
            (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
            download(root / "packages")
        if base.repository == "postgres":
            shutil.copy(ENTRYPOINT, root / "usr/local/bin")
        for waste in ("var/cache/apt", "var/lib/apt/lists"):
            shutil.rmtree(root / waste)
        changes = [option for change in (f"LABEL of={_digest(base)}", *base.changes) for option in ("--change", change)]
        with subprocess.Popen(["tar", "-C", root, "-c", "."], stdout=subprocess.PIPE) as tar:
            call = ["/usr/bin/docker", "import", *changes, "-", tag_of(base.repository)]
            subprocess.run(call, stdin=tar.stdout, env=engine.environment, check=True, capture_output=True)


def download(folder: Path) -> None:
    """Puts what the project and its build need into a folder, from wherever pip gets it on this machine."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    # Debian's Python is older than 3.11.3, where asyncio's timeout came.
    needed = [*project["project"]["dependencies"], *project["build-system"]["requires"], "async-timeout"]
    pip = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--dest",
        folder,
        "--constraint",
        ROOT / "constraints.txt",
    ]
    called(*pip, "--only-binary=:all:", "--python-version=3.11", *needed)


def copy_of_the_project(folder: Path) -> Path:
    """What git would bring along of it, as it is now."""
    for name in called("git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder
