"""Foreign keys in the words of a DDL statement. Pure.

Only those that change rows by themselves are told: where the log does not carry what they do, the
target has to have them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from streams_engine.adapters.mysql.sqlwords import NotUnderstoodError, Word, Words, split
from streams_engine.model import ForeignKey, TableId, TableSchema

__all__ = ["add_foreign_keys", "drop_foreign_key"]

Known = Callable[[TableId], "TableSchema | None"]

ACTIONS = {"CASCADE", "SET NULL", "SET DEFAULT"}
GENERATED = re.compile(r"_ibfk_(\d+)$")
"""The end of a name that the server gives."""


def add_foreign_keys(
    table: TableSchema, items: Sequence[Sequence[Word]], schema: str, known: Known
) -> TableSchema:
    """The table with the foreign keys among the items of its CREATE TABLE, or of ADD in an ALTER
    TABLE. Raises `NotUnderstoodError` where one leaves its columns out."""
    found = list(table.foreign_keys)
    numbers = [int(n[1]) for key in found if (n := GENERATED.search(key.name))]
    last = max(numbers, default=0)
    for item in items:
        key, named = _foreign_key(Words(item), schema, known)
        if key is None:
            continue
        if not named:
            last += 1
            key = replace(key, name=f"{table.id.name}_ibfk_{last}")
        if {key.on_delete, key.on_update} & ACTIONS:
            found.append(key)
    return replace(table, foreign_keys=tuple(found))


def drop_foreign_key(table: TableSchema, name: str) -> TableSchema:
    """The table without it. Raises `NotUnderstoodError` where it may be one that is known by
    another name: the servers do not agree on names that a statement leaves to them."""
    kept = tuple(key for key in table.foreign_keys if key.name.lower() != name.lower())
    if kept and len(kept) == len(table.foreign_keys):
        raise NotUnderstoodError
    return replace(table, foreign_keys=kept)


def _foreign_key(words: Words, schema: str, known: Known) -> tuple[ForeignKey | None, bool]:
    """(the key of an item, whether the item names it); None where the item is something else."""
    name = ""
    if words.accept("CONSTRAINT") and words.peek() != "FOREIGN":
        name = words.name()
    index, columns = _own_columns(words)
    if columns is None:
        return None, False
    name = name or index
    words.expect("REFERENCES")
    referenced = words.table(schema)
    parent = known(referenced)
    others = _names(words)
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


def _own_columns(words: Words) -> tuple[str, tuple[str, ...] | None]:
    """(the index's name, the columns of FOREIGN KEY (...)), or the one that has REFERENCES behind
    its type; the words stand at REFERENCES then. No columns where the item is something else."""
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


def _names(words: Words) -> tuple[str, ...]:
    return tuple(Words(part).name() for part in split(words.brackets()))


def _rule(words: Words) -> str:
    first = words.next().upper
    return f"{first} {words.next().upper}" if first in ("SET", "NO") else first
