"""Disks that are full where results, copies of puzzles or the spool are written."""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.faults.processes import start_workers
from tests.faults.scenario import Found, Scenario, Size, Skipped, under_way
from tests.faults.site import numbered, open_site
from tests.faults.undisturbed import undisturbed
from tests.support.fleet import DEMO
from tests.support.servers import free_port


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    """A disk of its own on a folder.

    Raises:
        Skipped: only root can have that, and only on Linux.
    """
    folder.mkdir(parents=True)
    size = f"size={kilobytes}k"
    if os.geteuid() != 0 or not psutil.LINUX:
        raise Skipped("only root on Linux can mount a small disk")
    mount = ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        raise Skipped(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path, free: int = 0) -> None:
    """Leaves so many bytes free."""
    with (disk / "filling").open("wb", buffering=0) as file:
        try:
            while file.write(b"\0" * 4096):
                pass
        except OSError:
            file.truncate(file.tell() - free)


def results_full(folder: Path, size: Size, rng: random.Random) -> Found:
    """The results' disk is full before the first file, and in the middle of them; the run takes no notice."""
    found, expected = Found(), undisturbed(size.evaluations)
    with open_site(folder / "site") as site:
        start_workers(site, size)
        for free in (0, 8192):
            with small_disk(folder / f"disk-{free}", 8192) as disk:
                run = under_way(site, size)
                fill(disk, free)
                solving = ("solve", DEMO, "--inline", "--methods", "trace,norm_balance,svd")
                check_told(site.call(*solving, "--out", disk / "out"), disk)
                site.wait_for_end(run)
                site.check_run(run, expected)
                fetching = ("results", run, "--out", disk / "out")
                found.said = check_told(site.call(*fetching), disk)
                (disk / "filling").unlink()
                fetched = site.call(*fetching)
                assert fetched.returncode == 1, fetched.stderr  # not solved
                assert json.loads((disk / "out" / run / "summary.json").read_bytes())["run"] == run
            found.times, found.runs = found.times + 1, found.runs + 1
    return found


def check_told(said: subprocess.CompletedProcess[str], disk: Path) -> str:
    """Whoever wanted results is told that the disk is full, and finds nothing half-written; what was said."""
    assert said.returncode == 2, said.stderr
    assert "results cannot be written" in said.stderr
    assert "No space left on device" in said.stderr
    assert "Traceback" not in said.stderr
    left = [path for path in (disk / "out").rglob("*") if path.is_file()]
    assert all(path.name == "weight_pairing_matrices.npz" for path in left), left  # whole, or not there
    return said.stderr.strip().splitlines()[-1]


def cache_full(folder: Path, size: Size, rng: random.Random) -> Found:
    """The disk for copies of puzzles fills up during a run: the next fails and says why; with room it goes."""
    found, expected = Found(), undisturbed(size.evaluations)
    settings = {"PAIRING_CACHE_DIR": str(folder / "disk" / "cache")}
    with small_disk(folder / "disk", 8192) as disk, open_site(folder / "site", **settings) as site:
        start_workers(site, size)
        under = under_way(site, size)
        fill(disk, 32 * 1024)  # some of a copy finds room, not all of it
        other = numbered(1000)
        refused = site.enqueue(size.evaluations, puzzle=other).run
        ended = site.wait_for_end(refused)
        assert ended["end"] == "failed"
        assert "the puzzle cannot be kept there (No space left on device); make room" in ended["error"]
        found.times, found.said = 1, ended["error"]
        (disk / "filling").unlink()
        again = site.enqueue(size.evaluations, puzzle=other).run
        for run in (under, again):
            site.wait_for_end(run)
            site.check_run(run, expected)
        found.runs = len(site.runs)
    return found


def spool_full(folder: Path, size: Size, rng: random.Random) -> Found:
    """No pool, and no room for the spool: the answer is told and said to be stored nowhere, with exit status 3."""
    expected = undisturbed(size.evaluations)
    pool = f"postgresql://somebody@127.0.0.1:{free_port()}/pool"
    settings = {"PAIRING_DATA_DIR": str(folder / "disk"), "PAIRING_POOL_URL": pool}
    with small_disk(folder / "disk", 8192) as disk, open_site(folder / "site", **settings) as site:
        start_workers(site, size)
        run = under_way(site, size)
        fill(disk)
        site.wait_for_end(run)
        assert site.solutions(run) == expected
        said = site.call("watch", run)
        assert said.returncode == 3, said.stderr
        told = next(line for line in (said.stdout + said.stderr).splitlines() if "A WINNER IS NOT STORED" in line)
        assert "No space left on device" in told
        spool = disk / "spool"
        assert not spool.exists() or list(spool.iterdir()) == []
        (disk / "filling").unlink()
        again = site.enqueue(size.evaluations).run
        assert site.wait_for_end(again)["end"] == "succeeded"
        assert site.solutions(again) == expected
        assert len(list(spool.glob("*.json"))) == len(expected)
        return Found(times=1, runs=2, said=told)


SCENARIOS = (
    Scenario(
        name="results-full",
        what="a full disk where results are written",
        holds="a clear error, nothing half-written",
        work=results_full,
        short=Size(workers=1),
        full=Size(),
    ),
    Scenario(
        name="cache-full",
        what="a full disk where a worker keeps puzzles",
        holds="the run fails and says why; with room it goes",
        work=cache_full,
        full=Size(processes=2),
    ),
    Scenario(
        name="spool-full",
        what="a full disk where winners wait, and no pool",
        holds="the solution is printed, with the message that it is stored nowhere (exit status 3)",
        work=spool_full,
        short=Size(workers=1),
        full=Size(),
    ),
)
