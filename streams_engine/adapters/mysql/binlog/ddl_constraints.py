"""Parse foreign keys, and apply what a statement says about keys, indexes and checks. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from streams_engine.adapters.mysql.binlog.ddl_columns import DdlContext
from streams_engine.adapters.mysql.binlog.ddl_lexer import (
    Token,
    TokenStream,
    UnparsedStatementError,
    split,
)
from streams_engine.model import ForeignKey, Index, TableSchema

__all__ = [
    "add_foreign_keys",
    "drop_constraint",
    "drop_foreign_key",
    "drop_index",
    "rename_index",
    "with_keys",
]

ACTIONS = {"CASCADE", "SET NULL"}
GENERATED = re.compile(r"_ibfk_(\d+)$")
"""The end of a name that the server gives."""


def add_foreign_keys(
    table: TableSchema, items: Sequence[Sequence[Token]], context: DdlContext
) -> TableSchema:
    """Return the table with the foreign keys among the items of CREATE TABLE, or of ADD in ALTER
    TABLE.

    Raises `UnparsedStatementError` if one leaves out its referenced columns.
    """
    keys = list(table.foreign_keys)
    numbers = [int(n[1]) for key in keys if (n := GENERATED.search(key.name))]
    last = max(numbers, default=0)
    for item in items:
        key, named = _foreign_key(TokenStream(item), context)
        if key is None:
            continue
        key = replace(key, columns=spelled(table, key.columns))
        if not named:
            last += 1
            key = replace(key, name=f"{table.id.name}_ibfk_{last}")
        if {key.on_delete, key.on_update} & ACTIONS:
            keys.append(key)
    return replace(table, foreign_keys=tuple(keys))


def with_keys(table: TableSchema, keys: Sequence[Index]) -> TableSchema:
    """Return the table with more keys; those without a name get one, as the server gives it."""
    found: list[Index] = []
    names = {index.name.lower() for index in (*table.indexes, *keys) if index.name}
    for key in keys:
        parts = zip(key.parts, spelled(table, key.columns), strict=True)
        key = replace(key, parts=tuple(replace(part, column=name) for part, name in parts))
        if not key.name:
            key = replace(key, name=_free(key.columns[0], names))
        names.add(key.name.lower())
        found.append(key)
    primary = next((key for key in found if key.primary), table.primary_key)
    solid = set(primary.columns) if primary else set()
    columns = tuple(
        replace(c, nullable=False) if c.name in solid and c.nullable else c for c in table.columns
    )
    others = (*table.indexes, *(key for key in found if not key.primary))
    return replace(table, columns=columns, primary_key=primary, indexes=others)


def _free(column: str, names: set[str]) -> str:
    """Return the name of a key on this column first, if it is given none."""
    name, number = column, 2
    while name.lower() in names:
        name, number = f"{column}_{number}", number + 1
    return name


def drop_index(table: TableSchema, name: str) -> TableSchema:
    """Return the table without an index; PRIMARY is the primary key."""
    if name.upper() == "PRIMARY":
        return replace(table, primary_key=None)
    keep = tuple(index for index in table.indexes if index.name.lower() != name.lower())
    return replace(table, indexes=keep)


def rename_index(table: TableSchema, old: str, new: str) -> TableSchema:
    """Return the table with an index by another name."""
    indexes = tuple(
        replace(index, name=new) if index.name.lower() == old.lower() else index
        for index in table.indexes
    )
    return replace(table, indexes=indexes)


def drop_constraint(table: TableSchema, name: str) -> TableSchema:
    """Return the table without a check, a key or a foreign key of this name."""
    kept = tuple(check for check in table.checks if check.name.lower() != name.lower())
    if len(kept) < len(table.checks):
        return replace(table, checks=kept)
    without = drop_index(table, name)
    return without if without != table else drop_foreign_key(table, name)


def spelled(table: TableSchema, names: Sequence[str]) -> tuple[str, ...]:
    """Return names of columns as the table writes them: letter case tells none apart.

    Raises `UnparsedStatementError` for a name that is no column's.
    """
    columns = {column.name.lower(): column.name for column in table.columns}
    try:
        return tuple(columns[name.lower()] for name in names)
    except KeyError:
        raise UnparsedStatementError from None


def drop_foreign_key(table: TableSchema, name: str) -> TableSchema:
    """Return the table without a foreign key.

    Raises `UnparsedStatementError` if the key may be known by another name, because servers
    generate different names.
    """
    kept = tuple(key for key in table.foreign_keys if key.name.lower() != name.lower())
    if kept and len(kept) == len(table.foreign_keys):
        raise UnparsedStatementError
    return replace(table, foreign_keys=kept)


def _foreign_key(words: TokenStream, context: DdlContext) -> tuple[ForeignKey | None, bool]:
    """Parse an item; return its foreign key, and whether the item names it; None for anything
    else."""
    name = ""
    if words.accept("CONSTRAINT") and words.peek() != "FOREIGN":
        name = words.name()
    index, columns = _own_columns(words)
    if columns is None:
        return None, False
    name = name or index
    words.expect("REFERENCES")
    referenced = words.table(context.schema)
    parent = context.known(referenced)
    others = _names(words)
    others = spelled(parent, others) if parent else others
    rules = {"DELETE": "NO ACTION", "UPDATE": "NO ACTION"}
    while words:
        if words.accept("ON") and (event := words.any("DELETE", "UPDATE")):
            rules[event] = _rule(words)
        elif words:
            words.next()
    return (
        ForeignKey(
            name, columns, parent.id if parent else referenced, others,
            on_delete=rules["DELETE"], on_update=rules["UPDATE"],
        ),
        bool(name),
    )  # fmt: skip


def _own_columns(words: TokenStream) -> tuple[str, tuple[str, ...] | None]:
    """Parse FOREIGN KEY (...), or a column with REFERENCES after its type; return the index's name
    and the columns.

    The stream is at REFERENCES then. The columns are None for anything else.
    """
    if words.accept("FOREIGN", "KEY"):
        words.accept("IF", "NOT", "EXISTS")
        index = "" if words.peek() == "(" else words.name()
        return index, _names(words)
    if not words or words.peek() in ("PRIMARY", "UNIQUE", "KEY", "INDEX", "CHECK", "PERIOD"):
        return "", None
    column = words.next()
    depth = 0
    while words:
        if words.peek() == "REFERENCES" and not depth:
            return "", (column.text,)
        word = words.next()
        depth += (word.upper == "(") - (word.upper == ")")
    return "", None


def _names(words: TokenStream) -> tuple[str, ...]:
    return tuple(TokenStream(part).name() for part in split(words.brackets()))


def _rule(words: TokenStream) -> str:
    """Parse a referential action. SET DEFAULT is none: InnoDB refuses it, or restricts."""
    first = words.next().upper
    rule = f"{first} {words.next().upper}" if first in ("SET", "NO") else first
    return "NO ACTION" if rule == "SET DEFAULT" else rule
