"""DDL for MySQL and MariaDB from table schemas: what comes before the rows, and what after.

The primary key stands in CREATE TABLE, because InnoDB stores rows in its order; all other keys
come after the rows. The mappings settle what only one flavour supports: every statement here runs
on both. Each commits implicitly.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from streams_engine.contracts import Statement
from streams_engine.errors import require
from streams_engine.model import (
    Catalog,
    Check,
    Column,
    Expression,
    ForeignKey,
    Index,
    IndexPart,
    NativeType,
    ObjectKind,
    ObjectRef,
    SequenceValue,
    TableId,
    TableSchema,
    TypeKind,
)
from streams_engine.schema.ddl.structure import Structure

__all__ = [
    "advance",
    "check_text",
    "column_text",
    "columns_of",
    "drop",
    "drop_foreign_key",
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


PLAIN_DEFAULT = re.compile(r"[+-]?\d*(\d|\.)\d*(e[+-]?\d+)?|true|false", re.I)
"""A default that is a literal without quotes."""


def quote(name: str) -> str:
    """Quote a name as an identifier."""
    return "`" + name.replace("`", "``") + "`"


def literal(text: str) -> str:
    """Quote a text as a string literal, for a sql_mode without NO_BACKSLASH_ESCAPES."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''").replace("\0", "\\0") + "'"


def name_of(table_id: TableId) -> str:
    """Return the qualified, quoted name of a table."""
    return f"{quote(table_id.schema)}.{quote(table_id.name)}"


def columns_of(names: Iterable[str]) -> str:
    """Return the quoted column names, separated by commas."""
    return ", ".join(map(quote, names))


def type_text(native: NativeType) -> str:
    """Return a type as DDL writes it, quoting its labels again."""
    if native.kind in (TypeKind.ENUM, TypeKind.SET):
        return f"{native.name}({', '.join(map(literal, native.labels))})"
    return native.text


# Before the rows


def objects(catalog: Catalog) -> Iterator[Statement]:
    """Yield CREATE DATABASE for each database that does not exist yet."""
    for schema in sorted({t.id.schema for t in catalog.tables} - catalog.schemas):
        yield Statement(
            f"CREATE DATABASE IF NOT EXISTS {quote(schema)} CHARACTER SET utf8mb4",
            ObjectRef(ObjectKind.DATABASE, schema),
        )


def table(schema: TableSchema, wanted: Structure) -> Iterator[Statement]:
    """Yield CREATE TABLE with the primary key, and the index that an AUTO_INCREMENT column
    needs."""
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
    yield Statement(sql, ObjectRef(ObjectKind.TABLE, table=schema.id), schema.id)


def counter_key(schema: TableSchema) -> Index | None:
    """Return the index that CREATE TABLE must include for an AUTO_INCREMENT column, or None.

    InnoDB requires that the column is the first of some index; the primary key may be it.
    """
    counter = next((c.name for c in schema.columns if c.identity is not None), None)
    if counter is None:
        return None
    first = schema.primary_key and schema.primary_key.parts[0].column
    if first == counter:
        return None
    return next((i for i in schema.indexes if i.parts[0].column == counter), None)


def column_text(column: Column) -> str:
    """Return a column definition for CREATE and ALTER TABLE."""
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
    plain = sql[:1] in "'\"" or PLAIN_DEFAULT.fullmatch(sql) is not None
    plain = plain or sql.lower().startswith(("current_timestamp", "b'", "0x", "x'", "null"))
    if column.type.name in LITERAL_DEFAULT_FORBIDDEN or not plain:
        return sql if sql.startswith("(") and sql.endswith(")") else f"({sql})"
    return sql


# After the rows


def indexes(schema: TableSchema, wanted: Structure) -> Iterator[Statement]:
    """Yield the statements for unique keys, indexes and checks that may fail."""
    there = counter_key(schema)
    for index in schema.indexes if wanted.indexes else ():
        if index is not there:
            yield _add_index(schema.id, index)
    for check in schema.checks if wanted.checks else ():
        if check.optional:
            yield Statement(
                f"ALTER TABLE {name_of(schema.id)} ADD {check_text(check)}",
                ObjectRef(ObjectKind.CONSTRAINT, check.name, schema.id),
                schema.id,
                optional=True,
                expression=check.expression,
            )


def key(schema: TableSchema, columns: tuple[str, ...]) -> Iterator[Statement]:
    """Yield the unique key on these columns; nothing if it is the primary key, which exists
    already."""
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
        ObjectRef(ObjectKind.INDEX, index.name, table_id),
        table_id,
        index.optional,
        expression=next((p.expression for p in index.parts if p.expression is not None), None),
        # InnoDB builds one FULLTEXT index at a time.
        clause=None if index.method in ("fulltext", "spatial") else clause,
    )


def index_text(index: Index) -> str:
    """Return the definition of a secondary index for CREATE and ALTER TABLE."""
    kind = {"fulltext": "FULLTEXT ", "spatial": "SPATIAL "}.get(index.method, "")
    kind = "UNIQUE " if index.unique else kind
    sql = f"{kind}INDEX {quote(index.name)} ({parts_text(index)})"
    sql += "".join(f" {option}" for option in index.options)
    return sql + (f" COMMENT {literal(index.comment)}" if index.comment else "")


def parts_text(index: Index) -> str:
    """Return the key parts of an index as DDL."""
    return ", ".join(map(_part, index.parts))


def _part(part: IndexPart) -> str:
    if part.expression is not None:
        sql = f"({part.expression.sql})"
    else:
        column = require(part.column, "the column of a key part")
        sql = quote(column) + (f"({part.length})" if part.length else "")
    return sql + (" DESC" if part.descending else "")


def check_text(check: Check) -> str:
    """Return a check constraint for CREATE and ALTER TABLE."""
    text = f"CONSTRAINT {quote(check.name)} CHECK ({check.expression.sql})"
    return text if check.enforced else f"{text} NOT ENFORCED"


def foreign_keys(schema: TableSchema) -> Iterator[Statement]:
    """Yield the foreign keys of a table.

    Checking them would make the server copy the whole table for each; a join that finds no orphans
    proves the same.
    """
    for fk in schema.foreign_keys:
        yield Statement(
            f"ALTER TABLE {name_of(schema.id)} ADD CONSTRAINT {quote(fk.name)} {_foreign_key(fk)}",
            ObjectRef(ObjectKind.CONSTRAINT, fk.name, schema.id),
            schema.id,
            orphans=_orphans(schema.id, fk),
        )


def _orphans(table_id: TableId, fk: ForeignKey) -> str:
    """Return the SELECT of the rows that refer to no row. A NULL in the key refers to nothing,
    which is allowed."""
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
    """Yield statements that set AUTO_INCREMENT to the source's next value; the server never goes
    below its rows."""
    for schema in catalog.tables:
        for column in schema.columns:
            following = column.identity and column.identity.next_value
            if following and following > 1:
                yield Statement(
                    f"ALTER TABLE {name_of(schema.id)} AUTO_INCREMENT = {following}",
                    ObjectRef(ObjectKind.IDENTITY, column.name, schema.id),
                    schema.id,
                )


# Away with what is there


def drop_foreign_key(table: TableId, name: str) -> Statement:
    """Return the statement that drops a foreign key, which may be refused."""
    return Statement(
        f"ALTER TABLE {name_of(table)} DROP FOREIGN KEY {quote(name)}",
        ObjectRef(ObjectKind.CONSTRAINT, name, table),
        table,
        optional=True,
    )


def drop(tables: Sequence[TableId], wanted: Catalog, existing: Catalog) -> Iterator[Statement]:
    """Drop the tables, whatever foreign keys are among them."""
    for table_id in tables:
        yield Statement(
            f"DROP TABLE {name_of(table_id)}",
            ObjectRef(ObjectKind.TABLE, table=table_id),
            table_id,
            truncates=(table_id,),
            cleanup=True,
        )


def empty(tables: Iterable[TableSchema]) -> Iterator[Statement]:
    """Empty each table."""
    for table_id in (table.id for table in tables):
        sql = f"TRUNCATE TABLE {name_of(table_id)}"
        yield Statement(
            sql, ObjectRef(ObjectKind.TABLE, table=table_id), table_id, truncates=(table_id,)
        )


def advance(
    values: Iterable[tuple[SequenceValue, tuple[TableId, str]]], target: Catalog
) -> Iterator[Statement]:
    """Set AUTO_INCREMENT to what the source would give next; never back."""
    for at, (table_id, column_name) in values:
        table = target.table(table_id)
        if table is None or at.value is None or at.increment < 0 or at.cycle:
            continue
        following = at.value + at.increment if at.called else at.value
        for column in table.columns:
            if column.name == column_name and column.identity is not None:
                there = column.identity.next_value
                if following > (there or 1):
                    yield Statement(
                        f"ALTER TABLE {name_of(table_id)} AUTO_INCREMENT = {following}",
                        ObjectRef(ObjectKind.AUTO_INCREMENT, table=table_id),
                        table_id,
                        optional=True,
                    )
