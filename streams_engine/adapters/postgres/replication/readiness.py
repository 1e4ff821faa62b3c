"""Find what prevents following a database's log, each with the statement that repairs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from streams_engine.adapters.postgres.replication.publication import Publication
from streams_engine.adapters.postgres.replication.slots import Slots
from streams_engine.adapters.postgres.snapshot.select import name
from streams_engine.errors import require
from streams_engine.model import Finding, Severity, TableId

__all__ = ["findings_for", "left_out"]

SETTINGS = """
SELECT name, setting, unit FROM pg_catalog.pg_settings WHERE name IN ('wal_level',
  'max_replication_slots', 'max_wal_senders', 'max_slot_wal_keep_size',
  'idle_replication_slot_timeout')
"""

RIGHTS = """
SELECT rolreplication OR rolsuper OR EXISTS (
         -- Amazon RDS gives the right by a role.
         SELECT FROM pg_catalog.pg_roles r WHERE r.rolname = 'rds_replication'
         AND pg_catalog.pg_has_role(r.oid, 'MEMBER')),
       rolsuper, rolname, pg_catalog.has_database_privilege(
         pg_catalog.current_database(), 'CREATE'),
       (SELECT count(*) FROM pg_catalog.pg_replication_slots),
       (SELECT count(*) FROM pg_catalog.pg_stat_replication),
       pg_catalog.current_database()
FROM pg_catalog.pg_roles WHERE rolname = current_user
"""

TABLES = """
WITH RECURSIVE wanted(root, oid) AS (
  SELECT c.oid, c.oid FROM unnest(%s::text[], %s::text[]) w(space, name)
  JOIN pg_catalog.pg_namespace n ON n.nspname = w.space
  JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
  UNION ALL SELECT wanted.root, i.inhrelid FROM pg_catalog.pg_inherits i
  JOIN wanted ON wanted.oid = i.inhparent
  JOIN pg_catalog.pg_class p ON p.oid = i.inhparent AND p.relkind = 'p'
)
SELECT n.nspname, c.relname, c.relkind, c.relpersistence, c.relreplident,
       pg_catalog.pg_has_role(c.relowner, 'USAGE'),
       (SELECT count(*) FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisprimary
        AND i.indisvalid AND i.indimmediate) > 0,
       (SELECT count(*) FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisprimary
        AND NOT i.indimmediate) > 0,
       (SELECT min(x.relname::text) FROM pg_catalog.pg_index i
        JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
        WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indimmediate
        AND i.indpred IS NULL AND i.indexprs IS NULL
        AND NOT EXISTS (SELECT FROM unnest(i.indkey::int2[]) WITH ORDINALITY k(num, place)
                        JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.num
                        WHERE NOT a.attnotnull AND k.place <= i.indnkeyatts)),
       (SELECT count(*) FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisreplident)
         > 0,
       (SELECT count(*) FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid
        AND a.attgenerated = 's' AND NOT a.attisdropped) > 0,
       (SELECT count(*) FROM pg_catalog.pg_attribute a
        JOIN pg_catalog.pg_index i ON i.indrelid = c.oid AND a.attnum = ANY (i.indkey::int2[])
             AND CASE c.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END
        WHERE a.attrelid = c.oid AND a.attgenerated <> '' AND NOT a.attisdropped) > 0,
       (SELECT count(*) FROM pg_catalog.pg_index i
        JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey::int2[])
        JOIN pg_catalog.pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        JOIN pg_catalog.pg_depend y ON y.classid = 'pg_attrdef'::regclass AND y.objid = d.oid
             AND y.refclassid = 'pg_class'::regclass AND y.refobjid = c.oid
        WHERE i.indrelid = c.oid AND a.attgenerated <> ''
        AND CASE c.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END
        AND y.refobjsubid <> a.attnum AND y.refobjsubid <> ALL (i.indkey::int2[])) > 0,
       wanted.root <> c.oid
FROM wanted JOIN pg_catalog.pg_class c ON c.oid = wanted.oid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
ORDER BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class _Table:
    """One row of `TABLES`."""

    schema: str
    name: str
    kind: str
    persistence: str
    identity: str
    owned: bool
    primary: bool
    """It has a primary key that is checked at once: PostgreSQL takes no deferrable one for an
    identity."""
    deferrable: bool
    """It has a deferrable primary key."""
    unique: str | None
    chosen: bool
    generated: bool
    """It has stored generated columns."""
    generated_key: bool
    """Its replica identity by an index has generated columns."""
    uncomputed_key: bool
    """That index lacks columns of which its generated ones are computed."""
    leaf: bool

    @property
    def id(self) -> TableId:
        return TableId(self.schema, self.name)


def findings_for(
    connection: psycopg.Connection,
    slots: Slots,
    publication: Publication,
    tables: Sequence[TableId],
) -> Sequence[Finding]:
    """Return the findings about a server and the tables of a stream."""
    settings = {row[0]: row[1] for row in connection.execute(SETTINGS.encode()).fetchall()}
    findings = list(_server(connection, slots, publication, settings))
    names = [t.schema for t in tables], [t.name for t in tables]
    rows = [_Table(*row) for row in connection.execute(TABLES.encode(), names).fetchall()]
    findings += publication.findings(connection, tables)
    published = publication.published(connection)
    checks = [c for c in CHECKS if c is not _generated or not publication.generated(connection)]
    for table in rows:
        findings += [f for check in checks for f in check(connection, table)]
        if not (table.owned or table.leaf or table.id in published):
            findings.append(_unowned(connection, table, publication))
    return findings


def _error(code: str, place: str, message: str, remedy: str) -> Finding:
    return Finding(Severity.ERROR, code, place, message, remedy)


def _server(
    connection: psycopg.Connection,
    slots: Slots,
    publication: Publication,
    settings: dict[str, str],
) -> Iterator[Finding]:
    if settings["wal_level"] != "logical":
        yield _error(
            "wal-level",
            "source",
            f"wal_level is {settings['wal_level']}: the WAL does not contain row changes.",
            "ALTER SYSTEM SET wal_level = 'logical'; and restart the server.",
        )
    row = require(connection.execute(RIGHTS.encode()).fetchone(), "the role's rights")
    replicates, super_user, role, creates, used_slots, used_senders, database = row
    role, database = (sql.Identifier(n).as_string(connection) for n in (role, database))
    if not replicates:
        yield _error(
            "no-replication-right",
            "source",
            f"The role {role} lacks the REPLICATION attribute.",
            f"ALTER ROLE {role} REPLICATION;",
        )
    if not publication.exists(connection) and not (creates or super_user):
        yield _error(
            "no-publication-right",
            "source",
            f"The role {role} cannot create publications in the database {database}.",
            f"GRANT CREATE ON DATABASE {database} TO {role};",
        )
    slot = slots.read(connection)
    free = (
        ("max_replication_slots", used_slots - (slot is not None), 2, "slots"),
        ("max_wal_senders", used_senders - bool(slot and slot.active), 1, "walsenders"),
    )
    for setting, used, needed, what in free:
        if int(settings[setting]) - used < needed - (slot is not None and what == "slots"):
            yield _error(
                setting.replace("_", "-"),
                "source",
                f"{setting} is {settings[setting]} and {used} are in use: no {what} are free.",
                f"ALTER SYSTEM SET {setting} = {used + needed + 2}; and restart the server.",
            )
    yield from _retention(settings)
    yield from _origins(connection)


def _origins(connection: psycopg.Connection) -> Iterator[Finding]:
    """Report that changes of other replications are followed like all others."""
    rows = connection.execute(b"SELECT roname FROM pg_catalog.pg_replication_origin ORDER BY 1")
    names = [row[0] for row in rows.fetchall()]
    if names:
        shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        yield Finding(
            Severity.INFO,
            "replication-origins",
            "source",
            f"Another replication writes to this server ({shown}): the stream also captures what "
            "it writes.",
            "Do not close a ring: a stream back to the origin of those rows would repeat them "
            "for ever.",
        )


def _retention(settings: dict[str, str]) -> Iterator[Finding]:
    keep = int(settings.get("max_slot_wal_keep_size", "-1"))
    if keep < 0:
        yield Finding(
            Severity.INFO,
            "wal-unbounded",
            "source",
            "max_slot_wal_keep_size is not set: the WAL kept for a stopped stream can fill the "
            "disk.",
            "Watch the stream's retained bytes, set options.maxRetainedBytes, or call release().",
        )
    else:
        yield Finding(
            Severity.WARNING,
            "wal-bounded",
            "source",
            f"max_slot_wal_keep_size is {keep} MB: a stream that falls further behind loses its "
            "slot.",
            "Raise it if the stream may stop for longer.",
        )
    if int(settings.get("idle_replication_slot_timeout", "0")):
        yield Finding(
            Severity.WARNING,
            "slot-idle-timeout",
            "source",
            f"idle_replication_slot_timeout is {settings['idle_replication_slot_timeout']} s: a "
            "stream that stops for longer loses its slot.",
            "ALTER SYSTEM SET idle_replication_slot_timeout = 0; SELECT pg_reload_conf();",
        )


def _unowned(connection: psycopg.Connection, table: _Table, publication: Publication) -> Finding:
    full = name(table.id).as_string(connection)
    role = connection.info.user
    return _error(
        "not-owner",
        str(table.id),
        f"Only its owner can publish the table, and {role} is not its owner.",
        f"ALTER TABLE {full} OWNER TO {role}; or, as a superuser, CREATE PUBLICATION "
        f'"{publication.name}" FOR TABLE {full} WITH (publish_via_partition_root = true);',
    )


def _unlogged(connection: psycopg.Connection, table: _Table) -> Iterator[Finding]:
    if table.persistence == "u":
        full = name(table.id).as_string(connection)
        whole = "its partitioned table" if table.leaf else "it"
        yield _error(
            "unlogged",
            str(table.id),
            "The table is UNLOGGED: its changes are not in the WAL.",
            f"ALTER TABLE {full} SET LOGGED; or leave {whole} out.",
        )


def left_out(table: TableId) -> Finding:
    """Return the finding about an UNLOGGED table that is left out because all tables are
    streamed."""
    full = name(table).as_string(None)
    return Finding(
        Severity.WARNING,
        "unlogged",
        str(table),
        "The table is left out: it is UNLOGGED, and its changes are not in the WAL.",
        f"ALTER TABLE {full} SET LOGGED; for it to be followed.",
    )


def _foreign(connection: psycopg.Connection, table: _Table) -> Iterator[Finding]:
    if table.kind == "f":
        yield Finding(
            Severity.WARNING,
            "foreign-partition",
            str(table.id),
            "The partition is a foreign table: its rows are on another server, and the stream "
            "neither loads nor captures them.",
            "Stream it from the server that holds its rows, or detach it.",
        )


def _identified(connection: psycopg.Connection, table: _Table) -> Iterator[Finding]:
    """Check that the table has a usable replica identity; without one UPDATE fails in the
    application once it is published."""
    if table.kind in "pf":
        return  # its rows are those of its partitions, by their identities, or of another server
    usable = {"f": True, "d": table.primary, "i": table.chosen, "n": False}[table.identity]
    if usable:
        return
    full = name(table.id).as_string(connection)
    repair = f"ALTER TABLE {full} REPLICA IDENTITY FULL;"
    if table.primary:
        repair = f"ALTER TABLE {full} REPLICA IDENTITY DEFAULT;"
    elif table.unique is not None:
        index = sql.Identifier(table.unique).as_string(connection)
        repair = f"ALTER TABLE {full} REPLICA IDENTITY USING INDEX {index};"
    what = "has no usable replica identity"
    if table.deferrable:
        what += " (its primary key is deferrable)"
    yield _error(
        "replica-identity",
        str(table.id),
        f"The table {what}: once it is published, UPDATE and DELETE on it fail in the application.",
        repair,
    )


def _generated(connection: psycopg.Connection, table: _Table) -> Iterator[Finding]:
    """Check a table whose replica identity covers generated columns, which PostgreSQL 18 demands
    to be published, and which the log of older versions lacks."""
    covers = table.generated if table.identity == "f" else table.generated_key
    if connection.info.server_version < 180000:
        if table.identity in "di" and table.uncomputed_key:
            full = name(table.id).as_string(connection)
            yield _error(
                "replica-identity-generated",
                str(table.id),
                "The replica identity covers a generated column, which the log lacks, without the "
                "columns that it is computed of: no row is found by it.",
                f"ALTER TABLE {full} REPLICA IDENTITY FULL;",
            )
        return
    if not covers:
        return
    yield _error(
        "replica-identity-generated",
        str(table.id),
        "The replica identity covers a generated column that the publication does not publish: "
        "UPDATE and DELETE on the table would fail in the application.",
        "Choose a replica identity without it; or set publish_generated_columns = stored for the "
        "publication, and load again (start with fresh=True).",
    )


CHECKS: tuple[Callable[[psycopg.Connection, _Table], Iterator[Finding]], ...] = (
    _unlogged,
    _foreign,
    _identified,
    _generated,
)
