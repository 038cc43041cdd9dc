"""The command line of a worker: which queues a role reads, and the environment that a worker needs."""

from __future__ import annotations

import fcntl
import os
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pairing.errors import InputError
from tasks.contracts.queues import ROLES

# What the `celery` command reads beside its CELERY_*; other programs' environments hold them too.
_OF_CELERY = ("BROKER_URL", "RESULT_BACKEND", "LOADER", "CONFIG_MODULE")
BROKER_SECONDS = 60.0
"""How long a worker that starts waits for its broker; one that runs waits for as long as it takes."""
THREAD_SETTINGS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
"""The variables that say how many threads the numeric libraries use in a process; more than one is slower."""


def worker_command(app: str, name: str, concurrency: int, arguments: Sequence[str] = ()) -> list[str]:
    """The command of a worker of that name (``…@%h``) with so many processes."""
    fixed = ["--pool=prefork", f"--concurrency={concurrency}", "--hostname", name]
    return [sys.executable, "-m", "tasks.worker.launch", app, *fixed, *arguments]


def worker_environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment as a worker needs it, with ``changes`` laid over it.

    Celery's own variables (``CELERY_BROKER_URL``, ``BROKER_URL`` and others, which would overrule the app's
    configuration) are taken away, and with a change of ``X`` what would name ``X`` by a file. The numeric libraries get
    one thread, and no ``tasks.py`` of the working directory hides the package.
    """
    changes = changes or {}
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("CELERY_") and name not in _OF_CELERY and name.removesuffix("_FILE") not in changes
    }
    # `python -m` and Celery itself put the working directory before everything, where any tasks.py
    # would hide the package. This process's own path, with the working directory last, prevents both; before it
    # the folder of our own packages, which stands in no path where they are installed editable.
    own = str(Path(__file__).absolute().parents[2])
    path = dict.fromkeys([*(os.path.abspath(entry) for entry in sys.path), own, os.getcwd()])
    imports = {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(path)}
    return {**inherited, **imports, **dict.fromkeys(THREAD_SETTINGS, "1"), **changes}


def exec_worker(role: str, concurrency: int | None, name: str | None, arguments: Sequence[str]) -> None:
    """Replaces this process by a worker, so that signals and exit statuses are the worker's own.

    ``concurrency`` is its number of processes: one for each core that this process may use, or one where it plans and
    compares. ``name`` is its name on this host: ``pairing-<role>``, or ``pairing-<role>-2`` where there is one already.

    Raises:
        InputError: a setting is wrong, or a worker of that name runs here.
        BrokerError: the broker does not answer for a minute.
    """
    from tasks.client.environment import checked_settings
    from tasks.contracts.message_signing import serializer_of
    from tasks.store.redis import Redis
    from tasks.store.redis_clients import refuse_cluster

    found = checked_settings()
    serializer_of(found)
    refuse_cluster(found.broker_address)
    Redis(found.broker_address, found.key_prefix, patience=BROKER_SECONDS).get("pairing.nothing")  # is it there?
    processes = concurrency or (1 if role == "plan" else cores())
    name = _claimed(found.data_dir / "workers", [name] if name else [f"pairing-{role}", *_numbered(f"pairing-{role}")])
    queues = ("-Q", ",".join(ROLES[role]))
    given = ("--without-gossip", "--without-mingle", f"--loglevel={found.log_level}", *arguments)
    command = worker_command("tasks", f"{name}@{socket.gethostname()}", processes, (*queues, *given))
    os.execve(command[0], command, worker_environment())  # noqa: S606 - our own interpreter, no shell # nosec B606


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _numbered(name: str) -> list[str]:
    return [f"{name}-{number}" for number in range(2, 100)]


def _claimed(folder: Path, names: Sequence[str]) -> str:
    """The first of the names that no worker of this user on this host has; its own as long as it runs.

    Celery mistakes two workers of one name for one, so a name is a locked file, and the lock outlives ``exec``. The
    folder may be several hosts' (containers that share a volume), so the file names the host; those of hosts that are
    gone are removed.

    Raises:
        InputError: all of them are taken, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone_in(folder):
            for path in folder.glob("*.lock"):
                if (file := _locked(path)) is not None:
                    path.unlink()
                    os.close(file)
            for name in names:
                if (file := _locked(folder / f"{name}@{socket.gethostname()}.lock")) is not None:
                    os.set_inheritable(file, True)
                    return name
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}); set PAIRING_DATA_DIR") from error
    raise InputError(f"a worker named {names[0]} runs on this host already; give this one another --name")


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Keeps others that claim a name out: a file that is looked at for a moment would look taken to them."""
    place = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(place, fcntl.LOCK_EX)
        yield
    finally:
        os.close(place)


def _locked(path: Path) -> int | None:
    """The file, open and locked; ``None`` where another process has locked it."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    return file
