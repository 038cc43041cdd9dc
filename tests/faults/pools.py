"""Damage to the pool's PostgreSQL, and many who store at once."""

from __future__ import annotations

import multiprocessing
import random
import secrets
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from psycopg2 import sql

from tasks.pool.location import PoolAddress
from tasks.pool.repository import LOCK_KEY
from tasks.puzzles.resolver import Puzzles
from tasks.runs.comparison import compare
from tasks.store.redis import Redis
from tasks.store.run_store import Store
from tests.faults.processes import start_workers
from tests.faults.scenario import Found, Scenario, Size
from tests.faults.site import PATIENCE, SHORT, Site, Solutions, numbered, open_site
from tests.faults.undisturbed import undisturbed
from tests.support.fleet import wait_for
from tests.support.pools import SHARED_TABLE
from tests.support.servers import PostgresMade, made_postgres


@contextmanager
def pool_site(folder: Path, size: Size) -> Iterator[tuple[Site, PostgresMade]]:
    """A site whose pool is a PostgreSQL that is not running yet; there it is the user ``fleet``."""
    with made_postgres({"max_connections": 60}) as made:
        with made.running():
            execute(made, SHARED_TABLE)
            execute(made, sql.SQL("CREATE ROLE fleet LOGIN PASSWORD {}").format(sql.Literal(made.server.password)))
            execute(made, "GRANT CREATE ON SCHEMA public TO fleet")
            execute(made, "GRANT SELECT, INSERT ON js_puzzle_pool TO fleet")
            execute(made, "GRANT USAGE ON SEQUENCE js_puzzle_pool_id_seq TO fleet")
        secret = folder / "pool-password"
        secret.write_text(made.server.password)
        url = f"postgresql://fleet@127.0.0.1:{made.server.port}/postgres"
        settings = {"PAIRING_POOL_URL": url, "PAIRING_POOL_PASSWORD_FILE": str(secret)}
        with open_site(folder, **settings) as site:
            yield site, made


def execute(made: PostgresMade, statement: Any) -> list[tuple[Any, ...]]:
    """What a statement of the superuser's gives."""
    with closing(made.server.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall()) if cursor.description else []


def check_pool(made: PostgresMade, expected: Solutions) -> None:
    """Every winner is in the pool exactly once."""
    rows = execute(made, "SELECT inp_sigma, out_sigma FROM js_puzzle_pool")
    found = sorted((tuple(inp), tuple(out)) for inp, out in rows)
    assert found == sorted({(tuple(s[4]), tuple(s[5])) for s in expected.values()})


def check_spooled(site: Site, run: str, expected: Solutions) -> str:
    """A run ended well, its winners wait in the spool, and it says so; what people are told."""
    ended = site.wait_for_end(run)
    assert ended["end"] == "succeeded", ended
    assert site.solutions(run) == expected
    summary, outcome = site.store.record(run, "summary"), site.store.record(run, "outcome")
    assert summary is not None
    assert outcome is not None
    assert summary["pool"]["inserted"] == []
    assert len(summary["pool"]["stored_later"]) == len(expected)
    assert len(spooled(site)) == len(expected)
    return str(outcome["pool_error"])


def spooled(site: Site) -> list[Path]:
    return list((Path(site.settings["PAIRING_DATA_DIR"]) / "spool").glob("*.json"))


def flushed(site: Site, size: Size) -> float:
    """Waits until the spool is empty: by the workers' own timer, or by ``pairing pool flush`` where time is short."""
    began = time.monotonic()
    if size.outage < 30:
        wait_for("pool flush", lambda: site.call("pool", "flush").returncode == 0, PATIENCE)
    wait_for("an empty spool", lambda: not spooled(site), PATIENCE)
    return time.monotonic() - began


def away_at_insertion(folder: Path, size: Size, rng: random.Random) -> Found:
    """PostgreSQL goes down in the middle of the first insertion, and comes up again later."""
    expected = undisturbed(size.evaluations)
    with pool_site(folder, size) as (site, made):
        with made.running():
            start_workers(site, size)
            run = site.enqueue(size.evaluations).run
            wait_for("the plan", lambda: site.store.record(run, "plan"), PATIENCE)
            held_up = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            with closing(made.server.connect()) as holder, holder.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_lock(%s)", (LOCK_KEY,))
                wait_for("an insertion", lambda: execute(made, held_up), PATIENCE)
        # Down: in the middle of it.
        said = check_spooled(site, run, expected)
        time.sleep(size.outage)
        with made.running():
            took = flushed(site, size)
            check_pool(made, expected)
            again = site.call("pool", "flush")
            assert again.returncode == 0, again.stderr
            check_pool(made, expected)
        return Found(times=1, runs=1, recovery=[took], said=said)


def away_at_start(folder: Path, size: Size, rng: random.Random) -> Found:
    """PostgreSQL is down when the workers start and plan a run, and comes up after it."""
    expected = undisturbed(size.evaluations)
    with pool_site(folder, size) as (site, made):
        start_workers(site, size)
        run = site.enqueue(size.evaluations).run
        said = check_spooled(site, run, expected)
        with made.running():
            took = flushed(site, size)
            check_pool(made, expected)
        return Found(times=1, runs=1, recovery=[took], said=said)


def password_changed(folder: Path, size: Size, rng: random.Random) -> Found:
    """The pool's password is changed during a run, and told to the workers later; neither shows anywhere."""
    expected, changed = undisturbed(size.evaluations), secrets.token_hex(16)
    with pool_site(folder, size) as (site, made), made.running():
        start_workers(site, size)
        run = site.enqueue(size.evaluations).run
        wait_for("a task in flight", lambda: site.in_flight(run), PATIENCE)
        execute(made, sql.SQL("ALTER ROLE fleet PASSWORD {}").format(sql.Literal(changed)))
        execute(made, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'fleet'")
        said = check_spooled(site, run, expected)
        assert "wants another password for fleet" in said
        told = site.call("watch", run)
        assert said in told.stdout + told.stderr
        (folder / "pool-password").write_text(changed)
        for worker in site.workers:
            worker.process.terminate()
            worker.process.wait(PATIENCE)
        start_workers(site, size)
        took = flushed(site, size)
        check_pool(made, expected)
        texts = [told.stdout, told.stderr, *(log.read_text() for log in folder.glob("*.log"))]
        texts += [path.read_text(errors="replace") for path in (folder / "data").rglob("*") if path.is_file()]
        kept = (site.broker.made.folder / "appendonlydir").iterdir()  # all that Redis was told
        texts += [path.read_text(errors="replace") for path in kept]
        for text in texts:
            assert made.server.password not in text
            assert changed not in text
        return Found(times=1, runs=1, recovery=[took], said=said)


def runs_at_once(folder: Path, size: Size, rng: random.Random) -> Found:
    """Two runs of the same puzzle at the same time on one pool."""
    found, expected = Found(), undisturbed(size.evaluations)
    with pool_site(folder, size) as (site, made), made.running():
        start_workers(site, size)
        for _ in range(size.times):
            execute(made, "TRUNCATE js_puzzle_pool")
            runs = [site.enqueue(size.evaluations, puzzle=numbered(0)).run for _ in range(2)]
            for run in runs:
                assert site.wait_for_end(run)["end"] == "succeeded"
                assert site.solutions(run) == expected
            check_pool(made, expected)
            found.times, found.runs = found.times + 1, found.runs + 2
    return found


def comparisons_at_once(folder: Path, size: Size, rng: random.Random) -> Found:
    """As many comparisons as ``processes`` says at the same time on one pool, each of a run of its own."""
    found, expected = Found(), undisturbed(size.evaluations)
    with pool_site(folder, size) as (site, made), made.running():
        for _ in range(size.workers):
            site.start_worker()
        first = site.enqueue(size.evaluations).run
        assert site.wait_for_end(first)["end"] == "succeeded"
        runs = [f"copy-{number}" for number in range(size.processes)]
        for run in runs:
            copy_run(site.store, first, run)
        context = multiprocessing.get_context("forkserver")
        for _ in range(size.times):
            execute(made, "TRUNCATE js_puzzle_pool")
            start = context.Barrier(len(runs))
            place = (site.broker.url, site.settings["PAIRING_POOL_URL"], made.server.password, str(folder))
            work = [context.Process(target=compare_copy, args=(*place, run, start)) for run in runs]
            for process in work:
                process.start()
            for process in work:
                process.join(PATIENCE)
            assert [process.exitcode for process in work] == [0] * len(runs)
            check_pool(made, expected)
            inserted = [(site.store.record(run, "summary") or {})["pool"]["inserted"] for run in runs]
            assert sum(map(len, inserted)) == len(expected)
            found.times, found.runs = found.times + 1, found.runs + len(runs)
    return found


def copy_run(store: Store, first: str, run: str) -> None:
    """All that a comparison needs of a run, under another name."""
    store.put_record(run, "request", {**(store.record(first, "request") or {}), "run": run})
    store.put_record(run, "plan", store.record(first, "plan") or {})
    for kind in ("assignment", "refinement", "times"):
        for part, record in store.parts(first, kind).items():
            store.put_part(run, kind, part, record)


def compare_copy(broker: str, url: str, password: str, folder: str, run: str, start: Any) -> None:
    """Compares a run at the same time as everybody else."""
    address = PoolAddress(url=url, password=password, data_dir=Path(folder) / "data", connections_per_minute=1000)
    puzzles = Puzzles(cache_dir=Path(folder) / "cache", cache_bytes=2**30)
    store = Store(Redis(broker))
    start.wait(PATIENCE)
    compare(store, puzzles, address, run)


SCENARIOS = (
    Scenario(
        name="pool-down",
        what="PostgreSQL goes down in the middle of an insertion",
        holds="winners are spooled, then stored exactly once",
        work=away_at_insertion,
        short=Size(evaluations=SHORT, workers=1),
        full=Size(outage=60.0),
    ),
    Scenario(
        name="pool-down-at-start",
        what="PostgreSQL is down when the workers start",
        holds="the same",
        work=away_at_start,
        full=Size(),
    ),
    Scenario(
        name="password-changed",
        what="the pool's password is changed during a run",
        holds="the run reports it, and the password never appears in a log; then as above",
        work=password_changed,
        full=Size(),
    ),
    Scenario(
        name="runs-at-once",
        what="two runs of the same puzzle at once",
        holds="one row a solution, no deadlock",
        work=runs_at_once,
        full=Size(times=1),
    ),
    Scenario(
        name="comparisons-at-once",
        what="20 comparisons at once on one pool",
        holds="one row a solution, no deadlock",
        work=comparisons_at_once,
        full=Size(times=5, processes=20),
    ),
)
