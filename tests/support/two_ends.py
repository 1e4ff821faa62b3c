"""Rows and structure of both ends of a stream, by the servers' own texts, in a common form.

Shares nothing with the engine. Each end is read through one connection; a value is None (NULL)
or text, brought to one form by the pair of types (`canonical_rows.rules`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

from psycopg import sql

from streams_engine.testing.servers import Server
from tests.support import canonical_rows
from tests.support.canonical_rows import Column, quote_mysql
from tests.support.samples import mysql_connection, pg_connection

__all__ = ["Content", "Table", "difference", "read"]

Row = tuple[str | None, ...]
STREAMS_OWN = ("streams_engine", "pg_catalog", "information_schema", "pg_toast")


@dataclass
class Table:
    """A table as one end has it."""

    columns: list[Column] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    shape: dict[str, Any] = field(default_factory=dict)
    """``column NAME``, ``primary``, ``unique``, ``index``, ``foreign`` to what is there."""
    prefixed: list[str] = field(default_factory=list)
    """MySQL's indexes by their columns, also where it has a prefix of one alone."""
    partition: bool = False
    definition: str = ""
    """Comparable between servers of one kind only."""


@dataclass
class Content:
    """The tables of an end by name; PostgreSQL's as ``name`` in public, else ``schema.name``."""

    kind: str
    tables: dict[str, Table]


def read(server: Server, database: str, wanted: Callable[[str], bool]) -> Content:
    """Read the tables whose bare name is wanted."""
    postgres = server.kind == "postgresql"
    tables = (_postgres if postgres else _mysql)(server, database, wanted)
    return Content(server.kind, tables)


def difference(source: Content, target: Content, structure: bool) -> list[tuple[str, str]]:
    """(``rows`` or ``structure``, a sentence) for whatever differs; empty: equal."""
    found = []
    for name, left in source.tables.items():
        if left.partition and source.kind != target.kind:
            continue  # its rows are the root's
        right = target.tables.get(name)
        kind = "structure" if left.partition else "rows"  # the rows are the root's too
        if right is None:
            found.append((kind, f"{name} is missing on the target"))
            continue
        if source.kind != target.kind:
            right = _with_long_names(left, right)
        names, others = ([c.name for c in table.columns] for table in (left, right))
        if sorted(names) != sorted(others):
            found.append(("rows", f"{name}: columns {names} became {others}"))
            continue
        if words := _rows(name, left, right, source.kind, target.kind):
            found.append((kind, words))
        if structure:
            found += [("structure", w) for w in _structure(name, left, right, source, target)]
    for name in [name for name in target.tables if name not in source.tables]:
        kind = "structure" if target.tables[name].partition else "rows"
        found.append((kind, f"{name} is on the target only"))
    return found


def _with_long_names(left: Table, right: Table) -> Table:
    """A table with the names of its source's columns where these are too long for PostgreSQL."""
    names = {column.name for column in left.columns}
    if len(left.columns) != len(right.columns) or max(map(len, names), default=0) <= 63:
        return right
    pairs = zip(left.columns, right.columns, strict=True)
    columns = [
        replace(there, name=own.name) if len(own.name) > 63 and there.name not in names else there
        for own, there in pairs
    ]
    return replace(right, columns=columns)


def _rows(name: str, left: Table, right: Table, source: str, target: str) -> str:
    places = {column.name: at for at, column in enumerate(right.columns)}
    others = [right.columns[places[c.name]] for c in left.columns]
    pairs = [_rules(a, b, source, target) for a, b in zip(left.columns, others, strict=True)]
    ours = [
        tuple(
            canonical_rows.apply(pair[1], row[places[c.name]])
            for pair, c in zip(pairs, left.columns, strict=True)
        )
        for row in right.rows
    ]
    theirs = [
        tuple(canonical_rows.apply(pair[0], v) for pair, v in zip(pairs, row, strict=True))
        for row in left.rows
    ]
    a, b = Counter(theirs), Counter(ours)
    lost, new = sorted((a - b).elements(), key=repr), sorted((b - a).elements(), key=repr)
    if not lost and not new:
        return ""
    return f"{name} {[c.name for c in left.columns]}: source has {lost[:3]}, target {new[:3]}"


def _rules(left: Column, right: Column, source: str, target: str) -> tuple[Any, Any]:
    if "postgresql" not in (source, target) or source == target:
        return canonical_rows.rules(Column("", "text", ""), Column("", "text", ""))
    if source == "postgresql":
        one, other = canonical_rows.rules(right, left)
        return other, one
    return canonical_rows.rules(left, right)


# --- structure ------------------------------------------------------------------------------


def _structure(name: str, left: Table, right: Table, source: Content, target: Content) -> list[str]:
    if source.kind == target.kind:
        if left.definition == right.definition:
            return []
        ours, theirs = left.definition.splitlines(), right.definition.splitlines()
        lost = [line for line in ours if line not in theirs]
        new = [line for line in theirs if line not in ours]
        return [f"{name}: {lost} became {new}"] if lost or new else []
    found = []
    for key, value in left.shape.items():
        other = right.shape.get(key)
        if key == "index":
            other = [*(other or ()), *right.prefixed]
        if isinstance(value, list):  # what the target has beyond it does no harm
            lost = [one for one in value if one not in other and "()" not in one]
            found += [f"{name}: {key} {one} is missing" for one in lost]
        elif key == "checks":
            found += [f"{name}: {value} checks became {other}"] if other < value else []
        elif value != other and "()" not in str(value):  # the prefix of a column
            found.append(f"{name}: {key} {value} became {other}")
    return found


_MYSQL_LINES = (
    "SELECT table_name, 'KEY', non_unique, index_type,"
    " GROUP_CONCAT(CONCAT(COALESCE(column_name, '()'), COALESCE(sub_part, ''),"
    " COALESCE(collation, '')) ORDER BY seq_in_index) FROM information_schema.statistics"
    " WHERE table_schema = %s GROUP BY 1, index_name, 3, 4 ORDER BY 1, 3, 5",
    "SELECT k.table_name, k.constraint_name, r.referenced_table_name, r.delete_rule, r.update_rule,"
    " GROUP_CONCAT(CONCAT(k.column_name, ' ', k.referenced_column_name)"
    " ORDER BY k.ordinal_position) FROM information_schema.key_column_usage k"
    " JOIN information_schema.referential_constraints r"
    " ON r.constraint_schema = k.constraint_schema AND r.constraint_name = k.constraint_name"
    " AND r.table_name = k.table_name WHERE k.table_schema = %s"
    " GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2",
    "SELECT t.table_name, t.constraint_type, t.constraint_name, c.check_clause"
    " FROM information_schema.table_constraints t"
    " JOIN information_schema.check_constraints c ON c.constraint_schema = t.constraint_schema"
    " AND c.constraint_name = t.constraint_name"
    " WHERE t.table_schema = %s AND t.constraint_type = 'CHECK' ORDER BY 1, 2",
    "SELECT table_name, table_comment FROM information_schema.tables WHERE table_schema = %s",
)
"""What else a table is made of: keys, foreign keys, checks, its comment."""


def _mysql(server: Server, database: str, wanted: Callable[[str], bool]) -> dict[str, Table]:
    tables: dict[str, Table] = defaultdict(Table)
    lines: dict[str, list[str]] = defaultdict(list)
    with closing(mysql_connection(server, database)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.table_name, c.column_name, c.data_type, c.column_type, c.is_nullable,"
            " c.column_default, c.extra, c.generation_expression, c.collation_name,"
            " c.column_comment FROM information_schema.columns c JOIN information_schema.tables t"
            " ON t.table_schema = c.table_schema AND t.table_name = c.table_name"
            " WHERE c.table_schema = %s AND t.table_type IN ('BASE TABLE', 'SYSTEM VERSIONED')"
            " ORDER BY c.table_name, c.ordinal_position",
            (database,),
        )
        for table, name, *properties in cursor.fetchall():
            if not wanted(table):
                continue
            kind, full, nullable, default, extra, expression, *_ = properties
            lines[table].append(f"{name} {properties[1:]}")
            tables[table].columns.append(Column(name, kind.lower(), full.lower()))
            counts = "auto_increment" in extra.lower()
            given = default not in (None, "NULL") and not expression
            tables[table].shape[f"column {name}"] = (nullable == "YES", given or counts)
        for name, table in tables.items():
            shown = ", ".join(map(canonical_rows.mysql_expression, table.columns))
            cursor.execute(f"SELECT {shown} FROM {quote_mysql(name)}")
            table.rows = [tuple(map(_text, row)) for row in cursor.fetchall()]
        _mysql_keys(cursor, database, tables)
        for query in _MYSQL_LINES:
            cursor.execute(query, (database,))
            for name, *properties in cursor.fetchall():
                lines[name].append(str(properties).replace("'RESTRICT'", "'NO ACTION'"))
    for name, table in tables.items():
        checks = [line for line in lines[name] if line.startswith("['CHECK'")]
        # MariaDB's type JSON is such a check.
        table.shape["checks"] = sum("json_valid(" not in line for line in checks)
        table.definition = "\n".join(lines[name]).replace(f"`{database}`.", "")
    return dict(tables)


def _mysql_keys(cursor: Any, database: str, tables: dict[str, Table]) -> None:
    cursor.execute(
        "SELECT table_name, index_name, MIN(non_unique),"
        " GROUP_CONCAT(IF(sub_part IS NULL, COALESCE(column_name, '()'), '()')"
        " ORDER BY seq_in_index) FROM information_schema.statistics"
        " WHERE table_schema = %s AND index_type NOT IN ('FULLTEXT', 'SPATIAL') GROUP BY 1, 2",
        (database,),
    )
    keys = [row for row in cursor.fetchall() if row[0] in tables]
    cursor.execute(
        "SELECT table_name, GROUP_CONCAT(COALESCE(column_name, '()') ORDER BY seq_in_index)"
        " FROM information_schema.statistics WHERE table_schema = %s AND non_unique"
        " AND index_type NOT IN ('FULLTEXT', 'SPATIAL') GROUP BY 1, index_name",
        (database,),
    )
    for name, columns in cursor.fetchall():  # of an index it is enough that it is there
        if name in tables:
            tables[name].prefixed.append(columns)
    cursor.execute(
        "SELECT k.table_name, k.constraint_name,"
        " GROUP_CONCAT(k.column_name ORDER BY k.ordinal_position), k.referenced_table_name,"
        " GROUP_CONCAT(k.referenced_column_name ORDER BY k.ordinal_position),"
        " MIN(r.delete_rule), MIN(r.update_rule)"
        " FROM information_schema.key_column_usage k"
        " JOIN information_schema.referential_constraints r"
        " ON r.constraint_schema = k.constraint_schema AND r.constraint_name = k.constraint_name"
        " AND r.table_name = k.table_name"
        " WHERE k.table_schema = %s GROUP BY 1, 2, 4",
        (database,),
    )
    foreign = [row for row in cursor.fetchall() if row[0] in tables]
    for name, table in tables.items():
        mine = [row[1:] for row in keys if row[0] == name]
        _keys(table, [(i == "PRIMARY", not n, c) for i, n, c in mine])
        table.shape["foreign"] = [
            (c, p, q, d.replace("RESTRICT", "NO ACTION"), u.replace("RESTRICT", "NO ACTION"))
            for n, _, c, p, q, d, u in foreign
            if n == name
        ]


def _keys(table: Table, keys: list[tuple[bool, bool, str]]) -> None:
    """An index over expressions has no column; it is compared by its place in the list only."""
    table.shape["primary"] = next((c for primary, _, c in keys if primary), "")
    table.shape["unique"] = sorted(c for p, unique, c in keys if unique and not p)
    table.shape["index"] = sorted(c for p, unique, c in keys if not unique)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


_COLUMNS = """
SELECT n.nspname, c.relname, a.attname, t.typname, t.typcategory,
  format_type(a.atttypid, a.atttypmod), NOT a.attnotnull, a.attgenerated::text,
  (d.adbin IS NOT NULL AND a.attgenerated = '') OR a.attidentity <> '',
  CASE WHEN c.relispartition THEN '' ELSE a.attidentity::text END,
  pg_get_expr(d.adbin, d.adrelid), (SELECT l.collname FROM pg_collation l
    WHERE l.oid = a.attcollation AND l.collname <> 'default'),
  c.relispartition, c.relkind::text || c.relpersistence::text
    || coalesce(pg_get_partkeydef(c.oid), '') || coalesce(pg_get_expr(c.relpartbound, c.oid), '')
    || coalesce(c.reloptions::text, '')
    || coalesce((SELECT string_agg(i.inhparent::regclass::text, ',' ORDER BY i.inhseqno)
                 FROM pg_inherits i WHERE i.inhrelid = c.oid), '')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND NOT n.nspname = ANY (%s)
AND NOT EXISTS (SELECT FROM pg_depend x WHERE x.classid = 'pg_class'::regclass
  AND x.objid = c.oid AND x.deptype = 'e')
ORDER BY 1, 2, a.attnum
"""
_INDEXES = """
SELECT n.nspname, c.relname, i.indisprimary, i.indisunique,
  (SELECT string_agg(coalesce(a.attname, '()'), ',' ORDER BY k.o)
   FROM unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) WITH ORDINALITY k(n, o)
   LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.n),
  pg_get_indexdef(i.indexrelid)
FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE i.indisvalid AND NOT n.nspname = ANY (%s)
"""
_CONSTRAINTS = """
SELECT n.nspname, c.relname, o.conname, pg_get_constraintdef(o.oid),
  CASE WHEN o.contype = 'f' THEN ARRAY[
    (SELECT string_agg(a.attname, ',' ORDER BY k.o) FROM unnest(o.conkey) WITH ORDINALITY k(n, o)
     JOIN pg_attribute a ON a.attrelid = o.conrelid AND a.attnum = k.n),
    (SELECT p.relname FROM pg_class p WHERE p.oid = o.confrelid),
    (SELECT string_agg(a.attname, ',' ORDER BY k.o) FROM unnest(o.confkey) WITH ORDINALITY k(n, o)
     JOIN pg_attribute a ON a.attrelid = o.confrelid AND a.attnum = k.n),
    o.confdeltype::text, o.confupdtype::text] END
FROM pg_constraint o JOIN pg_class c ON c.oid = o.conrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE o.contype IN ('c', 'f', 'p', 'u', 'x') AND NOT (o.contype = 'f' AND o.conparentid <> 0)
AND NOT n.nspname = ANY (%s)
"""
_ACTIONS = {"a": "NO ACTION", "r": "NO ACTION", "c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}


def _postgres(server: Server, database: str, wanted: Callable[[str], bool]) -> dict[str, Table]:
    tables: dict[str, Table] = defaultdict(Table)
    lines: dict[str, list[str]] = defaultdict(list)
    places: dict[str, tuple[str, str]] = {}
    own = (list(STREAMS_OWN),)
    with pg_connection(server, database) as connection:
        for row in connection.execute(_COLUMNS, own).fetchall():
            schema, name, column, kind, category, full, nullable, generated = row[:8]
            if not (wanted(name) or wanted(schema)):
                continue
            key = name if schema == "public" else f"{schema}.{name}"
            places[key] = schema, name
            tables[key].columns.append(Column(column, kind, full, str(category)))
            tables[key].shape[f"column {column}"] = (nullable, row[8])
            lines[key] = lines[key] or [row[13]]
            tables[key].partition = row[12]
            lines[key].append(f"{column} {[full, nullable, generated, *row[9:12]]}")
        indexes = connection.execute(_INDEXES, own).fetchall()
        constraints = connection.execute(_CONSTRAINTS, own).fetchall()
        for key, table in tables.items():
            place = places[key]
            mine = [row[2:] for row in indexes if row[:2] == place]
            _keys(table, [(p, u, c) for p, u, c, _ in mine])
            held = [row[2:] for row in constraints if row[:2] == place]
            table.shape["foreign"] = [
                (*f[:3], _ACTIONS[f[3]], _ACTIONS[f[4]]) for _, _, f in held if f is not None
            ]
            table.shape["checks"] = sum(d.startswith("CHECK") for _, d, _ in held)
            lines[key] += sorted(d for *_, d in mine) + sorted(f"{n} {d}" for n, d, _ in held)
            table.definition = "\n".join(lines[key])
            root = lines[key][0].startswith("p")
            shown = sql.SQL(", ").join(map(_postgres_expression, table.columns))
            table.rows = connection.execute(
                sql.SQL("SELECT {} FROM {}{}").format(
                    shown, sql.SQL("" if root else "ONLY "), sql.Identifier(*place)
                )
            ).fetchall()
    return dict(tables)


def _postgres_expression(column: Column) -> sql.Composable:
    if column.element == "A":  # what another kind of server holds as JSON
        return sql.SQL("pg_catalog.to_jsonb({})::text").format(sql.Identifier(column.name))
    return canonical_rows.pg_expression(column)
