"""The rows of a folder of JSON lines after the log of changes, in the form of `two_ends`."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

from tests.support import canonical_rows
from tests.support.canonical_rows import BINARY, INTEGERS, Column
from tests.support.replay_files import dropped, folder_files, replayed
from tests.support.two_ends import Content, Table

__all__ = ["comparable", "read_folder"]

NUMBERS = INTEGERS | {"decimal", "year", "int2", "int4", "int8", "numeric"}
MOMENTS = {"date", "datetime", "timestamp", "timestamptz"}
PADDED = {"char", "bpchar"}
TEXTS = {"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "bpchar", "name"}


def comparable(content: Content) -> Content:
    """Only the columns whose texts the server and a file have in common."""
    tables = {}
    for name, table in content.tables.items():
        if table.partition:
            continue  # its rows are the root's
        places = [at for at, column in enumerate(table.columns) if _rule(column)]
        columns = [table.columns[at] for at in places]
        rows = [
            tuple(canonical_rows.apply(_rule(table.columns[at]), row[at]) for at in places)
            for row in table.rows
        ]
        tables[name] = Table(columns, rows)
    return Content("files", tables)


def read_folder(folder: Path, source: Content, wanted: Callable[[str], bool]) -> Content:
    """The tables of a folder; the source's columns say how a text is read."""
    files = folder_files(folder)
    tables = {}
    for path in files:
        folder_name, _, rest = path.partition("/")
        if rest != "_manifest.json" or not wanted(unquote(folder_name)) or not _names(files[path]):
            continue
        name = _source_name(unquote(folder_name), source)
        try:
            if dropped(files, folder_name):
                continue
            rows = replayed(files, folder_name)
        except LookupError as error:  # a change of a row that the files do not have
            rows = [{"": f"a change cannot be replayed: {error!r}"}]
        # A column that came later is in later files alone, and NULL in the rows before.
        columns = source.tables[name].columns if name in source.tables else []
        tables[name] = Table(
            columns,
            [tuple(_read(column, row.get(column.name)) for column in columns) for row in rows],
        )
    return Content("files", tables)


def _source_name(folder: str, source: Content) -> str:
    """The source's name of a table, by that of its folder."""
    if folder in source.tables:
        return folder
    return next((name for name in source.tables if name.replace(".", "__", 1) == folder), folder)


def _names(manifest: bytes) -> set[str]:
    return {column["name"] for column in json.loads(manifest)["columns"]}


def _usual_year(text: str) -> str:
    """A year of ISO 8601 with a sign, as PostgreSQL writes it."""
    if not (found := re.fullmatch(r"([+-])(\d+)(-.*)", text)):
        return text
    sign, year, rest = found.groups()
    return f"{int(year) + 1:04}{rest} BC" if sign == "-" else f"{int(year)}{rest}"


def _rule(column: Column) -> Callable[[str], str | None] | None:
    """To one form; None where a file writes such values in a form of its own."""
    if column.type in NUMBERS and column.full != "tinyint(1)":
        return canonical_rows.rules(Column("", "decimal", ""), Column("", "numeric", ""))[0]
    if column.type in MOMENTS:
        return canonical_rows.rules(Column("", "datetime", ""), Column("", "timestamp", ""))[0]
    return str if column.type in TEXTS | BINARY | {"bytea"} else None


def _read(column: Column, text: str | None) -> str | None:
    if text is None:
        return None
    if column.type in MOMENTS:
        text = _usual_year(text.replace("T", " ").removesuffix("Z"))
        if column.type != "date" and ":" not in text:
            text += " 00:00:00"  # the column was a date when this file was written
    if column.type in PADDED:
        text = text.rstrip(" ")
    if column.type in BINARY | {"bytea"}:
        return base64.b64decode(text).hex().upper()
    rule = _rule(column)
    return canonical_rows.apply(rule, text) if rule else text
