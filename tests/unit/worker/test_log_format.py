"""A worker's log: one line an event whatever is in it, with its run, method and seed, and its priority."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery.platforms import check_privileges
from hypothesis import given
from hypothesis import strategies as st

from tasks.worker.bootstrap import app
from tasks.worker.upstream.log_format import PRIORITIES, EventFormatter, Format, OutageFilter, log_early_events, subject

KINDS: tuple[Format, ...] = ("text", "json")


def record_of(text: object, *values: object, level: int = logging.INFO, **extra: object) -> logging.LogRecord:
    return logging.getLogger("tasks.x").makeRecord("tasks.x", level, "x.py", 1, text, values, None, extra=extra)


def raised(text: str) -> logging.LogRecord:
    record = record_of("it failed", level=logging.ERROR)
    try:
        raise ValueError(text)
    except ValueError:
        record.exc_info = sys.exc_info()
    return record


def line(record: logging.LogRecord, kind: Format = "text", journal: bool = False) -> str:
    return EventFormatter(kind, journal).format(record)


# --- one line


@given(st.text())
def test_an_event_is_one_line_whatever_is_in_it(text: str) -> None:
    for kind in KINDS:
        for record in (record_of("%s", text), raised(text), record_of("x", run=text)):
            said = line(record, kind)
            assert said.splitlines() == [said]
            assert said.isprintable()


@given(st.text(), st.text())
def test_json_gives_everything_back(text: str, run: str) -> None:
    found = json.loads(line(record_of("%s", text, level=logging.WARNING, run=run, method="trace", seed=3), "json"))
    assert (found["event"], found["run"], found["method"], found["seed"]) == (text.rstrip("\n"), run, "trace", 3)
    assert (found["level"], found["logger"], found["process"]) == ("warning", "tasks.x", "MainProcess")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", found["time"])


def test_a_traceback_is_a_field() -> None:
    found = json.loads(line(raised("as asked"), "json"))
    assert found["event"] == "it failed"
    assert found["traceback"].startswith("Traceback (most recent call last):\n")
    assert found["traceback"].endswith("\nValueError: as asked")
    _, _, coded = line(raised("as asked")).partition(" traceback=")
    assert json.loads(coded) == found["traceback"]


def test_text_is_as_people_know_it_with_the_fields_at_its_end() -> None:
    said = line(record_of("refined: %s", "solved", run="r-1", method="trace", seed=0))
    assert re.fullmatch(
        r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}: INFO/MainProcess\] refined: solved run=r-1 method=trace seed=0", said
    )


def test_no_field_is_written_that_is_not_meant_to_be() -> None:
    for kind in KINDS:
        said = line(record_of("received", data={"id": "x", "kwargs": "a secret"}, password="a secret"), kind)
        assert "a secret" not in said


# --- the run, the method and the seed


@pytest.mark.parametrize(
    ("task", "name", "part"),
    [
        ("a-run", "pairing.run", {"run": "a-run"}),
        ("a-run.comparison", "pairing.comparison", {"run": "a-run"}),
        ("a-run.comparison-at-the-deadline", "pairing.comparison", {"run": "a-run"}),
        ("a-run.trace.s12.refinement", "pairing.refinement", {"run": "a-run", "method": "trace", "seed": 12}),
        ("a-run.my.own.s0.similarity", "pairing.similarity", {"run": "a-run", "method": "my.own", "seed": 0}),
        ("no run\n", "pairing.run", {}),
        ("a-run", "somebody.elses", {}),
    ],
)
def test_a_task_says_what_it_is_of(task: str, name: str, part: dict[str, object]) -> None:
    assert subject(record_of("received", data={"id": task, "name": name})) == part


@pytest.fixture
def _in_a_task() -> Iterator[None]:
    task = app.tasks["pairing.refinement"]
    task.push_request(id="a-run.trace.s1.refinement")
    from celery._state import _task_stack

    _task_stack.push(task)
    yield
    _task_stack.pop()
    task.pop_request()


@pytest.mark.usefixtures("_in_a_task")
def test_what_is_logged_within_a_task_is_of_it_unless_it_says_otherwise() -> None:
    assert subject(record_of("x")) == {"run": "a-run", "method": "trace", "seed": 1}
    assert subject(record_of("x", method="svd", seed=4)) == {"run": "a-run", "method": "svd", "seed": 4}


def test_what_is_logged_outside_of_tasks_is_of_nothing() -> None:
    assert subject(record_of("x")) == {}
    assert "run" not in json.loads(line(record_of("x"), "json"))


# --- the journal


@pytest.mark.parametrize(("level", "priority"), PRIORITIES.items())
@pytest.mark.parametrize("kind", KINDS)
def test_the_journal_is_told_the_priority(level: int, priority: int, kind: Format) -> None:
    record = record_of("x", level=level)
    assert line(record, kind, journal=True) == f"<{priority}>{line(record, kind)}"


@pytest.mark.parametrize(("stream", "journal"), [("stderr", True), ("another", False), (None, False)])
def test_the_journal_is_known_by_its_stream(stream: str | None, journal: bool, tmp_path: Path) -> None:
    log, other = tmp_path / "log", tmp_path / "other"
    other.touch()
    setting_up = "from tasks.worker.upstream.log_format import set_up; set_up(20, None, 'text')"
    program = f"import logging; {setting_up}; logging.warning('two\\nlines')"
    environment = {name: value for name, value in os.environ.items() if name != "JOURNAL_STREAM"}
    with log.open("wb") as errors:
        found = os.fstat(errors.fileno()) if stream == "stderr" else other.stat()
        if stream is not None:
            environment["JOURNAL_STREAM"] = f"{found.st_dev}:{found.st_ino}"
        subprocess.run([sys.executable, "-c", program], env=environment, stderr=errors, check=True)
    (said,) = log.read_text().splitlines()
    assert said.startswith("<4>[" if journal else "[")
    assert said.endswith(r"WARNING/MainProcess] two\nlines")


def test_an_outage_of_the_broker_is_one_line() -> None:
    kept = OutageFilter().filter
    lost = record_of("consumer: Connection to broker lost. Trying to re-establish the connection...")
    assert kept(lost)
    assert not kept(record_of("Restoring 2 unacknowledged message(s)"))
    tries = [record_of("Failed operation %s. Retrying %s more times.", "store_result", "inf") for _ in range(9)]
    tries[0].exc_info = raised("no broker").exc_info
    assert [kept(record) for record in tries] == [True, *[False] * 8]
    assert tries[0].exc_info is None
    tries[0].created += 61
    assert kept(tries[0])


def test_flower_says_in_one_line_that_no_worker_answers() -> None:
    kept = OutageFilter().filter
    tries = [record_of("Inspect method %s failed", method) for method in ("stats", "conf", "registered")]
    assert [kept(record) for record in tries] == [True, False, False]
    assert tries[0].getMessage() == "no worker answers"
    assert any(isinstance(found, OutageFilter) for found in logging.getLogger("flower.inspector").filters)


@pytest.mark.parametrize(("user", "warned"), [(0, True), (60001, False)])
def test_only_root_is_warned_of_superuser_privileges(user: int, warned: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("getuid", "geteuid", "getgid", "getegid"):
        monkeypatch.setattr(os, name, lambda: user)
    monkeypatch.setattr("celery.platforms.grp.getgrgid", {}.__getitem__)  # no group has a name
    monkeypatch.setattr("tasks.worker.upstream.log_format.set_up", lambda *_: None)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        log_early_events()
        check_privileges(["json"])
    assert any("superuser" in str(warning.message) for warning in said) == warned
    assert bool(said) == warned
