"""The structure of a schema in the small vocabulary that MySQL and PostgreSQL share.

Read from information_schema and pg_catalog, never from the engine. What a MySQL type
may become is `expected_types` (DESIGN.md section 7).
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from tests.support import canonical_rows
from tests.support.canonical_rows import End
from tests.support.samples import mysql_connection, pg_connection

NOW = re.compile(
    r"\b(current_timestamp|now\(|localtimestamp|(transaction|statement|clock)_timestamp\()", re.I
)
UNSTABLE = re.compile(r"uuid|rand|now|curdate|curtime|current_|sysdate|nextval", re.I)


@dataclass
class Field:
    """A column in the vocabulary that both ends share."""

    column: canonical_rows.Column
    types: set[str]
    """The types that are right for it (source), or the one that it has (target)."""
    nullable: bool
    default: str | None = None
    """None, ``now``, ``expression``, or the SQL of a constant."""
    generated: bool = False
    counts: bool = False
    """It numbers itself."""
    labels: list[str] | None = None
    comment: str = ""


@dataclass
class Shape:
    """A table in the vocabulary that both ends share."""

    fields: list[Field] = field(default_factory=list)
    primary: tuple[str, ...] = ()
    indexes: list[tuple[bool, tuple[str, ...]]] = field(default_factory=list)
    """Unique or not, and the parts: ``name``, ``name~`` (prefix), ``()``, each ``DESC`` or not."""
    foreign: list[tuple[Any, ...]] = field(default_factory=list)
    checks: int = 0
    fulltext: int = 0
    comment: str = ""


def expected_types(column: canonical_rows.Column, *, key: bool, json_checked: bool) -> set[str]:
    """The PostgreSQL types, as format_type writes them, that a MySQL type may become."""
    kind, full = column.type, column.full
    unsigned = "unsigned" in full
    arguments = re.search(r"\(([\d,]+)\)", full)
    args = f"({arguments[1]})" if arguments else ""
    match kind:
        case "tinyint":
            return {"smallint", "boolean"} if full == "tinyint(1)" else {"smallint"}
        case "smallint":
            return {"integer" if unsigned else "smallint"}
        case "mediumint":
            return {"integer"}
        case "int":
            return {"bigint" if unsigned else "integer"}
        case "bigint":  # numbered columns cannot be numeric, nor what refers to them
            return ({"numeric(20,0)"} | ({"bigint"} if key else set())) if unsigned else {"bigint"}
        case "decimal":
            return {"numeric" + args}
        case "varchar" | "char":
            # CHAR too: MySQL gives it back without padding, PostgreSQL's char(n) would pad it.
            return {"character varying" + args}
        case "datetime" | "timestamp" | "time":
            zone = "with" if kind == "timestamp" else "without"
            name = "time" if kind == "time" else "timestamp"
            sizes = {args} if args else {"", "(0)"}
            return {f"{name}{size} {zone} time zone" for size in sizes}
        case "bit":
            return {"boolean"} if args in ("", "(1)") else {"bit" + args}
        case "longtext" if json_checked:  # MariaDB's JSON
            return {"jsonb", "text"}
    if kind in canonical_rows.BINARY | {"vector"}:
        return {"bytea"}
    if kind in canonical_rows.SPATIAL:
        return {"bytea", "geometry", *(f"geometry({kind})" for kind in [kind.title()])}
    known = {"float": "real", "double": "double precision", "year": "smallint", "json": "jsonb"}
    known |= {"set": "text[]", "date": "date", "enum": "enum", "uuid": "uuid"}
    known |= {"inet4": "inet", "inet6": "inet"}
    return {known.get(kind, "text")}


def _labels(full: str) -> list[str]:
    """The labels in an ENUM's COLUMN_TYPE, where quotes are doubled and backslashes escape."""
    known = {"n": "\n", "r": "\r", "0": "\0", "Z": "\x1a"}
    return [
        re.sub(
            r"\\(.)|''", lambda m: known.get(m[1], m[1]) if m[1] else "'", label, flags=re.DOTALL
        )
        for label in re.findall(r"'((?:[^'\\]|''|\\.)*)'", full, flags=re.DOTALL)
    ]


def _query(cursor: Any, text: str, database: str) -> list[tuple[Any, ...]]:
    cursor.execute(text, (database,))
    return [tuple(row) for row in cursor.fetchall()]


def mysql_shapes(end: End) -> dict[str, Shape]:
    """All base tables of a MySQL or MariaDB database."""
    with mysql_connection(end.server, end.database) as connection, connection.cursor() as cursor:
        maria = "MariaDB" in connection.get_server_info()
        shapes = {
            name: Shape(comment=comment)
            for name, comment in _query(
                cursor,
                "SELECT table_name, table_comment FROM information_schema.tables"
                " WHERE table_schema = %s AND table_type = 'BASE TABLE'",
                end.database,
            )
        }
        checks = _mysql_checks(cursor, end.database, maria)
        linked = defaultdict(set)
        for table, column, other, its in _query(
            cursor,
            "SELECT table_name, column_name, referenced_table_name, referenced_column_name"
            " FROM information_schema.key_column_usage"
            " WHERE table_schema = %s AND referenced_table_name IS NOT NULL",
            end.database,
        ):
            linked[table].add(column)
            linked[other].add(its)
        for table, name, kind, full, nullable, default, extra, comment in _query(
            cursor,
            "SELECT table_name, column_name, data_type, column_type, is_nullable,"
            " column_default, extra, column_comment FROM information_schema.columns"
            " WHERE table_schema = %s ORDER BY table_name, ordinal_position",
            end.database,
        ):
            if table not in shapes:
                continue
            lower = full if kind in ("enum", "set") else full.lower()
            column, extra = canonical_rows.Column(name, kind.lower(), lower), extra.lower()
            generated = "virtual generated" in extra or "stored generated" in extra
            counts = "auto_increment" in extra
            is_json = any("json_valid" in c and f"`{name}`" in c for c in checks.get(table, ()))
            shapes[table].fields.append(
                Field(
                    column,
                    expected_types(
                        column, key=counts or name in linked[table], json_checked=is_json
                    ),
                    nullable == "YES",
                    None if generated else _mysql_default(default, extra, column, maria),
                    generated,
                    counts,
                    _labels(full) if kind == "enum" else None,
                    comment,
                )
            )
        for table, clauses in checks.items():
            if table in shapes:  # MariaDB's JSON type is a check; it is none of the user's
                shapes[table].checks = sum("json_valid" not in clause for clause in clauses)
        _mysql_keys(cursor, end.database, maria, shapes)
    return shapes


def _mysql_checks(cursor: Any, database: str, maria: bool) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    table = "c.table_name" if maria else "t.table_name"
    join = "" if maria else (
        " JOIN information_schema.table_constraints t ON t.constraint_schema ="
        " c.constraint_schema AND t.constraint_name = c.constraint_name"
        " AND t.constraint_type = 'CHECK'"
    )  # fmt: skip
    for name, clause in _query(
        cursor,
        f"SELECT {table}, c.check_clause FROM information_schema.check_constraints c{join}"
        " WHERE c.constraint_schema = %s",
        database,
    ):
        found.setdefault(name, []).append(clause)
    return found


def _mysql_default(
    text: str | None, extra: str, column: canonical_rows.Column, maria: bool
) -> str | None:
    if text is None or (maria and text == "NULL"):
        return None
    if NOW.search(text) and column.type in ("datetime", "timestamp", "date", "time"):
        return "now"
    if maria:
        literal = re.fullmatch(r"'(?:[^'\\]|''|\\.)*'|-?[\d.]+(e[+-]?\d+)?|b'[01]*'", text)
        return text if literal or not UNSTABLE.search(text) else "expression"
    if "default_generated" in extra:
        return "expression" if UNSTABLE.search(text) else f"({text})".replace(r"\'", "'")
    if re.fullmatch(r"b'[01]*'|0x[0-9A-Fa-f]*", text):
        return text
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def _mysql_keys(cursor: Any, database: str, maria: bool, shapes: dict[str, Shape]) -> None:
    parts: dict[tuple[str, str], list[str]] = defaultdict(list)
    unique: dict[tuple[str, str], tuple[bool, str]] = {}
    for table, name, non_unique, column, length, order, method in _query(
        cursor,
        "SELECT table_name, index_name, non_unique, column_name, sub_part, collation, index_type"
        " FROM information_schema.statistics WHERE table_schema = %s"
        " ORDER BY table_name, index_name, seq_in_index",
        database,
    ):
        unique[table, name] = (not non_unique, method)
        text = "()" if column is None else column + ("~" if length else "")
        parts[table, name].append(text + (" DESC" if order == "D" else ""))
    for (table, name), (is_unique, method) in unique.items():
        if name == "PRIMARY":
            shapes[table].primary = tuple(parts[table, name])
        elif method in ("FULLTEXT", "SPATIAL"):
            shapes[table].fulltext += 1
        else:
            shapes[table].indexes.append((is_unique, tuple(parts[table, name])))
    for table, columns, other, its, on_delete, on_update in _query(
        cursor,
        "SELECT k.table_name,"
        " GROUP_CONCAT(k.column_name ORDER BY k.ordinal_position SEPARATOR '\n'),"
        " k.referenced_table_name,"
        " GROUP_CONCAT(k.referenced_column_name ORDER BY k.ordinal_position SEPARATOR '\n'),"
        " r.delete_rule, r.update_rule FROM information_schema.key_column_usage k"
        " JOIN information_schema.referential_constraints r ON r.constraint_schema ="
        " k.constraint_schema AND r.constraint_name = k.constraint_name"
        " AND r.table_name = k.table_name WHERE k.table_schema = %s"
        " AND k.referenced_table_name IS NOT NULL GROUP BY k.table_name, k.constraint_name,"
        " k.referenced_table_name, r.delete_rule, r.update_rule",
        database,
    ):
        actions = (_action(on_delete), _action(on_update))
        shapes[table].foreign.append(
            (tuple(columns.split("\n")), other, tuple(its.split("\n")), *actions)
        )


def _action(rule: str) -> str:
    """MySQL checks NO ACTION at once, as RESTRICT; the two are one here."""
    return "NO ACTION" if rule == "RESTRICT" else rule


def pg_shapes(end: End) -> dict[str, Shape]:
    """All tables of one schema of a PostgreSQL database, from pg_catalog."""
    shapes: dict[str, Shape] = {}
    with pg_connection(end.server, end.database) as pg:
        for table, comment in pg.execute(
            "SELECT relname, coalesce(obj_description(oid, 'pg_class'), '') FROM pg_class"
            " WHERE relnamespace = %s::regnamespace AND relkind IN ('r', 'p')",
            (f'"{end.schema}"',),
        ):
            shapes[table] = Shape(comment=comment)
        for row in pg.execute(PG_COLUMNS, (f'"{end.schema}"',)):
            (
                table,
                name,
                kind,
                category,
                full,
                not_null,
                default,
                identity,
                made,
                labels,
                comment,
            ) = row
            counts = bool(identity) or bool(default and default.startswith("nextval("))
            shapes[table].fields.append(
                Field(
                    canonical_rows.Column(name, kind, full, category),
                    {"enum" if category == "E" else full},
                    not not_null,
                    None if counts or made or default is None or default.startswith("NULL::")
                    else "now" if NOW.search(default) and default[0] != "'" else default,
                    bool(made),
                    counts,
                    labels,
                    comment,
                )
            )  # fmt: skip
        for table, primary, unique, method, parts in pg.execute(PG_INDEXES, (f'"{end.schema}"',)):
            if primary:
                shapes[table].primary = tuple(parts)
            elif method in ("gin", "gist"):
                shapes[table].fulltext += 1
            else:
                shapes[table].indexes.append((unique, tuple(parts)))
        for table, kind, columns, other, its, deleted, updated, valid in pg.execute(
            PG_CONSTRAINTS, (f'"{end.schema}"',)
        ):
            if kind == "c":
                shapes[table].checks += 1
            else:
                actions = (ACTIONS[deleted], ACTIONS[updated])
                shapes[table].foreign.append(
                    (
                        tuple(columns),
                        other,
                        tuple(its),
                        *actions,
                        *(() if valid else ("NOT VALID",)),
                    )
                )
    return shapes


ACTIONS = {"a": "NO ACTION", "r": "NO ACTION", "c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}
PG_COLUMNS = """
SELECT c.relname, a.attname, t.typname, t.typcategory::text, format_type(a.atttypid, a.atttypmod),
  a.attnotnull, CASE WHEN a.attgenerated = '' THEN pg_get_expr(d.adbin, d.adrelid) END,
  a.attidentity::text, a.attgenerated::text,
  (SELECT array_agg(e.enumlabel::text ORDER BY e.enumsortorder) FROM pg_enum e
   WHERE e.enumtypid = t.oid), coalesce(col_description(c.oid, a.attnum), '')
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relnamespace = %s::regnamespace AND c.relkind IN ('r', 'p') ORDER BY c.relname, a.attnum"""
PG_INDEXES = """
SELECT c.relname, i.indisprimary, i.indisunique, m.amname,
  (SELECT array_agg(coalesce(a.attname::text,
       '() ' || pg_get_indexdef(i.indexrelid, k.n::int, true))
     || CASE WHEN i.indoption[k.n - 1] & 1 = 1 THEN ' DESC' ELSE '' END ORDER BY k.n)
   FROM unnest(i.indkey::int2[]) WITH ORDINALITY k (num, n)
   LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.num AND k.num > 0
   WHERE k.n <= i.indnkeyatts)
FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_class x ON x.oid = i.indexrelid
JOIN pg_am m ON m.oid = x.relam WHERE c.relnamespace = %s::regnamespace AND i.indisvalid"""
PG_CONSTRAINTS = """
SELECT c.relname, o.contype::text,
  ARRAY(SELECT a.attname::text FROM unnest(o.conkey) WITH ORDINALITY k (num, n)
    JOIN pg_attribute a ON a.attrelid = o.conrelid AND a.attnum = k.num ORDER BY k.n), f.relname,
  ARRAY(SELECT a.attname::text FROM unnest(o.confkey) WITH ORDINALITY k (num, n)
    JOIN pg_attribute a ON a.attrelid = o.confrelid AND a.attnum = k.num ORDER BY k.n),
  o.confdeltype::text, o.confupdtype::text, o.convalidated
FROM pg_constraint o JOIN pg_class c ON c.oid = o.conrelid
LEFT JOIN pg_class f ON f.oid = o.confrelid
WHERE o.contype IN ('c', 'f') AND c.relnamespace = %s::regnamespace"""
