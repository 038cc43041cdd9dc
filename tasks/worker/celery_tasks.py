"""The five Celery tasks. Each loads, calls its stage and stores; the stages import what they need."""

from __future__ import annotations

import functools
import inspect
import logging
import sys
import time
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

from celery import Task
from celery.exceptions import Ignore, Reject
from kombu.exceptions import OperationalError

from config.settings import settings
from pairing.errors import InputError
from tasks.contracts.errors import BrokerError, RecordError
from tasks.contracts.run_request import SCHEMA_VERSION, Request, check_part
from tasks.runs.protocol_version import OtherProtocolError, check_protocol
from tasks.worker.app import app
from tasks.worker.process_limits import begin_watch, end_watch
from tasks.worker.resources import has_backlog, pool_address, puzzles, store
from tasks.worker.upstream.soft_shutdown import interruption

P = ParamSpec("P")
Result = TypeVar("Result")

logger = logging.getLogger(__name__)

HAND_BACK_SECONDS = 1.0
"""Between taking a task that cannot be done here, or not now, and handing it back."""

PUBLISHING_SECONDS = 10.0
"""So long one process alone publishes a run. What two have published is worked on once."""


def interrupted() -> bool:
    """Whether this worker is about to end. That a task asks is a sign of life."""
    begin_watch(settings().stall_seconds)
    return interruption.is_set()


def _handed_back(work: Callable[P, Result]) -> Callable[P, Result]:
    """Watches a task, and hands it back to the queue where another worker has to do it, or this one later."""
    signature = inspect.signature(work)

    @functools.wraps(work)
    def checked(*args: P.args, **kw: P.kwargs) -> Result:
        from tasks.runs.attempts import InterruptedTaskError, SupersededError
        from tasks.runs.lifecycle import finish
        from tasks.runs.time_slicing import TurnOverError

        given = signature.bind(*args, **kw).arguments
        task = cast(Task, given.pop("self"))
        check_part(**given)
        run: str = given["run"]
        begin_watch(settings().stall_seconds)
        try:
            check_protocol(store(), run)
            return work(*args, **kw)
        except RecordError as error:  # no method's own: the run cannot go on
            finish(store(), run, "failed", str(error), error.exit_status)
            raise
        except OtherProtocolError as error:
            if store().record(run, "end") is not None:
                raise Ignore from None
            time.sleep(HAND_BACK_SECONDS)  # the queue's other readers first
            raise task.retry(exc=error, countdown=0, max_retries=sys.maxsize) from None
        except BrokerError:
            time.sleep(HAND_BACK_SECONDS)
            raise Reject("the store cannot be reached", requeue=True) from None
        except TurnOverError:
            priority = (task.request.delivery_info or {}).get("priority")
            raise task.retry(countdown=0, max_retries=sys.maxsize, priority=priority) from None
        except MemoryError:
            time.sleep(HAND_BACK_SECONDS)  # another reader of the queue may have more
            raise Reject("this took too much memory", requeue=True) from None
        except InterruptedTaskError:
            raise Reject("this worker is about to end", requeue=True) from None
        except SupersededError:
            raise Ignore from None
        finally:
            end_watch()

    return checked


# With a trail, Celery's callers listen to the canvas's tasks too, and end with "Exception ignored" on standard error.
@app.task(name="pairing.run", bind=True, trail=False)  # type: ignore[untyped-decorator]
def run(self: Task, **asked: Any) -> str:
    """Accepts and plans a run, and publishes its canvas, again until it is whole.

    The arguments are those of ``tasks.contracts.run_request.Request``.
    """
    from tasks.runs.attempts import counted
    from tasks.runs.lifecycle import PLANNING, finish
    from tasks.runs.planning import accept, plan

    run: str = self.request.id
    version = asked.get("schema_version", 1)
    if isinstance(version, int) and version > SCHEMA_VERSION:  # for a newer worker
        time.sleep(HAND_BACK_SECONDS)
        raise self.retry(countdown=0, max_retries=sys.maxsize)
    try:
        request = _registered({**asked, "run": run})
        if store().record(run, "end") is not None:
            return run
        with counted(store(), run, PLANNING):
            request = accept(store(), puzzles(), request)
            plan(store(), pool_address(), request, puzzles().fetched(store().backend, request.puzzle))
        if store().announced(run) == "cancelled":
            finish(store(), run, "cancelled", exit_status=4)
        elif not store().is_published(run):
            _publish(self, request)
    except (BrokerError, OperationalError):
        time.sleep(HAND_BACK_SECONDS)
        raise Reject("the store cannot be reached", requeue=True) from None
    except Reject:
        raise
    except Exception as error:
        _fail(run, PLANNING, error)
        raise
    return run


def _publish(task: Task, request: Request) -> None:
    """Publishes a run's canvas, or the parts of it that are tried again.

    Raises:
        Reject: another process is at it; the task is put back, to see whether that comes to its end.
    """
    from tasks.client.retrying import parts_of, tries
    from tasks.worker.canvas import publish

    run = request.run
    if not (store().claim_for(run, "published", PUBLISHING_SECONDS) or _again(task)):
        time.sleep(HAND_BACK_SECONDS)
        raise Reject("another process publishes this run, or was killed in the middle of it", requeue=True)
    accepted = store().record(run, "request") or {}
    publish(task.app, request, parts_of(accepted), tries(accepted))
    store().put_published(run)


def _registered(asked: dict[str, Any]) -> Request:
    """The request of a run that is asked for, and is known from now on.

    Raises:
        InputError: it is none.
        Reject: another run has this id. It goes on.
    """
    from tasks.contracts.run_request import request_of
    from tasks.runs.lifecycle import register

    try:
        request = request_of(asked)
        register(store(), request)
    except InputError as error:
        if store().record(asked["run"], "asked") is None:
            raise
        logger.error("refused: %s", error, extra={"run": asked["run"]})
        raise Reject(str(error), requeue=False) from None
    return request


def _again(task: Task) -> bool:
    """Whether a task was begun before, by a process that is gone, or was handed back here."""
    return bool(task.request.retries or (task.request.delivery_info or {}).get("redelivered"))


@app.task(name="pairing.similarity", bind=True)  # type: ignore[untyped-decorator]
@_handed_back
def similarity(self: Task, run: str, method: str, seed: int) -> dict[str, Any]:  # noqa: ARG001
    """Computes and stores a method's similarity matrix."""
    from tasks.runs import stages
    from tasks.runs.outcome import result_of_stage

    stages.similarity(store(), puzzles(), run, method, seed)
    return result_of_stage(store(), run, method, seed, "computed")


@app.task(name="pairing.assignment", bind=True)  # type: ignore[untyped-decorator]
@_handed_back
def assignment(self: Task, run: str, method: str, seed: int) -> dict[str, Any]:
    """Pairs the pieces by a method's similarities; where these are sure of them, their refinement comes sooner."""
    from tasks.contracts.run_request import request_of
    from tasks.runs import stages
    from tasks.runs.outcome import result_of_stage

    stages.assignment(store(), puzzles(), run, method, seed)
    if stages.is_confident(store(), run, method):
        request = request_of(store().record(run, "request") or {})
        for following in self.request.chain or ():
            following["options"]["priority"] = request.message_priority("surely")
    return result_of_stage(store(), run, method, seed, "assigned")


@app.task(name="pairing.refinement", bind=True)  # type: ignore[untyped-decorator]
@_handed_back
def refinement(self: Task, run: str, method: str, seed: int) -> dict[str, Any]:  # noqa: ARG001
    """Orders the blocks of a method's pairing: ``{"MSE", "status"}``, for those who look at tasks."""
    from tasks.runs import stages
    from tasks.runs.outcome import result_of_refinement

    stages.refinement(store(), puzzles(), run, method, seed, interrupted, has_backlog)
    return result_of_refinement(store(), run, method, seed)


@app.task(name="pairing.comparison", bind=True)  # type: ignore[untyped-decorator]
@_handed_back
def comparison(self: Task, run: str, tries: int = 0) -> None:  # noqa: ARG001
    """Compares what the run's parts have left and stores the winners, also where a part died hard.

    One of an earlier try than the run's newest does nothing.
    """
    from tasks.client import retrying
    from tasks.runs.attempts import counted
    from tasks.runs.comparison import compare
    from tasks.runs.lifecycle import COMPARISON

    if store().record(run, "end") is not None or tries < retrying.tries(store().record(run, "request") or {}):
        return
    try:
        with counted(store(), run, COMPARISON):
            compare(store(), puzzles(), pool_address(), run)
    except BrokerError:
        raise  # the task is done again
    except Exception as error:
        _fail(run, COMPARISON, error)
        raise


def _fail(run: str, stage: str, error: Exception) -> None:
    """Ends a run whose planning or comparison failed: whoever waits for it is told, whatever it was.

    Raises:
        Reject: it took too much memory, and may be tried again, where there is more.
        SystemExit: the process was told to end.
    """
    from tasks.runs.attempts import GivenUpError, is_last_attempt
    from tasks.runs.lifecycle import finish
    from tasks.runs.stage_execution import is_end_of_process

    if is_end_of_process(error):
        raise SystemExit from error
    if isinstance(error, MemoryError) and not is_last_attempt(store(), run, stage):
        time.sleep(HAND_BACK_SECONDS)  # another reader of the queue may have more
        raise Reject("this took too much memory", requeue=True) from None
    text = str(error) or type(error).__name__
    if isinstance(error, GivenUpError | MemoryError):
        text = f"its {stage} was given up: {text}. `pairing retry {run}` tries again"
    finish(store(), run, "failed", text, getattr(error, "exit_status", 1))
