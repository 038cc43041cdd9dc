"""A real Prometheus scrapes a real worker and Flower: whatever the dashboard and the alerts ask, it can answer.

And Flower as a person sees it, in a real browser.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
from ruamel.yaml import YAML

import config
from tasks.pool.queries import newest_row
from tasks.store.redis import Redis
from tasks.store.run_store import Store
from tests.conftest import start
from tests.support.browser import Browser
from tests.support.fleet import DEMO, Command, wait_for
from tests.support.host import Host
from tests.support.monitoring import SHIPPED, Prometheus, basic, get, run_prometheus, running_flower
from tests.support.paths import DOCS
from tests.support.pools import SHARED_TABLE, PoolDatabase
from tests.support.servers import Postgres, free_port

RUN, METHODS, SEEDS = "watched", ("trace", "svd"), 2
PASSWORD = "pl4nted-Secr3t-word"
LOGIN = f"anna:{PASSWORD}"
TESTS = Path(__file__).with_name("alerts.test.yml")

DASHBOARD: dict[str, Any] = json.loads((Path(config.__file__).parent / "grafana" / "pairing.json").read_text())
TARGETS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
ALERTS = {
    rule["alert"]: rule["expr"]
    for group in YAML(typ="safe").load(SHIPPED / "alerts.yml")["groups"]
    for rule in group["rules"]
}
SERIES = sorted(
    {name for text in (*TARGETS, *ALERTS.values()) for name in re.findall(r"\b(?:pairing|flower)_\w+", text)}
)


@dataclass
class Site:
    """What is watched, and what watches."""

    prometheus: Prometheus
    flower: str
    numbers: str
    spool: Path
    summary: dict[str, Any]
    secrets: list[str]

    def value(self, expression: str) -> float:
        """The one number that an expression gives."""
        (found,) = self.prometheus.query(expression)
        return float(found["value"][1])


@pytest.fixture(scope="module")
def site(redis_url: str, postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A worker, Flower and Prometheus, and a run of the demonstration puzzle that has ended."""
    prefix = f"test-{secrets.token_hex(6)}:"
    flower_port, metrics_port = free_port(), free_port()
    with ExitStack() as stack:
        addresses = {"127.0.0.1:9756": f"127.0.0.1:{metrics_port}", "127.0.0.1:5556": f"127.0.0.1:{flower_port}"}
        prometheus = start(stack, run_prometheus(addresses))
        database = stack.enter_context(postgres.database())
        with postgres.connect(database) as connection, connection.cursor() as cursor:
            cursor.execute(SHARED_TABLE)
        connection.close()
        command = Command(
            tmp_path_factory.mktemp("host"),
            {
                "PAIRING_BROKER_URL": redis_url,
                "PAIRING_KEY_PREFIX": prefix,
                "PAIRING_POOL_URL": f"postgresql://{postgres.user}@127.0.0.1:{postgres.port}/{database}",
                "PAIRING_POOL_PASSWORD": postgres.password,
                "PAIRING_FLOWER_AUTH": LOGIN,
                "PAIRING_FLOWER_PORT": str(flower_port),
                "PAIRING_METRICS_PORT": str(metrics_port),
            },
        )
        host = Host(command, Store(Redis(redis_url, prefix)))
        flower = stack.enter_context(running_flower(command, flower_port))
        stack.enter_context(host.worker("--concurrency", "2"))
        wait_for("the worker in Flower", lambda: "pairing-all" in get(f"{flower}/metrics")[1])
        options = ("--methods", ",".join(METHODS), "--seeds", str(SEEDS), "--run", RUN)
        said = command("enqueue", DEMO, *options, "--wait", "--json")
        assert said.status == 0, said.errors
        broker_password = re.search(r":([^:@]+)@", redis_url).group(1)  # type: ignore[union-attr]
        planted = [PASSWORD, broker_password, postgres.password]
        numbers = f"http://127.0.0.1:{metrics_port}/metrics"
        yield Site(prometheus, flower, numbers, command.data_dir / "spool", said.json, planted)
    with redis.Redis.from_url(redis_url) as client:
        for key in client.scan_iter(f"{prefix}*"):
            client.delete(key)


# --- Prometheus


@pytest.mark.parametrize("name", SERIES)
def test_every_series_is_there(site: Site, name: str) -> None:
    wait_for(name, lambda: site.prometheus.query(name))


@pytest.mark.parametrize("expression", TARGETS)
def test_every_panel_has_an_answer(site: Site, expression: str) -> None:
    here = expression.replace("$__rate_interval", "1m")
    assert "$" not in here
    wait_for(here, lambda: site.prometheus.query(here))


def test_the_numbers_are_those_of_the_run(site: Site) -> None:
    parts = len(METHODS) * SEEDS
    wait_for("the run's end", lambda: site.prometheus.query('pairing_runs_ended_total{end="succeeded"} == 1'))
    assert site.value('pairing_stages_total{stage="refinement"}') == parts
    assert site.value("sum(pairing_runs_ended_total)") == 1
    assert site.value("sum(pairing_runs)") == site.value("sum(pairing_queue_messages)") == 0
    assert site.value(f'pairing_run_best_error{{run="{RUN}"}}') == site.summary["best"]["full_mse"]
    evaluations = sum(method["evaluations"] for method in site.summary["methods"])
    assert 0 < site.value("pairing_refinement_evaluations_total") <= evaluations
    wait_for("the pool's age", lambda: site.prometheus.query("pairing_pool_age_seconds < 3600"))
    assert site.value("sum(up)") == 2
    assert site.value("flower_worker_online") == 1


def test_alerts_are_quiet_and_the_spools_is_about_to_be_raised(site: Site) -> None:
    def rules() -> dict[str, dict[str, Any]]:
        groups = site.prometheus.ask("rules")["groups"]
        return {rule["name"]: rule for group in groups for rule in group["rules"]}

    def evaluated() -> bool:
        return all(rule["health"] == "ok" and rule["state"] == "inactive" for rule in rules().values())

    wait_for("quiet alerts", evaluated)
    assert set(rules()) == set(ALERTS)
    site.spool.mkdir(parents=True, exist_ok=True)
    waiting = site.spool / "damaged.json"
    waiting.write_text("{}")
    wait_for("the alert", lambda: rules()["PairingSpoolNotEmpty"]["state"] == "pending")
    waiting.unlink()
    wait_for("its end", evaluated)


def test_the_numbers_hold_no_secret(site: Site) -> None:
    for address in (site.numbers, f"{site.flower}/metrics"):
        status, text = get(address)
        assert status == 200
        assert not [secret for secret in site.secrets if secret in text]


def test_when_the_newest_row_came(any_pool: PoolDatabase) -> None:
    with any_pool.open() as pool:
        assert newest_row(pool) is None
        began = int(time.time())  # SQLite keeps whole seconds
        any_pool.write()
        newest = newest_row(pool)
        assert newest is not None
        assert began <= newest <= time.time()


# --- the files


@pytest.fixture
def promtool() -> Iterator[str]:
    with ExitStack() as stack:
        start(stack, run_prometheus({}))  # of the same package; skips without
        yield shutil.which("promtool") or ""


def test_alerts_are_raised_when_they_should_be(promtool: str, tmp_path: Path) -> None:
    for file in (SHIPPED / "alerts.yml", SHIPPED / "prometheus.yml", TESTS):
        shutil.copy(file, tmp_path)
    for words in (("check", "config", "prometheus.yml"), ("test", "rules", TESTS.name)):
        done = subprocess.run([promtool, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested_raised_and_quiet() -> None:
    tested: dict[str, set[bool]] = {name: set() for name in ALERTS}
    for case in YAML(typ="safe").load(TESTS)["tests"]:
        for rule in case["alert_rule_test"]:
            tested[rule["alertname"]].add("exp_alerts" in rule)
    assert tested == {name: {True, False} for name in ALERTS}


def test_all_series_of_ours_are_documented_and_used(site: Site) -> None:
    given = set(re.findall(r"^(pairing_\w+)[{ ]", get(site.numbers)[1], re.MULTILINE))
    page = (DOCS / "monitoring.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `(pairing_\w+)`", page, re.MULTILINE))
    assert given | {"pairing_pool_age_seconds"} == documented == {name for name in SERIES if name.startswith("pairing")}
    assert set(re.findall(r"^\| `(Pairing\w+)`", page, re.MULTILINE)) == set(ALERTS)


# --- Flower


@pytest.fixture
def page(browser: Browser) -> Browser:
    browser.call("Network.setExtraHTTPHeaders", headers={"Authorization": basic(LOGIN)})
    return browser


def text_of(browser: Browser) -> str:
    return str(browser.value("document.body.innerText"))


def rows_of(browser: Browser) -> list[str]:
    """Of every row of the page's tables what its cells say."""
    rows = "[...document.querySelectorAll('tbody tr')]"
    return list(browser.value(f"{rows}.map(row => [...row.cells].map(cell => cell.textContent).join(' '))"))


def assert_clean(browser: Browser, site: Site) -> None:
    """No complaint, nothing fetched from elsewhere, no secret, no array."""
    assert browser.complaints() == []
    assert all(address.startswith((site.flower, "data:")) for address in browser.requests())
    source = browser.value("document.documentElement.outerHTML")
    assert not [secret for secret in site.secrets if secret in source]
    assert re.search(r"(-?\d+(\.\d+)?(e-?\d+)?\s*,\s*){4}", text_of(browser)) is None


def test_a_browser_without_a_login_sees_nothing(browser: Browser, site: Site) -> None:
    browser.call("Network.setExtraHTTPHeaders", headers={})
    browser.open(f"{site.flower}/workers")
    assert "pairing" not in text_of(browser)


def test_workers_are_seen(page: Browser, site: Site) -> None:
    page.open(f"{site.flower}/workers", width=1300)
    rows = wait_for("the worker", lambda: [row for row in rows_of(page) if "pairing-all@" in row])
    assert len(rows) == 1
    assert "Online" in rows[0]
    assert_clean(page, site)


def test_a_runs_tasks_are_seen_by_method_and_seed(page: Browser, site: Site) -> None:
    page.open(f"{site.flower}/tasks?limit=100", width=1300)
    names = [f"{RUN}.{method}.s{seed}.refinement" for method in METHODS for seed in range(SEEDS)]
    rows = wait_for("the tasks", lambda: found if len(found := rows_of(page)) > len(names) else None)
    for name in (*names, f"{RUN}.comparison"):
        (row,) = (row for row in rows if name in row)
        assert f"pairing.{name.rpartition('.')[2]}" in row
        assert "SUCCESS" in row
    cells = "[...document.querySelectorAll('#tasks-table tbody td')]"
    assert page.value(f"{cells}.every(cell => cell.scrollWidth <= cell.clientWidth + 1)"), "a name is cut off"
    assert_clean(page, site)


@pytest.mark.parametrize("task", [RUN, *(f"{RUN}.trace.s1.{s}" for s in ("similarity", "assignment", "refinement"))])
def test_a_tasks_page_has_neither_arrays_nor_secrets(page: Browser, site: Site, task: str) -> None:
    page.open(f"{site.flower}/task/{task}", width=1300)
    text = text_of(page)
    assert task in text
    assert "SUCCESS" in text
    assert re.search(r"Worker\s+pairing-all@", text)
    assert_clean(page, site)
