"""The pages beside Flower's, in a real browser with a real Flower, worker and Redis."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest

from pairing import load_puzzle
from pairing.io.packed import pack_puzzle
from tasks.contracts.run_request import new_run_id, request_of
from tasks.puzzles.bundles import PACKED, ship
from tests.support.browser import Browser
from tests.support.fleet import DEMO, Command, Fleet, end_all, running_fleet, wait_for
from tests.support.monitoring import basic, get, running_flower
from tests.support.servers import free_port

LOGIN = "anna:secret"
PREFIX = "/ops"
HOSTILE = "<script>window.injected = 1</script><img src=x onerror='window.injected = 2'>\"'&{{ 1 }}"


@dataclass
class Site:
    """A fleet, and Flower behind a prefix."""

    fleet: Fleet
    flower: str
    command: Command
    solved: str
    """A run that has ended, with a hostile note and a hostile puzzle's name."""
    failed: str
    """One in which a method failed."""

    def enqueue(self, methods: list[str], **options: object) -> str:
        name = str(options.pop("name", "demo"))
        backend = self.fleet.store.backend
        puzzle = replace(load_puzzle(DEMO), name=name)
        bundle = ship(backend, {PACKED: pack_puzzle(puzzle)}, name, most_bytes=2**30, quota=2**40)
        request = request_of({"run": new_run_id(), **options, "methods": methods, "puzzle": bundle})
        self.fleet.send(request)
        return request.run

    @contextmanager
    def open_run(self) -> Iterator[str]:
        """One that waits at a gate until the block ends."""
        self.fleet.gate.unlink(missing_ok=True)
        run = self.enqueue(["at_the_gate"], name=new_run_id(), note="waits", evaluations=20, deadline=600.0)
        wait_for("its plan", lambda: self.fleet.store.record(run, "plan"))
        try:
            yield run
        finally:
            self.fleet.open_gate(range(load_puzzle(DEMO).blocks))
            wait_for("its end", lambda: self.fleet.store.record(run, "end"))

    def get(self, path: str, login: str | None = LOGIN, data: str | None = None) -> tuple[int, str]:
        return get(f"{self.flower}{path}", login, data)


@pytest.fixture(scope="module")
def site(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("web")
    with ExitStack() as stack:
        fleet = stack.enter_context(running_fleet(redis_url, folder))
        port = free_port()
        settings = {
            "PAIRING_BROKER_URL": redis_url,
            "PAIRING_KEY_PREFIX": fleet.prefix,
            "PAIRING_FLOWER_AUTH": LOGIN,
            "PAIRING_FLOWER_PORT": str(port),
            "PAIRING_DATA_DIR": str(fleet.data_dir),
            "FLOWER_URL_PREFIX": PREFIX.strip("/"),
            "FLOWER_PURGE_OFFLINE_WORKERS": "1",
        }
        command = Command(tmp_path_factory.mktemp("flower"), settings)
        address = stack.enter_context(running_flower(command, port, PREFIX))
        found = Site(fleet, address, command, "", "")
        found.solved = found.enqueue(["trace", "cosine"], note=HOSTILE, name=HOSTILE)
        found.failed = found.enqueue(["raises", "trace"], budget=5.0)
        for run in (found.solved, found.failed):
            fleet.summary(run)
            wait_for("its end", lambda run=run: fleet.store.record(run, "end"))
        yield found


@pytest.fixture
def page(browser: Browser) -> Browser:
    browser.call("Network.setExtraHTTPHeaders", headers={"Authorization": basic(LOGIN)})
    return browser


def text_of(browser: Browser) -> str:
    return str(browser.value("document.body ? document.body.innerText : ''"))


def press(browser: Browser) -> None:
    """Presses the one button of the page's question, as soon as it is there."""
    button = "document.querySelector('form[method=post] button')"
    wait_for("the question", lambda: browser.value(f"{button} !== null"))
    browser.value(f"{button}.click()")


def paths(site: Site) -> list[str]:
    run = f"/runs/{site.solved}"
    puzzle = (site.fleet.store.record(site.solved, "plan") or {})["puzzle"].removeprefix("sha256:")
    steps = [f"{run}/{what}" for what in ("cancel", "retry", "report", f"compare?with={site.failed}")]
    return ["/runs", run, *steps, "/pool", f"/pool/{puzzle}", "/fleet"]


# --- who is let in


def test_nobody_sees_a_page_without_a_login(site: Site) -> None:
    for path in paths(site):
        for login in (None, "anna:wrong"):
            status, text = site.get(path, login)
            assert status == 401, path
            assert site.solved not in text


def test_nothing_is_cancelled_without_a_login_or_without_the_forms_token(site: Site) -> None:
    with site.open_run() as run:
        for what in ("cancel", "retry"):
            for login in (None, LOGIN):
                for data in ("", "_xsrf=2|00000000|0|0"):
                    assert site.get(f"/runs/{run}/{what}", login, data)[0] in (401, 403)
        assert site.get(f"/runs/{run}/cancel")[0] == 200  # to look is not to do
        assert site.fleet.store.announced(run) is None


def test_a_run_that_is_not_there_is_said_to_be_none(site: Site) -> None:
    assert site.get("/runs/nothing")[0] == 404
    assert site.get("/runs/nothing/report")[0] == 404
    assert site.get(f"/runs/{site.solved}/compare?with=%3Cscript%3E")[0] == 404
    assert site.get("/runs/..%2F..%2Fetc%2Fpasswd")[0] == 404


# --- what is seen


@pytest.mark.parametrize("width", [1280, 390])
def test_every_page_fits_and_runs_nothing_that_it_is_told(page: Browser, site: Site, width: int) -> None:
    for path in paths(site):
        page.open(f"{site.flower}{path}", width=width, dark=width == 390)
        wait_for("the report", lambda: page.value("document.readyState") == "complete")
        assert page.value("document.documentElement.scrollWidth <= window.innerWidth"), (path, width)
        assert page.value("window.injected") is None, path
        assert page.complaints() == [], path
        assert all(url.startswith((site.flower, "data:")) for url in page.requests()), path


def test_a_runs_note_and_puzzle_are_shown_as_they_are(page: Browser, site: Site) -> None:
    for path in ("/runs", f"/runs/{site.solved}"):
        page.open(f"{site.flower}{path}", width=1280)
        assert text_of(page).count(HOSTILE) >= 2
    page.open(f"{site.flower}/runs?q=%22%3E%3Cscript%3Ewindow.injected%3D3%3C/script%3E", width=1280)
    assert page.value("window.injected") is None
    assert "No ended run matches" in text_of(page)


def test_a_run_shows_its_methods_its_report_and_where_its_logs_are(page: Browser, site: Site) -> None:
    page.open(f"{site.flower}/runs/{site.solved}", width=1280)
    text = text_of(page)
    for words in ("solved", "trace", "best MSE", "journalctl", site.solved):
        assert words in text
    assert page.value("document.querySelector('iframe').sandbox.contains('allow-same-origin')") is False
    status, report = site.get(f"/runs/{site.solved}/report")
    assert status == 200
    assert report.startswith("<!DOCTYPE html>")


def test_compared_runs_show_only_what_differs(site: Site) -> None:
    status, text = site.get(f"/runs/{site.solved}/compare?with={site.failed}")
    assert status == 200
    rows = re.findall(r'<th scope="row">([^<]*)</th>', text)
    assert {"methods", "budget", "raises, seed 0"} <= set(rows)
    assert "seeds" not in rows
    assert "They differ in nothing" in site.get(f"/runs/{site.solved}/compare?with={site.solved}")[1]


def test_the_pool_says_who_found_what_and_whose_pools_it_shows(page: Browser, site: Site) -> None:
    page.open(f"{site.flower}/pool", width=1280)
    assert "PAIRING_POOL_URL" in text_of(page)
    rows = page.value("[...document.querySelectorAll('tbody tr')].map(row => row.innerText)")
    assert any("trace" in row and (site.solved in row or site.failed in row) for row in rows)
    page.value("document.querySelector('tbody a').click()")
    wait_for("the puzzle", lambda: "History" in text_of(page) and "best MSE" in text_of(page))


def test_the_fleet_shows_workers_queues_leases_and_findings(page: Browser, site: Site) -> None:
    with site.open_run() as run:
        page.open(f"{site.flower}/fleet", width=1280)
        text = wait_for("the lease", lambda: shown if f"{run}.at_the_gate.s0" in (shown := text_of(page)) else None)
    assert "celery@" in text
    assert re.search(r"pairing\.refine\s+0\s+1 worker", text)
    assert "database" in text


def test_flowers_own_pages_lead_to_ours(page: Browser, site: Site) -> None:
    page.open(f"{site.flower}/tasks", width=1280)
    links = page.value("[...document.querySelectorAll('nav a')].map(link => link.getAttribute('href'))")
    assert {f"{PREFIX}/{name}" for name in ("runs", "pool", "fleet", "workers", "tasks", "broker")} <= set(links)


# --- what is steered


def test_a_run_is_watched_cancelled_and_tried_again(page: Browser, site: Site) -> None:
    with site.open_run() as run:
        page.open(f"{site.flower}/runs/{run}", width=390)
        wait_for("its progress", lambda: "0 of 1 refinements ended" in text_of(page))
        page.value("document.querySelector('.btn-outline-danger').click()")
        wait_for("the question", lambda: "Cancel this run?" in text_of(page))
        assert site.fleet.store.announced(run) is None
        press(page)
        wait_for("the cancellation", lambda: site.fleet.store.announced(run) == "cancelled")
        wait_for("the run's page", lambda: "Cancel this run?" not in text_of(page))
    wait_for("its end, seen without a hand", lambda: "cancelled" in text_of(page))
    page.open(f"{site.flower}/runs/{run}/cancel", width=390)
    press(page)
    wait_for("the refusal", lambda: "has already ended" in text_of(page))
    page.open(f"{site.flower}/runs/{run}/retry", width=390)
    press(page)
    wait_for("what came out", lambda: (site.fleet.store.record(run, "end") or {}).get("end") == "succeeded")


# --- what outlives the store


def test_a_run_that_the_store_has_forgotten_is_on_record(page: Browser, site: Site) -> None:
    run = site.enqueue(["trace"], note=f"{HOSTILE} long ago")
    wait_for("its end", lambda: site.fleet.store.record(run, "end"))
    site.fleet.store.forget(run)
    page.open(f"{site.flower}/runs?q=long+ago", width=390)
    wait_for("the run", lambda: page.value(f"document.querySelector('a[href$=\"/runs/{run}\"]') !== null"))
    page.open(f"{site.flower}/runs/{run}", width=390)
    text = wait_for("its record", lambda: shown if "From the record" in (shown := text_of(page)) else None)
    assert f"{HOSTILE} long ago" in text
    assert "solved" in text
    assert page.value("document.querySelector('iframe, .actions a')") is None
    assert page.value("window.injected") is None
    assert site.get(f"/runs/{site.solved}/compare?with={run}")[0] == 200


# --- what Flower itself shows


def test_tasks_say_their_mse_and_how_they_ended(site: Site) -> None:
    def result(run: str, part: str, stage: str = "refinement") -> object:
        found: object = site.fleet.app.AsyncResult(f"{run}.{part}.{stage}").result
        return found

    best = site.fleet.summary(site.solved)["best"]
    assert result(site.solved, f"{best['method']}.s0") == {"MSE": best["full_mse"], "status": "solved"}
    assert result(site.failed, "raises.s0") == {
        "MSE": None,
        "status": "failed",
        "error": "method 'raises' failed: RuntimeError: as asked",
    }
    assert result(site.solved, "trace.s0", "assignment") == {"status": "assigned"}


def test_a_worker_that_is_gone_leaves_the_metrics(site: Site, tmp_path: Path) -> None:
    command = Command(tmp_path, {**site.command.environment, "PAIRING_DATA_DIR": str(tmp_path / "other")})
    with command.start("worker", "--name", "leaver", "--role", "numbers", "--concurrency", "1") as process:
        wait_for("the worker", lambda: 'worker="leaver@' in site.get("/metrics")[1])
        process.terminate()
        assert end_all([psutil.Process(process.pid)]) == []
    wait_for("its leaving", lambda: 'worker="leaver@' not in site.get("/metrics")[1])
