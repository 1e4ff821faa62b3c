"""Schema changes that a Relation message cannot show, reported by an event trigger that the user
may install.

`TRIGGERS` is run by a superuser in the source's database. Each statement on a table then writes
a message into the log, in its own transaction: the table's columns, and which were renamed; or
that it was dropped. Without it the catalog shows these, later than their place in the log.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from streams_engine.adapters.postgres.replication.pgoutput import (
    Relation,
    RelationColumn,
    parse_message,
)
from streams_engine.model import TableId

__all__ = ["REMOVAL", "TRIGGERS", "AlteredTable", "DroppedTable", "parse_event"]

PREFIX = "streams_engine"

TRIGGERS = """
CREATE OR REPLACE FUNCTION public.streams_engine_ddl() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $body$
DECLARE
  changed record;
BEGIN
  IF tg_event = 'sql_drop' THEN
    FOR changed IN SELECT schema_name, object_name FROM pg_event_trigger_dropped_objects()
                   WHERE object_type = 'table' AND NOT is_temporary LOOP
      PERFORM pg_logical_emit_message(true, 'streams_engine', json_build_object(
        'dropped', json_build_array(changed.schema_name, changed.object_name))::text);
    END LOOP;
    RETURN;
  END IF;
  FOR changed IN
    SELECT c.oid, n.nspname, c.relname,
           (SELECT json_agg(json_build_array(a.attname, a.atttypid::int8, a.atttypmod,
                                             a.attnotnull AND NOT EXISTS (
                    SELECT FROM pg_constraint v WHERE v.conrelid = a.attrelid AND v.contype = 'n'
                    AND NOT v.convalidated AND a.attnum = ANY (v.conkey))) ORDER BY a.attnum)
            FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0
            AND NOT a.attisdropped AND a.attgenerated = '') AS columns,
           (SELECT coalesce(json_agg(a.attname), '[]') FROM pg_event_trigger_ddl_commands() e
            JOIN pg_attribute k ON k.attrelid = e.objid AND k.attnum = e.objsubid
            JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = k.attname
            WHERE e.object_type = 'table column') AS renamed
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p'
    AND c.oid IN (
      WITH RECURSIVE line AS (
        SELECT objid FROM pg_event_trigger_ddl_commands()
        WHERE classid = 'pg_class'::regclass AND command_tag = 'ALTER TABLE'
        UNION
        SELECT h.inhrelid FROM pg_inherits h JOIN line ON h.inhparent = line.objid
        JOIN pg_class k ON k.oid = h.inhrelid AND NOT k.relispartition
      ) SELECT objid FROM line)
  LOOP
    PERFORM pg_logical_emit_message(true, 'streams_engine', json_build_object(
      'oid', changed.oid::int8, 'schema', changed.nspname, 'name', changed.relname,
      'columns', changed.columns, 'renamed', changed.renamed)::text);
  END LOOP;
END $body$;
DROP EVENT TRIGGER IF EXISTS streams_engine_ddl;
CREATE EVENT TRIGGER streams_engine_ddl ON ddl_command_end
  EXECUTE FUNCTION public.streams_engine_ddl();
DROP EVENT TRIGGER IF EXISTS streams_engine_drop;
CREATE EVENT TRIGGER streams_engine_drop ON sql_drop
  EXECUTE FUNCTION public.streams_engine_ddl();
"""

REMOVAL = """
DROP EVENT TRIGGER IF EXISTS streams_engine_ddl;
DROP EVENT TRIGGER IF EXISTS streams_engine_drop;
DROP FUNCTION IF EXISTS public.streams_engine_ddl();
"""


@dataclass(frozen=True, slots=True)
class AlteredTable:
    """A table as a statement left it."""

    relation: Relation
    renamed: frozenset[str]
    """New names of columns that it renamed."""
    solid: frozenset[str]
    """Columns that are NOT NULL."""


@dataclass(frozen=True, slots=True)
class DroppedTable:
    """A table that is gone."""

    table: TableId


def parse_event(content: bytes) -> AlteredTable | DroppedTable | None:
    """Parse the contents of a message ``M``; None if the DDL trigger did not write it."""
    prefix, text = parse_message(content)
    if prefix != PREFIX:
        return None
    try:
        event = json.loads(text)
        if "dropped" in event:
            return DroppedTable(TableId(*event["dropped"]))
        columns = event["columns"] or []
        relation = Relation(
            event["oid"],
            event["schema"],
            event["name"],
            "d",
            tuple(
                RelationColumn(name, kind, modifier, False) for name, kind, modifier, _ in columns
            ),
        )
    except (ValueError, KeyError, TypeError):
        return None  # somebody else's use of the prefix
    solid = frozenset(name for name, _, _, not_null in columns if not_null)
    return AlteredTable(relation, frozenset(event.get("renamed", ())), solid)
