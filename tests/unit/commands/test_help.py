"""The help of the command: every command in one section, each line whole on a terminal of 80 columns."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from tasks.commands.help import SECTIONS
from tasks.commands.main import cli


def test_every_command_is_in_one_section() -> None:
    listed = [name for commands in SECTIONS.values() for name in commands]
    assert sorted(listed) == sorted(cli.commands)


GROUPS = ["", *sorted(name for name, command in cli.commands.items() if isinstance(command, click.Group))]


@pytest.mark.parametrize("group", GROUPS)
def test_every_summary_is_whole_on_one_line_of_80_columns(group: str) -> None:
    text = CliRunner().invoke(cli, [*group.split(), "--help"], terminal_width=80).output
    commands = (cli.commands[group] if group else cli).commands  # type: ignore[attr-defined]
    found = text[text.index("Commands:" if group else "Solve:") :].splitlines()
    summaries = [line for line in found if line.startswith("  ") and line.split()[0] in commands]
    assert len(summaries) == len(commands)
    for line in summaries:
        assert line.endswith("."), line
        assert not line.endswith("..."), line
        assert len(line) <= 80, line


def test_the_shell_completes_commands() -> None:
    words = {"COMP_WORDS": "pairing so", "COMP_CWORD": "1", "_PAIRING_COMPLETE": "bash_complete"}
    assert CliRunner().invoke(cli, prog_name="pairing", env=words).output == "plain,solve\n"
