"""The roles of workers."""

from __future__ import annotations

from collections.abc import Mapping

ROLES: Mapping[str, tuple[str, ...]] = {
    "plan": ("pairing.pool", "celery"),
    "pool": ("pairing.pool", "celery"),
    "numbers": ("pairing.numbers",),
    "refine": ("pairing.refine",),
    "all": ("pairing.pool", "celery", "pairing.numbers", "pairing.refine"),
}
"""Role → the queues that it reads. ``celery`` is where callers by name send ``pairing.run``."""
