"""Winners that a run left in a spool: what its summary says of them once the pool has them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tasks.store.run_store import Store

if TYPE_CHECKING:
    from tasks.pool.spool import Flushed


def note_stored(store: Store, flushed: Iterable[Flushed]) -> None:
    """Keeps with their runs, as far as the store knows these, which winners wait no longer: stored now, or beaten."""
    for result in flushed:
        if result.inserted is None or result.provenance is None:
            continue
        run = result.provenance.run
        if store.record(run, "summary") is not None:
            record = {
                "id": result.inserted.id,
                "method": result.provenance.method,
                "full_mse": result.provenance.error,
                "new": result.inserted.new,
            }
            store.put_part(run, "stored", result.path.stem, record)


def as_stored(store: Store, run: str, summary: dict[str, Any]) -> dict[str, Any]:
    """A run's summary with the winners that are in the pool by now among ``inserted``, not among ``stored_later``."""
    pool, found = summary["pool"], list(store.parts(run, "stored").values())
    stored = {(record["method"], record["full_mse"]) for record in found}
    rows = [{name: record[name] for name in ("id", "method", "full_mse")} for record in found if record["new"]]
    waiting = [entry for entry in pool["stored_later"] if (entry["method"], entry["full_mse"]) not in stored]
    return summary | {"pool": pool | {"inserted": pool["inserted"] + rows, "stored_later": waiting}}
