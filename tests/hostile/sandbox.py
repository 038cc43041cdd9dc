"""A process that calls the command ``pairing`` again and again within limits, and tells what it did.

Importing takes seconds and a case milliseconds, so cases share a process. Each may take 5 s of CPU; one that takes
longer, or crashes, ends the process, and the next case gets a new one.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import select
import subprocess
import sys
import sysconfig
import tempfile
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.paths import ROOT

if TYPE_CHECKING:
    from tests.support.fleet import Command

CPU_SECONDS = 5
ADDRESS_BYTES = 16 << 30
"""More than a case may take, so that one that does is seen; and less than would harm the machine."""
PATIENCE_SECONDS = 120
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_TELLING = (
    *("os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "subprocess.Popen", "pty.spawn"),
    *("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.chmod", "os.chown", "os.truncate"),
    *("socket.connect", "socket.bind", "pickle.find_class"),
)
"""What no case has a reason for."""


@dataclass(frozen=True)
class Said:
    """What one call of the command came to."""

    status: int | None
    """Its exit status; ``None`` where the process was killed or hung."""
    output: str
    errors: str
    did: tuple[str, ...]
    """What it wrote, started, connected to or unpickled."""
    peak: int
    """The most bytes of memory that the process has had so far."""
    seconds: float
    """Of a processor, that the call took."""


class Sandbox:
    """The process, started when it is first needed."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def pairing(self, *arguments: object) -> Said:
        """Calls the command."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.hostile.sandbox"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=ROOT,
                env={**os.environ, **ONE_THREAD},
            )
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps([str(argument) for argument in arguments]) + "\n")
        self._process.stdin.flush()
        ready, _, _ = select.select([self._process.stdout], [], [], PATIENCE_SECONDS)
        line = self._process.stdout.readline() if ready else ""
        if not line:
            self.close()
            return Said(None, "", "crashed, or took too long", (), 0, 0.0)
        found = json.loads(line)
        return Said(
            found["status"], found["output"], found["errors"], tuple(found["did"]), found["peak"], found["seconds"]
        )

    def close(self) -> None:
        """Ends the process."""
        if self._process is not None:
            with self._process:
                self._process.kill()
            self._process = None


def peak_of(used: resource.struct_rusage) -> int:
    """The most bytes of memory of a process."""
    return used.ru_maxrss if sys.platform == "darwin" else used.ru_maxrss * 1024


def command_said(pairing: Command, *arguments: object) -> Said:
    """What the real command came to, in a process of its own; its seconds and its memory include its imports."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [Path(sysconfig.get_path("scripts")) / "pairing", *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            cwd=pairing.folder,
            env={**pairing.environment, **ONE_THREAD},
        )
        hangs = threading.Timer(PATIENCE_SECONDS, process.kill)
        hangs.start()
        _, status, used = os.wait4(process.pid, 0)
        hangs.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        texts = [file.seek(0) or file.read() for file in (output, errors)]
    return Said(process.returncode, *texts, (), peak_of(used), used.ru_utime + used.ru_stime)


@contextmanager
def sandbox() -> Iterator[Sandbox]:
    """A sandbox that is gone after the block."""
    box = Sandbox()
    try:
        yield box
    finally:
        box.close()


# --- within the process


def _serve() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    did: list[str] = []
    _import_all()
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_BYTES, ADDRESS_BYTES))
    sys.addaudithook(lambda event, arguments: _note(did, event, arguments))
    for line in sys.stdin:
        did.clear()
        spent = _spent()
        resource.setrlimit(resource.RLIMIT_CPU, (int(spent) + 1 + CPU_SECONDS, resource.RLIM_INFINITY))
        status, output, errors = _call(json.loads(line))
        record = {
            "status": status,
            "output": output,
            "errors": errors,
            "did": did,
            "peak": peak_of(resource.getrusage(resource.RUSAGE_SELF)),
        }
        record["seconds"] = _spent() - spent
        answers.write(json.dumps(record) + "\n")
        answers.flush()


def _import_all() -> None:
    """What the command imports when it first needs it, so that no case pays for it."""
    import pandas  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import safetensors.numpy  # noqa: F401
    import torch

    import pairing.analysis.judgement  # noqa: F401
    import tasks.client.solution_check  # noqa: F401

    content = io.BytesIO()
    torch.save({"weight": torch.ones(2, 2)}, content)
    torch.load(io.BytesIO(content.getvalue()), weights_only=True)


def _call(arguments: Sequence[str]) -> tuple[int | None, str, str]:
    from tasks.commands.main import main

    output, errors, status = io.StringIO(), io.StringIO(), 0
    sys.argv = ["pairing", *arguments]
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            main()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        except BaseException:
            errors.write(traceback.format_exc())
            status = 1
    return status, output.getvalue(), errors.getvalue()


def _note(did: list[str], event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open":
        path, _, flags = arguments
        if isinstance(flags, int) and flags & _WRITES and str(path) != os.devnull:
            did.append(f"opened {path!r} for writing")
    elif event.startswith(_TELLING):
        did.append(f"{event} {arguments!r}"[:200])


def _spent() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    _serve()
