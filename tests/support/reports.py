"""Records of runs that never were, for reports of them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from tasks.report.run_data import Findings, findings

HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(2)>' onload='alert(3)",
    "$\\frac{$ {{ 7*7 }} {% x %}",
    "nul\0 esc\x1b[31m turned\u202e lone\ud800 wide\N{CJK UNIFIED IDEOGRAPH-5B57}\N{JIGSAW PUZZLE PIECE}" + "long" * 60,
    "]]></svg></div><!-- &amp; --></style><style>body{display:none}",
)


def method_record(name: str, blocks: int, seed: int = 0, **changes: Any) -> dict[str, Any]:
    """An entry of a summary's ``methods``: a refinement that went well."""
    rng = np.random.default_rng([seed, len(name)])
    return {
        "method": name,
        "seed": seed,
        "ok": True,
        "error": None,
        "pairs": rng.permutation(blocks).tolist(),
        "margins": rng.normal(size=blocks).tolist(),
        "start": "greedy",
        "start_mse": 0.5,
        "full_mse": 1e-3,
        "evaluations": 1234,
        "repaired_pairs": 2,
        "stopped": "budget",
        "seconds": 12.5,
        **changes,
    }


def failed(name: str, error: str, blocks: int, *, assigned: bool) -> dict[str, Any]:
    """An entry for a method that failed, before or after its assignment."""
    nothing = dict.fromkeys(("start", "start_mse", "full_mse", "evaluations", "repaired_pairs", "seconds"))
    pairs = {} if assigned else {"pairs": None, "margins": None}
    return method_record(name, blocks, ok=False, error=error, stopped="failed", **nothing, **pairs)


def summary_of(methods: Sequence[dict[str, Any]], blocks: int, **changes: Any) -> dict[str, Any]:
    """A summary of these methods' records; the first of them is best and right."""
    pairs = methods[0]["pairs"] if methods else None
    best = pairs and {
        "method": methods[0]["method"],
        "seed": 0,
        "full_mse": methods[0]["full_mse"],
        "inp_sigma": list(range(blocks)),
        "out_sigma": pairs,
        "permutation": list(range(2 * blocks + 1)),
        "hash": "ab" * 32,
        "hash_match": True,
    }
    network = [{"inp_norm": 3.0 + k, "out_norm": 2.0, "change": None if k == 1 else 0.25} for k in range(blocks)]
    return {
        "schema": 1,
        "version": "1.0.0",
        "run": "made-up",
        "puzzle": "sha256:" + "cd" * 32,
        "activation": "relu",
        "blocks": blocks,
        "width": 16,
        "hidden": 32,
        "outputs": 1,
        "rows": 1500,
        "solved": best is not None,
        "noise": None,
        "noise_floor": 0.0,
        "best": best,
        "network": best and network,
        "undecidable": None,
        "methods": list(methods),
        "pool": {"best_before": None, "best_after": 1e-3, "inserted": [], "stored_later": []},
        "artefacts": {"matrices": None, "summary": None},
        "seconds": {"load": None, "total": 3.25},
        **changes,
    }


def history_of(methods: Sequence[dict[str, Any]], blocks: int, notes: Sequence[str] = ()) -> dict[str, Any]:
    """Histories of the methods that went well."""
    rng = np.random.default_rng(blocks)
    histories = {
        f"{m['method']}.s{m['seed']}": {
            "seconds": 12.5,
            "evaluations": 1234,
            "points": [[0.1 * k, 10 * k, 0.4 / 10**k] for k in range(6)],
            "orders": [rng.permutation(blocks).tolist() for _ in range(5)],
        }
        for m in methods
        if m["ok"]
    }
    return {"schema": 1, "run": "made-up", "histories": histories, "notes": list(notes)}


def archive_of(names: Sequence[str], blocks: int) -> bytes:
    """An npz file of similarity matrices."""
    rng = np.random.default_rng(blocks)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{name: rng.normal(size=(blocks, blocks)) for name in names})
    return buffer.getvalue()


def ordinary(blocks: int = 12, names: Sequence[str] = ("trace", "consensus", "svd")) -> Findings:
    """A run of a few methods that all went well."""
    methods = [method_record(name, blocks) for name in names]
    return findings(summary_of(methods, blocks), history_of(methods, blocks), archive_of(names, blocks), "it")


def hostile() -> Findings:
    """A run that went badly and whose names, notes and errors mean harm."""
    methods = [method_record(name, 12) for name in HOSTILE]
    methods.append(failed("unassigned", HOSTILE[0], 12, assigned=False))
    methods.append(failed("unrefined", HOSTILE[1] * 30, 12, assigned=True))
    rows = [{"id": 7, "method": HOSTILE[0], "full_mse": 0.25}]
    pool = {
        "best_before": 0.5,
        "best_after": 0.25,
        "inserted": rows,
        "stored_later": [{"method": "x", "full_mse": None}],
    }
    summary = summary_of(methods, 12, pool=pool, run=HOSTILE[4], activation=HOSTILE[2], version=HOSTILE[1])
    names = [name for name in HOSTILE if "\0" not in name and "/" not in name]
    return findings(summary, history_of(methods, 12, HOSTILE), archive_of(names, 12), "it")
