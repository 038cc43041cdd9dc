"""What stages hand to each other: puzzles, matrices, checkpoints and results, by key and with a lifetime.

Messages carry only ids. Two stores keep the same promises: Redis for a fleet, memory for one process.
"""

from __future__ import annotations

import hashlib
import io
import json
import threading
from typing import Any, Protocol

import numpy as np

from pairing.errors import InputError
from pairing.puzzle import Array64


class Backend(Protocol):
    """Bytes by key. Every key expires a lifetime after it was last written."""

    def get(self, key: str) -> bytes | None:
        """The value of a key, ``None`` where there is none."""

    def put(self, key: str, value: bytes) -> None:
        """Sets a key."""

    def put_new(self, key: str, value: bytes) -> bool:
        """Sets a key that is not there yet; says whether it did. Atomic."""

    def put_field(self, key: str, field: str, value: bytes) -> None:
        """Sets one field of a hash."""

    def fields(self, key: str) -> dict[str, bytes]:
        """All fields of a hash; empty where there is none."""


class Memory:
    """A backend for one process."""

    def __init__(self) -> None:
        """An empty one."""
        self._values: dict[str, bytes] = {}
        self._hashes: dict[str, dict[str, bytes]] = {}
        self._lock = threading.Lock()

    def get(self, key: str) -> bytes | None:
        """See ``Backend``."""
        return self._values.get(key)

    def put(self, key: str, value: bytes) -> None:
        """See ``Backend``."""
        self._values[key] = value

    def put_new(self, key: str, value: bytes) -> bool:
        """See ``Backend``."""
        with self._lock:
            if key in self._values:
                return False
            self._values[key] = value
            return True

    def put_field(self, key: str, field: str, value: bytes) -> None:
        """See ``Backend``."""
        self._hashes.setdefault(key, {})[field] = value

    def fields(self, key: str) -> dict[str, bytes]:
        """See ``Backend``."""
        return dict(self._hashes.get(key, {}))


class Redis:
    """A backend in Redis or Valkey, its keys behind a prefix."""

    def __init__(self, url: str, prefix: str = "", lifetime: int = 86_400) -> None:
        """Connects when first used. ``lifetime`` is in seconds."""
        import redis

        self._client: Any = redis.Redis.from_url(url, socket_connect_timeout=5, health_check_interval=30)
        self._prefix, self._lifetime = prefix, lifetime

    def get(self, key: str) -> bytes | None:
        """See ``Backend``."""
        value: bytes | None = self._client.get(self._prefix + key)
        return value

    def put(self, key: str, value: bytes) -> None:
        """See ``Backend``."""
        self._client.set(self._prefix + key, value, ex=self._lifetime)

    def put_new(self, key: str, value: bytes) -> bool:
        """See ``Backend``."""
        return bool(self._client.set(self._prefix + key, value, ex=self._lifetime, nx=True))

    def put_field(self, key: str, field: str, value: bytes) -> None:
        """See ``Backend``."""
        with self._client.pipeline(transaction=True) as pipeline:
            pipeline.hset(self._prefix + key, field, value)
            pipeline.expire(self._prefix + key, self._lifetime)
            pipeline.execute()

    def fields(self, key: str) -> dict[str, bytes]:
        """See ``Backend``."""
        found: dict[bytes, bytes] = self._client.hgetall(self._prefix + key)
        return {field.decode(): value for field, value in found.items()}


class Store:
    """Names for what is kept: keys start with ``pairing.``."""

    def __init__(self, backend: Backend) -> None:
        """A store over a backend."""
        self._backend = backend

    # --- puzzles: named by their content, shared between runs

    def put_puzzle(self, packed: bytes) -> str:
        """Keeps a packed puzzle; gives its bundle digest, ``sha256:…``."""
        bundle = f"sha256:{hashlib.sha256(packed).hexdigest()}"
        self._backend.put(f"pairing.puzzle.{bundle}", packed)
        return bundle

    def puzzle(self, bundle: str) -> bytes:
        """The packed puzzle.

        Raises:
            InputError: it is not, or no longer, in the store, or is not what its digest says.
        """
        packed = self._backend.get(f"pairing.puzzle.{bundle}")
        if packed is None:
            raise InputError(f"the puzzle {bundle} is not in the store (any more); enqueue the run again")
        if f"sha256:{hashlib.sha256(packed).hexdigest()}" != bundle:
            raise InputError(f"the puzzle {bundle} was changed in the store; enqueue the run again")
        return packed

    def put_similarity(self, bundle: str, method: str, matrix: Array64) -> None:
        """Keeps a similarity matrix (N, N) float64."""
        buffer = io.BytesIO()
        np.save(buffer, matrix, allow_pickle=False)
        self._backend.put(f"pairing.similarity.{bundle}.{method}", buffer.getvalue())

    def similarity(self, bundle: str, method: str) -> Array64 | None:
        """The similarity matrix (N, N) float64, ``None`` where there is none."""
        saved = self._backend.get(f"pairing.similarity.{bundle}.{method}")
        if saved is None:
            return None
        matrix: Array64 = np.load(io.BytesIO(saved), allow_pickle=False)
        return matrix

    # --- one run's records, each a JSON object

    def put_record(self, run: str, name: str, record: dict[str, Any]) -> None:
        """Keeps a record of a run: ``request``, ``plan``, ``summary``, …"""
        self._backend.put(f"pairing.run.{run}.{name}", _encoded(record))

    def record(self, run: str, name: str) -> dict[str, Any] | None:
        """A record of a run, ``None`` where there is none."""
        return _decoded(self._backend.get(f"pairing.run.{run}.{name}"))

    def claim(self, run: str, name: str) -> bool:
        """Whether the caller is the first to claim this part of a run."""
        return self._backend.put_new(f"pairing.run.{run}.claim.{name}", b"1")

    def put_part(self, run: str, kind: str, part: str, record: dict[str, Any]) -> None:
        """Keeps what one part of a run says: kind ``assignment``, ``refinement``, ``progress`` or ``failure``."""
        self._backend.put_field(f"pairing.run.{run}.{kind}", part, _encoded(record))

    def parts(self, run: str, kind: str) -> dict[str, dict[str, Any]]:
        """All parts of one kind by their names."""
        found = self._backend.fields(f"pairing.run.{run}.{kind}").items()
        return {part: record for part, value in found if (record := _decoded(value)) is not None}

    def put_checkpoint(self, run: str, part: str, state: dict[str, Any]) -> None:
        """Keeps where a refinement stands."""
        self._backend.put(f"pairing.run.{run}.checkpoint.{part}", _encoded(state, nan=True))

    def checkpoint(self, run: str, part: str) -> dict[str, Any] | None:
        """Where a refinement stood when it was last saved, ``None`` where it was not."""
        return _decoded(self._backend.get(f"pairing.run.{run}.checkpoint.{part}"))

    def announce(self, run: str, reason: str) -> None:
        """Tells a run's refinements to end: ``solved_elsewhere`` or ``cancelled``."""
        self._backend.put_new(f"pairing.run.{run}.stop", reason.encode())

    def announced(self, run: str) -> str | None:
        """Why the run's refinements are to end, ``None`` where they are not."""
        reason = self._backend.get(f"pairing.run.{run}.stop")
        return None if reason is None else reason.decode()

    def put_matrices(self, run: str, archive: bytes) -> None:
        """Keeps the npz file of a run's similarity matrices."""
        self._backend.put(f"pairing.run.{run}.matrices", archive)

    def matrices(self, run: str) -> bytes | None:
        """The npz file of a run's similarity matrices."""
        return self._backend.get(f"pairing.run.{run}.matrices")


def part_name(method: str, seed: int) -> str:
    """``<method>.s<seed>``: the name of one refinement of a run."""
    return f"{method}.s{seed}"


def _encoded(record: dict[str, Any], nan: bool = False) -> bytes:
    return json.dumps(record, allow_nan=nan).encode()


def _decoded(value: bytes | None) -> dict[str, Any] | None:
    if value is None:
        return None
    record: dict[str, Any] = json.loads(value)
    return record
