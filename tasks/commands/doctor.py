"""The command ``pairing doctor``. Nothing heavy is imported before it is called."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from tasks.doctor.examination import Finding

_INDENT = 31
"""Columns before what was found."""
_NARROW = 24
"""A terminal with fewer columns after those breaks lines as it likes."""
_COLORS = {"ok": "green", "warning": "yellow", "wrong": "red"}


@click.command(epilog="Exit status: 0 if nothing is WRONG (warnings do not count), else 1.")
@click.option("--out", type=click.Path(path_type=Path), default="results", show_default=True, help="folder for results")
@click.option("--json", "as_json", is_flag=True, help="one JSON object on standard output")
def doctor(out: Path, as_json: bool) -> None:
    """Check the fleet, and say what to do about each problem. Changes nothing; takes some seconds.

    Checks the broker, the pool's database and all workers that the settings name.
    """
    from tasks.doctor.examination import is_well

    findings = _findings(out)
    well = is_well(findings)
    if as_json:
        click.echo(json.dumps({"schema": 1, "well": well, "findings": [asdict(finding) for finding in findings]}))
    else:
        for finding in findings:
            click.echo(_line(finding, shutil.get_terminal_size().columns if sys.stdout.isatty() else None))
    sys.exit(0 if well else 1)


def _findings(out: Path) -> Sequence[Finding]:
    from config.complaints import SettingsError
    from config.settings import settings

    try:
        found = settings()
    except SettingsError as error:  # without them there is nothing to ask
        from tasks.doctor.examination import Finding

        advice = "correct it; docs/services.md explains the code"
        return [Finding("settings", "wrong", str(complaint), advice) for complaint in error.complaints]
    from tasks.doctor.examination import examine
    from tasks.doctor.probes import ask

    return examine(ask(found, out))


def _line(finding: Finding, width: int | None = None) -> str:
    """A finding as people read it, also without colors; nothing that a worker said can break the line.

    On a terminal of so many columns it goes on below what was found.
    """
    from pairing.errors import one_line

    state = click.style(
        f"{finding.state.upper() if finding.state == 'wrong' else finding.state:<9}", _COLORS.get(finding.state)
    )
    advice = f" → {finding.advice}" if finding.advice else ""
    text = one_line(finding.found + advice)
    if width is not None and width - _INDENT >= _NARROW:
        words = textwrap.wrap(text, width - _INDENT, break_long_words=False, break_on_hyphens=False)
        text = f"\n{' ' * _INDENT}".join(words)
    return f"{state}  {finding.name:<18}  {text}"
