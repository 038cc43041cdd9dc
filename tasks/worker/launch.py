"""``python -m tasks.worker.launch``: a worker as ``celery worker`` starts it, without Celery's other commands.

The ``celery`` command imports all of them first, Flower and a shell among them: half of what a worker's start takes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from celery.app.utils import find_app
from celery.bin.base import CLIContext
from celery.bin.worker import worker


def launch(app: str, arguments: Sequence[str]) -> None:
    """Runs a worker of an app (as for ``celery -A``) with the arguments of ``celery worker``, and no banner."""
    context = CLIContext(app=find_app(app), no_color=None, workdir=None, quiet=True)
    worker.main(list(arguments), prog_name="celery worker", obj=context)


if __name__ == "__main__":
    launch(sys.argv[1], sys.argv[2:])
