"""Tables of files, mapped to PostgreSQL and MySQL.

A column whose file tells its native type of the same dialect has that type again; any other
has the type that its Arrow type calls for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import pyarrow as pa

from streams_engine.model import (
    Catalog,
    Column,
    Dialect,
    Index,
    IndexPart,
    NativeType,
    TableId,
    TableSchema,
    TypeKind,
    UserType,
)
from streams_engine.schema.ddl.mysql_keys import CHARACTER, KEY_BYTES
from streams_engine.schema.ddl.names import Namespace
from streams_engine.schema.mapping.tables import (
    ColumnMapping,
    Findings,
    MappedCatalog,
    MappingOptions,
    TableMapping,
    override_for,
)
from streams_engine.schema.types.flavours import BINARY_COLLATION, notes_for, type_for
from streams_engine.schema.types.mysql import mysql_type
from streams_engine.schema.types.postgres import base_of, postgres_type

__all__ = ["map_files_to_mysql", "map_files_to_postgres"]

Rule = str | Callable[[pa.DataType], str]


def _postgres_timestamp(arrow: pa.DataType) -> str:
    return "timestamp" if arrow.tz is None else "timestamptz"


def _numeric(arrow: pa.DataType) -> str:
    return f"numeric({arrow.precision}, {arrow.scale})" if arrow.scale >= 0 else "numeric"


def _decimal(arrow: pa.DataType) -> str:
    fits = arrow.precision <= 65 and 0 <= arrow.scale <= 30
    return f"decimal({arrow.precision},{arrow.scale})" if fits else "longtext"


POSTGRES: Mapping[str, Rule] = {
    "bool": "boolean",
    **dict.fromkeys(("int8", "uint8", "int16"), "smallint"),
    **dict.fromkeys(("uint16", "int32"), "integer"),
    **dict.fromkeys(("uint32", "int64"), "bigint"),
    "uint64": "numeric(20)",
    "float": "real",
    "double": "double precision",
    "decimal": _numeric,
    "string": "text",
    "binary": "bytea",
    "date32": "date",
    "time64": "time",
    "timestamp": _postgres_timestamp,
    "duration": "interval",
    "json": "jsonb",
}
MYSQL: Mapping[str, Rule] = {
    "bool": "tinyint(1)",
    "int8": "tinyint",
    "uint8": "tinyint unsigned",
    "int16": "smallint",
    "uint16": "smallint unsigned",
    "int32": "int",
    "uint32": "int unsigned",
    "int64": "bigint",
    "uint64": "bigint unsigned",
    "float": "float",
    "double": "double",
    "decimal": _decimal,
    "string": "longtext",
    "binary": "longblob",
    "date32": "date",
    "time64": "time(6)",
    "timestamp": "datetime(6)",
    "duration": "time(6)",
    "json": "json",
}
"""By Arrow family, as Arrow names it without its arguments."""

JSON = {"json", "jsonb"}
TEXTUAL = {"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set"}


def map_files_to_postgres(catalog: Catalog, options: MappingOptions) -> MappedCatalog:
    """Map every table of files to PostgreSQL."""
    return _Mapper(catalog, options, Dialect.POSTGRES).run()


def map_files_to_mysql(catalog: Catalog, options: MappingOptions) -> MappedCatalog:
    """Map every table of files to MySQL."""
    return _Mapper(catalog, options, Dialect.MYSQL).run()


@dataclass
class _Mapper:
    catalog: Catalog
    options: MappingOptions
    dialect: Dialect

    def run(self) -> MappedCatalog:
        self.findings = Findings()
        self.names = Namespace()
        self.types: list[UserType] = []
        tables = tuple(self._table(table) for table in self.catalog.tables)
        target = Catalog(self.dialect, tuple(t.target for t in tables), types=tuple(self.types))
        return MappedCatalog(self.catalog, target, tables, tuple(self.findings.items))

    def _table(self, source: TableSchema) -> TableMapping:
        target_id = TableId(
            self.options.target_schema or "",
            self.names.unique(self.options.prefix + source.id.name),
        )
        for note in source.source_notes:
            self.findings.warn("not-carried", source.id, note)
        key = source.primary_key.columns if source.primary_key else ()
        columns = tuple(self._column(source, c, target_id, key) for c in source.columns)
        primary = None
        if key:
            parts = tuple(IndexPart(column=self._case(name)) for name in key)
            name = self.names.unique(f"{target_id.name}_pkey")
            primary = Index(name, parts, unique=True, primary=True, constraint=True)
        target = TableSchema(
            id=target_id,
            dialect=self.dialect,
            columns=tuple(c.target for c in columns),
            primary_key=primary,
            estimated_rows=source.estimated_rows,
            bytes=source.bytes,
        )
        return TableMapping(source, target, columns)

    def _case(self, name: str) -> str:
        return name.lower() if self.options.identifier_case == "lower" else name

    def _column(
        self, table: TableSchema, source: Column, target: TableId, key: tuple[str, ...]
    ) -> ColumnMapping:
        override = override_for(self.options.overrides, table.id, source)
        native = override or self._native(source, target)
        if self.dialect is Dialect.MYSQL and source.name in key and native.name == "longtext":
            native = mysql_type(f"varchar({KEY_BYTES // CHARACTER // len(key)})")
        textual = self.dialect is Dialect.MYSQL and native.name in TEXTUAL
        column = Column(
            name=self._case(source.name),
            type=native,
            arrow=source.arrow,
            nullable=source.nullable and source.name not in key,
            charset="utf8mb4" if textual else None,
            collation=BINARY_COLLATION[self.options.mariadb] if textual else None,
        )
        rounds = native.name == "json" and textual is False and self._rounds()
        notes = notes_for(native, mariadb=self.options.mariadb)
        return ColumnMapping(source, column, "json_numbers" if rounds else None, notes)

    def _rounds(self) -> bool:
        return self.dialect is Dialect.MYSQL and not self.options.mariadb

    def _native(self, source: Column, table: TableId) -> NativeType:
        if source.type.dialect is self.dialect:
            return self._again(source, table)
        rules = POSTGRES if self.dialect is Dialect.POSTGRES else MYSQL
        family = str(source.arrow).split("[")[0].split("(")[0]
        if pa.types.is_decimal(source.arrow):
            family = "decimal"
        if source.type.name in JSON and pa.types.is_string(source.arrow):
            family = "json"
        rule = rules[family]
        text = rule if isinstance(rule, str) else rule(source.arrow)
        parse = postgres_type if self.dialect is Dialect.POSTGRES else mysql_type
        return parse(text)

    def _again(self, source: Column, table: TableId) -> NativeType:
        """Return the native type that the file declares; a user's own type as far as it can be
        recreated."""
        if self.dialect is Dialect.MYSQL:
            return type_for(source.type, mariadb=self.options.mariadb)
        base = base_of(source.type)
        if source.type.kind is TypeKind.DOMAIN:
            self._unmade(source, table, base)
        inner = base.element if base.kind is TypeKind.ARRAY else base
        if inner is not None and inner.kind is TypeKind.ENUM:
            element = self._enum(inner, table)
            if inner is base:
                return element
            text = f"{element.text}[]"
            return replace(base, text=text, name=f"_{element.name}", element=element)
        built_in = inner is not None and inner.user is None and inner.extension is None
        if built_in and inner is not None and inner.kind is not TypeKind.COMPOSITE:
            return base
        plain = postgres_type("text")
        self._unmade(source, table, plain)
        return plain

    def _unmade(self, source: Column, table: TableId, native: NativeType) -> None:
        self.findings.warn(
            "user-type",
            f"{table}.{source.name}",
            f"The type {source.type} does not exist in files: it becomes {native}.",
            "Name a type for it in options.typeOverrides.",
        )

    def _enum(self, native: NativeType, table: TableId) -> NativeType:
        """Register an enum under its own name, with a number appended if another enum has that
        name."""
        wanted = native.user.name if native.user else native.name
        for user in self.types:
            if user.labels == native.labels and user.id.name.startswith(wanted):
                break
        else:
            made = TableId(table.schema, self.names.unique(wanted))
            user = UserType(made, TypeKind.ENUM, native.labels)
            self.types.append(user)
        return replace(native, user=user.id, text=user.id.name, name=user.id.name)
