"""DDL for MySQL and MariaDB from table schemas: what comes before the rows, and what after.

The primary key stands in CREATE TABLE, since InnoDB keeps rows in its order; all other keys
come after the rows. What only one flavour knows is settled by the mapping (`to_mysql`); here
both read every statement. Each statement commits by itself on these servers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from streams_engine.model import (
    Catalog,
    Check,
    Column,
    Expression,
    ForeignKey,
    Index,
    IndexPart,
    NativeType,
    TableId,
    TableSchema,
    TypeKind,
)
from streams_engine.protocols import Statement
from streams_engine.required import required
from streams_engine.schema.structure import Structure

__all__ = [
    "check_text",
    "column_text",
    "columns_of",
    "drop",
    "empty",
    "foreign_keys",
    "index_text",
    "indexes",
    "key",
    "literal",
    "name_of",
    "objects",
    "parts_text",
    "quote",
    "sequence_values",
    "table",
    "type_text",
]

WITH_CHARSET = {
    "char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set",
}  # fmt: skip
LITERAL_DEFAULT_FORBIDDEN = {
    "tinytext", "text", "mediumtext", "longtext", "tinyblob", "blob", "mediumblob", "longblob",
    "json", "geometry", "point", "linestring", "polygon", "multipoint", "multilinestring",
    "multipolygon", "geometrycollection", "vector",
}  # fmt: skip
"""Types whose default must be an expression in parentheses
(https://dev.mysql.com/doc/refman/en/data-type-defaults.html)."""


def quote(name: str) -> str:
    """A name as a quoted identifier."""
    return "`" + name.replace("`", "``") + "`"


def literal(text: str) -> str:
    """A text as a string literal, under a sql_mode without NO_BACKSLASH_ESCAPES."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''").replace("\0", "\\0") + "'"


def name_of(table_id: TableId) -> str:
    """A qualified, quoted name."""
    return f"{quote(table_id.schema)}.{quote(table_id.name)}"


def columns_of(names: Iterable[str]) -> str:
    """Column names, quoted, with commas."""
    return ", ".join(map(quote, names))


def type_text(native: NativeType) -> str:
    """A type as DDL writes it; labels are quoted anew."""
    if native.kind in (TypeKind.ENUM, TypeKind.SET):
        return f"{native.name}({', '.join(map(literal, native.labels))})"
    return native.text


# Before the rows


def objects(catalog: Catalog) -> Iterator[Statement]:
    """The databases that are not there yet."""
    for schema in sorted({t.id.schema for t in catalog.tables} - catalog.schemas):
        yield Statement(
            f"CREATE DATABASE IF NOT EXISTS {quote(schema)} CHARACTER SET utf8mb4",
            f"database {schema}",
        )


def table(schema: TableSchema, wanted: Structure) -> Iterator[Statement]:
    """The table with its primary key, and the key that an AUTO_INCREMENT column needs."""
    parts = [column_text(column) for column in schema.columns]
    if schema.primary_key is not None:
        parts.append(f"PRIMARY KEY ({parts_text(schema.primary_key)})")
    needed = counter_key(schema)
    if needed is not None:
        parts.append(index_text(needed))
    if wanted.checks:
        parts += [check_text(check) for check in schema.checks if not check.optional]
    sql = f"CREATE TABLE {name_of(schema.id)} (\n  " + ",\n  ".join(parts) + "\n)"
    sql += " ENGINE=InnoDB"
    sql += "".join(f" {option}" for option in schema.options)
    if schema.comment:
        sql += f" COMMENT={literal(schema.comment)}"
    yield Statement(sql, f"table {schema.id}", schema.id)


def counter_key(schema: TableSchema) -> Index | None:
    """The index that an AUTO_INCREMENT column must have from the beginning, beside the
    primary key. (InnoDB wants it to be the first column of some index.)"""
    counter = next((c.name for c in schema.columns if c.identity is not None), None)
    if counter is None:
        return None
    first = schema.primary_key and schema.primary_key.parts[0].column
    if first == counter:
        return None
    return next((i for i in schema.indexes if i.parts[0].column == counter), None)


def column_text(column: Column) -> str:
    """A column as CREATE and ALTER TABLE write it."""
    parts = [quote(column.name), type_text(column.type)]
    if column.charset and column.type.name in WITH_CHARSET:
        parts.append(f"CHARACTER SET {column.charset}")
        if column.collation:
            parts.append(f"COLLATE {column.collation}")
    if column.generated is not None:
        kind = "STORED" if column.stored else "VIRTUAL"
        parts.append(f"GENERATED ALWAYS AS ({column.generated.sql}) {kind}")
    if not column.nullable:
        parts.append("NOT NULL")
    elif column.generated is None:
        parts.append("NULL")  # a TIMESTAMP would else be NOT NULL on older settings
    if column.default is not None and column.generated is None:
        parts.append(f"DEFAULT {_default(column, column.default)}")
    if column.on_update is not None:
        parts.append(f"ON UPDATE {column.on_update.sql}")
    if column.identity is not None:
        parts.append("AUTO_INCREMENT")
    if column.invisible:
        parts.append("INVISIBLE")
    if column.comment:
        parts.append(f"COMMENT {literal(column.comment)}")
    return " ".join(parts)


def _default(column: Column, default: Expression) -> str:
    sql = default.sql
    plain = sql[:1] in "'\"" or sql.replace(".", "", 1).lstrip("+-").isdigit()
    plain = plain or sql.lower().startswith(("current_timestamp", "b'", "0x", "x'", "null"))
    if column.type.name in LITERAL_DEFAULT_FORBIDDEN or not plain:
        return sql if sql.startswith("(") and sql.endswith(")") else f"({sql})"
    return sql


# After the rows


def indexes(schema: TableSchema, wanted: Structure) -> Iterator[Statement]:
    """Unique keys, indexes and the checks that may fail."""
    there = counter_key(schema)
    for index in schema.indexes if wanted.indexes else ():
        if index is not there:
            yield _add_index(schema.id, index)
    for check in schema.checks if wanted.checks else ():
        if check.optional:
            yield Statement(
                f"ALTER TABLE {name_of(schema.id)} ADD {check_text(check)}",
                f"constraint {check.name} of {schema.id}",
                schema.id,
                optional=True,
                expression=check.expression,
            )


def key(schema: TableSchema, columns: tuple[str, ...]) -> Iterator[Statement]:
    """The unique key on these columns; the primary key is there from the beginning."""
    if schema.primary_key is not None and schema.primary_key.columns == columns:
        return
    there = counter_key(schema)
    for index in schema.indexes:
        if index.unique and index.columns == columns:
            if index is not there:
                yield _add_index(schema.id, index)
            return


def _add_index(table_id: TableId, index: Index) -> Statement:
    clause = f"ADD {index_text(index)}"
    return Statement(
        f"ALTER TABLE {name_of(table_id)} {clause}",
        f"index {index.name} of {table_id}",
        table_id,
        index.optional,
        expression=next((p.expression for p in index.parts if p.expression is not None), None),
        # InnoDB builds one FULLTEXT index at a time.
        clause=None if index.method in ("fulltext", "spatial") else clause,
    )


def index_text(index: Index) -> str:
    """A key that is not the primary one, as CREATE and ALTER TABLE write it."""
    kind = {"fulltext": "FULLTEXT ", "spatial": "SPATIAL "}.get(index.method, "")
    kind = "UNIQUE " if index.unique else kind
    sql = f"{kind}INDEX {quote(index.name)} ({parts_text(index)})"
    sql += "".join(f" {option}" for option in index.options)
    return sql + (f" COMMENT {literal(index.comment)}" if index.comment else "")


def parts_text(index: Index) -> str:
    """The key parts of an index."""
    return ", ".join(map(_part, index.parts))


def _part(part: IndexPart) -> str:
    if part.expression is not None:
        sql = f"({part.expression.sql})"
    else:
        column = required(part.column, "the column of a key part")
        sql = quote(column) + (f"({part.length})" if part.length else "")
    return sql + (" DESC" if part.descending else "")


def check_text(check: Check) -> str:
    """A check as CREATE and ALTER TABLE write it."""
    return f"CONSTRAINT {quote(check.name)} CHECK ({check.expression.sql})"


def foreign_keys(schema: TableSchema) -> Iterator[Statement]:
    """The foreign keys of a table. To check them a server would copy the whole table for each:
    a join that finds no orphan proves the same."""
    for fk in schema.foreign_keys:
        yield Statement(
            f"ALTER TABLE {name_of(schema.id)} ADD CONSTRAINT {quote(fk.name)} {_foreign_key(fk)}",
            f"constraint {fk.name} of {schema.id}",
            schema.id,
            orphans=_orphans(schema.id, fk),
        )


def _orphans(table_id: TableId, fk: ForeignKey) -> str:
    """The rows that refer to none (a NULL in its key refers to nothing, which is allowed)."""
    pairs = list(zip(fk.columns, fk.referenced_columns, strict=True))
    match = " AND ".join(f"c.{quote(a)} = p.{quote(b)}" for a, b in pairs)
    whole = " AND ".join(f"c.{quote(a)} IS NOT NULL" for a, _ in pairs)
    return (
        f"SELECT c.* FROM {name_of(table_id)} c LEFT JOIN {name_of(fk.referenced)} p ON {match} "
        f"WHERE {whole} AND p.{quote(fk.referenced_columns[0])} IS NULL"
    )


def _foreign_key(fk: ForeignKey) -> str:
    sql = (
        f"FOREIGN KEY ({columns_of(fk.columns)}) REFERENCES {name_of(fk.referenced)} "
        f"({columns_of(fk.referenced_columns)})"
    )
    rules = (("UPDATE", fk.on_update), ("DELETE", fk.on_delete))
    return sql + "".join(f" ON {event} {rule}" for event, rule in rules if rule)


def sequence_values(catalog: Catalog) -> Iterator[Statement]:
    """AUTO_INCREMENT goes on where the source would; the server never goes below its rows."""
    for schema in catalog.tables:
        for column in schema.columns:
            following = column.identity and column.identity.next_value
            if following and following > 1:
                yield Statement(
                    f"ALTER TABLE {name_of(schema.id)} AUTO_INCREMENT = {following}",
                    f"identity of {schema.id}.{column.name}",
                    schema.id,
                )


# Away with what is there


def drop(tables: Sequence[TableId], wanted: Catalog, existing: Catalog) -> Iterator[Statement]:
    """Drop the tables; foreign keys among them are no hindrance."""
    for table_id in tables:
        yield Statement(
            f"DROP TABLE {name_of(table_id)}",
            f"table {table_id}",
            table_id,
            empties=(table_id,),
            drops=True,
        )


def empty(tables: Iterable[TableSchema]) -> Iterator[Statement]:
    """Empty each table."""
    for table_id in (table.id for table in tables):
        sql = f"TRUNCATE TABLE {name_of(table_id)}"
        yield Statement(sql, f"table {table_id}", table_id, empties=(table_id,))
