"""Disks that are full where results, copies of puzzles or the spool are written."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.faults.scenario import Found, Scenario, Size, Skipped
from tests.faults.site import numbered, open_site
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


def fill(disk: Path) -> None:
    """Leaves no byte free."""
    with (disk / "filling").open("wb", buffering=0) as file:
        try:
            while file.write(b"\0" * 4096):
                pass
        except OSError:
            return


def results_full(folder: Path, size: Size, rng: random.Random) -> Found:
    """The results' disk is full before a run, and fills up in the middle of its files."""
    found = Found()
    for kilobytes in (0, 8):
        with open_site(folder / str(kilobytes)) as site, small_disk(folder / f"disk-{kilobytes}", 64) as disk:
            fill(disk)
            if kilobytes:
                with (disk / "filling").open("r+b") as file:
                    file.truncate((64 - kilobytes) * 1024)
            said = site.call("solve", DEMO, "--inline", "--methods", "trace,norm_balance,svd", "--out", disk / "out")
            assert said.returncode == 2, said.stderr
            assert "results cannot be written" in said.stderr
            assert "No space left on device" in said.stderr
            assert "Traceback" not in said.stderr
            left = [path for path in (disk / "out").rglob("*") if path.is_file()]
            assert all(path.name == "weight_pairing_matrices.npz" for path in left), left  # whole, or not there
            found.times, found.said = found.times + 1, said.stderr.strip().splitlines()[-1]
    return found


def cache_full(folder: Path, size: Size, rng: random.Random) -> Found:
    """The disk for copies of puzzles is full on a worker's host: the run fails and says why; with room it goes."""
    found = Found()
    with small_disk(folder / "disk", 64) as disk, open_site(folder / "site", PAIRING_CACHE_DIR=str(disk / "c")) as site:
        fill(disk)
        with (disk / "filling").open("r+b") as file:
            file.truncate(32 * 1024)  # some of a copy finds room, not all of it
        site.start_worker(processes=2)
        run = site.enqueue(size.evaluations).run
        ended = site.wait_for_end(run)
        assert ended["end"] == "failed"
        assert "the puzzle cannot be kept there (No space left on device); make room" in ended["error"]
        found.times, found.runs, found.said = 1, 1, ended["error"]
        (disk / "filling").unlink()
        subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
        again = site.enqueue(size.evaluations, puzzle=numbered(0))
        assert again.puzzle == site.runs[0].puzzle
        assert site.wait_for_end(again.run)["end"] == "succeeded"
    return found


def spool_full(folder: Path, size: Size, rng: random.Random) -> Found:
    """No pool, and no room for the spool: the answer is told and said to be stored nowhere, with exit status 3."""
    with small_disk(folder / "disk", 64) as disk, open_site(folder / "site", PAIRING_DATA_DIR=str(disk)) as site:
        (disk / "spool").mkdir()
        fill(disk)
        url = f"postgresql://somebody@127.0.0.1:{free_port()}/pool"
        call = ("solve", DEMO, "--inline", "--methods", "trace", "--pool", url, "--json")
        said = site.call(*call)
        assert said.returncode == 3, said.stderr
        assert "A WINNER IS NOT STORED" in said.stderr
        assert "No space left on device" in said.stderr
        assert "Traceback" not in said.stderr
        assert list((disk / "spool").iterdir()) == []
        (disk / "filling").unlink()
        again = site.call(*call)
        assert again.returncode == 0, again.stderr
        assert len(list((disk / "spool").glob("*.json"))) == 1
        return Found(times=1, said=next(line for line in said.stderr.splitlines() if "NOT STORED" in line))


SCENARIOS = (
    Scenario(
        name="results-full",
        what="a full disk where results are written",
        holds="a clear error, nothing half-written",
        work=results_full,
        full=Size(),
    ),
    Scenario(
        name="cache-full",
        what="a full disk where a worker keeps puzzles",
        holds="the run fails and says why; with room it goes",
        work=cache_full,
        short=Size(evaluations=200),
        full=Size(evaluations=200),
    ),
    Scenario(
        name="spool-full",
        what="a full disk where winners wait, and no pool",
        holds="the answer is told, and that it is stored nowhere (exit status 3)",
        work=spool_full,
        full=Size(),
    ),
)
