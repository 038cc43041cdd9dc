"""The image by itself: built, and run without a fleet."""

from __future__ import annotations

import json
import time

from tests.containers.images import IMAGE
from tests.containers.site import Site
from tests.support.fleet import DEMO
from tests.support.scenarios import Scenario

DOCKERFILE = "config/docker/Dockerfile"


def built(site: Site) -> str:
    """From the project's folder, then again with other code."""
    seconds = []
    for options in (("--no-cache",), ()):
        began = time.monotonic()
        site.engine.docker("build", *options, "--file", site.project / DOCKERFILE, "--tag", IMAGE, site.project)
        seconds.append(time.monotonic() - began)
        with (site.project / "tasks" / "worker" / "command.py").open("a") as code:
            code.write("\nCHANGED = True\n")
    changed = site.engine.docker(
        "run", "--rm", "--entrypoint", "python", IMAGE, "-c", "import tasks.worker.command as w; w.CHANGED"
    )
    assert changed.stderr == ""
    return f"first {seconds[0]:.0f} s, after a change of the code {seconds[1]:.1f} s"


def helps(site: Site) -> str:
    """Without arguments, and with what Kubernetes sets."""
    injected = ("PAIRING_FLOWER_PORT=tcp://10.0.0.7:5556", "PAIRING_FLOWER_SERVICE_HOST=10.0.0.7")
    said = site.engine.docker("run", "--rm", IMAGE).stdout
    assert said.lstrip().startswith("Usage: pairing")
    options = [option for variable in injected for option in ("--env", variable)]
    assert "trace" in site.engine.docker("run", "--rm", *options, IMAGE, "methods").stdout
    return ""


WAYS = {
    "as it is": (),
    "--user": ("--user", "12345:12345"),
    "--read-only": ("--read-only", "--tmpfs", "/tmp"),
    "--network none": ("--network", "none"),
    "all three": ("--user", "12345:12345", "--read-only", "--tmpfs", "/tmp", "--network", "none"),
    "uncached": ("--user", "12345:12345", "--env", "NUMBA_CACHE_DIR=/nowhere", "--env", "HOME=/nowhere"),
}


def solves(site: Site) -> str:
    """As the documentation has it, in every way."""
    longest = 0.0
    for way, options in WAYS.items():
        results = site.folder / f"results {way}"
        results.mkdir()
        results.chmod(0o777)
        volumes = ("--volume", f"{DEMO}:/puzzle:ro", "--volume", f"{results}:/results")
        began = time.monotonic()
        said = site.engine.docker("run", "--rm", *volumes, *options, IMAGE, "solve", "/puzzle", "--run", "run").stdout
        longest = max(longest, time.monotonic() - began)
        assert json.loads((results / "run" / "summary.json").read_text())["solved"], way
        assert (results / "run" / "report.html").exists(), way
        assert ("Compiled code cannot be cached" in said) == (way == "uncached"), said
    return f"at most {longest:.0f} s"


def stops(site: Site) -> str:
    """A container that works is stopped as Docker does it."""
    busy = ("--methods", "cosine,transpose", "--annealer", "classic", "--compare", "--evaluations", "1000000")
    run = site.engine.docker("run", "--detach", "--volume", f"{DEMO}:/puzzle:ro", IMAGE, "solve", "/puzzle", *busy)
    container = run.stdout.strip()
    time.sleep(5.0)
    began = time.monotonic()
    site.engine.docker("stop", container)
    took = time.monotonic() - began
    (found,) = site.engine.inspect(container)
    site.engine.docker("rm", container)
    assert found["State"]["ExitCode"] not in (0, 137), "it had to be killed"
    return f"{took:.1f} s"


SCENARIOS = (
    Scenario(
        name="image-built",
        what="the image is built, then again after a change of the code",
        holds="dependencies are a layer of their own",
        work=built,
    ),
    Scenario(
        name="image-help",
        what="the image without arguments; with Kubernetes' variables for a Service `pairing-flower`",
        holds="it prints its help; the variables are ignored",
        work=helps,
    ),
    Scenario(
        name="image-solves",
        what="`docker run … solve /puzzle`: plain, as another user, with a read-only root, without a network, all of"
        " that, and where compiled code cannot be cached",
        holds="solved, results and report in `/results`; what is not cached is said",
        work=solves,
    ),
    Scenario(
        name="image-stopped", what="`docker stop` of a container that solves", holds="it ends by itself", work=stops
    ),
)
