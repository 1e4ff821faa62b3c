"""The tables of types: what each type becomes on each route, asked from the mapping itself.

A comment ``<!-- types: NAME -->`` becomes the table of a kind of source.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import pyarrow as pa

from streams_engine.errors import UnsupportedType
from streams_engine.model import (
    Catalog,
    Column,
    Dialect,
    NativeType,
    TableId,
    TableSchema,
    TypeKind,
)
from streams_engine.schema.mapping.routes import map_catalog
from streams_engine.schema.mapping.tables import ColumnMapping, MappingOptions, RowObservations
from streams_engine.schema.types import files, mysql, postgres

MARKER = re.compile(r"<!-- types: (\w+) -->")

MYSQL_TYPES = (
    "tinyint(1)", "tinyint", "smallint", "mediumint", "int", "bigint",
    "tinyint unsigned", "smallint unsigned", "mediumint unsigned", "int unsigned",
    "bigint unsigned", "decimal(10,2)", "decimal(65,30)", "float", "double", "bit(1)", "bit(8)",
    "char(20)", "varchar(20)", "tinytext", "text", "mediumtext", "longtext",
    "binary(16)", "varbinary(20)", "tinyblob", "blob", "mediumblob", "longblob",
    "date", "datetime(6)", "timestamp(6)", "time(6)", "year",
    "json", "enum('a','b')", "set('a','b')", "uuid", "inet4", "inet6", "vector",
    "geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon",
    "geometrycollection",
)  # fmt: skip
POSTGRES_TYPES = (
    "boolean", "smallint", "integer", "bigint", "real", "double precision", "numeric(10,2)",
    "numeric", "money", "text", "varchar(20)", "char(20)", "citext", "bytea", "bit(8)", "bit(65)",
    "varbit", "date", "time(6)", "timetz", "timestamp(6)", "timestamptz(6)", "interval",
    "json", "jsonb", "xml", "uuid", "inet", "cidr", "hstore", "geometry", "text[]", "integer[]",
)  # fmt: skip
OTHER_POSTGRES_TYPES: Mapping[str, NativeType] = {
    "an enum": NativeType(
        Dialect.POSTGRES, "mood", "mood", kind=TypeKind.ENUM, labels=("a", "b")
    ),
    "a domain over `integer`": NativeType(
        Dialect.POSTGRES, "positive", "positive", kind=TypeKind.DOMAIN,
        element=postgres.postgres_type("integer"),
    ),
    "a composite type": NativeType(
        Dialect.POSTGRES, "pair", "pair", kind=TypeKind.COMPOSITE
    ),
    "`int4range` and other ranges": NativeType(
        Dialect.POSTGRES, "int4range", "int4range", kind=TypeKind.RANGE
    ),
}  # fmt: skip
ARROW_TYPES = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float",
    "double", "decimal128(10, 2)", "decimal256(70, 2)", "string", "binary", "date32[day]",
    "time64[us]", "timestamp[us]", "timestamp[us, tz=UTC]", "duration[us]",
)  # fmt: skip


@dataclass(frozen=True)
class Origin:
    """A kind of source: its types by what the table calls them."""

    dialect: Dialect
    types: Sequence[tuple[str, NativeType, pa.DataType]]
    routes: Sequence[tuple[str, Dialect, bool]]
    """The head of a column, the target's dialect, and whether it is MariaDB."""


DATABASES = (
    ("PostgreSQL", Dialect.POSTGRES, False),
    ("MySQL", Dialect.MYSQL, False),
    ("MariaDB", Dialect.MYSQL, True),
)
FILES = ("files (Arrow)", Dialect.FILES, False)


def _named(
    texts: Sequence[str],
    parse: Callable[[str], NativeType],
    arrow: Callable[[NativeType], pa.DataType],
) -> list[tuple[str, NativeType, pa.DataType]]:
    return [(f"`{text}`", parse(text), arrow(parse(text))) for text in texts]


def _of_arrow(text: str) -> NativeType:
    return files.files_type(files.arrow_of(text))


NESTED = ("`list`, `struct`, `map`", files.files_type(pa.string(), "json"), pa.string())
"""They are read as JSON."""


ORIGINS: Mapping[str, Origin] = {
    "mysql": Origin(
        Dialect.MYSQL,
        _named(MYSQL_TYPES, mysql.mysql_type, mysql.arrow_type),
        (*DATABASES, FILES),
    ),
    "postgresql": Origin(
        Dialect.POSTGRES,
        [
            *_named(POSTGRES_TYPES, postgres.postgres_type, postgres.arrow_type),
            *((n, t, postgres.arrow_type(t)) for n, t in OTHER_POSTGRES_TYPES.items()),
        ],
        (*DATABASES, FILES),
    ),
    "files": Origin(
        Dialect.FILES,
        [*_named(ARROW_TYPES, _of_arrow, files.arrow_type), NESTED],
        DATABASES,
    ),
}


def table(origin: Origin) -> str:
    """Return the table of a kind of source: types that fare alike a line, a target a column."""
    heads = ["type", *(head for head, _, _ in origin.routes), "notes"]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    cells = [(name, tuple(_cells(origin, native, arrow))) for name, native, arrow in origin.types]
    for became, group in groupby(cells, lambda one: one[1]):
        names = "<br>".join(name for name, _ in group)
        lines.append(f"| {names} | {' | '.join(became)} |")
    return "\n".join(lines)


def _cells(origin: Origin, native: NativeType, arrow: pa.DataType) -> Iterator[str]:
    notes: dict[str, list[str]] = {}
    for head, dialect, mariadb in origin.routes:
        try:
            column = mapped(origin.dialect, native, arrow, dialect, mariadb=mariadb)
        except UnsupportedType:
            yield "refused"
            continue
        yield _became(native, column, dialect)
        for note in column.notes:
            notes.setdefault(note, []).append(head)
    yield " ".join(f"{', '.join(heads)}: {note}." for note, heads in notes.items())


def mapped(
    source: Dialect, native: NativeType, arrow: pa.DataType, target: Dialect, *, mariadb: bool
) -> ColumnMapping:
    """Map one column as a run does. Raises `UnsupportedType`."""
    where = TableId("s", "t")
    column = Column(name="c", type=native, arrow=arrow)
    catalog = Catalog(source, (TableSchema(id=where, dialect=source, columns=(column,)),))
    seen = RowObservations(booleans=frozenset({(where, "c")}))
    options = MappingOptions(mariadb=mariadb, observed=seen)
    return map_catalog(catalog, target, options).tables[0].columns[0]


def _became(native: NativeType, column: ColumnMapping, dialect: Dialect) -> str:
    made = column.target.type
    if dialect is Dialect.FILES:
        return f"`{column.target.arrow}`"
    if made.text == native.text:
        return "the same"
    if made.kind is TypeKind.ENUM:
        return "an enum"
    return f"`{made.text}`"


def filled(markdown: str) -> str:
    """A page with its tables of types."""
    return MARKER.sub(lambda found: table(ORIGINS[found[1]]), markdown)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by mkdocs for each page."""
    return filled(markdown)
