"""Fixtures that every test may use: real servers, a real browser. What is skipped for something missing fails in CI."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.support.browser import Browser, BrowserMissing, run_browser
from tests.support.pools import PoolDatabase, PostgresPoolDatabase, SqlitePoolDatabase
from tests.support.servers import Postgres, ServerMissing, run_postgres, run_redis

Server = TypeVar("Server")


def pytest_configure() -> None:
    """Undo what ``nohup`` and background shells do: programs under test inherit signals that are ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return failed_in_ci(skipped_without_torch((yield), call))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    return failed_in_ci(skipped_without_torch(report, report.call))


Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


def skipped_without_torch(report: Report, call: pytest.CallInfo[Any]) -> Report:
    """What fails because torch is not installed is skipped: most of the project works without it, and is tested so."""
    error = call.excinfo and call.excinfo.value
    while report.failed and error is not None:
        if isinstance(error, ModuleNotFoundError) and error.name == "torch":
            report.outcome = "skipped"
            report.longrepr = (report.fspath, 0, "Skipped: torch is not installed")
        error = error.__cause__ or error.__context__
    return report


def failed_in_ci(report: Report) -> Report:
    """A skip is a failure in CI, which installs all that tests need."""
    if report.skipped and os.environ.get("CI"):
        report.outcome = "failed"
        report.longrepr = f"Skipped, which counts as a failure in CI: {report.longrepr}"
    return report


def start(stack: ExitStack, server: AbstractContextManager[Server]) -> Server:
    try:
        return stack.enter_context(server)
    except (ServerMissing, BrowserMissing) as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real PostgreSQL: its address, its password, and empty databases on demand."""
    with ExitStack() as stack:
        yield start(stack, run_postgres())


@pytest.fixture(scope="session")
def postgres_url(postgres: Postgres) -> str:
    """Its address, without the password (``postgres_password``)."""
    return postgres.url


@pytest.fixture(scope="session")
def postgres_password(postgres: Postgres) -> str:
    """The password that goes with ``postgres_url``."""
    return postgres.password


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A real Redis or Valkey, shared by the session: its address with the password. Use keys of your own."""
    with ExitStack() as stack:
        yield start(stack, run_redis())


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A headless Chromium with one page."""
    with ExitStack() as stack:
        yield start(stack, run_browser(tmp_path_factory.mktemp("browser")))


@pytest.fixture
def postgres_pool(postgres: Postgres) -> Iterator[PostgresPoolDatabase]:
    """An empty pool in a PostgreSQL database of its own, its shared table made by somebody else."""
    with postgres.database() as name:
        yield PostgresPoolDatabase(postgres, name)


@pytest.fixture
def sqlite_pool(tmp_path: Path) -> SqlitePoolDatabase:
    """An empty pool in an SQLite file of its own."""
    return SqlitePoolDatabase(tmp_path / "data" / "pool.sqlite")


@pytest.fixture(params=["sqlite", "postgres"])
def any_pool(request: pytest.FixtureRequest) -> PoolDatabase:
    """An empty pool; the test runs once for each kind of database."""
    database: PoolDatabase = request.getfixturevalue(f"{request.param}_pool")
    return database
