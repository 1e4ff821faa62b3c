"""Holds a database against the one that came of it after a hop or a way there and back.

Shares nothing with the engine: values are texts that the servers print, tables are bags of
rows, and a rule per pair of original and returned type says whether that type may come and
how the two texts become equal. What has no rule here is a difference; the rules themselves
stand in the docstring of `test_round_trips`.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from tests.support import canonical_rows, shapes
from tests.support.canonical_rows import BINARY, INTEGERS, SPATIAL, Column, End, Rule
from tests.support.samples import dialect, mysql_connection, pg_connection

Key = tuple[str, str]
"""Schema (empty on MySQL) and table."""
TEXTS = {"tinytext", "text", "mediumtext", "longtext"}
SHORT = {"timetz": 24, "inet": 43, "cidr": 43, "macaddr": 17, "macaddr8": 23}
"""PostgreSQL's types whose longest text is known: it may travel as a VARCHAR that holds it."""


@dataclass(frozen=True)
class Field(Column):
    """A column with what the rules ask for beside its type."""

    labels: tuple[str, ...] = ()
    """Of an ENUM or SET, in order."""
    keyed: bool = False
    """Part of a unique index or of either side of a foreign key."""
    collation: str = ""
    """MySQL: the collation's name."""
    base: Column | None = None
    """PostgreSQL: the type under a domain."""


@dataclass(frozen=True)
class Held:
    """How the two texts of a permitted pair of types become equal."""

    left: Rule
    right: Rule
    as_json: bool = False
    """The original is a PostgreSQL array, to be rendered by to_jsonb."""


Allowed = Callable[[Field, Field], Held | None]
Found = list[str]


# --- reading --------------------------------------------------------------------------------


def fields(end: End) -> dict[Key, list[Field]]:
    """Every table that holds rows of its own: of PostgreSQL all schemas, no partitions."""
    return _mysql_fields(end) if dialect(end.server) == "mysql" else _pg_fields(end)


def _query(end: End, text: str, *values: Any) -> list[tuple[Any, ...]]:
    with mysql_connection(end.server, end.database) as connection, connection.cursor() as cursor:
        cursor.execute(text, values)
        return [tuple(row) for row in cursor.fetchall()]


def is_mariadb(end: End) -> bool:
    """The one flavour of MySQL or the other."""
    return end.server.kind == "mariadb"


def _mysql_fields(end: End) -> dict[Key, list[Field]]:
    keyed = set(
        _query(
            end,
            "SELECT table_name, column_name FROM information_schema.statistics"
            " WHERE table_schema = %s AND non_unique = 0"
            " UNION SELECT table_name, column_name FROM information_schema.key_column_usage"
            " WHERE table_schema = %s UNION SELECT referenced_table_name, referenced_column_name"
            " FROM information_schema.key_column_usage WHERE table_schema = %s",
            *[end.database] * 3,
        )
    )
    json: set[tuple[str, str]] = set()
    if is_mariadb(end):  # its JSON is a longtext with a check
        for table, clause in _query(
            end,
            "SELECT table_name, check_clause FROM information_schema.check_constraints"
            " WHERE constraint_schema = %s",
            end.database,
        ):
            if match := re.fullmatch(r"json_valid\(`((?:[^`]|``)+)`\)", clause):
                json.add((table, match[1].replace("``", "`")))
    found: dict[Key, list[Field]] = {}
    for table, name, kind, full, collation in _query(
        end,
        "SELECT c.table_name, c.column_name, c.data_type, c.column_type, c.collation_name"
        " FROM information_schema.columns c JOIN information_schema.tables t"
        " ON t.table_schema = c.table_schema AND t.table_name = c.table_name"
        " WHERE c.table_schema = %s AND t.table_type = 'BASE TABLE'"
        " ORDER BY c.table_name, c.ordinal_position",
        end.database,
    ):
        kind = kind.lower()
        if (table, name) in json:
            kind = full = "json"
        labels = tuple(shapes._labels(full)) if kind in ("enum", "set") else ()
        found.setdefault(("", table), []).append(
            Field(
                name,
                "geometrycollection" if kind == "geomcollection" else kind,
                kind if labels else full.lower(),
                labels=labels,
                keyed=(table, name) in keyed,
                collation=collation or "",
            )
        )
    return found


def _pg_fields(end: End) -> dict[Key, list[Field]]:
    found: dict[Key, list[Field]] = {}
    with pg_connection(end.server, end.database) as connection:
        rows = connection.execute(PG_FIELDS, (list(canonical_rows.SYSTEM),)).fetchall()
    for schema, table, name, kind, category, full, labels, keyed, *under in rows:
        base = Column(name, under[0], under[1], under[2]) if under[0] else None
        found.setdefault((schema, table), []).append(
            Field(name, kind, full, category, tuple(labels or ()), keyed, base=base)
        )
    return found


PG_FIELDS = """
SELECT n.nspname, c.relname, a.attname::text, t.typname::text,
  CASE WHEN t.typtype = 'c' THEN 'C' ELSE t.typcategory::text END,
  format_type(a.atttypid, a.atttypmod),
  (SELECT array_agg(e.enumlabel::text ORDER BY e.enumsortorder) FROM pg_enum e
   WHERE e.enumtypid = t.oid),
  EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisunique
          AND a.attnum = ANY (i.indkey::int2[]))
  OR EXISTS (SELECT FROM pg_constraint o WHERE o.contype = 'f'
             AND (o.conrelid = c.oid AND a.attnum = ANY (o.conkey)
                  OR o.confrelid = c.oid AND a.attnum = ANY (o.confkey))),
  b.typname::text, format_type(b.oid, t.typtypmod), b.typcategory::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_type b ON b.oid = t.typbasetype AND t.typtype = 'd'
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
AND NOT n.nspname = ANY (%s)
AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1, 2, a.attnum"""


def texts(
    end: End, key: Key, columns: list[Field], as_json: list[bool]
) -> list[canonical_rows.Row]:
    """All rows of a table, its own only where others inherit from it, as the server prints them."""
    if dialect(end.server) == "mysql":
        return canonical_rows.mysql_rows(end, key[1], list(columns))
    parts = [
        sql.SQL("pg_catalog.to_jsonb({})::text").format(sql.Identifier(column.name))
        if json
        else sql.SQL("pg_catalog.upper(pg_catalog.encode({}, 'hex'))").format(
            sql.Identifier(column.name)
        )
        if column.type == "bytea"
        # A cast appends /32 to an inet, which SELECT does not print.
        else sql.SQL("pg_catalog.abbrev({})").format(sql.Identifier(column.name))
        if column.type == "inet"
        else sql.SQL("{}::text").format(sql.Identifier(column.name))
        for column, json in zip(columns, as_json, strict=True)
    ]
    with pg_connection(end.server, end.database) as connection:
        (partitioned,) = connection.execute(
            "SELECT c.relkind = 'p' FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname = %s AND c.relname = %s",
            key,
        ).fetchone() or (False,)
        return connection.execute(
            sql.SQL("SELECT {} FROM {}{}").format(
                sql.SQL(", ").join(parts),
                sql.SQL("" if partitioned else "ONLY "),
                sql.Identifier(*key),
            )
        ).fetchall()


# --- one rule per pair ----------------------------------------------------------------------


def _same(text: str) -> str:
    return text


def _unpadded(text: str) -> str:
    return text.rstrip(" ")


def _bare(text: str) -> str:
    """A time of day or a wall clock without trailing zeros; never NULL, whatever it says."""
    return text.rstrip("0").rstrip(".") if "." in text else text


def _in_utc(text: str) -> str:
    """What a session in UTC prints for an instant; another offset stays and will differ."""
    return _bare(text.removesuffix("+00"))


def _clock(text: str) -> str | None:
    """MySQL's wall clock; a zero or partial date is the policy's NULL."""
    return None if re.match(r"0000|\d{4}-00|\d{4}-\d\d-00", text) else _bare(text)


def _labels_as_json(text: str) -> str:
    return canonical_rows._json(canonical_rows._set_of_mysql(text))


EQUAL = Held(_same, _same)
NUMBER = Held(canonical_rows._decimal, canonical_rows._decimal)
SINGLE = Held(canonical_rows._single, canonical_rows._single)
DOUBLE = Held(canonical_rows._double, canonical_rows._double)
JSON = Held(canonical_rows._json, canonical_rows._json)
BOOLEAN = Held(canonical_rows._boolean, canonical_rows._boolean)
BLANKS = Held(_unpadded, _unpadded)
INSTANT = Held(_in_utc, _bare)
WALL = Held(_bare, _bare)
CLOCK = Held(_clock, _bare)


def _when(condition: bool, held: Held) -> Held | None:
    return held if condition else None


def _arguments(full: str) -> str:
    match = re.search(r"\([\d,]+\)", full)
    return match[0] if match else ""


def _plain(full: str) -> str:
    """A MySQL integer's type without its display width, which means nothing but for (1)."""
    if full == "tinyint(1)":
        return full
    return re.sub(r"^((?:tiny|small|medium|big)?int|year)\(\d+\)", r"\1", full)


def mysql_through_postgres(a: Field, b: Field) -> Held | None:
    """MySQL, to PostgreSQL, and back to MySQL."""
    kind, full, to = a.type, a.full, _plain(b.full)
    unsigned = "unsigned" in full
    if kind in INTEGERS:
        if full == "tinyint(1)":
            return _when(to in ("tinyint(1)", "smallint"), NUMBER)
        if kind == "bigint" and unsigned:
            return _when(to == "decimal(20,0)", NUMBER)
        wider = {"tinyint": "smallint", "mediumint": "int"}
        if unsigned:
            wider |= {"smallint": "int", "int": "bigint"}
        return _when(to == wider.get(kind, kind), NUMBER)
    if kind == "bit":
        if _arguments(full) in ("", "(1)"):
            return _when(to == "tinyint(1)", NUMBER)
        return _when(b.full == full, EQUAL)
    if kind == "decimal":
        return _when(to == full.split(" ")[0], NUMBER)
    if kind in ("char", "varchar"):
        return _when(to == "varchar" + _arguments(full) and _binary_text(b), EQUAL)
    if kind in TEXTS:
        keyed = b.keyed and b.type == "varchar"
        return _when((to == "longtext" or keyed) and _binary_text(b), EQUAL)
    if kind in BINARY:
        return _when(to == "longblob", EQUAL)
    if kind in SPATIAL:
        return _when(to == "longblob", Held(canonical_rows._geometry, canonical_rows._geometry))
    if kind == "enum":
        return _when(b.type == "enum" and b.labels == a.labels, EQUAL)
    if kind == "set":
        return _when(b.type == "json", Held(_labels_as_json, canonical_rows._json))
    rules = {
        "float": ("float", SINGLE),
        "double": ("double", DOUBLE),
        "year": ("smallint", NUMBER),
        "json": ("json", JSON),
        "date": ("date", CLOCK),
        "datetime": ("datetime", CLOCK),
        "timestamp": ("datetime", CLOCK),
        "time": ("time", WALL),
    }
    expected, held = rules.get(kind, ("", EQUAL))
    return _when(b.type == expected, held)


def _binary_text(field: Field) -> bool:
    """utf8mb4 in a collation that takes any two different texts for different."""
    return field.collation.startswith("utf8mb4_") and field.collation.endswith("_bin")


def _postgres_type(a: Field) -> Column:
    return a.base or a


def postgres_into_mysql(a: Field, b: Field) -> Held | None:
    """PostgreSQL to MySQL."""
    source = _postgres_type(a)
    kind, args, to = source.type, _arguments(source.full), _plain(b.full)
    if a.labels:
        return _when(b.type == "enum" and b.labels == a.labels, EQUAL)
    if source.element == "A":
        return _when(
            b.type == "json", Held(canonical_rows._json, canonical_rows._json, as_json=True)
        )
    numbers = {"int2": "smallint", "int4": "int", "int8": "bigint"}
    if kind in numbers:
        return _when(to == numbers[kind], NUMBER)
    if kind == "bool":
        return _when(to == "tinyint(1)", BOOLEAN)
    if kind == "numeric":
        return _when(to == "decimal" + (_full_scale(args) or "(65,30)"), NUMBER)
    if kind == "bpchar":
        return _when(to == "char" + args and _binary_text(b), BLANKS)
    if kind == "varchar" and args:
        return _when(to == "varchar" + args and _binary_text(b), EQUAL)
    if kind == "uuid":
        return _when(to == "char(36)", EQUAL)
    if kind == "bit":
        return _when(to == "bit" + (args or "(1)"), EQUAL)
    if kind == "timestamptz":
        return _when(to == "datetime(6)", INSTANT)
    rules = {
        "float4": ("float", SINGLE),
        "float8": ("double", DOUBLE),
        "date": ("date", EQUAL),
        "time": ("time", WALL),
        "timestamp": ("datetime", WALL),
        "json": ("json", JSON),
        "jsonb": ("json", JSON),
        "bytea": ("longblob", EQUAL),
    }
    if kind in rules:
        return _when(b.type == rules[kind][0], rules[kind][1])
    short = b.type == "varchar" and (b.keyed or _holds(b, kind))
    return _when((to == "longtext" or short) and _binary_text(b), EQUAL)


def _holds(field: Field, kind: str) -> bool:
    """Whether a varchar(n) is long enough for every text of a PostgreSQL type."""
    return kind in SHORT and int(_arguments(field.full).strip("()") or 0) >= SHORT[kind]


def _full_scale(args: str) -> str:
    return args if not args or "," in args else args.replace(")", ",0)")


def postgres_through_mysql(a: Field, b: Field) -> Held | None:
    """PostgreSQL, to MySQL, and back to PostgreSQL."""
    source = _postgres_type(a)
    kind, args, to = source.type, _arguments(source.full), b.type
    if a.labels:
        return _when(b.labels == a.labels, EQUAL)
    if source.element == "A":
        return _when(to == "jsonb", Held(canonical_rows._json, canonical_rows._json, as_json=True))
    if kind == "bool":
        return _when(to in ("bool", "int2"), BOOLEAN)
    if kind == "numeric":
        return _when(b.full == "numeric" + (_full_scale(args) or "(65,30)"), NUMBER)
    if kind == "bpchar":
        return _when(b.full == "character varying" + args, BLANKS)
    if kind == "varchar" and args:
        return _when(b.full == "character varying" + args, EQUAL)
    if kind == "uuid":
        return _when(b.full == "character varying(36)", EQUAL)
    if kind == "bit":
        single = args in ("", "(1)")
        return _when(b.full == ("boolean" if single else source.full), BOOLEAN if single else EQUAL)
    if kind in ("timestamp", "timestamptz"):
        return _when(to == "timestamp", INSTANT)
    rules = {
        "int2": ("int2", NUMBER),
        "int4": ("int4", NUMBER),
        "int8": ("int8", NUMBER),
        "float4": ("float4", SINGLE),
        "float8": ("float8", DOUBLE),
        "date": ("date", EQUAL),
        "time": ("time", EQUAL),
        "json": ("jsonb", JSON),
        "jsonb": ("jsonb", JSON),
        "bytea": ("bytea", EQUAL),
    }
    if kind in rules:
        return _when(to == rules[kind][0], rules[kind][1])
    short = to == "varchar" and (b.keyed or _holds(b, kind))
    return _when(to == "text" or short, EQUAL)


def unchanged(a: Field, b: Field) -> Held | None:
    """Within one dialect: the type itself, the text itself."""
    same = (a.type, _plain(a.full), a.labels) == (b.type, _plain(b.full), b.labels)
    return _when(same, JSON if a.type == "json" else EQUAL)


def unchanged_through_files(a: Field, b: Field) -> Held | None:
    """As `unchanged`, but a zero date has become NULL; a domain its base, a composite text."""
    held = unchanged(a, b)
    if held is None and a.base is not None:
        return _when((a.base.type, a.base.full) == (b.type, b.full), EQUAL)
    if held is None and a.full.endswith("pair"):  # the one composite
        return _when(b.type == "text", EQUAL)
    zero = a.type in ("date", "datetime", "timestamp") and not a.element  # MySQL's
    return CLOCK if held and zero else held


# --- whole databases ------------------------------------------------------------------------


def flat(key: Key) -> str:
    """The name that a table has on MySQL: a schema other than public goes in front."""
    return key[1] if key[0] in ("", "public") else f"{key[0]}__{key[1]}"


def compare(first: End, last: End, allowed: Allowed) -> Found:
    """What differs between the rows of two databases beyond the rules, a sentence each."""
    theirs = fields(first)
    ours = {flat(key): (key, columns) for key, columns in fields(last).items()}
    found = [f"{name} came from nowhere" for name in ours.keys() - set(map(flat, theirs))]
    for key, columns in theirs.items():
        name = flat(key)
        if name not in ours:
            found.append(f"{name} has not come")
            continue
        there, returned = ours[name]
        if [c.name for c in columns] != [c.name for c in returned]:
            found.append(f"{name}: {[c.name for c in columns]} is {[c.name for c in returned]}")
            continue
        kept = []
        for a, b in zip(columns, returned, strict=True):
            held = allowed(a, b)
            if held is None:
                found.append(f"{name}.{a.name}: {_shown(a)} came back as {_shown(b)}")
            else:
                kept.append((a, b, held))
        if not kept:
            continue
        left = texts(first, key, [k[0] for k in kept], [k[2].as_json for k in kept])
        right = texts(last, there, [k[1] for k in kept], [False] * len(kept))
        found += _row_differences(name, kept, left, right)
    return found


def _shown(field: Field) -> str:
    return f"{field.full}{list(field.labels) or ''} {field.collation}".strip()


def _row_differences(
    name: str,
    kept: list[tuple[Field, Field, Held]],
    left: list[canonical_rows.Row],
    right: list[canonical_rows.Row],
) -> Found:
    rules = [held for _, _, held in kept]
    ours = _normal(left, [held.left for held in rules])
    theirs = _normal(right, [held.right for held in rules])
    if Counter(ours) == Counter(theirs):
        return []
    # Column by column, so that a report names the column; the bag of whole rows decides.
    guilty = [
        f"{name}.{a.name}: {_two(one, other)}"
        for n, (a, _, _) in enumerate(kept)
        if (one := sorted(repr(row[n]) for row in ours))
        != (other := sorted(repr(row[n]) for row in theirs))
    ]
    return guilty or canonical_rows._difference(name, ours, theirs)


def _two(one: list[str], other: list[str]) -> str:
    lost, new = list(one), []
    for value in other:
        if value in lost:
            lost.remove(value)
        else:
            new.append(value)
    return (
        f"of {len(one)} and {len(other)} values {[v[:200] for v in lost[:3]]}"
        f" became {[v[:200] for v in new[:3]]}"
    )


def _normal(rows: Iterable[canonical_rows.Row], rules: list[Rule]) -> list[canonical_rows.Row]:
    once = [functools.cache(functools.partial(canonical_rows.apply, rule)) for rule in rules]
    return [tuple(rule(value) for rule, value in zip(once, row, strict=True)) for row in rows]


def compare_keys(first: End, last: End) -> Found:
    """Primary and foreign keys: those of the public schema, by the names of their columns.

    SET NULL of a column that cannot be NULL, which only PostgreSQL lets one declare, refuses
    as NO ACTION does, and is the same here.
    """
    theirs, ours = (
        shapes.mysql_shapes(end) if dialect(end.server) == "mysql" else shapes.pg_shapes(end)
        for end in (first, last)
    )
    found = []
    present = {flat(key) for key in fields(first)}
    for name, shape in theirs.items():
        if name not in present:
            continue  # a partition
        if name not in ours:
            found.append(f"{name} has not come")
            continue
        if shape.primary != ours[name].primary:
            found.append(f"{name}: primary key {shape.primary} is {ours[name].primary}")
        left, right = _foreign(shape, shape), _foreign(ours[name], shape)
        if left != right:
            found.append(f"{name}: foreign keys {left} are {right}")
    return found


def _foreign(of: shapes.Shape, original: shapes.Shape) -> list[tuple[Any, ...]]:
    fixed = {field.column.name for field in original.fields if not field.nullable}
    return sorted(
        (
            tuple(
                "NO ACTION" if part == "SET NULL" and fixed & set(key[0]) else part for part in key
            )
            for key in of.foreign
        ),
        key=repr,
    )


# --- the structure of two databases of MySQL's family ----------------------------------------


def compare_structure(first: End, last: End) -> Found:
    """Columns, keys, indexes, foreign keys, checks, counters: all that must come along.

    Between the flavours only what both can say is held against each other: no collations,
    and expressions only as being there.
    """
    flavours = {is_mariadb(end) for end in (first, last)}
    theirs, ours = (_structure(end, across=len(flavours) == 2) for end in (first, last))
    found = [f"{key} came from nowhere" for key in ours.keys() - theirs.keys()]
    for key, properties in theirs.items():
        if key not in ours:
            found.append(f"{key} has not come")
            continue
        found += [
            f"{key}: {what} {value!r} is {ours[key][what]!r}"
            for what, value in properties.items()
            if value != ours[key][what]
        ]
    return sorted(found)


Structure = dict[tuple[str, ...], dict[str, Any]]


def _structure(end: End, *, across: bool) -> Structure:
    maria = is_mariadb(end)
    found: Structure = {}
    numbered = set()
    json = {(k[1], f.name) for k, v in _mysql_fields(end).items() for f in v if f.type == "json"}
    for (
        table,
        name,
        position,
        full,
        nullable,
        default,
        extra,
        comment,
        charset,
        collation,
        made,
    ) in _query(
        end,
        "SELECT table_name, column_name, ordinal_position, column_type, is_nullable,"
        " column_default, extra, column_comment, character_set_name, collation_name,"
        " generation_expression FROM information_schema.columns WHERE table_schema = %s"
        " AND table_name IN (SELECT table_name FROM information_schema.tables"
        "  WHERE table_schema = %s AND table_type = 'BASE TABLE')",
        end.database,
        end.database,
    ):
        words = re.sub(r"default_generated|\(\)", "", extra.lower()).replace("persistent", "stored")
        if "auto_increment" in words:
            numbered.add(table)
        is_json = (table, name) in json
        found["column", table, name] = {
            "position": position,
            "type": "json" if is_json else _plain(full),
            "nullable": nullable,
            "default": _default(default, extra, maria) if across else default,
            "extra": " ".join(words.split()),
            "comment": comment,
            "charset": None if is_json and across else charset,
            "collation": None if across else collation,
            "generated": bool(made) if across else made or "",
        }
    for table, engine, counter, collation, comment in _query(
        end,
        "SELECT table_name, engine, auto_increment, table_collation, table_comment"
        " FROM information_schema.tables WHERE table_schema = %s AND table_type = 'BASE TABLE'",
        end.database,
    ):
        found["table", table] = {
            "engine": engine,
            "next number": (counter or 1) if table in numbered else None,
            "collation": collation.split("_")[0] if across else collation,
            "comment": comment,
        }
    _structure_of_keys(end, found, across=across)
    return found


def _structure_of_keys(end: End, found: Structure, *, across: bool) -> None:
    for table, index, non_unique, number, column, order, prefix, method, comment in _query(
        end,
        "SELECT table_name, index_name, non_unique, seq_in_index, column_name, collation,"
        " sub_part, index_type, index_comment FROM information_schema.statistics"
        " WHERE table_schema = %s",
        end.database,
    ):
        found["index", table, index, str(number)] = {
            "unique": not non_unique,
            "column": column,
            "order": order,
            "prefix": None if method == "SPATIAL" else prefix,
            "method": method,
            "comment": comment,
        }
    for table, name, number, column, other, its, on_update, on_delete in _query(
        end,
        "SELECT k.table_name, k.constraint_name, k.ordinal_position, k.column_name,"
        " k.referenced_table_name, k.referenced_column_name, r.update_rule, r.delete_rule"
        " FROM information_schema.key_column_usage k"
        " JOIN information_schema.referential_constraints r"
        " ON r.constraint_schema = k.constraint_schema AND r.table_name = k.table_name"
        " AND r.constraint_name = k.constraint_name"
        " WHERE k.table_schema = %s AND k.referenced_table_name IS NOT NULL",
        end.database,
    ):
        rules = (on_update, on_delete)
        found["foreign key", table, name, str(number)] = {
            "columns": (column, other, its),
            "rules": tuple(map(shapes._action, rules)) if across else rules,
        }
    maria = is_mariadb(end)
    checks = (
        "SELECT table_name, constraint_name, check_clause"
        " FROM information_schema.check_constraints WHERE constraint_schema = %s"
        if maria
        else "SELECT t.table_name, c.constraint_name, c.check_clause"
        " FROM information_schema.check_constraints c JOIN information_schema.table_constraints t"
        " ON t.constraint_schema = c.constraint_schema AND t.constraint_name = c.constraint_name"
        " AND t.constraint_type = 'CHECK' WHERE c.constraint_schema = %s"
    )
    for table, name, clause in _query(end, checks, end.database):
        if not clause.startswith("json_valid"):
            found["check", table, name] = {"clause": None if across else clause}


def _default(default: str | None, extra: str, maria: bool) -> str | None:
    """A default in words that both flavours share: a constant's text, or that there is one."""
    if default is None or (maria and default == "NULL"):
        return None
    if re.match(r"current_timestamp", default, re.IGNORECASE):
        return "now" + "".join(re.findall(r"\([1-6]\)", default))
    if "DEFAULT_GENERATED" in extra:
        return "expression"
    if maria and re.fullmatch(r"'(?:[^'\\]|''|\\.)*'", default):
        return default[1:-1].replace("''", "'").replace("\\\\", "\\")
    if maria and not re.fullmatch(r"-?[\d.]+(e[+-]?\d+)?|b'[01]*'", default):
        return "expression"
    return default
