"""Tables that read on a telephone: each cell gets the head of its column as `data-label`.

On a narrow screen `assets/site.css` shows a row as a card, one labelled line a cell; nothing
scrolls sideways. Tables with classes of their own, such as a notebook's, stay as they are.
"""

from __future__ import annotations

import re
from html import escape, unescape
from itertools import chain, repeat
from typing import Any

TABLE = re.compile(r"<table>\s*<thead>.*?</table>", re.S)
HEAD = re.compile(r"<th[^>]*>(.*?)</th>", re.S)
ROW = re.compile(r"<tr>.*?</tr>", re.S)
CELL = re.compile(r"<td(?P<attributes>[^>]*)>(?P<text>.*?)</td>", re.S)
TAG = re.compile(r"<[^>]+>")


def labelled(table: str) -> str:
    """Return a table of HTML whose cells name their columns."""
    heads = [unescape(TAG.sub("", head)).strip() for head in HEAD.findall(table)]
    return ROW.sub(lambda row: _labelled_row(row[0], heads), table)


def _labelled_row(row: str, heads: list[str]) -> str:
    labels = chain(heads, repeat(""))

    def cell(found: re.Match[str]) -> str:
        label = escape(next(labels), quote=True)
        text = found["text"].strip()
        return f'<td{found["attributes"]} data-label="{label}">{text}</td>'

    return CELL.sub(cell, row)


def on_page_content(html: str, **_: Any) -> str:
    """Called by mkdocs for each page that is rendered."""
    return TABLE.sub(lambda found: labelled(found[0]), html)
