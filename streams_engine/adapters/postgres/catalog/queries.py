"""Queries of pg_catalog: each one for all tables at once."""

from __future__ import annotations

TABLES = """
SELECT c.oid, n.nspname, c.relname, c.relkind, c.relpersistence, c.reltuples::int8,
       c.relispartition,
       CASE WHEN c.relkind = 'p' THEN pg_catalog.pg_get_partkeydef(c.oid) END,
       pg_catalog.pg_get_expr(c.relpartbound, c.oid),
       pg_catalog.obj_description(c.oid, 'pg_class'),
       c.relrowsecurity, c.reloptions,
       c.relrowsecurity AND pg_catalog.row_security_active(c.oid), c.relfilenode
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
  AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY n.nspname, c.relname
"""

SIZES = """
SELECT w.oid, coalesce(pg_catalog.pg_total_relation_size(w.oid), 0)
FROM unnest(%(oids)s::pg_catalog.oid[]) w(oid)
"""
"""Apart from TABLES: it opens the indexes, and fails where one is dropped meanwhile."""

VANISHED = """
SELECT w.oid FROM unnest(%(oids)s::pg_catalog.oid[], %(names)s::text[]) w(oid, name)
WHERE pg_catalog.to_regclass(w.name)::pg_catalog.oid IS DISTINCT FROM w.oid
"""
"""Which tables have been dropped, or renamed, since the transaction's snapshot: to_regclass looks
at the present."""

INHERITS = """
SELECT inhrelid, inhparent, xmin::text::int8 FROM pg_catalog.pg_inherits ORDER BY inhrelid, inhseqno
"""

NOT_NULL = """a.attnotnull AND NOT EXISTS (
         SELECT FROM pg_catalog.pg_constraint v WHERE v.conrelid = a.attrelid AND v.contype = 'n'
         AND NOT v.convalidated AND a.attnum = ANY (v.conkey))"""
"""Whether a column has no NULL: from PostgreSQL 18 on its NOT NULL may be NOT VALID."""

COLUMNS = f"""
SELECT a.attrelid, a.attname, a.atttypid, pg_catalog.format_type(a.atttypid, a.atttypmod),
       a.atttypmod, {NOT_NULL}, pg_catalog.pg_get_expr(d.adbin, d.adrelid), a.attidentity,
       a.attgenerated,
       CASE WHEN a.attcollation <> 0 AND a.attcollation <> t.typcollation
            THEN pg_catalog.quote_ident(cn.nspname) || '.' || pg_catalog.quote_ident(co.collname)
       END,
       pg_catalog.col_description(a.attrelid, a.attnum), a.attnum, d.oid, a.attislocal,
       a.xmin::text::int8,
       (SELECT k.conname FROM pg_catalog.pg_constraint k WHERE k.conrelid = a.attrelid
        AND k.contype = 'n' AND NOT k.convalidated AND a.attnum = ANY (k.conkey))
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
LEFT JOIN pg_catalog.pg_collation co ON co.oid = a.attcollation
LEFT JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace
WHERE a.attrelid = ANY(%(oids)s) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum
"""

FUNCTIONS_NEEDED = """
SELECT DISTINCT d.classid::regclass::text, d.objid,
       pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(p.proname)
FROM pg_catalog.pg_depend d
JOIN pg_catalog.pg_proc p ON p.oid = d.refobjid
JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE d.refclassid = 'pg_proc'::regclass AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND d.classid IN ('pg_attrdef'::regclass, 'pg_constraint'::regclass, 'pg_class'::regclass,
                    'pg_type'::regclass)
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.classid = 'pg_proc'::regclass
                  AND e.objid = p.oid AND e.deptype = 'e')
"""

OPERATOR_CLASSES_NEEDED = """
SELECT DISTINCT d.objid,
       pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(o.opcname)
FROM pg_catalog.pg_depend d
JOIN pg_catalog.pg_opclass o ON o.oid = d.refobjid
JOIN pg_catalog.pg_namespace n ON n.oid = o.opcnamespace
WHERE d.refclassid = 'pg_opclass'::regclass AND d.classid = 'pg_class'::regclass
  AND n.nspname <> 'pg_catalog'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.classid = 'pg_opclass'::regclass
                  AND e.objid = o.oid AND e.deptype = 'e')
"""

INDEXES = """
SELECT i.indrelid, c.relname, i.indexrelid, i.indisunique, i.indisprimary, i.indisclustered,
       am.amname, i.indnkeyatts, i.indnatts, i.indkey::int2[], i.indoption::int2[],
       pg_catalog.pg_get_expr(i.indpred, i.indrelid), c.reloptions,
       pg_catalog.obj_description(i.indexrelid, 'pg_class'), k.conname, k.condeferrable,
       k.condeferred, k.contype, {nulls_not_distinct}, i.indisvalid,
       ARRAY(SELECT pg_catalog.pg_get_indexdef(i.indexrelid, s, true)
             FROM generate_series(1, i.indnatts) s ORDER BY s),
       ARRAY(SELECT CASE WHEN oc.opcdefault AND ao.attoptions IS NULL THEN NULL
                    ELSE pg_catalog.quote_ident(oo.nspname) || '.'
                         || pg_catalog.quote_ident(oc.opcname)
                         || CASE WHEN ao.attoptions IS NULL THEN ''
                            ELSE '(' || array_to_string(ao.attoptions, ', ') || ')' END END
             FROM generate_series(1, i.indnkeyatts) s
             JOIN pg_catalog.pg_opclass oc ON oc.oid = i.indclass[s - 1]
             JOIN pg_catalog.pg_namespace oo ON oo.oid = oc.opcnamespace
             JOIN pg_catalog.pg_attribute ao ON ao.attrelid = i.indexrelid AND ao.attnum = s
             ORDER BY s),
       ARRAY(SELECT CASE WHEN i.indcollation[s - 1] = 0
                           OR i.indcollation[s - 1] = coalesce(ta.attcollation, et.typcollation)
                    THEN NULL
                    ELSE pg_catalog.quote_ident(cn.nspname) || '.'
                         || pg_catalog.quote_ident(co.collname) END
             FROM generate_series(1, i.indnkeyatts) s
             JOIN pg_catalog.pg_attribute ia ON ia.attrelid = i.indexrelid AND ia.attnum = s
             JOIN pg_catalog.pg_type et ON et.oid = ia.atttypid
             LEFT JOIN pg_catalog.pg_attribute ta
                    ON ta.attrelid = i.indrelid AND ta.attnum = i.indkey[s - 1] AND ta.attnum > 0
             LEFT JOIN pg_catalog.pg_collation co ON co.oid = i.indcollation[s - 1]
             LEFT JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace
             ORDER BY s)
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_am am ON am.oid = c.relam
LEFT JOIN pg_catalog.pg_constraint k ON k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x')
WHERE i.indrelid = ANY(%(oids)s) AND (k.conparentid = 0 OR NOT EXISTS (
  SELECT FROM pg_catalog.pg_inherits h JOIN pg_catalog.pg_index w ON w.indexrelid = h.inhparent
  WHERE h.inhrelid = i.indexrelid AND w.indisvalid))
ORDER BY i.indrelid, c.relname
"""
"""A partition's index is its own also as part of an index that is invalid (that is not made), and
as the key of the partition alone where the whole has a plain unique index."""

INHERITED_INDEXES = """
SELECT i.indrelid, root.relname, c.relname
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
JOIN LATERAL (SELECT w.indexrelid AS oid
              FROM pg_catalog.pg_partition_ancestors(c.oid) WITH ORDINALITY a(relid, ord)
              JOIN pg_catalog.pg_index w ON w.indexrelid = a.relid
              WHERE w.indisvalid ORDER BY a.ord DESC LIMIT 1) top ON top.oid <> c.oid
JOIN pg_catalog.pg_class root ON root.oid = top.oid
WHERE i.indrelid = ANY(%(oids)s) AND c.relispartition
ORDER BY i.indrelid, root.relname, c.relname
"""
"""Indexes of partitions that are part of a valid index above, with the topmost one's name."""

CONSTRAINTS = """
SELECT k.conrelid, k.oid, k.conname, k.contype, k.conkey, k.confrelid, k.confkey, k.confdeltype,
       k.confupdtype, k.confmatchtype, k.condeferrable, k.condeferred, k.convalidated,
       k.connoinherit, pg_catalog.pg_get_expr(k.conbin, k.conrelid),
       pg_catalog.pg_get_constraintdef(k.oid), pg_catalog.obj_description(k.oid, 'pg_constraint'),
       fn.nspname, fc.relname, {set_columns}, k.conislocal, {enforced},
       ARRAY(SELECT a.attname FROM unnest(k.confkey) WITH ORDINALITY x(num, ord)
             JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = x.num
             ORDER BY x.ord), {period}
FROM pg_catalog.pg_constraint k
LEFT JOIN pg_catalog.pg_class fc ON fc.oid = k.confrelid
LEFT JOIN pg_catalog.pg_namespace fn ON fn.oid = fc.relnamespace
WHERE k.conrelid = ANY(%(oids)s) AND k.contype IN ('f', 'c', 'x') AND k.conparentid = 0
ORDER BY k.conrelid, k.conname
"""

TYPES = """
WITH RECURSIVE needed(oid) AS (
  SELECT unnest(%(types)s::oid[])
  UNION
  SELECT x.oid FROM needed
  JOIN pg_catalog.pg_type t ON t.oid = needed.oid
  CROSS JOIN LATERAL (
    SELECT t.typelem AS oid WHERE t.typelem <> 0 AND t.typlen = -1
    UNION SELECT t.typbasetype WHERE t.typbasetype <> 0
    UNION SELECT r.rngsubtype FROM pg_catalog.pg_range r WHERE r.rngtypid = t.oid
    UNION SELECT r.rngtypid FROM pg_catalog.pg_range r
          WHERE to_jsonb(r) ->> 'rngmultitypid' = t.oid::text
    UNION SELECT a.atttypid FROM pg_catalog.pg_attribute a
          WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
  ) x
)
SELECT t.oid, n.nspname, t.typname, t.typtype, t.typcategory, t.typelem, t.typlen, t.typbasetype,
       pg_catalog.format_type(t.typbasetype, t.typtypmod), t.typtypmod, t.typnotnull,
       pg_catalog.pg_get_expr(t.typdefaultbin, 0),
       pg_catalog.obj_description(t.oid, 'pg_type'),
       (SELECT x.extname FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension x
          ON x.oid = d.refobjid WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid
         AND d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass),
       ARRAY(SELECT e.enumlabel FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid
             ORDER BY e.enumsortorder),
       ARRAY(SELECT a.attname FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.typrelid
             AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum),
       ARRAY(SELECT a.atttypid FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.typrelid
             AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum),
       ARRAY(SELECT pg_catalog.format_type(a.atttypid, a.atttypmod)
             FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.typrelid
             AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum),
       coalesce(r.rngsubtype, 0), pg_catalog.format_type(r.rngsubtype, NULL),
       CASE WHEN t.typtype = 'd' AND t.typcollation <> 0 AND t.typcollation <> bt.typcollation
            THEN pg_catalog.quote_ident(cn.nspname) || '.' || pg_catalog.quote_ident(co.collname)
       END,
       CASE WHEN r.rngtypid IS NOT NULL AND NOT roc.opcdefault
            THEN pg_catalog.quote_ident(ron.nspname) || '.' || pg_catalog.quote_ident(roc.opcname)
       END,
       CASE WHEN r.rngtypid IS NOT NULL AND r.rngsubdiff <> 0 THEN r.rngsubdiff::regproc::text END,
       t.typrelid <> 0 AND EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = t.typrelid
                                   AND c.relkind <> 'c'),
       ARRAY(SELECT e.oid::int8 FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid
             ORDER BY e.enumsortorder),
       ARRAY(SELECT a.attnum::int8 FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.typrelid
             AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum)
FROM needed JOIN pg_catalog.pg_type t ON t.oid = needed.oid
JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
LEFT JOIN pg_catalog.pg_type bt ON bt.oid = t.typbasetype
LEFT JOIN pg_catalog.pg_range r ON r.rngtypid = t.oid
LEFT JOIN pg_catalog.pg_opclass roc ON roc.oid = r.rngsubopc
LEFT JOIN pg_catalog.pg_namespace ron ON ron.oid = roc.opcnamespace
LEFT JOIN pg_catalog.pg_collation co ON co.oid = t.typcollation
LEFT JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace
ORDER BY t.oid
"""

DOMAIN_CHECKS = """
SELECT k.contypid, k.conname, pg_catalog.pg_get_expr(k.conbin, 0),
       pg_catalog.pg_get_constraintdef(k.oid), k.oid::int8
FROM pg_catalog.pg_constraint k WHERE k.contypid = ANY(%(types)s::oid[]) AND k.contype = 'c'
ORDER BY k.contypid, k.conname
"""

SCHEMAS = "SELECT nspname FROM pg_catalog.pg_namespace"

TYPES_IN_SCHEMAS = """
SELECT t.oid FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
WHERE n.nspname = ANY(%(schemas)s)
  AND (t.typtype IN ('e', 'd', 'r') OR (t.typtype = 'c' AND c.relkind = 'c'))
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_type'::regclass
                  AND d.objid = t.oid AND d.deptype = 'e')
"""

SEQUENCES = """
SELECT c.oid, n.nspname, c.relname, pg_catalog.format_type(s.seqtypid, NULL), s.seqstart,
       s.seqincrement, s.seqmin, s.seqmax, s.seqcache, s.seqcycle,
       d.refobjid, a.attname, d.deptype, pg_catalog.obj_description(c.oid, 'pg_class'),
       pg_catalog.has_sequence_privilege(c.oid, 'SELECT')
FROM pg_catalog.pg_sequence s
JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid
     AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
WHERE c.relpersistence <> 't' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.classid = 'pg_class'::regclass
                  AND e.objid = c.oid AND e.deptype = 'e')
ORDER BY n.nspname, c.relname
"""

SEQUENCES_NEEDED = """
SELECT DISTINCT d.refobjid FROM pg_catalog.pg_attrdef f
JOIN pg_catalog.pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid
     AND d.refclassid = 'pg_class'::regclass
JOIN pg_catalog.pg_class c ON c.oid = d.refobjid AND c.relkind = 'S'
WHERE f.adrelid = ANY(%(oids)s)
UNION SELECT d.refobjid FROM pg_catalog.pg_depend d
JOIN pg_catalog.pg_class c ON c.oid = d.refobjid AND c.relkind = 'S'
WHERE d.classid = 'pg_type'::regclass AND d.refclassid = 'pg_class'::regclass
  AND d.objid = ANY(%(types)s)
"""

SEQUENCE_VALUES = """
WITH followed AS (
  SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN unnest(%(schemas)s::text[], %(names)s::text[]) AS w(nspname, relname)
    ON w.nspname = n.nspname AND w.relname = c.relname
)
SELECT n.nspname, c.relname, tn.nspname, t.relname, a.attname, s.seqincrement, s.seqcycle,
       pg_catalog.has_sequence_privilege(c.oid, 'SELECT, USAGE'),
       -- asked where it may be: before PostgreSQL 17 it is an error else
       CASE WHEN pg_catalog.has_sequence_privilege(c.oid, 'SELECT, USAGE')
            THEN pg_catalog.pg_sequence_last_value(c.oid) END
FROM pg_catalog.pg_sequence s
JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid
     AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
LEFT JOIN pg_catalog.pg_class t ON t.oid = d.refobjid
LEFT JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
WHERE c.relpersistence <> 't' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.classid = 'pg_class'::regclass
                  AND e.objid = c.oid AND e.deptype = 'e')
  AND ((d.refobjid IS NULL AND n.nspname = ANY(%(schemas)s))
       OR d.refobjid IN (SELECT oid FROM followed)
       OR EXISTS (SELECT FROM pg_catalog.pg_depend u
                  JOIN pg_catalog.pg_attrdef f ON f.oid = u.objid
                  WHERE u.classid = 'pg_attrdef'::regclass AND u.refclassid = 'pg_class'::regclass
                    AND u.refobjid = c.oid AND f.adrelid IN (SELECT oid FROM followed)))
ORDER BY n.nspname, c.relname
"""

EXTENSIONS = """
WITH uses(relation, type, class, object) AS (
  SELECT i.indrelid, NULL::oid, d.refclassid, d.refobjid FROM pg_catalog.pg_index i
  JOIN pg_catalog.pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid
  WHERE i.indrelid = ANY(%(oids)s)
  UNION SELECT f.adrelid, NULL, d.refclassid, d.refobjid FROM pg_catalog.pg_attrdef f
  JOIN pg_catalog.pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid
  WHERE f.adrelid = ANY(%(oids)s)
  UNION SELECT nullif(k.conrelid, 0), nullif(k.contypid, 0), d.refclassid, d.refobjid
  FROM pg_catalog.pg_constraint k
  JOIN pg_catalog.pg_depend d ON d.classid = 'pg_constraint'::regclass AND d.objid = k.oid
  WHERE k.conrelid = ANY(%(oids)s) OR k.contypid = ANY(%(types)s::oid[])
  UNION SELECT NULL, d.objid, d.refclassid, d.refobjid FROM pg_catalog.pg_depend d
  WHERE d.classid = 'pg_type'::regclass AND d.objid = ANY(%(types)s::oid[])
  UNION SELECT NULL, t, 'pg_type'::regclass, t FROM unnest(%(types)s::oid[]) t
)
SELECT DISTINCT x.extname, n.nspname, x.extversion, uses.relation::int8, uses.type::int8
FROM uses
JOIN pg_catalog.pg_depend e ON e.classid = uses.class AND e.objid = uses.object
     AND e.refclassid = 'pg_extension'::regclass AND e.deptype = 'e'
JOIN pg_catalog.pg_extension x ON x.oid = e.refobjid
JOIN pg_catalog.pg_namespace n ON n.oid = x.extnamespace
WHERE x.extname <> 'plpgsql' ORDER BY 1
"""
"""The extensions that tables and types need: by the oid of the table, or of the type."""

LEFT_BEHIND = """
WITH own AS (SELECT oid, nspname FROM pg_catalog.pg_namespace
             WHERE nspname <> 'information_schema' AND nspname !~ '^pg_'),
ext AS (SELECT classid, objid FROM pg_catalog.pg_depend WHERE deptype = 'e')
SELECT CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view'
       ELSE 'foreign table' END, n.nspname, c.relname
FROM pg_catalog.pg_class c JOIN own n ON n.oid = c.relnamespace
WHERE c.relkind IN ('v', 'm', 'f')
  AND ('pg_class'::regclass, c.oid) NOT IN (SELECT classid, objid FROM ext)
UNION ALL
SELECT CASE p.prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END,
       n.nspname, p.proname FROM pg_catalog.pg_proc p JOIN own n ON n.oid = p.pronamespace
WHERE ('pg_proc'::regclass, p.oid) NOT IN (SELECT classid, objid FROM ext)
UNION ALL
SELECT 'trigger', n.nspname, c.relname || '.' || t.tgname FROM pg_catalog.pg_trigger t
JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid JOIN own n ON n.oid = c.relnamespace
WHERE NOT t.tgisinternal
UNION ALL
SELECT 'rule', n.nspname, c.relname || '.' || r.rulename FROM pg_catalog.pg_rewrite r
JOIN pg_catalog.pg_class c ON c.oid = r.ev_class JOIN own n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p')
UNION ALL
SELECT 'policy', n.nspname, c.relname || '.' || p.polname FROM pg_catalog.pg_policy p
JOIN pg_catalog.pg_class c ON c.oid = p.polrelid JOIN own n ON n.oid = c.relnamespace
ORDER BY 1, 2, 3
"""
