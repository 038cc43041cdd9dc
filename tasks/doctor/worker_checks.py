"""The checks of the workers and their hosts: threads, code, queues, stop files, disks."""

from __future__ import annotations

import os
from collections.abc import Sequence

from pairing.version import __version__
from tasks.contracts.code_digest import LOADED
from tasks.contracts.queues import ROLES
from tasks.doctor.probes import ProbeFailure, ProbeResults
from tasks.doctor.server_checks import BROKER_AWAY, Line, State, shown_size
from tasks.runs.protocol_version import PROTOCOL
from tasks.worker.remote_control import About, spaces, spooled_winners

FREE_WARNING_BYTES = 2**30
FREE_WRONG_BYTES = 100 * 2**20


def threads(results: ProbeResults) -> list[Line]:
    """One thread a process, and no more processes than cores?"""
    found: list[Line] = []
    for name, about in _answers(results):
        many = [f"{variable}={value or '(unset)'}" for variable, value in about.threads.items() if value != "1"]
        if many:
            advice = "set them to 1 and restart it (pairing worker does): more threads are slower"
            found.append(("warning", f"{name}: {', '.join(many)}", advice))
        if about.processes > about.cores:
            said = f"{name}: {about.processes} processes on {about.cores} cores"
            found.append(("warning", said, "restart it with a smaller --concurrency"))
    if found:
        return found
    each = ", ".join(f"{name} {about.processes} on {about.cores} cores" for name, about in _answers(results))
    return [("ok", f"one per process; processes: {each}")] if each else _nobody(results)


def versions(results: ProbeResults) -> list[Line]:
    """Does every worker run this code, and the code that is on its disk?"""
    if isinstance(results.workers, ProbeFailure) or not results.workers:
        return _nobody(results)
    return [_version(name, said.about) for name, said in sorted(results.workers.items())]


def _version(name: str, about: About | None) -> Line:
    if about is None:
        return "wrong", f"{name}: STALE, does not understand the question", "upgrade it and restart it"
    libraries = ", ".join(f"{library} {version}" for library, version in about.libraries.items())
    said = f"{name}: {about.version}, code {about.code[:12]}, protocol {about.protocol}, {libraries}"
    if about.code != about.code_on_disk:
        return "wrong", f"{said}: STALE, the code on its disk is {about.code_on_disk[:12]}", "restart it"
    if about.protocol != PROTOCOL:
        return "wrong", f"{said}: speaks another protocol than this, {PROTOCOL}", "upgrade whichever is older"
    if about.code != LOADED:
        ours = f"{__version__}, code {LOADED[:12]}"
        return "wrong", f"{said}: STALE or newer than this command ({ours})", "upgrade whichever is older, restart it"
    return "ok", said


def queue_lengths(results: ProbeResults) -> list[Line]:
    """What waits, and is there somebody who takes it?"""
    if isinstance(results.broker, ProbeFailure):
        return BROKER_AWAY
    waiting = results.broker.waiting
    said = (
        ", ".join(f"{queue} {number}" for queue, number in waiting.items()) + f"; in progress: {results.broker.begun}"
    )
    if isinstance(results.workers, ProbeFailure):
        return [("warning", f"{said}; who reads them is not known ({results.workers.why})", "ask again")]
    read = {queue for _, about in _answers(results) for queue in about.queues}
    unread = [queue for queue in waiting if queue not in read]
    stuck = [queue for queue in unread if waiting[queue]]
    if stuck:
        return [("wrong", f"{said}; nobody reads {', '.join(stuck)}, where tasks wait", _starting(stuck))]
    if unread:
        return [("warning", f"{said}; nobody reads {', '.join(unread)}", _starting(unread))]
    return [("ok", said)]


def _starting(queues: Sequence[str]) -> str:
    roles = [role for role in ("plan", "numbers", "refine") if set(ROLES[role]) & set(queues)]
    return f"start {' and '.join(f'pairing worker --role {role}' for role in roles)}, or remove the stop file"


def stop_files(results: ProbeResults) -> list[Line]:
    """Is work stopped on purpose?"""
    here = [path for path in results.settings.stop_files.split(os.pathsep) if path and os.path.exists(path)]
    found = [("here", path) for path in here]
    found += [(name, path) for name, about in _answers(results) for path in about.stop_files]
    lines: list[Line] = [("warning", f"{who}: {path} exists; no new task is taken", "remove it") for who, path in found]
    return lines or [
        ("ok", "none exists" if results.settings.stop_files else "none exists (PAIRING_STOP_FILES is not set here)")
    ]


def disk(results: ProbeResults) -> list[Line]:
    """Is there room, and may it be used?"""
    found = results.settings
    folders = {"data": found.data_dir, "cache": found.cache_dir, "results": results.results}
    folders["spool"] = found.data_dir / "spool"
    hosts = {"here": (spaces(folders), spooled_winners(found))}
    hosts |= {name: (about.spaces, about.waiting) for name, about in _answers(results)}
    lines: list[Line] = []
    for who, (places, spooled) in hosts.items():
        for name, place in places.items():
            said = f"{who}: {name} ({place.path})"
            if place.free < FREE_WARNING_BYTES:
                state: State = "wrong" if place.free < FREE_WRONG_BYTES else "warning"
                lines.append((state, f"{said}: {shown_size(place.free)} free", "make room there"))
            if not place.writable:
                # Here, it may be another user's than the workers'.
                lines.append(
                    ("warning" if who == "here" else "wrong", f"{said} cannot be written", "correct its owner")
                )
        if spooled:
            advice = "see the database above; then pairing pool flush, on that host"
            lines.append(("warning", f"{who}: {spooled} winners wait in the spool", advice))
    each = ", ".join(f"{name} {shown_size(place.free)}" for name, place in hosts["here"][0].items())
    return lines or [("ok", f"free here: {each}; enough, as on every worker that answers")]


def _answers(results: ProbeResults) -> list[tuple[str, About]]:
    """The workers that understood the question, by name."""
    if isinstance(results.workers, ProbeFailure):
        return []
    return [(name, said.about) for name, said in sorted(results.workers.items()) if said.about is not None]


def _nobody(results: ProbeResults) -> list[Line]:
    if isinstance(results.workers, ProbeFailure):
        return [("not asked", results.workers.why)]
    if results.workers:
        return [("not asked", "no worker understands the question")]
    return [
        ("wrong", "no worker answers", "start one (pairing worker), or see whether broker, database and prefix are its")
    ]
