"""The tables that notebooks show of a puzzle and of a solution."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

_LEFT = "text-align: left"


def html_table(title: str, rows: Mapping[str, object]) -> str:
    """A small HTML table: a caption, and a row per entry. All text is escaped."""
    body = "".join(
        f'<tr><th style="{_LEFT}">{escape(name)}</th><td style="{_LEFT}">{escape(str(value))}</td></tr>'
        for name, value in rows.items()
    )
    return f'<table><caption style="{_LEFT}">{escape(title)}</caption>{body}</table>'
