"""A benchmark run: a JSON record per sample in its folder, so that a second call goes on where the first stopped."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.contracts.files import write_whole
from tests.benchmarks.case import Case, Sample, Values
from tests.benchmarks.machine import code_digest, commit, machine, version
from tests.benchmarks.recipes import fresh_seeds
from tests.benchmarks.record import Figure

SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class Run:
    """The cases with their numbers of samples, and where their records lie."""

    folder: Path
    seed: int
    networks: Path

    def samples(self, case: Case, count: int) -> list[Sample]:
        """The case's samples, each with its own seed."""
        seeds = fresh_seeds(self.seed, case.name, count)
        return [Sample(index=k, seed=seed, run_seed=self.seed, networks=self.networks) for k, seed in enumerate(seeds)]

    def path(self, case: Case, index: int) -> Path:
        """Where the record of one sample lies."""
        return self.folder / case.name.replace(" ", "-") / f"{index:03}.json"

    def records(self, case: Case) -> list[dict[str, Any]]:
        """The records of the case that there are, in the order of its samples."""
        files = sorted(self.path(case, 0).parent.glob("[0-9]*.json"))
        return [json.loads(file.read_text(encoding="utf-8")) for file in files]

    def figures(self, cases: Sequence[Case]) -> list[Figure]:
        """The figures of every case that has a record."""
        found = [(case, [record["values"] for record in self.records(case)]) for case in cases]
        return [figure for case, values in found if values for figure in case.figures(values)]

    def about(self, cases: Sequence[Case]) -> str:
        """When the records were written, of which version, and on what machine: a sentence or two."""
        records = [record for case in cases for record in self.records(case)]
        days = sorted({record["at"][:10] for record in records})
        versions = sorted({record["version"] for record in records})
        when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
        machines = "; ".join(sorted({record["machine"] for record in records}))
        return f"Measured {when}, version {', '.join(versions)}, run seed {self.seed}, on: {machines}."


def open_run(results: Path, kind: str, networks: Path, seed: int | None = None) -> Run:
    """The run of this code in the folder ``results``: that of the seed, else the newest one, else a new one.

    A ``quick`` run without a seed is always a new one. Seeds of new runs are the seconds since 1970.
    """
    prefix = f"{kind}-{code_digest()}-"
    if seed is None and kind == "full":
        seed = max((int(folder.name.removeprefix(prefix)) for folder in results.glob(f"{prefix}*")), default=None)
    if seed is None:
        seed = int(time.time())
    return Run(folder=results / f"{prefix}{seed}", seed=seed, networks=networks)


def last_run(results: Path, networks: Path) -> Run | None:
    """The full run that was begun last, whatever code it is of."""
    found = [folder for folder in results.glob("full-*-*") if folder.is_dir()]
    newest = max(found, key=lambda folder: folder.stat().st_mtime, default=None)
    return None if newest is None else Run(folder=newest, seed=int(newest.name.split("-")[2]), networks=networks)


def carry_out(run: Run, case: Case, count: int, show: Callable[[str], None]) -> Iterator[Values]:
    """Measures the case's samples that have no record yet, and gives the values of all.

    A sample that raises is shown and left out: the next call tries it again.
    """
    for sample in run.samples(case, count):
        path = run.path(case, sample.index)
        if path.exists():
            yield json.loads(path.read_text(encoding="utf-8"))["values"]
            continue
        began = time.monotonic()
        try:
            values = case.measure(sample)
        except Exception as error:  # one broken case must not cost hours of others
            show(f"{case.name}, sample {sample.index}: {type(error).__name__}: {error}")
            continue
        record = _record(run, case, sample, time.monotonic() - began) | {"values": values}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, (json.dumps(record, indent=1, allow_nan=False) + "\n").encode())
        yield values


def _record(run: Run, case: Case, sample: Sample, seconds: float) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "case": case.name,
        "sample": sample.index,
        "seed": sample.seed,
        "run_seed": run.seed,
        "version": version(),
        "commit": commit(),
        "code": code_digest(),
        "machine": machine(),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "seconds": round(seconds, 3),
    }
