"""Every row in one canonical form, from text that the servers themselves render.

Shares nothing with the engine. MySQL renders by SQL made from information_schema,
PostgreSQL by ``::text``; a rule per pair of types makes the two comparable. A value
is None (NULL) or a string; a table is a bag of rows.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
import struct
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from psycopg import sql

from tests.support.samples import Server, dialect, mysql_connection, pg_connection

Rule = Callable[[str], str | None]
Row = tuple[str | None, ...]

SYSTEM = ("pg_catalog", "information_schema", "pg_toast")
INTEGERS = {"tinyint", "smallint", "mediumint", "int", "bigint"}
BINARY = {"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"}
SPATIAL = {
    "geometry", "point", "linestring", "polygon", "multipoint", "multilinestring",
    "multipolygon", "geometrycollection", "geomcollection",
}  # fmt: skip


@dataclass(frozen=True)
class End:
    """One end of a move: a database of a server, and the schema (PostgreSQL)."""

    server: Server
    database: str
    schema: str = "public"


@dataclass(frozen=True)
class Column:
    """A column: its bare type, and the type in full as the server writes it."""

    name: str
    type: str
    full: str
    element: str = ""
    """PostgreSQL: the category of the type (``E`` for enums, ``A`` for arrays)."""


def quote_mysql(name: str) -> str:
    """A name in backticks."""
    return "`" + name.replace("`", "``") + "`"


def mysql_columns(end: End) -> dict[str, list[Column]]:
    """The columns of all base tables, in order."""
    found: dict[str, list[Column]] = {}
    with mysql_connection(end.server, end.database) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.table_name, c.column_name, c.data_type, c.column_type"
            " FROM information_schema.columns c JOIN information_schema.tables t"
            " ON t.table_schema = c.table_schema AND t.table_name = c.table_name"
            " WHERE c.table_schema = %s AND t.table_type = 'BASE TABLE'"
            " ORDER BY c.table_name, c.ordinal_position",
            (end.database,),
        )
        for table, name, kind, full in cursor.fetchall():
            found.setdefault(table, []).append(Column(name, kind.lower(), full.lower()))
    return found


def mysql_expression(column: Column, value: str | None = None) -> str:
    """SQL that renders a column (or another expression of its type) as exact text."""
    name = value if value is not None else quote_mysql(column.name)
    if column.type in BINARY or column.type in SPATIAL or column.type == "vector":
        return f"HEX({name})"
    if column.type == "bit":
        width = re.search(r"\d+", column.full)
        return f"LPAD(BIN({name} + 0), {width[0] if width else 1}, '0')"
    if column.type == "float":  # as text it would be rounded to six digits
        return f"CAST(CAST({name} AS DOUBLE) AS CHAR)"
    return f"CONVERT(CAST({name} AS CHAR) USING utf8mb4)"


def mysql_rows(end: End, table: str, columns: list[Column]) -> list[Row]:
    """All rows, each value as text; not yet normalised."""
    query = f"SELECT {', '.join(map(mysql_expression, columns))} FROM {quote_mysql(table)}"
    with mysql_connection(end.server, end.database) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        return [tuple(map(_string, row)) for row in cursor.fetchall()]


def _string(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def pg_columns(end: End, *, every_schema: bool = False) -> dict[str, list[Column]]:
    """The columns of all tables that hold rows; ``schema.table`` where all schemas are asked."""
    found: dict[str, list[Column]] = {}
    with pg_connection(end.server, end.database) as connection:
        rows = connection.execute(
            "SELECT n.nspname, c.relname, a.attname, t.typname, t.typcategory,"
            "  format_type(a.atttypid, a.atttypmod)"
            " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
            " JOIN pg_type t ON t.oid = a.atttypid"
            " WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'"
            " AND NOT n.nspname = ANY (%s) AND (%s OR n.nspname = %s)"
            " AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass"
            "   AND d.objid = c.oid AND d.deptype = 'e')"
            " ORDER BY 1, 2, a.attnum",
            (list(SYSTEM), every_schema, end.schema),
        ).fetchall()
    for schema, table, name, kind, category, full in rows:
        key = f"{schema}.{table}" if every_schema else table
        found.setdefault(key, []).append(Column(name, kind, full, str(category)))
    return found


def pg_expression(column: Column, value: sql.Composable | None = None) -> sql.Composable:
    """SQL that renders a column (or another expression of its type) as exact text."""
    name = value if value is not None else sql.Identifier(column.name)
    if column.type == "bytea":
        return sql.SQL("pg_catalog.upper(pg_catalog.encode({}, 'hex'))").format(name)
    if column.type == "_text":
        return sql.SQL("pg_catalog.to_jsonb({})::text").format(name)
    if column.type == "geometry":
        return sql.SQL("pg_catalog.upper(pg_catalog.encode(public.st_asewkb({}), 'hex'))").format(
            name
        )
    if column.type == "inet":  # as its output function prints it
        return sql.SQL("pg_catalog.abbrev({})").format(name)
    return sql.SQL("({})::text").format(name)


def pg_rows(end: End, schema: str, table: str, columns: list[Column], *, raw: bool) -> list[Row]:
    """All rows as text: of this relation only (raw), or with what inherits from it."""
    only = sql.SQL("ONLY " if raw else "")
    parts = [
        sql.SQL("{}::text").format(sql.Identifier(c.name)) if raw else pg_expression(c)
        for c in columns
    ]
    with pg_connection(end.server, end.database) as connection:
        return connection.execute(
            sql.SQL("SELECT {} FROM {}{}").format(
                sql.SQL(", ").join(parts), only, sql.Identifier(schema, table)
            )
        ).fetchall()


# --- one rule per kind of value: text in, canonical text out -------------------------------


@functools.lru_cache(maxsize=100_000)
def _decimal(text: str) -> str:
    number = Decimal(text)
    if not number.is_finite():
        return str(number)
    sign, digits, exponent = number.as_tuple()
    written = "".join(map(str, digits)).lstrip("0")
    stripped = written.rstrip("0")
    if not stripped:
        return "0"
    assert isinstance(exponent, int)
    return f"{'-' if sign else ''}{stripped}e{exponent + len(written) - len(stripped)}"


def _double(text: str) -> str:
    return struct.pack(">d", float(text)).hex()


def _single(text: str) -> str:
    return struct.pack(">f", float(text)).hex()


def _moment(text: str) -> str | None:
    if re.match(r"0000|\d{4}-00|\d{4}-\d\d-00", text):  # zero or partial: the policy's NULL
        return None
    text = re.sub(r"\+00(:00)?$", "", text)
    return text.rstrip("0").rstrip(".") if "." in text else text


def _seconds(text: str) -> str:
    sign, *parts = re.fullmatch(r"(-?)(\d+):(\d+):([\d.]+)", text).groups()  # type: ignore[union-attr]
    total = Decimal(parts[0]) * 3600 + Decimal(parts[1]) * 60 + Decimal(parts[2])
    return _decimal(f"{sign}{total}")


def _json(text: str) -> str:
    def canonical(value: Any) -> Any:
        if isinstance(value, dict):
            return {"o": sorted((key, canonical(item)) for key, item in value.items())}
        if isinstance(value, list):
            return [canonical(item) for item in value]
        return {"n": _decimal(str(value))} if isinstance(value, Decimal) else value

    parsed = json.loads(text, parse_float=Decimal, parse_int=Decimal)
    return json.dumps(canonical(parsed), ensure_ascii=True)


def _boolean(text: str) -> str:
    known = {"1": "true", "0": "false", "t": "true", "f": "false", "true": "true"}
    return known.get(text, "false" if text == "false" else f"not a boolean: {text}")


def _geometry(text: str) -> str:
    """``SRID;WKB`` of MySQL's own form (SRID, then WKB in x-y order), EWKB, or plain WKB."""
    data = bytes.fromhex(text)
    if len(data) > 9 and data[4] in (0, 1) and _wkb_type(data, 4) in range(8):
        return f"{int.from_bytes(data[:4], 'little')};{data[4:].hex()}"
    if len(data) > 9 and data[0] in (0, 1):
        order = "little" if data[0] else "big"
        kind = int.from_bytes(data[1:5], order)  # type: ignore[arg-type]
        if kind & 0x20000000:
            srid = int.from_bytes(data[5:9], order)  # type: ignore[arg-type]
            plain = (kind & ~0x20000000).to_bytes(4, order)  # type: ignore[arg-type]
            return f"{srid};{(data[:1] + plain + data[9:]).hex()}"
        return f"0;{data.hex()}"
    return text


def _wkb_type(data: bytes, at: int) -> int:
    return int.from_bytes(data[at + 1 : at + 5], "little" if data[at] else "big")


def _same(text: str) -> str:
    return text


def _set_of_mysql(text: str) -> str:
    return json.dumps(text.split(",") if text else [])


def _set_of_pg(text: str) -> str:
    return json.dumps(json.loads(text))


def _unpadded(text: str) -> str:
    return text.rstrip(" ")


def rules(source: Column, target: Column) -> tuple[Rule, Rule]:
    """How the text of a MySQL column and of the PostgreSQL column made of it become equal."""
    kind, to = source.type, target.type
    if to == "bool":
        return _boolean, _boolean
    if kind in INTEGERS | {"decimal", "year"}:
        return _decimal, _decimal
    if kind == "float":
        return _single, _single
    if kind == "double":
        return _double, _double
    if kind in ("date", "datetime", "timestamp"):
        return _moment, _moment
    if kind == "time":
        return _seconds, _seconds
    if kind == "set":
        return _set_of_mysql, _set_of_pg if to == "_text" else _same
    if kind == "json" or to in ("json", "jsonb"):
        return _json, _json
    if kind in SPATIAL:
        return _geometry, _geometry
    if kind == "char":
        return _unpadded, _unpadded
    if kind in ("uuid", "inet4", "inet6"):
        return str.lower, lambda text: text.lower().removesuffix("/32").removesuffix("/128")
    return _same, _same


def apply(rule: Rule, value: str | None) -> str | None:
    """A rule applied to a value that may be NULL; a broken value is shown, never hidden."""
    if value is None:
        return None
    try:
        return rule(value)
    except (ValueError, ArithmeticError, AttributeError) as error:
        return f"unreadable {value!r}: {error}"


# --- whole tables ---------------------------------------------------------------------------


def digest(rows: Iterable[Row]) -> str:
    """One hash of a bag of rows, whatever their order."""
    hashes = sorted(hashlib.sha256(repr(row).encode()).hexdigest() for row in rows)
    return hashlib.sha256("".join(hashes).encode()).hexdigest()


def row_counts(end: End) -> dict[str, int]:
    """Exact row counts by table name, counted by the server (inherited rows included)."""
    if dialect(end.server) == "mysql":
        counts = {}
        with mysql_connection(end.server, end.database) as connection:
            cursor = connection.cursor()
            for table in mysql_columns(end):
                cursor.execute(f"SELECT COUNT(*) FROM {quote_mysql(table)}")
                counts[table] = cursor.fetchone()[0]
        return counts
    with pg_connection(end.server, end.database) as pg:
        return {
            table: (
                pg.execute(
                    sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(end.schema, table))
                ).fetchone()
                or (0,)
            )[0]
            for table in pg_columns(end)
        }


def compare_rows(source: End, target: End) -> list[str]:
    """What differs between the rows of two databases, a sentence per table; empty: equal."""
    if dialect(source.server) == "mysql":
        return _compare_mysql(source, target)
    theirs, ours = (pg_columns(end, every_schema=True) for end in (source, target))
    found = []
    for table, columns in theirs.items():
        schema, name = table.split(".", 1)  # the tests' schemas have no dot in their names
        if table not in ours:
            found.append(f"{table} is missing on the target")
            continue
        if [c.name for c in columns] != [c.name for c in ours[table]]:
            found.append(f"{table}: the columns are others")
            continue
        found += _difference(
            table,
            pg_rows(source, schema, name, columns, raw=True),
            pg_rows(target, schema, name, columns, raw=True),
        )
    return found


def _compare_mysql(source: End, target: End) -> list[str]:
    theirs, ours = mysql_columns(source), pg_columns(target)
    found = [f"{table} is on the target only" for table in ours if table not in theirs]
    for table, columns in theirs.items():
        by_name = {column.name: column for column in ours.get(table, [])}
        if not by_name:
            found.append(f"{table} is missing on the target")
            continue
        if lacking := [column.name for column in columns if column.name not in by_name]:
            found.append(f"{table}: no column {lacking} on the target")
            continue
        targets = [by_name[column.name] for column in columns]
        pairs = [rules(a, b) for a, b in zip(columns, targets, strict=True)]
        left = mysql_rows(source, table, columns)
        right = pg_rows(target, target.schema, table, targets, raw=False)
        found += _difference(
            table,
            [tuple(apply(p[0], v) for p, v in zip(pairs, row, strict=True)) for row in left],
            [tuple(apply(p[1], v) for p, v in zip(pairs, row, strict=True)) for row in right],
        )
    return found


def _difference(table: str, left: list[Row], right: list[Row]) -> list[str]:
    if digest(left) == digest(right):
        return []
    a, b = Counter(left), Counter(right)
    lost, new = list((a - b).elements()), list((b - a).elements())
    return [
        f"{table}: {len(left)} rows against {len(right)}; {len(lost)} of the source are not on"
        f" the target, as {lost[:2]}; {len(new)} of the target are not on the source,"
        f" as {new[:2]}"
    ]
