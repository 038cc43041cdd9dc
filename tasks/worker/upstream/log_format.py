"""What workers log: a line an event, as text or JSON, with the run, method and seed that it is of.

Whoever logs says what happened; of which part of which run, is found here, from the task that is being done. Nothing is
written but the fields below, so that no argument of a task gets into a log.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import warnings
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
from typing import Any, Literal

import celery.apps.worker as worker_program
from celery import current_app
from celery._state import get_current_task
from celery.signals import celeryd_init, setup_logging
from celery.utils.log import get_multiprocessing_logger

from config.settings import settings
from pairing.errors import one_line
from tasks.contracts.run_request import RUN_ID

Format = Literal["text", "json"]

PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
"""Level → the journal's priority (that of syslog)."""

_TASK_ID = re.compile(rf"(?P<run>{RUN_ID})(\.(?P<method>.+)\.s(?P<seed>\d+))?(\.[a-z-]+)?")
_PLAIN = re.compile(r"[\w.+-]+")


def subject(record: logging.LogRecord) -> dict[str, str | int]:
    """``run``, ``method`` and ``seed`` that a record is of, those that it has.

    They are what the record says of itself (``extra={"run": …}``); else those of the task that it names, as
    Celery's own records do, or of the task that is being done.
    """
    found: dict[str, str | int] = {}
    data, task = getattr(record, "data", None), get_current_task()
    if isinstance(data, dict) and "id" in data:
        found = _part(data.get("name"), data["id"])
    elif task is not None:
        found = _part(task.name, task.request.id)
    given = {name: getattr(record, name) for name in ("run", "method", "seed") if hasattr(record, name)}
    return {**found, **given}


def _part(task_name: object, task_id: object) -> dict[str, str | int]:
    """What a task of ours works on; its id says it (``tasks.worker.canvas``)."""
    match = _TASK_ID.fullmatch(str(task_id)) if str(task_name).startswith("pairing.") else None
    if match is None:
        return {}
    part = {name: value for name, value in match.groupdict().items() if value is not None}
    return {**part, **({"seed": int(part["seed"])} if "seed" in part else {})}


class EventFormatter(logging.Formatter):
    """Makes one line of a record, its traceback included."""

    def __init__(self, kind: Format, journal: bool) -> None:
        """Lines of that kind; with ``journal``, each begins with its priority, which the journal takes off."""
        super().__init__()
        self._line = self._json if kind == "json" else self._text
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        """See the class."""
        raised = self.formatException(record.exc_info) if record.exc_info and record.exc_info[0] else ""
        priority = f"<{PRIORITIES.get(record.levelno, 6)}>" if self._journal else ""
        return priority + self._line(record, subject(record), raised)

    def _text(self, record: logging.LogRecord, part: dict[str, str | int], raised: str) -> str:
        fields = {**part, **({"traceback": raised} if raised else {})}
        said = "".join(f" {name}={_word(str(value))}" for name, value in fields.items())
        head = f"[{self.formatTime(record)}: {record.levelname}/{record.processName}]"
        return f"{head} {one_line(_said(record))}{said}"

    def _json(self, record: logging.LogRecord, part: dict[str, str | int], raised: str) -> str:
        event = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.processName,
            "event": _said(record),
            **part,
            **({"traceback": raised} if raised else {}),
        }
        return json.dumps(event)


def _said(record: logging.LogRecord) -> str:
    return record.getMessage().rstrip("\n")  # warnings end with one


def _word(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else one_line(json.dumps(text, ensure_ascii=False))


class OutageFilter(logging.Filter):
    """Keeps what Celery and Flower say while a broker or all workers are away to a line of each kind, a minute.

    They say so for every task, method and try, with tracebacks of 10,000 characters.
    """

    SILENT = (
        "Restoring ",
        "Skipping prefetch count reduction",
        "Task %s cannot be acknowledged after a connection loss",
    )
    RARE = (
        "Failed operation ",
        "Frequent restarts detected",
        "Inspect method ",
        "Retrying refused callback publish",
        "consumer: Cannot connect to ",
        "consumer: Connection to broker lost",
    )

    def __init__(self) -> None:
        """Nothing was said yet."""
        super().__init__()
        self._next: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to log it; the traceback of what is rare is taken away."""
        text = str(record.msg)
        texts = text, record.getMessage()  # some of it is an argument
        kind = next((kind for kind in self.RARE if any(said.startswith(kind) for said in texts)), None)
        if kind is None:
            return not text.startswith(self.SILENT)
        record.exc_info = None
        if text.startswith("Inspect method "):
            record.msg, record.args = "no worker answers", ()
        due = record.created >= self._next.get(kind, 0.0)
        if due:
            self._next[kind] = record.created + 60.0
        return due


logging.getLogger("flower.inspector").addFilter(OutageFilter())


def goes_to_journal() -> bool:
    """Whether this process's standard error is the journal's stream: ``JOURNAL_STREAM`` is its device and inode."""
    found = os.fstat(2)
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def set_up(level: int, file: str | None, kind: Format) -> None:
    """Has this process log such lines to its standard error, or to a file, and nothing else anywhere."""
    handler = WatchedFileHandler(file, encoding="utf-8") if file else logging.StreamHandler(sys.__stderr__)
    handler.setFormatter(EventFormatter(kind, file is None and goes_to_journal()))
    handler.addFilter(OutageFilter())
    # That of the worker's children does not propagate.
    for logger, least in ((logging.getLogger(), level), (get_multiprocessing_logger(), logging.ERROR)):
        logger.handlers = [handler]
        logger.setLevel(least)
    logging.captureWarnings(True)
    worker_program.safe_say = lambda text, _=None: _say(handler, str(text))


def _say(handler: logging.StreamHandler[Any], text: str) -> None:
    """An event of Celery's signal handlers, which may have interrupted a line that is being logged: past the locks."""
    record = logging.LogRecord(worker_program.__name__, logging.INFO, "", 0, text, None, None)
    os.write(handler.stream.fileno(), f"{handler.format(record)}\n".encode(errors="backslashreplace"))


@celeryd_init.connect  # type: ignore[untyped-decorator]
def log_early_events(**_: Any) -> None:
    """What a worker says before it knows its level and its file are events too."""
    set_up(logging.INFO, None, settings().log_format)
    # Of every process that replaces a lost one (python/cpython#109767). The locks that a worker's threads may hold
    # meanwhile are made anew in it: by Python, by redis-py and by us (`tasks.pool.location`).
    warnings.filterwarnings("ignore", message=r"This process \(pid=\d+\) is multi-threaded, use of fork\(\)")
    if not is_root():
        # Celery takes a group without a name for root's: a systemd dynamic user's, where libnss-systemd is missing.
        warnings.filterwarnings("ignore", message="An entry for the specified gid or egid was not found")
        warnings.filterwarnings("ignore", message="You're running the worker with superuser privileges")


def is_root() -> bool:
    """Whether this process may do what root may."""
    return 0 in (os.getuid(), os.geteuid())


@setup_logging.connect  # type: ignore[untyped-decorator]
def log_events(loglevel: int, logfile: str | None, **_: Any) -> None:
    """Has a worker log events; what anything prints becomes one too."""
    set_up(loglevel, logfile, settings().log_format)
    current_app.log.redirect_stdouts("WARNING")
