"""Queries of information_schema, each for one database or for all user databases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

DATABASES = "SELECT schema_name FROM information_schema.schemata"

TABLES = """
SELECT table_schema, table_name, engine, table_rows, table_comment, auto_increment, table_type,
       data_length + index_length, table_collation, create_options
FROM information_schema.tables
WHERE table_schema {place} AND table_type IN ('BASE TABLE', 'SYSTEM VERSIONED')
  AND table_name NOT IN ('streams_engine_state', 'streams_engine_quarantine')
ORDER BY table_schema, table_name
"""

COLUMNS = """
SELECT c.table_schema, c.table_name, c.column_name, c.data_type, c.column_type, c.is_nullable,
       c.extra, c.column_default, c.character_set_name, c.collation_name, c.column_comment,
       c.generation_expression
FROM information_schema.columns c
WHERE c.table_schema {place}
ORDER BY c.table_schema, c.table_name, c.ordinal_position
"""

_INDEXES = """
SELECT table_schema, table_name, index_name, non_unique, column_name, collation, sub_part,
       index_type, {expression}, index_comment, {visible}
FROM information_schema.statistics
WHERE table_schema {place}
ORDER BY table_schema, table_name, index_name, seq_in_index
"""
INDEXES: Mapping[bool, str] = {
    False: _INDEXES.replace("{expression}", "expression").replace("{visible}", "is_visible"),
    True: _INDEXES.replace("{expression}", "NULL").replace(
        "{visible}", "IF(ignored = 'YES', 'NO', 'YES')"
    ),
}

FOREIGN_KEYS = """
SELECT k.table_schema, k.table_name, k.constraint_name, k.column_name,
       k.referenced_table_schema, k.referenced_table_name, k.referenced_column_name,
       r.update_rule, r.delete_rule
FROM information_schema.key_column_usage k
JOIN information_schema.referential_constraints r
  ON r.constraint_schema = k.constraint_schema AND r.constraint_name = k.constraint_name
 AND r.table_name = k.table_name
WHERE k.table_schema {place} AND k.referenced_table_name IS NOT NULL
ORDER BY k.table_schema, k.table_name, k.constraint_name, k.ordinal_position
"""

CHECKS: Mapping[bool, str] = {
    False: """
SELECT t.table_schema, t.table_name, t.constraint_name, c.check_clause, t.enforced
FROM information_schema.table_constraints t
JOIN information_schema.check_constraints c
  ON c.constraint_schema = t.constraint_schema AND c.constraint_name = t.constraint_name
WHERE t.table_schema {place} AND t.constraint_type = 'CHECK'
ORDER BY 1, 2, 3
""",
    True: """
SELECT constraint_schema, table_name, constraint_name, check_clause, 'YES'
FROM information_schema.check_constraints WHERE constraint_schema {place} ORDER BY 1, 2, 3
""",
}

PARTITIONS = """
SELECT table_schema, table_name,
       CONCAT(partition_method, ' (', COALESCE(partition_expression, ''), ')')
FROM information_schema.partitions
WHERE table_schema {place} AND partition_name IS NOT NULL AND partition_method <> 'SYSTEM_TIME'
"""

LEFT_BEHIND: Sequence[str] = (
    "SELECT 'view', table_schema, table_name FROM information_schema.views"
    " WHERE table_schema {place} ORDER BY 2, 3",
    "SELECT 'trigger', trigger_schema, CONCAT(event_object_table, '.', trigger_name)"
    " FROM information_schema.triggers WHERE trigger_schema {place} ORDER BY 2, 3",
    "SELECT LOWER(routine_type), routine_schema, routine_name FROM information_schema.routines"
    " WHERE routine_schema {place} ORDER BY 2, 3",
    "SELECT 'event', event_schema, event_name FROM information_schema.events"
    " WHERE event_schema {place} ORDER BY 2, 3",
    "SELECT 'sequence', table_schema, table_name FROM information_schema.tables"
    " WHERE table_type = 'SEQUENCE' AND table_schema {place} ORDER BY 2, 3",
)
