"""The pages that are made of the code: commands.md of the command line, settings.md of the table of settings.

``python docs/reference.py`` writes both anew; a test says when that is due.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import click

from config.example import assignment_of
from config.settings import Settings, variables
from tasks.commands.main import cli

FOLDER = Path(__file__).parent
LINE_WIDTH = 110

_COMMANDS = """\
# Commands

Made of the command line itself: `pairing COMMAND --help` says the same. What a command prints with `--json`, and what
exit statuses mean, is in [JSON and exit status](json.md).

For completion by Tab, put `eval "$(_PAIRING_COMPLETE=bash_source pairing)"` into `~/.bashrc`, or the same with
`zsh_source` into `~/.zshrc`; for fish, `_PAIRING_COMPLETE=fish_source pairing | source` into
`~/.config/fish/config.fish`.
"""

_SETTINGS = """\
# Settings

Each is an environment variable; `NAME_FILE` names a file that holds the value instead, as for mounted secrets. An empty
variable is as good as none, but for the broker's address. `config/env.example` is an environment file with all of
them; `pairing --env-file FILE …` reads one, and so do [services](services.md).

A wrong setting ends every command with [a code](services.md#when-a-setting-is-wrong), before anything is started; so
does a name that begins with `PAIRING_` and is none of these.

Bytes and seconds are plain numbers. URLs of the pool never hold a password.

| variable | default | |
|---|---|---|
"""


def commands_page() -> str:
    """commands.md: every command with its usage, its help and its options."""
    context = click.Context(cli, info_name="pairing", max_content_width=LINE_WIDTH)
    return _COMMANDS + "".join(_sections(context, 2))


def settings_page() -> str:
    """settings.md: every setting with its default and what it is for."""
    rows = []
    for name, field in Settings.model_fields.items():
        first, *others = variables()[name]
        accepted = f" (`{'`, `'.join(others)}` is accepted too)" if others else ""
        default = assignment_of(name).partition("=")[2]
        rows.append(f"| `{first}` | {f'`{default}`' if default else ''} | {field.description}{accepted} |\n")
    return _SETTINGS + "".join(rows)


PAGES = {"commands.md": commands_page, "settings.md": settings_page}
"""File in this folder → what gives its text."""


def _sections(context: click.Context, level: int) -> Iterator[str]:
    command = context.command
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    yield f"\n{'#' * level} {context.command_path}\n\n    {usage}\n\n{_markdown(command.help or '')}\n"
    options = [option for option in command.params if isinstance(option, click.Option)]
    records = [record for option in options if (record := option.get_help_record(context))]
    if records:
        yield "\n| option | |\n|---|---|\n"
        yield from (f"| `{_cell(option)}` | {_cell(_markdown(text))} |\n" for option, text in records)
    if command.epilog:
        yield f"\n{_markdown(command.epilog)}\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None  # noqa: S101 - for the type checker: it was listed
            deeper = level + (context.parent is not None)
            yield from _sections(click.Context(below, info_name=name, parent=context), deeper)


def _markdown(text: str) -> str:
    """Help as click has it, with nothing in it that Markdown would take for its own."""
    plain = inspect.cleandoc(text)
    for sign in "\\`*<[":
        plain = plain.replace(sign, f"\\{sign}")
    return plain


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), encoding="utf-8")
