"""Compute the effect of a statement in the log on the followed tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from streams_engine.adapters.mysql.binlog.coverage import hindrance_of
from streams_engine.adapters.mysql.binlog.ddl_columns import DdlContext
from streams_engine.adapters.mysql.binlog.ddl_lexer import (
    UnparsedStatementError,
    masked,
    tokenize,
    without_settings,
)
from streams_engine.adapters.mysql.binlog.ddl_parser import (
    DdlOutcome,
    TableChange,
    database_collation,
    schema_of_statement,
)
from streams_engine.adapters.mysql.binlog.events import ANSI_QUOTES, Query
from streams_engine.adapters.mysql.binlog.server_defaults import ServerDefaults
from streams_engine.adapters.mysql.binlog.system_versioning import period_of
from streams_engine.adapters.mysql.binlog.table_map import TableMap
from streams_engine.adapters.mysql.sink.checkpoint_table import STATE_TABLES
from streams_engine.errors import LogLost, SchemaChangeRefused
from streams_engine.model import SchemaChange, TableId, TableSchema, TableSubscription

__all__ = ["StatementEffect", "StatementJudge", "rows_not_logged"]

Lookup = Callable[[TableId], "TableSchema | None"]
"""A table as today's catalog describes it."""

DDL = {"ALTER", "CREATE", "DROP", "RENAME", "TRUNCATE"}
OTHER_TABLES = 256
"""How many structures of tables in other databases are kept, those created or changed last: one of
them may be renamed into a followed database, or be the model of a new table there. For any other
the catalog is asked then."""

WRITES = {"INSERT", "UPDATE", "DELETE", "REPLACE", "LOAD", "MERGE", "WITH", "CALL"}


@dataclass(frozen=True, slots=True)
class StatementEffect:
    """The tables that a statement empties, or how it changes them."""

    emptied: tuple[TableId, ...] = ()
    changes: tuple[SchemaChange, ...] = ()


class StatementJudge:
    """Computes the effect of statements for one reader, and tracks the tables' structures."""

    def __init__(
        self,
        lookup: Lookup,
        *,
        mariadb: bool,
        fold: bool,
        foreign_keys: bool = False,
        defaults: ServerDefaults | None = None,
    ) -> None:
        self._lookup = lookup
        self._defaults = defaults or ServerDefaults()
        self._mariadb = mariadb
        self._fold = fold
        self._foreign_keys = foreign_keys
        self._tracked: dict[TableId, TableSubscription] = {}
        self._known: dict[TableId, TableSchema] = {}
        """Tables of the databases that are followed."""
        self._others: dict[TableId, TableSchema] = {}
        """The last tables of other databases, oldest first."""
        self._unsure: dict[TableId, str] = {}
        self._touched: set[TableId] = set()
        self._keep()

    def follow(self, tracked: Mapping[TableId, TableSubscription]) -> None:
        """Follow these tables from now on."""
        self._tracked = {self._id(one.schema.id): one for one in tracked.values()}
        self._known |= {key: one.schema for key, one in self._tracked.items()}

    def _id(self, table: TableId) -> TableId:
        if not self._fold:
            return TableId(table.schema, table.name)
        return TableId(table.schema.lower(), table.name.lower())

    def find(self, schema: str, name: str) -> TableSubscription | None:
        """Return the subscription of the table that a table map names, or None."""
        return self._tracked.get(self._id(TableId(schema, name)))

    def collations(self, schemas: Sequence[str]) -> dict[str, str]:
        """Return the default collations of databases, as the log has left them."""
        known = {schema: self._defaults.of_database(schema) for schema in schemas}
        return {schema: collation for schema, collation in known.items() if collation}

    # Statements

    def effect(
        self, query: Query, known: Callable[[TableId], bool] = lambda _: False
    ) -> StatementEffect:
        """Compute the effect of a statement outside of a transaction on the followed tables.

        ``known``: true of a followed table that was loaded after the statement, and so includes its
        effect.
        """
        ansi = bool(query.sql_mode & ANSI_QUOTES)
        words = without_settings(tokenize(query.text, ansi_quotes=ansi))
        if not words or words[0].upper not in DDL:
            if words and words[0].upper in WRITES:
                self.refuse_rows(query)
            return StatementEffect()
        names = {word.text.lower() for word in words if word.kind in ("name", "word")}
        self._touched |= {
            one.schema.id for key, one in self._tracked.items() if key.name.lower() in names
        }
        self._keep()
        context = DdlContext(
            query.schema,
            self._structure,
            self._foreign_keys,
            query.sql_mode,
            query.time_zone,
            query.codec,
            self._defaults,
        )
        try:
            if altered := database_collation(query.text, context):
                self._defaults.alter_database(*altered)
            outcome = schema_of_statement(query.text, context)
        except UnparsedStatementError:
            outcome = self._mentioned(query, ansi)
        self._demand_own_rows(outcome, names)
        return self._effect(self._without(outcome, known), masked(query.text, ansi_quotes=ansi))

    def _demand_own_rows(self, outcome: DdlOutcome, names: set[str]) -> None:
        """Raise `SchemaChangeRefused` if a table of the engine MERGE is made of followed tables:
        what is written to it changes them, but is logged under its own name."""
        merged = {c.after.id.name.lower() for c in outcome.changes if c.after and merges(c.after)}
        hit = [str(one.schema.id) for one in self._tracked.values()
               if merged and one.schema.id.name.lower() in names - merged]  # fmt: skip
        if hit:
            raise SchemaChangeRefused(
                f"A table of the engine MERGE is made of {', '.join(hit)}: rows that are written "
                "to it change these tables, but the binary log names only the merged table.",
                remedy="Write to the tables themselves, drop the merged one, and load again with "
                "start(fresh=True).",
                table=hit[0],
            )

    def _without(self, outcome: DdlOutcome, known: Callable[[TableId], bool]) -> DdlOutcome:
        """Return the outcome without what the loaded rows, or their structure, already include."""

        def is_known(table: TableId) -> bool:
            tracked = self._tracked.get(self._id(table))
            return tracked is not None and known(tracked.schema.id)

        moves = {self._id(c.table): self._id(c.names[-1]) for c in outcome.changes}
        changes: list[TableChange] = []
        for change in outcome.changes:
            ring = cycle(self._id(change.table), moves)
            if not any(map(is_known, (*change.names, *ring))):
                joins = change.like is not None and is_known(change.like)
                changes.append(_joining(change) if joins else change)
            elif is_known(change.table):
                continue
            elif len(ring) > 1:  # what it becomes was read at another place of the log
                changes.append(replace(change, after=change.before, unknown=None, rewritten=True))
            else:  # its new name was loaded since, with its rows
                changes.append(replace(change, after=None, unknown=None, rewritten=True))
        emptied = tuple(table for table in outcome.emptied if not is_known(table))
        return replace(outcome, emptied=emptied, changes=tuple(changes))

    def take_touched(self) -> set[TableId]:
        """Return the followed tables that statements named since the last call."""
        touched, self._touched = self._touched, set()
        return touched

    def undo(self) -> None:
        """Undo the last statement's changes of the known structures, because it is read again."""
        self._known, self._others, self._unsure = self._earlier

    def _keep(self) -> None:
        self._earlier = dict(self._known), dict(self._others), dict(self._unsure)

    def _structure(self, table: TableId) -> TableSchema | None:
        key = self._id(table)
        return self._known.get(key) or self._others.get(key)

    def _learn(self, table: TableSchema) -> None:
        """Store a structure; of tables in other databases only the last ones are kept."""
        key = self._id(table.id)
        if self._matters(key):
            self._known[key] = table
            return
        self._others.pop(key, None)
        if len(self._others) >= OTHER_TABLES:
            del self._others[next(iter(self._others))]
        self._others[key] = table

    def _forget(self, table: TableId) -> None:
        for kept in (self._known, self._others, self._unsure):
            kept.pop(table, None)

    def _forget_database(self, schema: str) -> None:
        """Forget all tables of a dropped database."""
        for table in [key for key in (*self._known, *self._others) if key.schema == schema]:
            self._forget(table)

    def _mentioned(self, query: Query, ansi: bool) -> DdlOutcome:
        """Return the outcome of a statement in an unknown form: the tables that it names are looked
        up in the catalog."""
        words = tokenize(query.text, ansi_quotes=ansi)
        names = {word.text.lower() for word in words if word.kind in ("name", "word")}
        changes = [
            TableChange(key, one.schema, None, unknown=one.schema.id, rewritten=True)
            for key, one in self._tracked.items()
            if key.name.lower() in names
        ]
        head = [word.upper for word in words[:5]]
        return DdlOutcome(changes=tuple(changes)) if "TABLE" in head else DdlOutcome()

    def _effect(self, outcome: DdlOutcome, statement: str) -> StatementEffect:
        emptied = tuple(
            self._tracked[key].schema.id
            for table in outcome.emptied
            if (key := self._id(table)) in self._tracked
        )
        changes: list[SchemaChange] = []
        for change in self._whole(outcome.changes):
            changes += self._replaced(change, statement)
            made = self._change(change, statement)
            if made is not None:
                changes.append(made)
        came_from = {self._id(c.after.id): c.table for c in outcome.changes if c.after}
        return StatementEffect(emptied, tuple(self._swapped(changes, came_from)))

    def _whole(self, changes: tuple[TableChange, ...]) -> list[TableChange]:
        """Return the changes, with DROP DATABASE as a drop of each followed table in it."""
        whole: list[TableChange] = []
        for change in changes:
            if change.table.name:
                whole.append(change)
                continue
            schema = self._id(TableId(change.table.schema, "")).schema
            whole += [
                TableChange(key, one.schema, None)
                for key, one in self._tracked.items()
                if key.schema == schema
            ]
            self._forget_database(schema)
        return whole

    def _change(self, change: TableChange, statement: str) -> SchemaChange | None:
        key = self._id(change.table)
        tracked = None if change.replaces else self._tracked.get(key)
        after = change.after
        if change.unknown is not None:
            target = self._id(change.unknown)
            if tracked is None and not self._matters(target):
                return None
            followed = tracked is not None or target in self._tracked
            after = self._from_catalog(change.unknown, statement, followed)
            if after is None:
                return None
        before = tracked.schema if tracked is not None else None
        if after is not None and self._mariadb:
            after = _with_json_texts(after)
        if after is not None:
            self._learn(after)
        if after is None or self._id(after.id) != key:
            self._forget(key)
        if before is None and (after is None or not self._matters(self._id(after.id))):
            return None
        altered = change.before is not None and not change.replaces
        if before is None and altered and after and self._id(after.id) == key:
            return None  # a table that is not followed stays so where it is only altered
        moved = before is None and after is not None and self._id(after.id) != key
        return SchemaChange(
            before,
            after,
            0,
            dict(change.renamed),
            statement,
            filled=moved or change.filled,
            rewritten=change.rewritten and before is not None,
            hindrance=hindrance_of(after) if after else None,
        )

    def _replaced(self, change: TableChange, statement: str) -> list[SchemaChange]:
        """Return the end of the table that CREATE OR REPLACE drops."""
        key = self._id(change.table)
        if not change.replaces or key not in self._tracked:
            return []
        self._forget(key)
        return [SchemaChange(self._tracked[key].schema, None, 0, {}, statement)]

    def _matters(self, table: TableId) -> bool:
        """Return whether a table of that name would be in a database of the stream, and is not one
        that a stream keeps its state in."""
        own = table.name.lower() in STATE_TABLES
        return not own and any(key.schema == table.schema for key in self._tracked)

    def _from_catalog(self, table: TableId, statement: str, followed: Any) -> TableSchema | None:
        schema = self._lookup(table)
        if schema is None:
            if followed:
                raise self._refused(table, statement)
            return None
        self._unsure[self._id(table)] = statement
        return schema

    def _swapped(
        self, changes: list[SchemaChange], came_from: Mapping[TableId, TableId]
    ) -> list[SchemaChange]:
        """Keep following a table that another one replaces in one statement.

        gh-ost and pt-online-schema-change end this way: their new table has the same rows, any
        other has its own. Tables that exchange their names each become the other.
        """
        new = {self._id(c.after.id): c.after for c in changes if not c.before and c.after}
        left = {
            self._id(c.before.id): self._id(c.after.id) for c in changes if c.before and c.after
        }
        rings = {key for key in left if cycle(key, left)}
        new |= {self._id(c.after.id): c.after for c in changes
                if c.after and self._id(c.after.id) in rings}  # fmt: skip
        taken = {
            key for c in changes if c.before is not None and (key := self._id(c.before.id)) in new
        }
        kept = []
        for change in changes:
            if change.before is not None:
                key = self._id(change.before.id)
                if key not in new or (change.after and self._id(change.after.id) == key):
                    kept.append(change)
                    continue
                former = came_from.get(key, key).name.lower()
                copied = former in {f"_{key.name.lower()}_gho", f"_{key.name.lower()}_new"}
                ring = key in rings
                kept.append(
                    replace(
                        change,
                        after=new[key],
                        renamed={},
                        rewritten=ring or not copied,
                        exchanged=ring,
                    )
                )
            elif change.after is not None and self._id(change.after.id) not in taken:
                kept.append(change)
        return kept

    def _refused(self, table: TableId, statement: str) -> SchemaChangeRefused:
        return SchemaChangeRefused(
            f"{table}: the effect of this statement is unknown: {statement}",
            remedy="Load the table again: that reads its present structure.",
            table=str(table),
        )

    # What is held against the next row images

    def confirm(self, table: TableMap) -> None:
        """Check an assumption from the catalog against a table map."""
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
        """Raise `LogLost` if a statement writes rows of a followed table without row images."""
        words = without_settings(
            tokenize(query.text, ansi_quotes=bool(query.sql_mode & ANSI_QUOTES))
        )
        if not words or words[0].upper not in WRITES:
            return
        names = {word.text.lower() for word in words if word.kind in ("name", "word")}
        hit = [one.schema.id for key, one in self._tracked.items() if key.name.lower() in names]
        if hit or words[0].upper == "LOAD":
            raise rows_not_logged(", ".join(map(str, hit)) or "rows")


def _with_json_texts(table: TableSchema) -> TableSchema:
    """Return a table of MariaDB with the character set of its JSON columns, which are texts."""
    columns = tuple(
        replace(c, charset="utf8mb4", collation="utf8mb4_bin") if c.type.name == "json" else c
        for c in table.columns
    )
    return replace(table, columns=columns)


def merges(table: TableSchema) -> bool:
    """Return whether a table has the rows of others."""
    return table.engine == "MRG_MyISAM"


def cycle(table: TableId, renames: Mapping[TableId, TableId]) -> tuple[TableId, ...]:
    """Return the names that renames lead through from a name back to it; none if they do not."""
    names = [table]
    while (at := renames.get(names[-1])) is not None and at != table:
        if at in names:
            return ()
        names.append(at)
    return tuple(names) if at == table else ()


def rows_not_logged(written: str) -> LogLost:
    """Return the error for a log that contains a statement instead of the rows that it writes."""
    return LogLost(
        f"The binary log contains a statement that writes {written} instead of the rows "
        "(binlog_format is not ROW).",
        remedy="SET GLOBAL binlog_format = 'ROW'; reconnect the sessions that write, and load the "
        "tables again.",
    )


def _joining(change: TableChange) -> TableChange:
    """Return the change of a table that was made like another one, of which only a later structure
    is known: the table joins with its rows."""
    return replace(change, after=None, unknown=change.table, filled=True)
