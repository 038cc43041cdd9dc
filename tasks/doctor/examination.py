"""What ``pairing doctor`` finds: the checks one after the other, a line of each, or a few.

*Wrong* is what loses or stalls runs or winners, or has code work on them that is not the right one; a *warning* is what
makes them slower or less safe. What cannot be looked at, because something else is away, is *not asked*.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tasks.doctor.probes import ProbeResults
from tasks.doctor.server_checks import (
    Line,
    State,
    append_only_file,
    backend,
    broker,
    clock,
    database,
    eviction_policy,
    rights_on_the_pool,
)
from tasks.doctor.worker_checks import disk, queue_lengths, stop_files, threads, versions

CHECKS: Sequence[Callable[[ProbeResults], list[Line]]] = (
    *(broker, backend, append_only_file, eviction_policy, database, rights_on_the_pool),
    *(clock, threads, versions, queue_lengths, stop_files, disk),
)


@dataclass(frozen=True)
class Finding:
    """A line: what was looked at, how it is, what was found, and what to do."""

    name: str
    state: State
    found: str
    advice: str = ""


def examine(results: ProbeResults) -> list[Finding]:
    """What all checks find; one that fails itself is wrong, and stops no other."""
    findings = []
    for check in CHECKS:
        name = check.__name__.replace("_", " ")
        try:
            findings += [Finding(name, *line) for line in check(results)]
        except Exception as error:  # a server may say anything
            findings.append(Finding(name, "wrong", f"could not be looked at ({type(error).__name__})"))
    return findings


def is_well(findings: Sequence[Finding]) -> bool:
    """Whether nothing is wrong."""
    return all(finding.state != "wrong" for finding in findings)
