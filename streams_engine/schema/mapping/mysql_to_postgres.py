"""MySQL and MariaDB tables, mapped to PostgreSQL."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

import pyarrow as pa

from streams_engine.errors import UnsupportedType, require
from streams_engine.model import (
    Catalog,
    Check,
    Column,
    Dialect,
    Expression,
    Finding,
    ForeignKey,
    Index,
    IndexPart,
    NativeType,
    Sequence,
    Severity,
    TableId,
    TableSchema,
    TypeKind,
    UserType,
)
from streams_engine.schema.ddl.mysql_keys import row_key, unsigned_keys
from streams_engine.schema.ddl.names import MAX_BYTES, Namespace, shorten
from streams_engine.schema.ddl.postgres import LAST_NUMBER, literal, name_of
from streams_engine.schema.mapping.mysql_to_postgres_types import (
    GEOMETRIES,
    LONG_TIME,
    MysqlTypeRule,
    rule_for,
)
from streams_engine.schema.mapping.tables import (
    ColumnMapping,
    Findings,
    MappedCatalog,
    MappingOptions,
    TableMapping,
    chosen_type,
    computes_all,
    keyed_by,
    override_for,
)
from streams_engine.schema.types.postgres import postgres_type
from streams_engine.schema.types.relaxation import fits_boolean

__all__ = ["map_mysql"]

_TEXTUAL = {"text", "varchar", "bpchar"}
_FRACTIONAL = {"decimal", "float", "double"}

ZERO_DATE = re.compile(r"0000-|-00")
"""In a default: a date that PostgreSQL does not have."""
_TIME = re.compile(r"'(-?)(\d+):(\d+):(\d+(?:\.\d+)?)'")
_BYTES = re.compile(r"'\\x([0-9A-Fa-f]*)'::bytea")


def map_mysql(catalog: Catalog, options: MappingOptions) -> MappedCatalog:
    """Map every table of a MySQL catalog to PostgreSQL. Raises `UnsupportedType`."""
    return _Mapper(catalog, options).run()


@dataclass
class _Mapper:
    catalog: Catalog
    options: MappingOptions

    def run(self) -> MappedCatalog:
        self.findings = Findings()
        self.names: dict[str, Namespace] = {}
        self.types: list[UserType] = []
        self.sequences: list[Sequence] = []
        self.targets = {table.id: self._table_id(table.id) for table in self.catalog.tables}
        # Column names first: foreign keys need those of other tables.
        self.columns = {
            table.id: {c.name: self._column_name(table, c.name) for c in table.columns}
            for table in self.catalog.tables
        }
        numbered = unsigned_keys(self.catalog)
        self.unsigned = {*numbered, *(c for columns in numbered.values() for c in columns)}
        self._tell_unsigned(numbered)
        self.spans = self._spans()
        tables = tuple(self._table(table) for table in self.catalog.tables)
        target = Catalog(
            Dialect.POSTGRES,
            tuple(t.target for t in tables),
            types=tuple(self.types),
            sequences=tuple(self.sequences),
        )
        return MappedCatalog(self.catalog, target, tables, tuple(self.findings.items))

    def _tell_unsigned(
        self, numbered: Mapping[tuple[TableId, str], Collection[tuple[TableId, str]]]
    ) -> None:
        """Say what BIGINT UNSIGNED keys become, and what else they could become."""
        if self.options.unsigned_keys == "bigint":
            return
        for (table_id, name), referring in numbered.items():
            table = self.catalog.table(table_id)
            if table is None or self._overridden(table, table.column(name)):
                continue
            number = len(referring)
            others = ", and so does 1 column that refers to it" if number == 1 else ""
            others = f", and so do {number} columns that refer to it" if number > 1 else others
            self.findings.warn(
                "unsigned-key",
                f"{table_id}.{name}",
                f"BIGINT UNSIGNED becomes numeric(20), numbered by a sequence{others}.",
                "To get bigint keys choose options.unsignedKeys bigint; a number beyond 2^63 - "
                "1 is then rejected.",
            )

    def _overridden(self, table: TableSchema, column: Column) -> bool:
        return chosen_type(self.options, table.id, column, postgres_source=False) is not None

    # Names

    def _case(self, name: str) -> str:
        return name.lower() if self.options.identifier_case == "lower" else name

    def _namespace(self, schema: str) -> Namespace:
        return self.names.setdefault(schema, Namespace())

    def _table_id(self, source: TableId) -> TableId:
        schema = self.options.target_schema or self._case(source.schema)
        wanted = self.options.prefix + self._case(source.name)
        name = self._namespace(schema).unique(wanted, f"{source.schema}_{wanted}")
        if name != wanted:
            long = f"too long for PostgreSQL ({MAX_BYTES} bytes)"
            self.findings.warn(
                "renamed",
                source,
                f"The table is renamed to '{name}' on the target: its own name is "
                f"{long if shorten(wanted) != wanted else 'taken by another table'}.",
            )
        return TableId(schema, name)

    def _column_name(self, table: TableSchema, name: str) -> str:
        short = shorten(self._case(name))
        if short != self._case(name):
            self.findings.warn(
                "renamed",
                f"{table.id}.{name}",
                f"The column is renamed to '{short}' on the target: its own name is too long for "
                f"PostgreSQL ({MAX_BYTES} bytes).",
            )
        return short

    # Tables

    def _table(self, source: TableSchema) -> TableMapping:
        target_id = self.targets[source.id]
        mappings = [self._column(source, column, target_id) for column in source.columns]
        primary = source.primary_key and self._primary_key(source, source.primary_key, target_id)
        for note in source.source_notes:
            self.findings.warn("not-carried", source.id, note)
        target = TableSchema(
            id=target_id,
            dialect=Dialect.POSTGRES,
            columns=tuple(m.target for m in mappings),
            primary_key=primary,
            indexes=tuple(
                index
                for original in source.indexes
                if (index := self._index(source, original, target_id)) is not None
            ),
            foreign_keys=tuple(
                fk
                for original in source.foreign_keys
                if (fk := self._foreign_key(source, original)) is not None
            ),
            checks=tuple(
                check
                for original in source.checks
                if (check := self._check(source, original)) is not None
            ),
            comment=source.comment or None,
            estimated_rows=source.estimated_rows,
            bytes=source.bytes,
        )
        carried = tuple(m for m in mappings if m.target.generated is None)
        computed = tuple(m for m in mappings if m.target.generated is not None)
        self._warn_case(source)
        return TableMapping(source, target, carried, generated=computed)

    # Columns

    def _column(self, table: TableSchema, source: Column, target_id: TableId) -> ColumnMapping:
        where = f"{table.id}.{source.name}"
        rule = rule_for(source, boolean=self._is_boolean(table, source))
        override = chosen_type(self.options, table.id, source, postgres_source=False)
        if rule is None and override is None:
            raise UnsupportedType(
                f"Column {where} has type {source.type.text}, which has no mapping to PostgreSQL.",
                remedy="Name a type for it in options.typeOverrides, or leave the table out.",
                column=where,
                type=source.type.text,
            )
        if (table.id, source.name) in self.unsigned and self.options.unsigned_keys == "bigint":
            rule = MysqlTypeRule("bigint", note="numbers beyond 2^63 - 1 are rejected")
        if override is None and not self.options.quarantine and self._is_span(table, source, where):
            rule = LONG_TIME
        rule = rule or MysqlTypeRule("text")
        if rule.convert == "date" and override is None and self.options.zero_dates == "text":
            override = postgres_type("text")
        native = override or self._native(source, rule, target_id, where)
        read, arrives, convert = self._transport(source, native, rule, override is not None)
        name = self.columns[table.id][source.name]
        numbers = source.identity is not None
        sequenced = numbers and native.name not in LAST_NUMBER
        self._note_exhausted(source, native, where)
        default = self._default(source, native, where)
        target = Column(
            name=name,
            type=native,
            arrow=arrives,
            nullable=source.nullable or self._relaxed(table, source, convert, where),
            default=self._sequence(source, target_id, name) if sequenced else default,
            identity=None if sequenced else source.identity,
            generated=self._generated(table, source, where),
            comment=source.comment or None,
        )
        if source.on_update is not None:
            self.findings.warn(
                "on-update",
                where,
                "ON UPDATE CURRENT_TIMESTAMP has no equivalent on PostgreSQL and is left out.",
                "Add a trigger where the application relies on it.",
            )
        self._tell_narrowed(table, source, native, where)
        notes = (rule.note,) if rule.note and override is None else ()
        return ColumnMapping(replace(source, arrow=read), target, convert, notes)

    def _tell_narrowed(
        self, table: TableSchema, source: Column, native: NativeType, where: str
    ) -> None:
        """Tell of values and rules of a type that the chosen one does not have."""
        count = self.options.observed.long_times.get((table.id, source.name), 0)
        if count and native.name == "time":
            rows = _rows_hold(count)
            fate = "quarantined" if self.options.quarantine else "rejected, which ends the run"
            choice = f'{{"column": "{table.id.name}.{source.name}", "to": "interval"}}'
            self.findings.warn(
                "time-outside-a-day",
                where,
                f"{rows} a time outside 00:00:00 to 24:00:00, which PostgreSQL's time cannot "
                f"hold: {fate}.",
                f"Choose interval: options.typeOverrides [{choice}]; or quarantine such rows with "
                "onError: quarantine.",
            )
        if source.type.name in GEOMETRIES and native.name == "bytea":
            self.findings.tell(
                "geometry-as-bytes",
                where,
                f"{source.type.text} becomes bytea, in MySQL's internal form: 4 bytes of SRID, "
                "then WKB.",
                "With PostGIS: ST_GeomFromWKB(substring(column FROM 5)).",
            )
        if source.type.unsigned and source.type.name in _FRACTIONAL:
            self.findings.tell(
                "unsigned-left-out",
                where,
                "UNSIGNED has no equivalent on PostgreSQL and is left out: negative numbers are "
                "possible there.",
                f'Add CHECK ("{self.columns[table.id][source.name]}" >= 0) by hand where that '
                "matters.",
            )

    def _spans(self) -> set[tuple[TableId, str]]:
        """Return the TIME columns that hold more than a time of day, which only intervals do, and
        those that they refer to: an interval refers to no time."""
        spans = {
            (table.id, column.name)
            for table in self.catalog.tables
            for column in table.columns
            if column.type.name == "time"
            and (
                (table.id, column.name) in self.options.observed.long_times
                or (column.default is not None and _is_outside_a_day(column.default.sql))
            )
        }
        links = {
            ((table.id, name), (key.referenced, other))
            for table in self.catalog.tables
            for key in table.foreign_keys
            for name, other in zip(key.columns, key.referenced_columns, strict=True)
        }
        while more := {other for column, other in links if column in spans} - spans:
            spans |= more
        return spans

    def _is_span(self, table: TableSchema, source: Column, where: str) -> bool:
        """Return True if a TIME column becomes an interval, and tell why."""
        if (table.id, source.name) not in self.spans or source.type.name != "time":
            return False
        count = self.options.observed.long_times.get((table.id, source.name))
        if count == 0:
            return True
        default = source.default is not None and _is_outside_a_day(source.default.sql)
        why = f"{_rows_hold(count)} a time" if count else "its default is a time"
        if not count and not default:
            why = "a column that refers to it has a time"
        self.findings.warn(
            "time-outside-a-day",
            where,
            f"{why[0].upper()}{why[1:]} outside 00:00:00 to 24:00:00, which PostgreSQL's time "
            "cannot hold: the column becomes an interval.",
            "Tell the applications that read the column.",
        )
        return True

    def _relaxed(self, table: TableSchema, source: Column, convert: str | None, where: str) -> bool:
        """Return True if zero dates become NULL in a column that is NOT NULL on the source."""
        if convert != "date" or self.options.zero_dates != "null":
            return False
        count = self.options.observed.zero_dates.get((table.id, source.name), 0)
        default = source.default is not None and ZERO_DATE.search(source.default.sql) is not None
        if not count and not default:
            return False
        rows = _rows_hold(count)
        if source.name in row_key(table):
            if count:
                finding = _zero_dates_in_key(where, rows, quarantine=self.options.quarantine)
                self.findings.items.append(finding)
            return False
        why = f"{rows} a zero or partial date" if count else "its default is a zero date"
        self.findings.warn(
            "zero-dates-not-null",
            where,
            f"It is NOT NULL on the source, and {why}: on the target it allows NULL, and such "
            "dates become NULL (zeroDates: null).",
            "Repair the dates on the source, or choose zeroDates text to keep them.",
        )
        return True

    def _is_boolean(self, table: TableSchema, column: Column) -> bool:
        seen = (table.id, column.name) in self.options.observed.booleans
        return seen and fits_boolean(column)

    def _native(
        self, source: Column, rule: MysqlTypeRule, table: TableId, where: str
    ) -> NativeType:
        text = rule.type_text(source.type)
        return self._enum(source, table, where) if text == "enum" else postgres_type(text)

    def _enum(self, source: Column, table: TableId, where: str) -> NativeType:
        labels = source.type.labels
        if _unreadable(source, labels):
            self.findings.warn(
                "enum-as-text",
                where,
                "A label may contain a character that information_schema shows as '?': the "
                "column becomes text.",
            )
            return postgres_type("text")
        if any(len(label.encode()) > MAX_BYTES for label in labels):
            self.findings.warn(
                "enum-as-text",
                where,
                f"A label is longer than {MAX_BYTES} bytes: the column becomes text.",
            )
            return postgres_type("text")
        wanted = f"{table.name}_{self._case(source.name)}"
        name = self._namespace(table.schema).unique(wanted, f"{wanted}_enum")
        user = TableId(table.schema, name)
        self.types.append(UserType(user, TypeKind.ENUM, labels))
        return NativeType(
            Dialect.POSTGRES, name, name, kind=TypeKind.ENUM, labels=labels, user=user
        )

    def _transport(
        self, source: Column, native: NativeType, rule: MysqlTypeRule, overridden: bool
    ) -> tuple[pa.DataType, pa.DataType, str | None]:
        """Return the Arrow type read, the Arrow type that reaches the sink, and the conversion
        between them."""
        is_moment = rule.convert == "date"
        if is_moment and self.options.zero_dates == "text" and native.name in _TEXTUAL:
            return pa.string(), pa.string(), None
        if not overridden:
            arrives = {"boolean": pa.bool_(), "labels": pa.list_(pa.string())}
            return source.arrow, arrives.get(rule.convert or "", source.arrow), rule.convert
        if native.name in _TEXTUAL and not pa.types.is_string(source.arrow):
            return pa.string(), pa.string(), None
        if native.name == "bool":
            return source.arrow, pa.bool_(), "boolean"
        return source.arrow, source.arrow, "date" if is_moment else None

    def _default(self, source: Column, native: NativeType, where: str) -> Expression | None:
        if source.default is None or source.generated is not None:
            return None
        # Loads sqlglot, a tenth of a second: only where there is an expression.
        from streams_engine.schema.mapping.expressions_to_postgres import translate_default

        default = translate_default(source.default, native)
        if default is not None and source.type.name == "binary":
            default = _padded(default, source.type.args)
        if _unreadable(source, (source.default.sql,)):
            default = None
        if default is None and source.default.sql.strip().upper() != "NULL":
            self.findings.warn(
                "default",
                where,
                f"Its default ({source.default.sql}) has no certain equivalent on PostgreSQL and "
                "is left out.",
                "Set a default by hand after the run.",
            )
        return default

    def _sequence(self, source: Column, table: TableId, column: str) -> Expression:
        """Return the default of a NUMERIC column with AUTO_INCREMENT: an owned sequence, for it
        cannot be an identity."""
        name = self._namespace(table.schema).unique(f"{table.name}_{column}_seq")
        following = (source.identity and source.identity.next_value) or 1
        self.sequences.append(
            Sequence(
                TableId(table.schema, name),
                last_value=min(following - 1, LAST_NUMBER["int8"]) if following > 1 else None,
                owner=(table, column),
            )
        )
        qualified = literal(name_of(TableId(table.schema, name)))
        return Expression(f"nextval({qualified}::regclass)", Dialect.POSTGRES)

    def _note_exhausted(self, source: Column, native: NativeType, where: str) -> None:
        """Say where AUTO_INCREMENT has come further than a sequence of the target counts."""
        last = LAST_NUMBER.get(native.name, LAST_NUMBER["int8"])
        following = source.identity and source.identity.next_value
        if following and following > last:
            self.findings.warn(
                "sequence-exhausted",
                where,
                f"AUTO_INCREMENT has reached {following}, but a sequence on PostgreSQL ends at "
                f"{last}: the target cannot number new rows.",
                "Insert new rows with their own numbers, or renumber the column before a cut-over.",
            )

    def _generated(self, table: TableSchema, source: Column, where: str) -> Expression | None:
        if source.generated is None:
            return None
        if keyed_by(self.options, table, source):
            self.findings.warn(
                "generated-as-plain",
                where,
                f"It is generated as ({source.generated.sql}), and a key by which changes find "
                "their rows: it becomes a plain column with its values.",
            )
            return None
        if computes_all(table):
            self.findings.warn(
                "generated-as-plain",
                where,
                f"It is generated as ({source.generated.sql}), and the table has no column that is "
                "not: it becomes a plain column with its values.",
            )
            return None
        translated = self._translate(table, source.generated, source.type)
        if translated is None:
            self.findings.warn(
                "generated-as-plain",
                where,
                f"It is generated as ({source.generated.sql}), which has no certain equivalent "
                "on PostgreSQL: it becomes a plain column with its values.",
            )
        return translated

    def _translate(
        self,
        table: TableSchema,
        expression: Expression,
        result: NativeType | None = None,
        **how: bool,
    ) -> Expression | None:
        """Translate an expression. It may not name columns that hold other values on the target.

        ``result`` is the type of a generated column, which may not name another one.
        """
        from streams_engine.schema.mapping.expressions_to_postgres import translate

        as_text = self.options.zero_dates == "text"
        columns = {
            column.name: column
            for column in table.columns
            if not self._is_boolean(table, column)
            and (result is None or column.generated is None)
            and override_for(self.options.overrides, table.id, column) is None
            and not (as_text and column.type.name in ("date", "datetime"))
        }
        return translate(expression, columns, self.columns[table.id], result, **how)

    # Keys, indexes, constraints

    def _primary_key(self, table: TableSchema, key: Index, target: TableId) -> Index:
        name = self._namespace(target.schema).unique(f"{target.name}_pkey")
        parts = tuple(
            IndexPart(column=self.columns[table.id][part.column])
            for part in key.parts
            if part.column is not None
        )
        if any(part.length for part in key.parts):
            self.findings.warn(
                "prefix-key",
                table.id,
                "Its primary key covers only a prefix of a column; on the target it covers the "
                "whole value.",
            )
        return Index(name, parts, unique=True, primary=True, constraint=True)

    def _index(self, table: TableSchema, index: Index, target: TableId) -> Index | None:
        where = f"{table.id}.{index.name}"
        if index.method == "spatial":
            self.findings.warn(
                "spatial-index", where, "A spatial index needs PostGIS geometry; it is left out."
            )
            return None
        wanted = self.options.prefix + self._case(index.name)
        name = self._namespace(target.schema).unique(wanted, f"{target.name}_{wanted}")
        if index.method == "fulltext":
            return self._fulltext(table, index, name, where)
        parts = [self._part(table, part, where, unique=index.unique) for part in index.parts]
        if any(part is None for part in parts):
            return None
        plain = all(p is not None and p.column is not None and not p.descending for p in parts)
        return Index(
            name,
            tuple(p for p in parts if p is not None),
            unique=index.unique,
            constraint=index.unique and plain,
            comment=index.comment or None,
            optional=not index.unique or any(p.expression is not None for p in index.parts),
        )

    def _part(
        self, table: TableSchema, part: IndexPart, where: str, *, unique: bool
    ) -> IndexPart | None:
        if part.expression is not None:
            translated = self._translate(table, part.expression, near=not unique)
            if translated is None:
                self.findings.warn(
                    "expression-index",
                    where,
                    f"Its key part ({part.expression.sql}) has no certain equivalent on "
                    "PostgreSQL: the index is left out.",
                )
                return None
            return IndexPart(expression=translated, descending=part.descending)
        column = require(part.column, "the column of a key part")
        name = self.columns[table.id][column]
        if part.length is None:
            return IndexPart(column=name, descending=part.descending)
        quoted = '"' + name.replace('"', '""') + '"'
        binary = pa.types.is_binary(table.column(column).arrow)
        head = (
            f"substring({quoted} from 1 for {part.length})"
            if binary
            else f"left({quoted}, {part.length})"
        )
        return IndexPart(expression=Expression(head, Dialect.POSTGRES), descending=part.descending)

    def _fulltext(self, table: TableSchema, index: Index, name: str, where: str) -> Index:
        texts = [
            'coalesce("' + self.columns[table.id][column].replace('"', '""') + "\", '')"
            for column in index.columns
        ]
        self.findings.warn(
            "fulltext-index",
            where,
            "The full-text index becomes a GIN index over to_tsvector('simple', ...): queries "
            "use @@ instead of MATCH.",
        )
        vector = Expression(
            "to_tsvector('simple'::regconfig, " + " || ' ' || ".join(texts) + ")",
            Dialect.POSTGRES,
        )
        return Index(name, (IndexPart(expression=vector),), method="gin", optional=True)

    def _foreign_key(self, table: TableSchema, fk: ForeignKey) -> ForeignKey | None:
        where = f"{table.id}.{fk.name}"
        referenced = self.catalog.table(fk.referenced)
        if referenced is None:
            self.findings.warn(
                "foreign-key",
                where,
                f"The foreign key refers to {fk.referenced}, which is not moved: it is left out.",
            )
            return None
        keys = [referenced.primary_key, *(i for i in referenced.indexes if i.unique)]
        if not any(
            k is not None
            and set(k.columns) == set(fk.referenced_columns)
            and not any(p.length or p.expression for p in k.parts)
            for k in keys
        ):
            self.findings.warn(
                "foreign-key",
                where,
                f"The foreign key refers to columns of {fk.referenced} that are not a unique "
                "key, which PostgreSQL does not allow: it is left out.",
            )
            return None
        if self._holds_by_collation(table, fk, where):
            return None
        return replace(
            fk,
            name=shorten(self._case(fk.name)),
            columns=tuple(self.columns[table.id][c] for c in fk.columns),
            referenced=self.targets[fk.referenced],
            referenced_columns=tuple(self.columns[fk.referenced][c] for c in fk.referenced_columns),
        )

    def _holds_by_collation(self, table: TableSchema, fk: ForeignKey, where: str) -> bool:
        """Return True, and warn, if rows refer only because a collation treats two texts as
        equal."""
        loose = self.options.observed.loose_keys.get((table.id, fk.name))
        if loose is None:
            return False
        ends = [(table, c) for c in fk.columns]
        referenced = self.catalog.table(fk.referenced)
        ends += [(referenced, c) for c in fk.referenced_columns] if referenced else []
        texts = [(t, c) for t, c in ends if t.column(c).collation is not None]
        caseless = all(self._is_citext(t, t.column(c)) for t, c in texts)
        rows = loose.beyond_case if caseless else loose.rows
        if not rows:
            return False
        choice = ", ".join(f"{t.id.name}.{c}" for t, c in texts)
        by_case = f"Choose citext, which ignores case, for {choice} in options.typeOverrides"
        if loose.beyond_case:
            by_case += f" (not accents or trailing blanks, by which {loose.beyond_case} differ)"
        repair = f"Make the spellings equal on the source; these are the rows: {loose.query};"
        self.findings.warn(
            "foreign-key-by-collation",
            where,
            f"The foreign key holds only by the source's collation: {rows} "
            f"{'row refers' if rows == 1 else 'rows refer'} to {fk.referenced} by another "
            "spelling (letter case, accents, trailing spaces), and PostgreSQL compares exactly. "
            "It is left out.",
            repair if caseless else f"{by_case}. Or s{repair[1:]}",
        )
        return True

    def _is_citext(self, table: TableSchema, column: Column) -> bool:
        native = chosen_type(self.options, table.id, column, postgres_source=False)
        return native is not None and native.name == "citext"

    def _check(self, table: TableSchema, check: Check) -> Check | None:
        if not check.enforced:
            self.findings.warn(
                "check",
                f"{table.id}.{check.name}",
                "The check is NOT ENFORCED: it is left out.",
                "Add it by hand where the server has such checks (PostgreSQL 18).",
            )
            return None
        translated = self._translate(table, check.expression, conditions=True)
        if translated is None:
            self.findings.warn(
                "check",
                f"{table.id}.{check.name}",
                f"The check ({check.expression.sql}) has no certain equivalent on PostgreSQL and "
                "is left out.",
                "Add it by hand after the run.",
            )
            return None
        return replace(
            check, name=shorten(self._case(check.name)), expression=translated, optional=True
        )

    def _warn_case(self, table: TableSchema) -> None:
        keys = [i for i in (table.primary_key, *table.indexes) if i is not None and i.unique]
        loose = sorted(
            {
                column
                for key in keys
                for column in key.columns
                if (table.column(column).collation or "").endswith("_ci")
                and not self._is_citext(table, table.column(column))
            }
        )
        if loose:
            choice = ", ".join(
                f'{{"column": "{table.id.name}.{column}", "to": "citext"}}' for column in loose
            )
            self.findings.warn(
                "case-sensitive-key",
                table.id,
                f"Key columns {', '.join(loose)} ignore case on MySQL but not on PostgreSQL: 'a' "
                "and 'A' become two keys.",
                f"To ignore case choose citext: options.typeOverrides [{choice}]. The extension "
                "citext is created if it is missing.",
            )


def _is_outside_a_day(default: str) -> bool:
    """Return True if the text of a default is a TIME outside 00:00:00 to 24:00:00."""
    time = _TIME.fullmatch(default.strip("() "))
    if time is None:
        return False
    seconds = int(time[2]) * 3600 + int(time[3]) * 60 + Decimal(time[4])
    return seconds > 86400 or (bool(time[1]) and seconds > 0)


def _rows_hold(count: int) -> str:
    return f"{count} rows hold" if count != 1 else "1 row holds"


def _zero_dates_in_key(where: str, rows: str, *, quarantine: bool) -> Finding:
    return Finding(
        Severity.WARNING if quarantine else Severity.ERROR,
        "zero-dates-in-key",
        where,
        f"{rows} a zero or partial date in the key of the table, which allows no NULL"
        f"{': quarantined.' if quarantine else '.'}",
        "Repair them on the source, choose zeroDates text or a text type for the column in "
        "options.typeOverrides, or quarantine such rows with onError: quarantine.",
    )


def _unreadable(column: Column, texts: tuple[str, ...]) -> bool:
    """Return True if a text of the catalog may differ from what was declared.

    information_schema is utf8mb3: it shows a character beyond the basic plane as a question mark.
    """
    return column.charset == "utf8mb4" and any("?" in text for text in texts)


def _padded(default: Expression, length: tuple[int, ...]) -> Expression:
    """Return the default of a BINARY column with the zero bytes that MySQL adds at its end."""
    match = _BYTES.fullmatch(default.sql)
    if match is None or not length:
        return default
    return replace(default, sql=f"'\\x{match[1].ljust(2 * length[0], '0')}'::bytea")
