"""The command in processes that have imported already, which spares a call most of its second of a core.

A server imports what commands need and forks for each call. What is called is a process of its own in all else: its
session, directory, environment, outputs and exit status.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from tests.support.paths import ROOT

LATE = ("PAIRING_", "CHEROKEE_", "COLUMNS", "PYTEST_")
"""Variables that nothing reads while it is imported."""
LIBRARIES = ("kombu.transport.redis", "matplotlib.figure", "pandas", "pyarrow.csv", "scipy.linalg", "sqlalchemy.orm")
MODULES = (
    *("commands.main", "commands.solve", "commands.watch", "client.runs_api", "client.solution_check", "doctor.probes"),
    *("report.html", "report.charts", "report.result_files", "runs.comparison", "runs.planning", "runs.stages"),
)


def can_be_warm(environment: Mapping[str, str]) -> bool:
    """Whether an environment differs from this process's in nothing that is read while modules are imported."""
    changed = dict(environment.items() ^ os.environ.items())
    return all(name.startswith(LATE) for name in changed)


def call(arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> tuple[int, str, str]:
    """Calls ``pairing`` in a folder: its exit status, output and errors."""
    with tempfile.NamedTemporaryFile("r") as output, tempfile.NamedTemporaryFile("r") as errors:
        asked = [list(arguments), str(folder), dict(environment), [output.name, errors.name]]
        server = _server()
        assert server.stdin
        assert server.stdout
        print(json.dumps(asked), file=server.stdin, flush=True)
        ready, _, _ = select.select([server.stdout], [], [], 120)
        if not ready:  # what has not ended would answer for the next call
            server.kill()
            _server.cache_clear()
        assert ready, f"pairing {' '.join(arguments)} has not ended"
        status = int(server.stdout.readline())
        return status, output.read(), errors.read()


@cache
def _server() -> subprocess.Popen[str]:
    """The server, which ends with this process, even with one that is killed: it ends with its input."""
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    command = [sys.executable, "-c", "from tests.support import warm; warm.serve()"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    server = subprocess.Popen(command, cwd=ROOT, env=os.environ | one_thread, **pipes)
    atexit.register(server.communicate)
    return server


def serve() -> None:
    """Forks for every call that it reads, and writes its exit status; ends with its input."""
    for name in (*LIBRARIES, *(f"tasks.{module}" for module in MODULES)):
        importlib.import_module(name)
    gc.freeze()
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _become(*json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _become(arguments: list[str], folder: str, environment: dict[str, str], places: list[str]) -> NoReturn:
    from tasks.commands.main import run_command

    files = [os.open(os.devnull, os.O_RDONLY), *(os.open(place, os.O_WRONLY) for place in places)]
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["pairing", *arguments]
    sys.path[0] = os.path.dirname(sys.executable)  # as for the script
    run_command()
