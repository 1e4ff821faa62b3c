"""What a statement in the log does to the tables that are followed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from streams_engine.adapters.mysql.binlog_events import (
    ANSI_QUOTES,
    NO_BACKSLASH_ESCAPES,
    Query,
)
from streams_engine.adapters.mysql.ddl_events import Change, Outcome, schema_of_statement
from streams_engine.adapters.mysql.sqlwords import NotUnderstoodError, masked, words_of
from streams_engine.adapters.mysql.tablemap import TableMap
from streams_engine.adapters.mysql.versioning import period_of
from streams_engine.changes import SchemaChange, Tracked
from streams_engine.errors import SchemaChangeRefused, ServerError
from streams_engine.model import TableId, TableSchema

__all__ = ["Effect", "Statements"]

Lookup = Callable[[TableId], "TableSchema | None"]
"""A table as today's catalog describes it."""

DDL = {"ALTER", "CREATE", "DROP", "RENAME", "TRUNCATE"}
WRITES = {"INSERT", "UPDATE", "DELETE", "REPLACE", "LOAD", "MERGE", "WITH", "CALL"}


@dataclass(frozen=True, slots=True)
class Effect:
    """The tables that a statement empties, or how it changes them."""

    emptied: tuple[TableId, ...] = ()
    changes: tuple[SchemaChange, ...] = ()


class Statements:
    """Judges statements for one reader. Keeps the tables' structures as the log changes them."""

    def __init__(
        self, lookup: Lookup, *, mariadb: bool, fold: bool, foreign_keys: bool = False
    ) -> None:
        self._lookup = lookup
        self._mariadb = mariadb
        self._fold = fold
        self._foreign_keys = foreign_keys
        self._tracked: dict[TableId, Tracked] = {}
        self._known: dict[TableId, TableSchema] = {}
        self._unsure: dict[TableId, str] = {}
        self._earlier = dict(self._known), dict(self._unsure)

    def follow(self, tracked: Mapping[TableId, Tracked]) -> None:
        """These tables matter from now on."""
        self._tracked = {self._id(one.schema.id): one for one in tracked.values()}
        self._known |= {key: one.schema for key, one in self._tracked.items()}

    def _id(self, table: TableId) -> TableId:
        if not self._fold:
            return TableId(table.schema, table.name)
        return TableId(table.schema.lower(), table.name.lower())

    def find(self, tracked: Mapping[TableId, Tracked], schema: str, name: str) -> Tracked | None:
        """The followed table that a table map names."""
        return self._tracked.get(self._id(TableId(schema, name)))

    # Statements

    def effect(self, query: Query, known: Callable[[TableId], bool] = lambda _: False) -> Effect:
        """What a statement that stands alone does to the followed tables.

        ``known``: true of a followed table that was loaded after the statement, which therefore
        did to it already what it does.
        """
        ansi = bool(query.sql_mode & ANSI_QUOTES)
        words = words_of(query.text, ansi_quotes=ansi)
        self._earlier = dict(self._known), dict(self._unsure)
        if not words or words[0].upper not in DDL:
            if words and words[0].upper in WRITES:
                self.refuse_rows(query)
            return Effect()
        try:
            found = schema_of_statement(
                query.text,
                query.schema,
                lambda table: self._known.get(self._id(table)),
                ansi_quotes=ansi,
                backslash=not query.sql_mode & NO_BACKSLASH_ESCAPES,
                foreign_keys=self._foreign_keys,
            )
        except NotUnderstoodError:
            found = self._mentioned(query, ansi)
        return self._effect(self._without(found, known), masked(query.text, ansi_quotes=ansi))

    def _without(self, found: Outcome, known: Callable[[TableId], bool]) -> Outcome:
        """The outcome without what the rows that were loaded, or their structure, know already."""

        def is_known(table: TableId) -> bool:
            tracked = self._tracked.get(self._id(table))
            return tracked is not None and known(tracked.schema.id)

        return replace(
            found,
            emptied=tuple(table for table in found.emptied if not is_known(table)),
            changes=tuple(
                change for change in found.changes if not any(map(is_known, change.names))
            ),
        )

    def undo(self) -> None:
        """The last statement comes again: what was learned of it is forgotten."""
        self._known, self._unsure = self._earlier

    def _mentioned(self, query: Query, ansi: bool) -> Outcome:
        """A form that is not known: what it does to the table named in it the catalog may say."""
        words = words_of(query.text, ansi_quotes=ansi)
        names = {word.text.lower() for word in words if word.kind in ("name", "word")}
        changes = [
            Change(key, one.schema, None, unknown=one.schema.id)
            for key, one in self._tracked.items()
            if key.name.lower() in names
        ]
        head = [word.upper for word in words[:5]]
        return Outcome(changes=tuple(changes)) if "TABLE" in head else Outcome()

    def _effect(self, found: Outcome, statement: str) -> Effect:
        emptied = tuple(
            self._tracked[key].schema.id
            for table in found.emptied
            if (key := self._id(table)) in self._tracked
        )
        changes: list[SchemaChange] = []
        for change in self._whole(found.changes):
            made = self._change(change, statement)
            if made is not None:
                changes.append(made)
        return Effect(emptied, tuple(self._swapped(changes)))

    def _whole(self, changes: tuple[Change, ...]) -> list[Change]:
        """DROP DATABASE as the end of each followed table in it."""
        found: list[Change] = []
        for change in changes:
            if change.table.name:
                found.append(change)
                continue
            schema = self._id(TableId(change.table.schema, "")).schema
            found += [
                Change(key, one.schema, None)
                for key, one in self._tracked.items()
                if key.schema == schema
            ]
        return found

    def _change(self, change: Change, statement: str) -> SchemaChange | None:
        key = self._id(change.table)
        tracked = self._tracked.get(key)
        after = change.after
        if change.unknown is not None:
            target = self._id(change.unknown)
            if tracked is None and not self._matters(target):
                return None
            after = self._from_catalog(
                change.unknown, statement, tracked or target in self._tracked
            )
            if after is None:
                return None
        before = tracked.schema if tracked is not None else None
        if after is not None:
            self._known[self._id(after.id)] = after
        if key in self._known and (after is None or self._id(after.id) != key):
            del self._known[key]
        if before is None and (after is None or not self._matters(self._id(after.id))):
            return None
        if before is None and change.before is not None and after and self._id(after.id) == key:
            return None  # a table that is not followed stays so where it is only altered
        filled = before is None and after is not None and self._id(after.id) != key
        return SchemaChange(before, after, 0, dict(change.renamed), statement, filled=filled)

    def _matters(self, table: TableId) -> bool:
        """Whether a table of that name would be in a database that is followed."""
        return any(key.schema == table.schema for key in self._tracked)

    def _from_catalog(self, table: TableId, statement: str, followed: Any) -> TableSchema | None:
        found = self._lookup(table)
        if found is None:
            if followed:
                raise self._refused(table, statement)
            return None
        self._unsure[self._id(table)] = statement
        return found

    def _swapped(self, changes: list[SchemaChange]) -> list[SchemaChange]:
        """A followed table that another one takes the place of, in one statement, goes on.

        That is how gh-ost and pt-online-schema-change end: the new one has the same rows.
        """
        new = {self._id(c.after.id): c.after for c in changes if not c.before and c.after}
        taken = {
            key for c in changes if c.before is not None and (key := self._id(c.before.id)) in new
        }
        found = []
        for change in changes:
            if change.before is not None:
                after = new.get(self._id(change.before.id), change.after)
                found.append(replace(change, after=after))
            elif change.after is not None and self._id(change.after.id) not in taken:
                found.append(change)
        return found

    def _refused(self, table: TableId, statement: str) -> SchemaChangeRefused:
        return SchemaChangeRefused(
            f"{table}: what the statement does to it cannot be told: {statement}",
            remedy="Load the table again, which takes it as it is now.",
            table=str(table),
        )

    # What is held against the next row images

    def confirm(self, table: TableMap) -> None:
        """A table map came: what the catalog was believed for has to agree with it."""
        key = self._id(TableId(table.schema, table.name))
        statement = self._unsure.pop(key, None)
        tracked = self._tracked.get(key)
        if statement is None or tracked is None:
            return
        columns = tracked.schema.columns
        names = [field.name for field in table.fields]
        names = names[: len(names) - len(period_of(table, tracked.schema))]
        if len(names) != len(columns) or (
            table.named and names != [column.name for column in columns]
        ):
            raise self._refused(tracked.schema.id, statement)

    def refuse_rows(self, query: Query) -> None:
        """Raise where a statement writes rows of a followed table without row images."""
        words = words_of(query.text, ansi_quotes=bool(query.sql_mode & ANSI_QUOTES))
        if not words or words[0].upper not in WRITES:
            return
        names = {word.text.lower() for word in words if word.kind in ("name", "word")}
        hit = [one.schema.id for key, one in self._tracked.items() if key.name.lower() in names]
        if hit or words[0].upper == "LOAD":
            raise ServerError(
                f"The log holds a statement that writes {', '.join(map(str, hit)) or 'rows'}, and "
                "not the rows (binlog_format is not ROW).",
                remedy="SET GLOBAL binlog_format = 'ROW'; reconnect the sessions that write, and "
                "load the tables again.",
            )
