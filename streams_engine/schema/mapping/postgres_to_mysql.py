"""PostgreSQL tables, mapped to MySQL and MariaDB."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pyarrow as pa

from streams_engine.errors import require
from streams_engine.model import (
    Catalog,
    Check,
    Column,
    Dialect,
    Expression,
    ForeignKey,
    Identity,
    Index,
    IndexPart,
    NativeType,
    Sequence,
    TableId,
    TableSchema,
    TypeKind,
)
from streams_engine.schema.ddl.mysql_keys import KeyColumns, fit_rows
from streams_engine.schema.ddl.names import Namespace, shorten
from streams_engine.schema.mapping.postgres_to_mysql_types import PostgresTypeRule, rule_for
from streams_engine.schema.mapping.postgres_to_postgres import NEXT_VALUE, sequence_called
from streams_engine.schema.mapping.tables import (
    ColumnMapping,
    Findings,
    MappedCatalog,
    MappingOptions,
    TableMapping,
    chosen_type,
    notes_of,
)
from streams_engine.schema.types.flavours import BINARY_COLLATION, CASELESS_COLLATION, notes_for
from streams_engine.schema.types.mysql import mysql_type
from streams_engine.schema.types.postgres import base_of

__all__ = ["map_postgres_to_mysql"]

LONGEST = 64
"""Characters in a name, https://dev.mysql.com/doc/refman/en/identifier-length.html"""
MOST_COLUMNS = 1017
"""Columns of a table of InnoDB, https://dev.mysql.com/doc/refman/en/innodb-limits.html"""
TEXTUAL = {"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set"}
COUNTERS = {"tinyint", "smallint", "mediumint", "int", "bigint"}


def map_postgres_to_mysql(catalog: Catalog, options: MappingOptions) -> MappedCatalog:
    """Map every table of a PostgreSQL catalog to MySQL."""
    return _Mapper(catalog, options).run()


@dataclass
class _Mapper:
    catalog: Catalog
    options: MappingOptions

    def run(self) -> MappedCatalog:
        self.findings = Findings()
        self._leave_out()
        self.names = Namespace()
        self.constraints = Namespace()
        self.keys = KeyColumns(self.catalog)
        self.counters = self._sequences()
        self.targets = {table.id: self._table_id(table.id) for table in self.catalog.tables}
        self.wholes = {
            part.id: table.id
            for table in self.catalog.tables
            for part in (table.partitioning.every() if table.partitioning else ())
        }
        self.columns = {table.id: self._column_names(table) for table in self.catalog.tables}
        mapped = {table.id: self._mapped_columns(table) for table in self.catalog.tables}
        self.types = {
            table_id: {c.source.name: c.target.type for c in columns}
            for table_id, columns in mapped.items()
        }
        tables = tuple(self._table(table, mapped[table.id]) for table in self.catalog.tables)
        used = {sequence.id for sequence in self.counters.values()}
        for sequence in self.catalog.sequences:
            if sequence.id not in used:
                self.findings.warn("sequence", sequence.id, "MySQL has no sequences: left out.")
        target = Catalog(Dialect.MYSQL, tuple(t.target for t in tables))
        return MappedCatalog(self.catalog, target, tables, tuple(self.findings.items))

    def _leave_out(self) -> None:
        """Leave out tables without columns, or with more than MySQL has."""
        kept = []
        for table in self.catalog.tables:
            number = len(table.columns)
            if 0 < number <= MOST_COLUMNS:
                kept.append(table)
                continue
            found = f"It has {number} columns, and MySQL (InnoDB) takes {MOST_COLUMNS}."
            repair = "Split it, or leave the table out of the stream."
            if not number:
                found = "It has no columns, and MySQL has no such tables."
                repair = "Add a column, or leave the table out of the stream."
            self.findings.warn("left-out", table.id, found, repair)
        self.catalog = replace(self.catalog, tables=tuple(kept))

    def _sequences(self) -> dict[tuple[TableId, str], Sequence]:
        """Return the sequence that numbers each column: the one that it owns, or that its default
        calls.

        Child tables share the sequence of their parent; on MySQL every table has its own counter.
        """
        sequences = {s.owner: s for s in self.catalog.sequences if s.owner is not None}
        for table in self.catalog.tables:
            for column in table.columns:
                called = column.default and NEXT_VALUE.match(column.default.sql)
                if not called or table.inherits:
                    continue
                sequence = sequence_called(called[1], self.catalog.sequences)
                if sequence is not None:
                    sequences.setdefault((table.id, column.name), sequence)
        return sequences

    # Names

    def _case(self, name: str) -> str:
        return name.lower() if self.options.identifier_case == "lower" else name

    def _table_id(self, source: TableId) -> TableId:
        wanted = source.name if source.schema == "public" else f"{source.schema}__{source.name}"
        wanted = self.options.prefix + self._case(wanted)
        name = self.names.unique(wanted)
        if name != wanted:
            self.findings.warn(
                "renamed", source, f"The table is renamed to '{name}' on the target."
            )
        return TableId(self.options.target_schema or source.schema, name)

    def _column_names(self, table: TableSchema) -> dict[str, str]:
        """Return the target's column names; MySQL treats names that differ only in case as
        equal."""
        names: dict[str, str] = {}
        taken: set[str] = set()
        for column in table.columns:
            name = wanted = self._case(column.name).rstrip() or "_"
            number = 2
            while name.lower() in taken:
                end = f"_{number}"
                name, number = shorten(wanted, LONGEST - len(end)) + end, number + 1
            taken.add(name.lower())
            names[column.name] = name
            if name != column.name and name.lower() != column.name.lower():
                self.findings.warn(
                    "renamed",
                    f"{table.id}.{column.name}",
                    f"The column is renamed to '{name}' on the target, where another column has "
                    "its name.",
                )
        return names

    # Tables

    def _mapped_columns(self, table: TableSchema) -> list[ColumnMapping]:
        return fit_rows(
            [self._column(table, column) for column in table.columns], self.keys.of(table.id)
        )

    def _table(self, source: TableSchema, columns: list[ColumnMapping]) -> TableMapping:
        for note in notes_of(source):
            self.findings.warn("not-carried", source.id, note)
        if source.partitioning is not None:
            self.findings.warn("partitions", source.id, "Its partitions become one table.")
        for exclusion in source.exclusions:
            self.findings.warn(
                "exclusion", f"{source.id}.{exclusion.name}", "MySQL has no exclusion constraints."
            )
        primary = source.primary_key and self._index(source, source.primary_key)
        indexes = tuple(i for x in source.indexes if (i := self._index(source, x)) is not None)
        indexes += self._counter_index(source, columns, primary, indexes)
        target = TableSchema(
            id=self.targets[source.id],
            dialect=Dialect.MYSQL,
            columns=self._counted(source, columns, primary, indexes),
            primary_key=primary,
            indexes=indexes,
            foreign_keys=tuple(
                fk
                for x in self._all_keys(source)
                if (fk := self._foreign_key(source, x)) is not None
            ),
            checks=tuple(c for x in source.checks if (c := self._check(source, x)) is not None),
            comment=self._comment(source.id, source.comment, 2048),
            estimated_rows=source.estimated_rows,
            bytes=source.bytes,
            options=("DEFAULT CHARSET=utf8mb4",),
        )
        return TableMapping(source, target, tuple(columns))

    def _comment(self, what: object, text: str | None, longest: int) -> str | None:
        if text and len(text) > longest:
            self.findings.warn(
                "comment", what, f"Its comment is truncated to {longest} characters."
            )
            return text[:longest]
        return text

    def _column(self, table: TableSchema, source: Column) -> ColumnMapping:
        where = f"{table.id}.{source.name}"
        override = chosen_type(self.options, table.id, source, postgres_source=True)
        rule = rule_for(source.type)
        if override is not None:
            rule = _for_override(rule, override)
        native = override or self._native(source, rule, where)
        native = self.keys.fitted(table.id, source.name, native)
        if source.generated is not None:
            self.findings.warn(
                "generated-as-plain",
                where,
                f"It is generated as ({source.generated.sql}), which cannot be translated for "
                "MySQL: it becomes a plain column with its values.",
            )
        citext = base_of(source.type).name == "citext"
        collations = CASELESS_COLLATION if citext else BINARY_COLLATION
        textual = native.name in TEXTUAL
        target = Column(
            name=self.columns[table.id][source.name],
            type=native,
            arrow=rule.arrives or rule.read,
            nullable=source.nullable and not self._in_primary_key(table, source),
            default=self._default(table, source, native, where),
            charset="utf8mb4" if textual else None,
            collation=collations[self.options.mariadb] if textual else None,
            comment=self._comment(where, source.comment, 1024),
        )
        notes = notes_for(native, mariadb=self.options.mariadb)
        if rule.note and override is None:
            notes = (rule.note, *notes)
        read = replace(source, arrow=rule.read, as_json=rule.as_json)
        rounds = native.name == "json" and not self.options.mariadb
        return ColumnMapping(read, target, "json_numbers" if rounds else rule.convert, notes)

    def _in_primary_key(self, table: TableSchema, column: Column) -> bool:
        return table.primary_key is not None and column.name in table.primary_key.columns

    def _native(self, source: Column, rule: PostgresTypeRule, where: str) -> NativeType:
        base = base_of(source.type)
        if base.kind is not TypeKind.ENUM:
            return mysql_type(rule.type_text(base))
        if any(len(label) > 255 or label != label.rstrip() for label in base.labels):
            self.findings.warn(
                "enum-as-text",
                where,
                "A label is too long for ENUM, or ends in a space: the column becomes text.",
            )
            return mysql_type("longtext")
        return NativeType(Dialect.MYSQL, "enum", "enum", kind=TypeKind.ENUM, labels=base.labels)

    # Defaults and counters

    def _default(
        self, table: TableSchema, source: Column, native: NativeType, where: str
    ) -> Expression | None:
        if source.default is None or self._counter(table, source) is not None:
            return None
        # Loads sqlglot, a tenth of a second: only where there is an expression.
        from streams_engine.schema.mapping.expressions_to_mysql import translate_default

        default = translate_default(source.default, base_of(source.type), native)
        if default is None and not source.default.sql.upper().startswith("NULL"):
            self.findings.warn(
                "default",
                where,
                f"Its default ({source.default.sql}) has no certain equivalent on MySQL and is "
                "left out.",
                "Set a default by hand after the run.",
            )
        return default

    def _counter(self, table: TableSchema, source: Column) -> Identity | None:
        """Return what numbers a column: its identity, or the sequence that it owns (serial). MySQL
        numbers no column that allows NULL."""
        if source.identity is not None:
            return source.identity
        if source.nullable:
            return None
        sequence = self.counters.get((table.id, source.name))
        if sequence is None or source.default is None or "nextval" not in source.default.sql:
            return None
        last = sequence.last_value
        following = sequence.start if last is None else last + sequence.increment
        return Identity(next_value=following)

    def _counter_index(
        self,
        table: TableSchema,
        columns: list[ColumnMapping],
        primary: Index | None,
        indexes: tuple[Index, ...],
    ) -> tuple[Index, ...]:
        """Return an index for the AUTO_INCREMENT column if it begins no key, as in the key of a
        partitioned table."""
        counters = [c.target for c in columns if self._counter(table, c.source) is not None]
        firsts = {i.parts[0].column for i in (primary, *indexes) if i is not None}
        if len(counters) != 1 or counters[0].type.name not in COUNTERS:
            return ()
        name = counters[0].name
        if name in firsts:
            return ()
        return (Index(shorten(f"{name}_counter", LONGEST), (IndexPart(column=name),)),)

    def _counted(
        self,
        table: TableSchema,
        columns: list[ColumnMapping],
        primary: Index | None,
        indexes: tuple[Index, ...],
    ) -> tuple[Column, ...]:
        """Return the target's columns, with AUTO_INCREMENT on the one that may have it."""
        firsts = {i.parts[0].column for i in (primary, *indexes) if i is not None}
        columns_of_target: list[Column] = []
        taken = False
        for mapping in columns:
            column = mapping.target
            counter = self._counter(table, mapping.source)
            if counter is not None:
                usable = column.name in firsts and column.type.name in COUNTERS and not taken
                if usable:
                    taken = True
                    column = replace(column, identity=counter, nullable=False)
                else:
                    self.findings.warn(
                        "auto-increment",
                        f"{table.id}.{mapping.source.name}",
                        "MySQL numbers one column of a table, an integer that begins a key: "
                        "this column gets no numbers of its own.",
                    )
            columns_of_target.append(column)
        return tuple(columns_of_target)

    # Keys, indexes, constraints

    def _index(self, table: TableSchema, index: Index) -> Index | None:
        where = f"{table.id}.{index.name}"
        reason = self._hindrance(table, index)
        if reason:
            self.findings.warn("index", where, f"The index is left out: {reason}.")
            return None
        if index.include or not index.nulls_distinct or index.deferrable:
            self.findings.warn(
                "index", where, "INCLUDE, NULLS NOT DISTINCT and DEFERRABLE are not carried over."
            )
        parts = tuple(self._part(table, index, part) for part in index.parts)
        return Index(
            shorten(self._case(index.name), LONGEST),
            parts,
            unique=index.unique,
            primary=index.primary,
            constraint=index.constraint,
            comment=self._comment(where, index.comment, 1024),
            optional=not index.unique,
        )

    def _hindrance(self, table: TableSchema, index: Index) -> str | None:
        if index.method not in ("btree", "hash") and not index.without_overlaps:
            return f"MySQL has no {index.method} indexes"
        if any(part.expression is not None for part in index.parts):
            return "it is over an expression"
        if index.where is not None and index.unique:
            return "it is unique only for some rows (WHERE)"
        types = self.types[table.id]
        bad = [c for c in index.columns if types[c].name in {"json"}]
        if bad:
            return f"MySQL cannot index {', '.join(bad)} ({types[bad[0]]})"
        return None

    def _part(self, table: TableSchema, index: Index, part: IndexPart) -> IndexPart:
        column = require(part.column, "the column of a key part")
        return IndexPart(
            column=self.columns[table.id][column],
            descending=part.descending,
            length=self.keys.prefix(table.id, index, self.types[table.id][column]),
        )

    def _check(self, table: TableSchema, check: Check) -> Check | None:
        from streams_engine.schema.mapping.expressions_to_mysql import (
            CheckedColumn,
            translate_check,
        )

        names = self.columns[table.id]
        columns = {
            column.name: CheckedColumn(
                base_of(column.type), self.types[table.id][column.name], names[column.name]
            )
            for column in table.columns
        }
        translated = translate_check(check.expression, columns)
        if translated is None:
            self.findings.warn(
                "check",
                f"{table.id}.{check.name}",
                f"The check ({check.expression.sql}) has no certain equivalent on MySQL and is "
                "left out.",
                "Add it by hand after the run.",
            )
            return None
        if not check.enforced and self.options.mariadb:
            self.findings.warn(
                "check",
                f"{table.id}.{check.name}",
                "It is NOT ENFORCED, which MariaDB does not know: left out.",
            )
            return None
        name = self._constraint_name(check.name)
        return Check(name, translated, enforced=check.enforced, optional=True)

    def _constraint_name(self, name: str) -> str:
        """Return a unique constraint name: constraints share one namespace in a MySQL database."""
        return self.constraints.unique(shorten(self.options.prefix + self._case(name), LONGEST))

    def _all_keys(self, table: TableSchema) -> tuple[ForeignKey, ...]:
        """Return the foreign keys of a table, including those that each of its partitions has
        alone."""
        if table.partitioning is None:
            return table.foreign_keys
        leaves = set(table.partitioning.leaves())
        shared: dict[ForeignKey, list[tuple[TableId, str]]] = {}
        for part in table.partitioning.every():
            for fk in part.foreign_keys:
                covered = part.partitioning.leaves() if part.partitioning else (part.id,)
                same = replace(fk, name="", comment=None)
                shared.setdefault(same, []).extend((leaf, fk.name) for leaf in covered)
        kept = []
        for fk, places in shared.items():
            missing = leaves - {leaf for leaf, _ in places}
            if not missing:
                kept.append(replace(fk, name=places[0][1]))
                continue
            self.findings.warn(
                "foreign-key",
                f"{table.id}.{places[0][1]}",
                "Some partitions lack this foreign key "
                f"({', '.join(sorted(map(str, missing)))}), and on the target all are one table: "
                "it is left out.",
            )
        return (*table.foreign_keys, *kept)

    def _in_key_order(self, fk: ForeignKey) -> ForeignKey:
        """Return the foreign key with its columns in the order of the key that it refers to, which
        MySQL demands."""
        parent = self.catalog.table(fk.referenced)
        keys = () if parent is None else (parent.primary_key, *parent.indexes)
        fitting = [
            key.columns
            for key in keys
            if key is not None and key.unique and set(key.columns) == set(fk.referenced_columns)
        ]
        if not fitting or fk.referenced_columns in fitting:
            return fk
        return _ordered(fk, fitting[0])

    def _foreign_key(self, table: TableSchema, fk: ForeignKey) -> ForeignKey | None:
        where = f"{table.id}.{fk.name}"
        whole = self.wholes.get(fk.referenced)
        if whole is not None:
            self.findings.warn(
                "foreign-key",
                where,
                f"It refers to {fk.referenced}, a partition; on the target it refers to the "
                f"whole table {whole}.",
            )
            fk = replace(fk, referenced=whole)
        if fk.referenced not in self.targets:
            self.findings.warn(
                "foreign-key",
                where,
                f"The foreign key refers to {fk.referenced}, which is not moved: it is left out.",
            )
            return None
        if fk.period or not fk.enforced:
            what = "PERIOD" if fk.period else "NOT ENFORCED"
            self.findings.warn("foreign-key", where, f"It has {what}, which MySQL lacks: left out.")
            return None
        fk = self._in_key_order(fk)
        ours = [self.types[table.id][c] for c in fk.columns]
        theirs = [self.types[fk.referenced][c] for c in fk.referenced_columns]
        if any(
            a.name != b.name or a.unsigned != b.unsigned for a, b in zip(ours, theirs, strict=True)
        ):
            self.findings.warn(
                "foreign-key",
                where,
                "Its columns have different types, which MySQL does not allow: left out.",
            )
            return None
        unfit = {"SET DEFAULT"}
        if any(not table.column(c).nullable for c in fk.columns):
            unfit.add("SET NULL")  # MySQL forbids it where a column may not be NULL
        if fk.deferrable or fk.match != "SIMPLE" or unfit & {fk.on_delete, fk.on_update}:
            self.findings.warn(
                "foreign-key",
                where,
                "DEFERRABLE, MATCH FULL, SET DEFAULT, and SET NULL of a column that is NOT "
                "NULL, are not carried over.",
            )
        actions = dict.fromkeys(unfit, "NO ACTION")
        return ForeignKey(
            self._constraint_name(fk.name),
            tuple(self.columns[table.id][c] for c in fk.columns),
            self.targets[fk.referenced],
            tuple(self.columns[fk.referenced][c] for c in fk.referenced_columns),
            on_delete=actions.get(fk.on_delete, fk.on_delete),
            on_update=actions.get(fk.on_update, fk.on_update),
        )


def _ordered(fk: ForeignKey, key: tuple[str, ...]) -> ForeignKey:
    pairs = dict(zip(fk.referenced_columns, fk.columns, strict=True))
    return replace(fk, columns=tuple(pairs[c] for c in key), referenced_columns=key)


def _for_override(rule: PostgresTypeRule, native: NativeType) -> PostgresTypeRule:
    """Return how values travel to a type that the user chose: as text if that type is a text."""
    if native.name in TEXTUAL | {"json"}:
        return PostgresTypeRule("", pa.string(), as_json=rule.as_json and native.name == "json")
    return rule
