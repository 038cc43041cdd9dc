"""One sweep of a fleet's runs, and of this host's spool: what workers do every few seconds, and ``pairing sweep``."""

from __future__ import annotations

from config.settings import Settings
from tasks.client.retrying import tries
from tasks.client.submit import rescue
from tasks.contracts.message_signing import serializer_of
from tasks.runs.lifecycle import sweep
from tasks.store.run_store import Store


def sweep_runs(store: Store, found: Settings) -> list[str]:
    """Brings every run that is past its deadline to an end, or a step nearer; those runs.

    Raises:
        BrokerError: the broker cannot be reached.
    """
    url, prefix, serializer = found.broker_address, found.key_prefix, serializer_of(found)

    def send(run: str) -> None:
        rescue(url, prefix, run, serializer, tries(store.record(run, "request") or {}))

    return sweep(store, send, found.store_lifetime)


def sweep_here() -> int:
    """Stores what waits in this host's spool, sweeps the runs, and prints what was done.

    The exit status: 1 if winners wait on, else 0.

    Raises:
        InputError: a setting is wrong.
        BrokerError: the broker cannot be reached; the spool has been seen to.
    """
    from tasks.client.environment import checked_settings
    from tasks.client.submit import caller_store
    from tasks.pool.location import address_of
    from tasks.pool.spool_flush import flush_all
    from tasks.runs.spooled_winners import note_stored

    found = checked_settings()
    flushed = flush_all(address_of(found))
    waiting = [winner for winner in flushed if winner.inserted is None]
    for winner in waiting:
        print(f"{winner.path.name}: waits on: {winner.error}")  # noqa: T201
    store = caller_store(found)
    note_stored(store, flushed)
    swept = sweep_runs(store, found)
    for run in swept:
        print(f"{run}: is past its deadline")  # noqa: T201
    print(f"{len(swept)} runs seen to, {len(flushed) - len(waiting)} winners stored, {len(waiting)} wait on")  # noqa: T201
    return 1 if waiting else 0
