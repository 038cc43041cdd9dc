"""What the doctor makes of what it is told: of servers and workers that are hard to have in a test."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from config.settings import Settings
from pairing.version import __version__
from tasks.commands.doctor import _line
from tasks.contracts.code_digest import LOADED, code_digest
from tasks.contracts.queues import ROLES
from tasks.doctor.examination import CHECKS, Finding, examine, is_well
from tasks.doctor.probes import Answer, Broker, ProbeFailure, ProbeResults, _answer
from tasks.pool.health import PoolState
from tasks.runs.protocol_version import PROTOCOL
from tasks.worker.remote_control import About, Space

INFO = {
    **{"redis_version": "7.2.4", "server_name": "valkey", "valkey_version": "9.1.0", "role": "master", "loading": 0},
    **{"rdb_last_bgsave_status": "ok", "aof_enabled": 1, "aof_last_write_status": "ok"},
    **{"maxmemory_policy": "noeviction", "maxmemory": 0, "used_memory": 2**20},
}
ROOM = Space(path="/data", free=2**40, writable=True)


def about(**changes: Any) -> About:
    values: dict[str, Any] = {
        **{"host": "host", "version": __version__, "protocol": PROTOCOL, "code": LOADED, "code_on_disk": LOADED},
        **{"libraries": {"python": "3.11"}, "now": time.time(), "threads": {"OMP_NUM_THREADS": "1"}},
        **{"cores": 4, "processes": 4, "queues": list(ROLES["all"]), "stop_files": [], "waiting": 0},
        "spaces": {"data": ROOM},
    }
    return About(**{**values, **changes})


def broker(**changes: Any) -> Broker:
    values: dict[str, Any] = {
        **{"where": "host:6379, database 0", "seconds": 0.001, "info": INFO, "clock_offset": 0.0},
        **{"waiting": dict.fromkeys(ROLES["all"], 0), "begun": 0, "refuses": None},
    }
    return Broker(**{**values, **changes})


def results(tmp_path: Path, **changes: Any) -> ProbeResults:
    values: dict[str, Any] = {
        "settings": Settings(broker_url=SecretStr("redis://host:6379/0"), data_dir=tmp_path, cache_dir=tmp_path),
        "results": tmp_path,
        "broker": broker(),
        "workers": {"pairing-all@host": Answer(about(), 0.0)},
        "pool": PoolState(where="pool at host:5432", kind="PostgreSQL 15", role="fleet", clock_offset=0.0),
    }
    return ProbeResults(**{**values, **changes})


def lines(found: ProbeResults, name: str) -> list[Finding]:
    return [finding for finding in examine(found) if finding.name == name]


def test_these_are_well(tmp_path: Path) -> None:
    assert {finding.state for finding in examine(results(tmp_path))} == {"ok"}


@pytest.mark.parametrize(
    ("name", "info", "state"),
    [
        ("broker", {"redis_version": "5.0.1"}, "wrong"),
        ("backend", {"role": "slave"}, "wrong"),
        ("backend", {"loading": 1}, "wrong"),
        ("backend", {"rdb_last_bgsave_status": "err"}, "wrong"),
        ("append only file", {"aof_enabled": 0}, "wrong"),
        ("append only file", {"aof_last_write_status": "err"}, "wrong"),
        ("eviction policy", {"maxmemory_policy": "volatile-ttl"}, "wrong"),
        ("eviction policy", {"maxmemory": 2**20 + 2**15}, "warning"),
        ("eviction policy", {"maxmemory": 2**20}, "wrong"),
    ],
    ids=str,
)
def test_what_a_broker_says(tmp_path: Path, name: str, info: dict[str, object], state: str) -> None:
    findings = examine(results(tmp_path, broker=broker(info={**INFO, **info})))
    assert [(finding.name, finding.state) for finding in findings if finding.state != "ok"] == [(name, state)]
    assert all(finding.advice for finding in findings if finding.state != "ok" and "written" not in finding.found)


@pytest.mark.parametrize(
    ("pool", "name"),
    [
        ({"supported": False}, "database"),
        ({"read_only": True}, "database"),
        ({"there": False}, "database"),
        ({"lacks": ("INSERT on js_puzzle_pool",)}, "rights on the pool"),
    ],
    ids=str,
)
def test_what_a_database_says(tmp_path: Path, pool: dict[str, Any], name: str) -> None:
    state = PoolState(**{"where": "pool", "kind": "PostgreSQL", "role": "fleet", **pool})
    (finding,) = lines(results(tmp_path, pool=state), name)
    assert finding.state == "wrong"
    assert finding.advice


@pytest.mark.parametrize(
    ("offset", "state"), [(0.0, "ok"), (0.9, "ok"), (-1.1, "warning"), (4.9, "warning"), (-5.1, "wrong")]
)
@pytest.mark.parametrize("who", ["broker", "database", "worker"])
def test_clocks(tmp_path: Path, who: str, offset: float, state: str) -> None:
    changes = {
        "broker": {"broker": broker(clock_offset=offset)},
        "database": {"pool": PoolState(where="", kind="", role="fleet", clock_offset=offset)},
        "worker": {"workers": {"worker@host": Answer(about(), offset)}},
    }
    (finding,) = lines(results(tmp_path, **changes[who]), "clock")
    assert finding.state == state
    assert f"{who if who != 'worker' else 'worker@host'} {offset:+.3f} s" in finding.found


@given(st.floats(0, 10), st.floats(0, 10), st.floats(-100, 100))
def test_a_workers_clock_is_off_by_what_its_way_cannot_explain(there: float, back: float, ahead: float) -> None:
    asked = 1e9
    told = _answer(about(now=asked + there + ahead).model_dump(), asked, asked + there + back).clock_offset
    assert told is not None
    assert abs(told) <= abs(ahead) + 1e-6
    assert abs(ahead - told) <= there + back + 1e-6
    assert told * ahead >= -1e-6


@pytest.mark.parametrize(
    ("free", "writable", "state"),
    [(2**31, True, "ok"), (2**29, True, "warning"), (2**26, True, "wrong"), (2**31, False, "wrong")],
)
def test_a_workers_disk(tmp_path: Path, free: int, writable: bool, state: str) -> None:
    space = Space(path="/data", free=free, writable=writable)
    (finding,) = lines(results(tmp_path, workers={"worker@host": Answer(about(spaces={"data": space}))}), "disk")
    assert finding.state == state
    assert ("worker@host: data (/data)" in finding.found) == (state != "ok")


@pytest.mark.parametrize(
    ("reads", "waiting", "state", "roles"),
    [
        (ROLES["all"], {"pairing.refine": 9}, "ok", []),
        (ROLES["plan"], {}, "warning", ["numbers", "refine"]),
        ((*ROLES["plan"], *ROLES["numbers"]), {"pairing.refine": 9}, "wrong", ["refine"]),
        ((*ROLES["numbers"], *ROLES["refine"]), {"celery": 1}, "wrong", ["plan"]),
    ],
)
def test_queues_and_their_readers(
    tmp_path: Path, reads: tuple[str, ...], waiting: dict[str, int], state: str, roles: list[str]
) -> None:
    lengths = {**dict.fromkeys(ROLES["all"], 0), **waiting}
    workers = {"worker@host": Answer(about(queues=list(reads)))}
    (finding,) = lines(results(tmp_path, broker=broker(waiting=lengths), workers=workers), "queue lengths")
    assert finding.state == state
    assert [word for word in finding.advice.replace(",", "").split() if word in ROLES] == roles


def test_a_worker_with_other_code_is_wrong(tmp_path: Path) -> None:
    workers = {
        "a@host": Answer(about(code="0" * 64, code_on_disk="0" * 64)),
        "b@host": Answer(about(code_on_disk="1" * 64)),
        "c@host": Answer(about(protocol=PROTOCOL + 1)),
        "d@host": Answer(None),
        "e@host": Answer(about()),
    }
    found = lines(results(tmp_path, workers=workers), "versions")
    assert [finding.state for finding in found] == ["wrong"] * 4 + ["ok"]
    assert ["STALE" in finding.found for finding in found] == [True, True, False, True, False]


def test_what_is_away_costs_only_what_needs_it(tmp_path: Path) -> None:
    away = ProbeFailure("it is away")
    found = examine(results(tmp_path, broker=away, workers=away, pool=away))
    assert {f.name for f in found if f.state == "wrong"} == {"broker", "database"}
    assert {f.name for f in found if f.state == "ok"} == {"stop files", "disk"}
    assert not is_well(found)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(answer=anything | st.fixed_dictionaries(dict.fromkeys(About.model_fields, anything)), info=anything)
def test_whatever_is_answered_is_a_line_each(tmp_path_factory: pytest.TempPathFactory, answer: Any, info: Any) -> None:
    said = {**INFO, **dict.fromkeys(INFO, info)}
    workers = {"worker\n@host": _answer(answer, 0.0, 1.0)}
    found = examine(results(tmp_path_factory.getbasetemp(), broker=broker(info=said), workers=workers))
    assert {finding.name for finding in found} == {check.__name__.replace("_", " ") for check in CHECKS}
    for finding in found:
        assert len(_line(finding).splitlines()) == 1


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_terminal_gets_whole_words_below_each_other(width: int) -> None:
    finding = Finding(
        "queue lengths", "warning", "celery 0, pairing.refine 0; nobody reads them", "start " + "pairing worker " * 9
    )
    first, *rest = click.unstyle(_line(finding, width)).splitlines()
    assert first.startswith("warning    queue lengths       celery 0")
    assert rest
    assert all(line[:31].isspace() and not line[31].isspace() for line in rest)
    assert max(map(len, [first, *rest])) <= width
    assert " ".join([first[31:], *(line[31:] for line in rest)]) == click.unstyle(_line(finding))[31:].rstrip()
    assert len(_line(finding, 40).splitlines()) == 1  # too narrow to break it better than the terminal does


def test_the_digest_is_of_every_file_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.contracts.code_digest.FOLDERS", (tmp_path,))
    digests = [code_digest()]
    for change in (
        lambda: (tmp_path / "a.py").write_text("1"),
        lambda: (tmp_path / "a.py").write_text("2"),
        lambda: (tmp_path / "a.py").rename(tmp_path / "b.py"),
    ):
        change()
        digests.append(code_digest())
    assert len(set(digests)) == len(digests)
    (tmp_path / "cache.pyc").write_text("3")
    assert code_digest() == digests[-1]
