"""Rows of a query or a file, as a table for people, CSV or JSON lines."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from streams_engine.cli.session import Column, Session, grid
from streams_engine.query.result import plain_rows
from streams_engine.units import plural

__all__ = ["RowFormat", "print_plain", "print_rows"]

RowFormat = Literal["table", "csv", "jsonl"]

Rows = Iterable[list[Any]]


def print_rows(
    session: Session, names: Sequence[str], batches: Iterable[Any], form: RowFormat
) -> None:
    """Print Arrow batches as they come; a table, and JSON, when all of them are there.

    Values are those of `QueryResult.to_dict`.
    """
    rows = (row for batch in batches for row in plain_rows(batch))
    if session.as_json:
        whole = list(rows)
        session.answer({"columns": list(names), "rows": whole, "count": len(whole)})
    else:
        print_plain(session, names, rows, form)


def print_plain(session: Session, names: Sequence[str], rows: Rows, form: RowFormat) -> None:
    """Print rows of plain values."""
    WRITERS[form](session, names, rows)


def _table(session: Session, names: Sequence[str], rows: Rows) -> None:
    def column(place: int) -> Callable[[Mapping[str, Any]], Any]:
        return lambda row: row["values"][place]

    columns: list[Column] = [(name, column(place)) for place, name in enumerate(names)]
    items = [{"values": row} for row in rows]
    session.answer(items, grid(items, columns))
    print(plural(len(items), "row"))


def _csv(session: Session, names: Sequence[str], rows: Rows) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)


def _jsonl(session: Session, names: Sequence[str], rows: Rows) -> None:
    for row in rows:
        print(json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False))


WRITERS: Mapping[RowFormat, Callable[[Session, Sequence[str], Rows], None]] = {
    "table": _table,
    "csv": _csv,
    "jsonl": _jsonl,
}
