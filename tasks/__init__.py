"""The fleet: Celery tasks, the store, the pool and the command line.

Importing this package imports nothing heavy; ``tasks.celery`` (what ``celery -A tasks`` looks for) is made when it is
first asked for.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "celery":
        from tasks.app import app

        return app
    raise AttributeError(f"module 'tasks' has no attribute '{name}'")
