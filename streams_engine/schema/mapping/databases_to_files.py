"""Tables of any source, mapped to files: Arrow types, with the native type kept beside them.

A column's target type is its source's own, so that a later copy into the same dialect has
it again; what is written is its Arrow type. A format of texts holds what Arrow cannot.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import pyarrow as pa

from streams_engine.errors import UnsupportedType
from streams_engine.model import (
    Catalog,
    Column,
    Dialect,
    Index,
    NativeType,
    TableId,
    TableSchema,
    TypeKind,
)
from streams_engine.schema.ddl.names import Namespace
from streams_engine.schema.mapping.tables import (
    ColumnMapping,
    Findings,
    MappedCatalog,
    MappingOptions,
    TableMapping,
    notes_of,
    override_for,
)
from streams_engine.schema.types.postgres import ARROW, WIRE, base_of

__all__ = ["file_type", "map_to_files"]

MOST_DIGITS = 76
"""Of an Arrow decimal256."""
MOMENTS = {"date", "datetime", "timestamp"}
PLAIN = {"bool", "int2", "int4", "int8", "float4", "float8", "bytea", "text", "varchar", "bpchar"}

Transport = tuple[pa.DataType, pa.DataType, str | None]
"""What is read, what is written, and the conversion in between."""

TEXT: Transport = (pa.string(), pa.string(), None)


def file_type(text: str) -> NativeType:
    """Parse the type that an override names for files: only text. Raises `UnsupportedType`."""
    if text.strip().lower() not in ("text", "string"):
        raise UnsupportedType(
            f"'{text}' is not a type that a column of a file can have.",
            remedy="Use text: the value as the source prints it.",
        )
    return NativeType(Dialect.FILES, "string", "string")


def map_to_files(catalog: Catalog, options: MappingOptions) -> MappedCatalog:
    """Map every table of a catalog to files."""
    return _Mapper(catalog, options).run()


@dataclass
class _Mapper:
    catalog: Catalog
    options: MappingOptions

    def run(self) -> MappedCatalog:
        self.findings = Findings()
        self.names = Namespace()
        self.several = len({table.id.schema for table in self.catalog.tables}) > 1
        tables = tuple(self._table(table) for table in self.catalog.tables)
        target = Catalog(Dialect.FILES, tuple(t.target for t in tables))
        return MappedCatalog(self.catalog, target, tables, tuple(self.findings.items))

    def _table_id(self, source: TableId) -> TableId:
        own = source.schema if source.schema != "public" else ""
        qualified = own and (self.several or self.catalog.dialect is Dialect.POSTGRES)
        wanted = f"{own}__{source.name}" if qualified else source.name
        wanted = self.options.prefix + wanted
        wanted = self._name(wanted)
        # A folder's name: without separators, and not one that readers take for hidden.
        safe = re.sub(r"[/\\\0]", "_", wanted)
        safe = re.sub(r"^[._]", "t_", safe) or "t"
        name = self.names.unique(safe)
        if name != wanted:
            self.findings.warn("renamed", source, f"The table has the name '{name}' on the target.")
        return TableId("", name)

    def _name(self, name: str) -> str:
        return name.lower() if self.options.identifier_case == "lower" else name

    def _key(self, key: Index) -> Index:
        parts = (
            replace(part, column=part.column and self._name(part.column)) for part in key.parts
        )
        return replace(key, parts=tuple(parts))

    def _table(self, source: TableSchema) -> TableMapping:
        columns = tuple(self._column(source, column) for column in source.columns)
        for note in notes_of(source):
            self.findings.warn("not-carried", source.id, note)
        key = source.primary_key
        target = TableSchema(
            id=self._table_id(source.id),
            dialect=Dialect.FILES,
            columns=tuple(c.target for c in columns),
            primary_key=None if key is None or any(p.length for p in key.parts) else self._key(key),
            comment=source.comment,
            estimated_rows=source.estimated_rows,
        )
        return TableMapping(source, target, columns)

    def _column(self, table: TableSchema, source: Column) -> ColumnMapping:
        read, written, convert = self._transport(table, source)
        target = Column(
            name=self._name(source.name),
            type=source.type,
            arrow=written,
            nullable=source.nullable,
            comment=source.comment,
        )
        return ColumnMapping(replace(source, arrow=read), target, convert)

    def _transport(self, table: TableSchema, source: Column) -> Transport:
        if override_for(self.options.overrides, table.id, source) is not None:
            return TEXT
        if self.catalog.dialect is Dialect.MYSQL:
            return self._from_mysql(source)
        if self.catalog.dialect is Dialect.POSTGRES:
            return self._from_postgres(source)
        return source.arrow, source.arrow, None

    def _from_mysql(self, source: Column) -> Transport:
        if source.type.name in MOMENTS:
            as_text = self.options.zero_dates == "text"
            return TEXT if as_text else (source.arrow, source.arrow, "date")
        if source.type.name == "time":
            return TEXT  # it goes beyond a day
        return source.arrow, source.arrow, None

    def _from_postgres(self, source: Column) -> Transport:
        base = base_of(source.type)
        if base.kind is not TypeKind.BASE or base.extension is not None:
            return TEXT
        if base.name in PLAIN:
            arrow = ARROW.get(base.name, pa.string())
            return arrow, arrow, None
        if base.name in ("date", "timestamp", "timestamptz"):
            convert = "pg_date" if base.name == "date" else "pg_timestamp"
            return WIRE, ARROW[base.name], convert
        if base.name == "time":
            return WIRE, pa.time64("us"), "pg_time"
        if base.name == "numeric" and base.args:
            return self._decimal(*base.args)
        return TEXT

    def _decimal(self, precision: int, scale: int) -> Transport:
        if not 0 <= scale <= precision <= MOST_DIGITS:
            return TEXT
        decimal = pa.decimal128 if precision <= 38 else pa.decimal256
        return pa.string(), decimal(precision, scale), "pg_decimal"
