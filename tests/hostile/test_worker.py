"""A real worker that is sent nonsense, code and forged records goes on, runs none of it, and does its next run."""

from __future__ import annotations

import base64
import json
import pickle
from pathlib import Path
from typing import Any

import redis

from tests.hostile.traps import Trap
from tests.support.fleet import DEMO, Fleet, running_fleet, variant, wait_for

WRONG_ARGUMENTS: list[tuple[str, list[Any], dict[str, Any]]] = [
    ("pairing.run", [], {}),
    ("pairing.run", [1, 2, 3], {}),
    ("pairing.run", [], {"puzzle": "/etc"}),
    ("pairing.run", [], {"puzzle": f"sha256:{'0' * 64}"}),
    ("pairing.run", [], {"puzzle": "../../etc", "methods": "all"}),
    ("pairing.run", [], {"puzzle": 10**400}),
    ("pairing.run", [], {"schema_version": "2"}),
    ("pairing.run", [], {"schema_version": [], "unknown": {"a": [None]}}),
    ("pairing.run", [], {"puzzle": str(DEMO), "budget": -5.0, "seeds": 10**12}),
    ("pairing.similarity", [], {}),
    ("pairing.similarity", ["../run", "trace", 0], {}),
    ("pairing.assignment", [{"run": 1}, [], "0"], {}),
    ("pairing.refinement", ["run1", "trace", 10**400], {}),
    ("pairing.refinement", [], {"run": "unknown-run", "method": "trace", "seed": 0}),
    ("pairing.comparison", ["unknown-run"], {}),
    ("pairing.comparison", [None], {}),
    ("os.system", ["true"], {}),
    ("pairing.unknown", [], {}),
]


def push(fleet: Fleet, **changes: Any) -> None:
    """Puts a message into the queue as whoever can write to the broker may."""
    tag = f"hostile-{changes}"[:60]
    message = {
        "body": base64.b64encode(b"[[], {}, {}]").decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"lang": "py", "task": "pairing.run", "id": tag, "root_id": tag, "retries": 0},
        "properties": {
            "correlation_id": tag,
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": "pairing.pool"},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": tag,
        },
        **changes,
    }
    with redis.Redis.from_url(fleet.url) as client:
        client.lpush(f"{fleet.prefix}pairing.pool", json.dumps(message))


def test_a_worker_goes_on_after_everything(redis_url: str, tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    with running_fleet(redis_url, tmp_path) as fleet:
        for number, (task, arguments, options) in enumerate(WRONG_ARGUMENTS):
            fleet.app.send_task(task, arguments, options, task_id=f"wrong-{number}", queue="pairing.pool")
        pickled = base64.b64encode(pickle.dumps(Trap(sprung))).decode()
        for kind in ("application/x-python-serialize", "pickle", "application/json", "application/x-yaml"):
            push(fleet, body=pickled, **{"content-type": kind, "content-encoding": "binary"})
        push(fleet, headers={})
        push(fleet, body=base64.b64encode(b"[" * 100_000).decode())
        push(fleet, body="no base64")
        with redis.Redis.from_url(fleet.url) as client:
            for raw in (
                b"garbage",
                b"null",
                b"[]",
                b"\xff\xfe",
                b"{}",
                b'{"body": 3}',
                b'{"properties": {}}',
                b"[" * 9999,
            ):
                client.lpush(f"{fleet.prefix}pairing.pool", raw)

        sound = fleet.enqueue(variant(200), ["trace"])
        assert fleet.summary(sound.run, 120)["solved"]
        for number, (task, _, options) in enumerate(WRONG_ARGUMENTS):
            if task == "pairing.run" and options:
                ended = wait_for("its end", lambda run=f"wrong-{number}": fleet.store.record(run, "end"))
                assert ended["end"] == "failed"
                assert ended["error"]
        assert fleet.worker.poll() is None
        assert not sprung.exists()
        assert b"ForkPoolWorker" in fleet.log.read_bytes()
        assert b"exited with" not in fleet.log.read_bytes()


def test_forged_records_of_a_run_end_it(redis_url: str, tmp_path: Path) -> None:
    with running_fleet(redis_url, tmp_path) as fleet:
        pairs = range(12)
        for kind in ("request", "plan"):
            request = fleet.enqueue(variant(100), ["trace", "at_the_gate"])
            wait_for("the plan", lambda run=request.run: fleet.store.record(run, "plan"))
            fleet.store.backend.put(f"pairing.run.{request.run}.{kind}", pickle.dumps(Trap(tmp_path / "sprung")))
            fleet.open_gate(pairs)
            ended = wait_for("its end", lambda run=request.run: fleet.store.record(run, "end"), 120)
            assert ended["end"] == "failed"
            assert "somebody else has changed it" in ended["error"]
            fleet.gate.unlink()
        assert fleet.worker.poll() is None
        assert not (tmp_path / "sprung").exists()
