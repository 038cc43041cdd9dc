"""What a worker says of itself when ``pairing doctor`` asks: a command of Celery's remote control, and its answer."""

from __future__ import annotations

import logging
import os
import platform
import shutil
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import celery
import numpy
from celery.signals import worker_ready
from celery.worker.control import inspect_command
from pydantic import BaseModel, ConfigDict

from config.settings import Settings, settings
from pairing.version import __version__
from tasks.contracts.code_digest import LOADED, code_digest
from tasks.runs.protocol_version import PROTOCOL
from tasks.worker.command import THREAD_SETTINGS, cores

logger = logging.getLogger(__name__)

QUESTION = "pairing_about"
"""The name of the command."""


class Space(BaseModel):
    """A folder that this host needs."""

    path: str
    free: int
    """bytes"""
    writable: bool
    """by who asks"""


class About(BaseModel):
    """A worker's answer. What is in it more than this, of a newer worker, is left out."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    host: str
    version: str
    protocol: int
    code: str
    """digest of the code that it runs"""
    code_on_disk: str
    """digest of the code that it would run if it were started again"""
    libraries: dict[str, str]
    """name → version: Python, Celery, NumPy"""
    now: float
    """its clock, Unix time"""
    threads: dict[str, str]
    """variable → value, of those that limit the numeric libraries' threads"""
    cores: int
    processes: int
    queues: list[str]
    """that it reads at this moment"""
    stop_files: list[str]
    """that exist"""
    spaces: dict[str, Space]
    waiting: int
    """winners in its host's spool"""


@inspect_command(name=QUESTION)  # type: ignore[untyped-decorator]
def about(state: Any, **_: Any) -> dict[str, Any]:
    """Say of this worker what pairing doctor wants to know."""
    found = settings()
    consumer = state.consumer
    return About(
        host=socket.gethostname(),
        version=__version__,
        protocol=PROTOCOL,
        code=LOADED,
        code_on_disk=code_digest(),
        libraries={"python": platform.python_version(), "celery": celery.__version__, "numpy": numpy.__version__},
        now=time.time(),
        threads={name: os.environ.get(name, "") for name in THREAD_SETTINGS},
        cores=cores(),
        processes=consumer.pool.num_processes if consumer.pool else 0,
        queues=sorted(queue.name for queue in consumer.task_consumer.queues),
        stop_files=[path for path in found.stop_files.split(os.pathsep) if path and os.path.exists(path)],
        spaces=spaces({"data": found.data_dir, "cache": found.cache_dir}),
        waiting=spooled_winners(found),
    ).model_dump()


@worker_ready.connect  # type: ignore[untyped-decorator]
def say_what_this_is(sender: Any, **_: Any) -> None:
    """Logs which code a worker runs, and what it reads."""
    queues = ",".join(sorted(sender.app.amqp.queues.consume_from))
    what = (__version__, LOADED[:12], PROTOCOL, sender.controller.concurrency, queues)
    logger.info("this is version %s (code %s, protocol %d) with %d processes, for the queues %s", *what)


def spaces(folders: Mapping[str, Path]) -> dict[str, Space]:
    """What room there is in folders; of one that is not there yet, in the nearest one above."""
    found = {}
    for name, path in folders.items():
        there = next(folder for folder in (path, *path.absolute().parents) if os.path.exists(folder))
        free = shutil.disk_usage(there).free
        found[name] = Space(path=str(path), free=free, writable=os.access(there, os.W_OK | os.X_OK))
    return found


def spooled_winners(found: Settings) -> int:
    """How many winners wait in this host's spool."""
    return len(list((found.data_dir / "spool").glob("*.json")))
