"""Take from the catalog what a statement in the log changed besides the columns.

Statements are parsed for what row images depend on: columns, keys that identify rows, defaults.
Indexes, foreign keys, checks and comments come from the catalog, and are applied once the log has
been read up to the moment at which the catalog was read, because from there on they hold in the log
too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from streams_engine.adapters.mysql.binlog.reader import BinlogReader
from streams_engine.adapters.mysql.binlog.statements import StatementJudge
from streams_engine.model import (
    ChangeSet,
    Position,
    SchemaChange,
    TableId,
    TableSchema,
    TableSubscription,
)

__all__ = ["COLLATIONS", "WAITING", "StructureWatch"]

Look = Callable[[Sequence[TableId]], "tuple[Mapping[TableId, TableSchema], Position]"]
"""Tables as the catalog has them, and the end of the log after that."""
Reached = Callable[[Position, Position], bool]
"""(position, wanted) -> whether it is at or after it."""


WAITING = "structure_waits"
"""Key of a position up to which some of the catalog's structure is still missing: the first
position from which on it is."""

COLLATIONS = "collations"
"""Key of a position with the default collations of the followed databases there: the catalog has
those of today, and no statement of the log says what it took from them."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    table: TableSchema
    end: Position
    since: Position
    """The first position from which on something of the table may be missing."""


class StructureWatch:
    """A `ChangeReader` that adds such changes to the sets of another. Used by one thread."""

    def __init__(
        self,
        reader: BinlogReader,
        statements: StatementJudge,
        tracked: Sequence[TableSubscription],
        after: Position,
        look: Look,
        reached: Reached,
    ) -> None:
        self._reader, self._statements = reader, statements
        self._look, self._reached = look, reached
        self._tracked = {one.schema.id: one.schema for one in tracked}
        self._position: Position | None = after
        self._known = _plain(after)
        """The last position that was read, without `WAITING`."""
        self._told_waiting = WAITING in after
        """Whether the last position that was given has the key `WAITING`."""
        self._waiting: dict[TableId, _Waiting] = {}
        self._dropped: set[TableId] = set()
        """Tables that are gone, and that keys of others may still refer to."""
        # What the session before this one had not seen, or not yet given.
        self._wait_for(list(self._tracked), after.get(WAITING, self._known))

    def poll(self, timeout: float, rows: int | None = None) -> ChangeSet | None:
        """Return the next change set; see `ChangeReader.poll`."""
        changes = self._reader.poll(timeout, rows)
        if changes is None:
            return self._idle()
        self._position = changes.position
        self._known = _plain(changes.position or self._known)
        ended = [part for part in changes.parts if isinstance(part, SchemaChange)]
        touched = self._statements.take_touched() | {p.after.id for p in ended if p.after}
        after = self._after(ended)
        gone = {p.before.id for p in ended if p.before and not p.after} - after.keys()
        self._dropped = (self._dropped | gone) - after.keys()
        if gone:  # without foreign_key_checks the keys to them stay
            touched |= {table for table, schema in after.items() if schema.foreign_keys}
        wanted = [table for table in touched if table in after]
        self._wait_for(wanted, self._known)
        return self._marked(self._with_structure(changes, after))

    def wake(self) -> None:
        """Have the poll that waits, or else the next one, return at once. Thread-safe."""
        self._reader.wake()

    def give_texts(self, most: int) -> None:
        """Give sets of at most so many row changes as `TextRows` from here on, if that is exact."""
        self._reader.give_texts(most)

    def _idle(self) -> ChangeSet | None:
        """Return what waited for the present position, although no new changes came."""
        still = ChangeSet((), self._position)
        changed = self._with_structure(still, self._after(()))
        if self._position is None or not (
            changed.parts or self._told_waiting > bool(self._waiting)
        ):
            return None
        return self._marked(changed)

    def _marked(self, changes: ChangeSet) -> ChangeSet:
        """Add `WAITING` to the position if something waits, so that `catch_up` waits too."""
        if changes.position is None:
            return changes
        position = _plain(changes.position)
        schemas = sorted({table.schema for table in self._tracked})
        position[COLLATIONS] = self._statements.collations(schemas)
        self._told_waiting = bool(self._waiting)
        if self._told_waiting:
            position[WAITING] = self._first()
        return replace(changes, position=position)

    def _first(self) -> Position:
        """Return the first position from which on something waits."""
        several = iter(waiting.since for waiting in self._waiting.values())
        first = next(several)
        for since in several:
            first = since if self._reached(first, since) else first
        return first

    def _wait_for(self, tables: Sequence[TableId], since: Position) -> None:
        """Read tables from the catalog; the result holds once the log has been read up to its
        present end. Of a table that waits already something is missing from the first look on."""
        if not tables:
            return
        found, end = self._look(tables)
        for table, schema in found.items():
            waiting = self._waiting.get(table)
            first = since if waiting is None else waiting.since
            self._waiting[table] = _Waiting(schema, end, first)

    def _after(self, changes: Sequence[SchemaChange]) -> dict[TableId, TableSchema]:
        """Return the tables as they are followed after these changes."""
        after = dict(self._tracked)
        for change in changes:
            if change.before is not None:
                after.pop(change.before.id, None)
            if change.after is not None and not change.filled:
                after[change.after.id] = change.after
        return after

    def _with_structure(
        self, changes: ChangeSet, after: Mapping[TableId, TableSchema]
    ) -> ChangeSet:
        position = changes.position
        if position is None or not self._waiting:
            return changes
        more = []
        for table, waiting in list(self._waiting.items()):
            if not self._reached(position, waiting.end):
                continue
            del self._waiting[table]
            known = after.get(table)
            now = None if known is None else as_known(known, waiting.table)
            if known is not None and now is not None and (now != known or self._bereft(now)):
                more.append(SchemaChange(known, now, 0))
        return replace(changes, parts=(*changes.parts, *more)) if more else changes

    def _bereft(self, table: TableSchema) -> bool:
        """Return whether a key of the table refers to one that was dropped."""
        return any(key.referenced in self._dropped for key in table.foreign_keys)

    def adopt(self, table: TableId, tracked: TableSubscription | None) -> None:
        """Decode a table with this subscription from here on; None stops decoding it."""
        self._tracked.pop(table, None)
        if tracked is not None:
            self._tracked[tracked.schema.id] = tracked.schema
        self._reader.adopt(table, tracked)

    def acknowledge(self, position: Position) -> None:
        """Do nothing: the server removes its binary log by its own rules."""
        self._reader.acknowledge(position)


def _plain(position: Position) -> dict[str, Any]:
    """Return a position without the key `WAITING`."""
    return {key: value for key, value in position.items() if key != WAITING}


def as_known(known: TableSchema, now: TableSchema) -> TableSchema | None:
    """Return the followed table with the keys, indexes, checks and comment of the catalog; None if
    its columns differ, because then the log has more statements to come.

    Columns stay as the statements say: a server spells expressions and defaults in its own way.
    """
    if [c.name for c in known.columns] != [c.name for c in now.columns]:
        return None
    old, new = known.primary_key, now.primary_key
    same = old is not None and new is not None and old.columns == new.columns
    return replace(
        known,
        primary_key=old if same else new,
        indexes=now.indexes,
        foreign_keys=now.foreign_keys,
        checks=now.checks,
        comment=now.comment,
    )
