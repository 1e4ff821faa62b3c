"""Every definition in a PostgreSQL database, as the server itself writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.support.samples import pg_connection

if TYPE_CHECKING:
    from tests.support.canonical_rows import End

Key = tuple[str, ...]

# Each query gives: kind, up to three names, and any number of properties. {own} keeps to
# the user's own schemas, {free} leaves out what belongs to an extension.
QUERIES = (
    """SELECT 'table', n.nspname, c.relname, c.relkind::text, c.relpersistence::text,
         pg_get_partkeydef(c.oid), pg_get_expr(c.relpartbound, c.oid), c.reloptions::text,
         ARRAY(SELECT i.inhparent::regclass::text FROM pg_inherits i WHERE i.inhrelid = c.oid
               ORDER BY i.inhseqno)::text, obj_description(c.oid, 'pg_class')
       FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
       WHERE c.relkind IN ('r', 'p') AND {own} AND {free}""",
    # A partition has its root's identity since 17, and had none before.
    """SELECT 'column', n.nspname, c.relname, a.attname,
         row_number() OVER (PARTITION BY c.oid ORDER BY a.attnum),
         format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid),
         CASE WHEN c.relispartition THEN '' ELSE a.attidentity::text END,
         a.attgenerated::text, a.attislocal,
         (SELECT l.collname FROM pg_collation l WHERE l.oid = a.attcollation
          AND l.collname <> 'default'), col_description(c.oid, a.attnum)
       FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
       JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
       LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
       WHERE c.relkind IN ('r', 'p') AND {own} AND {free}""",
    # contype n (NOT NULL) is new in 18 and already said by attnotnull. What a foreign key to a
    # partitioned table brings along (conparentid) has names of the server's own making.
    """SELECT 'constraint', n.nspname, c.relname, o.conname, pg_get_constraintdef(o.oid),
         o.contype::text, o.condeferrable, o.condeferred, o.convalidated,
         obj_description(o.oid, 'pg_constraint')
       FROM pg_constraint o JOIN pg_class c ON c.oid = o.conrelid
       JOIN pg_namespace n ON n.oid = c.relnamespace
       WHERE o.contype IN ('c', 'f', 'p', 'u', 'x') AND {own}
       AND NOT (o.contype = 'f' AND o.conparentid <> 0) AND {free}""",
    """SELECT 'index', n.nspname, c.relname, pg_get_indexdef(c.oid), i.indisunique,
         i.indisprimary, i.indisvalid, i.indisclustered, i.indisreplident,
         obj_description(c.oid, 'pg_class')
       FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
       JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {own} AND {free}""",
    """SELECT 'sequence', n.nspname, c.relname, format_type(s.seqtypid, NULL), s.seqstart,
         s.seqincrement, s.seqmin, s.seqmax, s.seqcache, s.seqcycle,
         (SELECT d.deptype::text || ' ' || d.refobjid::regclass::text || ' ' || a.attname
          FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid
            AND a.attnum = d.refobjsubid WHERE d.classid = 'pg_class'::regclass
            AND d.objid = c.oid AND d.deptype IN ('a', 'i')), obj_description(c.oid, 'pg_class')
       FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid
       JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {own} AND {free}""",
    """SELECT 'type', n.nspname, t.typname, t.typtype::text, t.typnotnull, t.typdefault,
         format_type(nullif(t.typbasetype, 0), t.typtypmod),
         ARRAY(SELECT e.enumlabel FROM pg_enum e WHERE e.enumtypid = t.oid
               ORDER BY e.enumsortorder)::text,
         ARRAY(SELECT o.conname || ' ' || pg_get_constraintdef(o.oid) FROM pg_constraint o
               WHERE o.contypid = t.oid AND o.contype = 'c' ORDER BY o.conname)::text,
         ARRAY(SELECT a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
               FROM pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0
               AND NOT a.attisdropped ORDER BY a.attnum)::text,
         (SELECT format_type(r.rngsubtype, NULL) FROM pg_range r WHERE r.rngtypid = t.oid),
         obj_description(t.oid, 'pg_type')
       FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
       LEFT JOIN pg_class c ON c.oid = t.typrelid
       WHERE (t.typtype IN ('e', 'd', 'r') OR (t.typtype = 'c' AND c.relkind = 'c')) AND {own}
       AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_type'::regclass
                       AND d.objid = t.oid AND d.deptype = 'e')""",
    "SELECT 'extension', x.extname, 'there' FROM pg_extension x WHERE x.extname <> 'plpgsql'",
)
_OWN = (
    "NOT n.nspname IN ('pg_catalog', 'information_schema', 'pg_toast')"
    " AND n.nspname NOT LIKE 'pg_temp%' AND n.nspname NOT LIKE 'pg_toast_temp%'"
)
_FREE = (
    "NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass"
    " AND d.objid = c.oid AND d.deptype = 'e')"
)
_NAMES = {"column": 4, "constraint": 4, "extension": 2}


def definitions(end: End) -> dict[Key, tuple[Any, ...]]:
    """(kind, names...) to its properties; a sequence's include the value it would give next.

    What a source holds in views, functions, triggers, rules and policies is not moved and
    not read. An owned or unowned sequence must go on where the source's would.
    """
    found: dict[Key, tuple[Any, ...]] = {}
    with pg_connection(end.server, end.database) as pg:
        for query in QUERIES:
            for row in pg.execute(query.format(own=_OWN, free=_FREE).encode()).fetchall():
                names = _NAMES.get(row[0], 3)
                found[tuple(row[:names])] = tuple(row[names:])
        for key, properties in list(found.items()):
            if key[0] == "sequence":
                name = ".".join('"' + part.replace('"', '""') + '"' for part in key[1:])
                state = pg.execute(
                    f"SELECT CASE WHEN is_called THEN last_value + {properties[2]}"
                    f" ELSE last_value END FROM {name}".encode()
                ).fetchone()
                found[key] = (*properties, state[0] if state else None)
    return found
