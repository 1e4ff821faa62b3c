"""The log under test of the suite for change logs, and how its tests read it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from streams_engine.contracts import ChangeReader, ChangeSource, RowIdentitySource, Scope
from streams_engine.model import (
    ChangeSet,
    Extract,
    Op,
    Position,
    RowChanges,
    TableId,
    TableSchema,
    TableSubscription,
    Truncate,
)

__all__ = ["Change", "ChangeLogPlace", "Reading", "read", "subscription"]

POLL_SECONDS = 0.5

Rows = dict[int, str | None]
"""The rows of the table under test: text by id."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change of the table under test, by its key ``id``."""

    op: Op
    id: int
    text: str | None = None
    new_id: int | None = None
    """Of an update: the key that the row gets."""


class ChangeLogPlace:
    """The source under test. It has a table ``followed`` with the columns ``id`` (a whole number,
    the primary key) and ``text``, another one like it named ``other``, and both are empty."""

    patience: float = 60.0
    """Seconds after which changes that do not come are given up."""

    def open(self) -> ChangeSource:
        """Open a source for its own stream. The place closes what it opened."""
        raise NotImplementedError

    def commit(self, *changes: Change, table: str = "followed") -> None:
        """Make these changes in one transaction."""
        raise NotImplementedError

    def roll_back(self, *changes: Change) -> None:
        """Make these changes of ``followed``, and undo them."""
        raise NotImplementedError

    def add_column(self, name: str) -> None:
        """Add a column of texts to ``followed``, which may be NULL."""
        raise NotImplementedError

    def truncate(self) -> None:
        """Empty ``followed`` by one statement."""
        raise NotImplementedError


def subscription(
    source: ChangeSource, table: str = "followed", since: Position | None = None
) -> TableSubscription:
    """Return a subscription of all columns of a table as it is now."""
    (schema,) = source.catalog(Scope(tables=(table,))).tables
    return subscribed(source, schema, since)


def subscribed(
    source: ChangeSource, schema: TableSchema, since: Position | None = None
) -> TableSubscription:
    """Return a subscription of all columns of a table with this schema."""
    if isinstance(source, RowIdentitySource):
        identity = source.identities([schema])[schema.id]
    else:
        key = schema.primary_key
        identity = key.columns if key else tuple(column.name for column in schema.columns)
    return TableSubscription(schema, Extract(schema.id, schema.columns), identity, since)


@dataclass
class Reading:
    """Rows and positions that change sets add up to."""

    rows: Rows = field(default_factory=dict)
    sets: list[ChangeSet] = field(default_factory=list)
    position: Position | None = None
    """Of the last set that ended a transaction."""
    columns: set[str] = field(default_factory=set)
    """The names of columns that came."""

    def take(self, changes: ChangeSet) -> None:
        """Apply a set to ``rows``; AssertionError where it does not fit them."""
        self.sets.append(changes)
        if changes.position is not None:
            self.position = json.loads(json.dumps(dict(changes.position)))
        parts: list[tuple[int, RowChanges | Truncate, int]] = [
            (int(seq), part, number)
            for part in changes.parts
            if isinstance(part, RowChanges)
            for number, seq in enumerate(part.seq)
        ]
        parts += [(part.seq, part, 0) for part in changes.parts if isinstance(part, Truncate)]
        for _, part, number in sorted(parts, key=lambda item: item[0]):
            if isinstance(part, Truncate):
                self.rows.clear()
            else:
                self._apply(part, number)

    def _apply(self, batch: RowChanges, number: int) -> None:
        op = Op(batch.op[number])
        new = batch.after.slice(number, 1).to_pylist()[0]
        assert batch.after.schema.names == [c.name for c in batch.columns]
        self.columns |= set(batch.after.schema.names)
        old = new if batch.before is None else batch.before.slice(number, 1).to_pylist()[0]
        assert op is not Op.DELETE or batch.before is not None, "a delete says what it deletes"
        if op is not Op.INSERT:
            gone = int(old["id"])
            assert gone in self.rows, f"{op.name} of a row that is not there: {gone}"
            del self.rows[gone]
        if op is not Op.DELETE:
            assert int(new["id"]) not in self.rows, f"{op.name} makes a key twice: {new['id']}"
            self.rows[int(new["id"])] = new["text"]

    @property
    def changes(self) -> int:
        """Row changes that came."""
        return sum(changes.rows for changes in self.sets)


def read(
    place: ChangeLogPlace,
    reader: ChangeReader,
    count: int,
    into: Reading | None = None,
    *,
    rows: int | None = None,
) -> Reading:
    """Poll until so many row changes came and their transactions are whole.

    AssertionError where they do not come, or more do.
    """
    reading = into or Reading()
    until = time.monotonic() + place.patience
    while reading.changes < count or reading.sets[-1].position is None:
        assert time.monotonic() < until, f"{reading.changes} changes came, {count} were made"
        changes = reader.poll(POLL_SECONDS, rows)
        if changes is not None:
            reading.take(changes)
    assert reading.changes == count, f"{reading.changes} changes came, {count} were made"
    return reading


def inserts(ids: Iterable[int]) -> Sequence[Change]:
    """Return inserts of rows whose text is their number."""
    return [Change(Op.INSERT, number, str(number)) for number in ids]


def bare(table: TableId) -> TableId:
    """Return a table's id as a log contains it."""
    return replace(table, alias="")


def quiet(reader: ChangeReader) -> list[Any]:
    """Return the parts that arrive although none should."""
    polled = [reader.poll(0.3) for _ in range(3)]
    return [part for changes in polled if changes is not None for part in changes.parts]
