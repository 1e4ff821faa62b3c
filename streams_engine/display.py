"""Tables as HTML, for notebooks: no script, no style sheet, every text escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

__all__ = ["documents_html", "html_block", "html_folded", "html_table", "html_unfolded"]

Cell = object
"""Shown by its ``_repr_html_`` if it has one, else by its ``str``; None is an empty cell."""

MOST_ROWS = 200


def html_table(headers: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """Return rows as an HTML table; numbers stand at the right. Only the first 200 are shown."""
    lines = list(rows)
    head = "".join(f"<th>{escape(header)}</th>" for header in headers)
    body = "".join(f"<tr>{''.join(map(_cell, line))}</tr>" for line in lines[:MOST_ROWS])
    more = f"<p>and {len(lines) - MOST_ROWS:,} more</p>" if len(lines) > MOST_ROWS else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def _cell(value: Cell) -> str:
    if value is None:
        return "<td></td>"
    if hasattr(value, "_repr_html_"):
        return f"<td>{value._repr_html_()}</td>"
    if isinstance(value, int) and not isinstance(value, bool):
        return f'<td style="text-align: right">{value:,}</td>'
    return f'<td style="text-align: left">{escape(str(value))}</td>'


def html_block(title: str, *parts: str) -> str:
    """Return a title with parts that are HTML already; empty ones are left out."""
    return f"<div><p><b>{escape(title)}</b></p>{''.join(parts)}</div>"


def documents_html(title: str, keys: Sequence[str], documents: Iterable[Mapping[str, Any]]) -> str:
    """Return a list of documents as a table of some of their keys."""
    rows = [[document.get(key) for key in keys] for document in documents]
    return html_block(f"{title} ({len(rows):,})", html_table(keys, rows) if rows else "")


def html_folded(title: str, text: str) -> str:
    """Return a text that unfolds under its title."""
    return html_unfolded(title, f"<pre>{escape(text)}</pre>")


def html_unfolded(title: str, part: str) -> str:
    """Return a part that is HTML already, and unfolds under its title."""
    return f"<details><summary>{escape(title)}</summary>{part}</details>"
