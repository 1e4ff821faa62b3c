"""Row-level security: rows that policies hide from the role are refused by name, never left out.

Every session sets ``row_security = off`` (`connect.SESSION`), which makes the server refuse a
statement whose rows a policy would filter:
https://www.postgresql.org/docs/current/ddl-rowsecurity.html. Tables are checked first, so that the
error names all of them, the role, and the statement that helps.
"""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
from psycopg import sql

from streams_engine.adapters.postgres.connection import translating
from streams_engine.adapters.postgres.snapshot.select import name
from streams_engine.errors import PermissionDenied
from streams_engine.model import TableId

__all__ = ["demand_all_rows"]

HIDING = """
WITH RECURSIVE wanted(oid) AS (
  SELECT c.oid FROM unnest(%s::text[], %s::text[]) w(space, name)
  JOIN pg_catalog.pg_namespace n ON n.nspname = w.space
  JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
  UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN wanted ON wanted.oid = i.inhparent
  JOIN pg_catalog.pg_class p ON p.oid = i.inhparent AND p.relkind = 'p'
)
SELECT n.nspname, c.relname, current_user,
       pg_catalog.pg_has_role(c.relowner, 'USAGE') AND c.relforcerowsecurity
FROM wanted JOIN pg_catalog.pg_class c ON c.oid = wanted.oid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relrowsecurity AND pg_catalog.row_security_active(c.oid)
ORDER BY 1, 2
"""
"""Partitions have policies of their own, and are read by themselves."""


def demand_all_rows(connection: psycopg.Connection, tables: Sequence[TableId], end: str) -> None:
    """Raise `PermissionDenied` if a policy could hide rows of the tables from the role.

    ``end`` is ``source`` or ``target``, for the message.
    """
    names = [t.schema for t in tables], [t.name for t in tables]
    with translating("reading row-level security"):
        rows = connection.execute(HIDING.encode(), names).fetchall()
    if not rows:
        return
    role = sql.Identifier(rows[0][2]).as_string(connection)
    hidden = [TableId(row[0], row[1]) for row in rows]
    forced = [TableId(row[0], row[1]) for row in rows if row[3]]
    cures = [f"ALTER ROLE {role} BYPASSRLS; (as a superuser)"]
    if forced:
        cures += [
            f"ALTER TABLE {name(table).as_string(connection)} NO FORCE ROW LEVEL SECURITY;"
            for table in forced
        ]
    else:
        cures.append("connect as the owner of the tables")
    shown = ", ".join(map(str, hidden))
    raise PermissionDenied(
        f"On the {end} row-level security hides rows of {shown} from the role {role}: it would "
        "see only a part of them.",
        remedy=f"{', or '.join(cures)}; or leave the tables out.".replace(";;", ";"),
        tables=[str(table) for table in hidden],
        role=rows[0][2],
    )
