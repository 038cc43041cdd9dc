"""The version of what a run's tasks say to each other through the store.

A worker hands a task of another version's run back, so that a fleet can be upgraded host by host.
"""

from __future__ import annotations

from pairing.errors import PairingError
from tasks.contracts.errors import RecordError
from tasks.store.run_store import Store

PROTOCOL = 1
"""To be raised with every change to the records of a run that an older or newer worker would misread."""


class OtherProtocolError(PairingError):
    """A run was planned by a worker of another version."""


def check_protocol(store: Store, run: str) -> None:
    """Raises unless the run's records are of this version, or are not there.

    Raises:
        OtherProtocolError: they are of another version.
        RecordError: they are of none.
    """
    record = store.record(run, "request")
    if record is not None and type(record.get("protocol")) is not int:
        raise RecordError(f"the request of run {run} in the store is none: somebody else has changed it")
    if record is not None and record["protocol"] != PROTOCOL:
        raise OtherProtocolError(
            f"the run {run} was planned by a worker of protocol {record.get('protocol')}, and this is one of"
            f" {PROTOCOL}; a worker of that version has to take it"
        )
