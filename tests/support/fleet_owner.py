"""A command that owns an embedded fleet; a test ends it in the way that its argument names.

Prints one line of JSON as soon as one of a worker's two processes is busy in C code, then returns ("return"), raises
("raise"), or goes on until it is killed or its fleet is broken (anything else; "fork": with a copy of
itself beside it).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time

import redis

from tasks.embedded.fleet import embedded_fleet


def main(way: str) -> None:
    with embedded_fleet(2, app="tests.support.busy_app") as fleet:
        os.environ["PAIRING_BROKER_URL"] = fleet.broker_url
        from tests.support.busy_app import environment, spin

        spin.delay()
        with redis.Redis.from_url(fleet.broker_url) as connection:
            popped = connection.blpop(["spinning"], timeout=60)
        busy = int(popped[1]) if isinstance(popped, list | tuple) else 0
        environment.delay().get(60)  # by the other process: both are there now
        if way == "fork" and not os.fork():  # the copy holds every pipe of its parent
            signal.pause()
        print(json.dumps({"busy": busy, "folder": str(fleet.folder), "url": fleet.broker_url}), flush=True)
        if way == "raise":
            raise RuntimeError("as asked")
        while way != "return":
            fleet.check()
            time.sleep(0.05)


if __name__ == "__main__":
    main(sys.argv[1])
