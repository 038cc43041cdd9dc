"""The command line of a worker: which queues a role reads, and the environment that a worker needs."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping, Sequence

from tasks.queues import ROLES

_ONE_PROCESS = ("plan", "pool")
# What the `celery` command reads beside its CELERY_*; other programs' environments hold them too.
_OF_CELERY = ("BROKER_URL", "RESULT_BACKEND", "LOADER", "CONFIG_MODULE")
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")


def worker_command(app: str, name: str, concurrency: int, arguments: Sequence[str] = ()) -> list[str]:
    """The command of a worker of that name (``…@%h``) with so many processes."""
    fixed = ["--pool=prefork", f"--concurrency={concurrency}", "--hostname", name]
    return [sys.executable, "-m", "celery", "-A", app, "worker", *fixed, *arguments]


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
    # `python -m celery` and Celery itself put the working directory before everything, where any tasks.py
    # would hide the package. This process's own path, with the working directory last, prevents both; before it
    # the folder of our own packages, which stands in no path where they are installed editable.
    own = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    path = dict.fromkeys([*(os.path.abspath(entry) for entry in sys.path), own, os.getcwd()])
    imports = {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(path)}
    return {**inherited, **imports, **_ONE_THREAD, **changes}


def become_worker(role: str, concurrency: int | None, name: str | None, arguments: Sequence[str]) -> None:
    """Replaces this process by a worker, so that signals and exit statuses are the worker's own.

    ``concurrency`` is its number of processes: one for each core, or one where it plans and compares. ``name`` is
    needed where a host has two workers of one role.

    Raises:
        InputError: a setting is wrong.
    """
    from tasks.environment import checked_settings

    checked_settings()
    processes = concurrency or (1 if role in _ONE_PROCESS else os.cpu_count() or 1)
    queues = ("-Q", ",".join(ROLES[role]))
    own_name = f"{name or f'pairing-{role}'}@{socket.gethostname()}"
    given = ("--without-gossip", "--without-mingle", "--loglevel=INFO", *arguments)
    command = worker_command("tasks", own_name, processes, (*queues, *given))
    os.execve(command[0], command, worker_environment())  # noqa: S606 - our own interpreter, no shell
