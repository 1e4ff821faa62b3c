"""What stored connections contain: databases, tables, other objects, sizes, summaries."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from streams_engine.adapters.registry import open_source
from streams_engine.adapters.ssh import reachable
from streams_engine.config.connection import DatabaseConnection
from streams_engine.config.documents import SourceConnection
from streams_engine.contracts import ObjectKind, ReadinessSource, RelationKind, Scope
from streams_engine.engine.resolver import ConnectionResolver, scope_of
from streams_engine.engine.serialize import described, finding_document
from streams_engine.errors import ConfigError
from streams_engine.model import LogOptions

__all__ = ["ConnectionStructure"]

Document = dict[str, Any]
Documents = list[Document]
Names = list[str]


class ConnectionStructure:
    """The structure of stored connections, by id or name. Thread-safe.

    All methods raise `ConnectionFailed` or a subclass. ``database`` names another database than the
    connection's, ``schema`` one schema (MySQL: database) instead of all that belong to users.
    """

    def __init__(self, resolver: ConnectionResolver) -> None:
        self._dialler = resolver

    def databases(self, connection: str) -> Documents:
        """Return ``[{"name"}]``; on PostgreSQL each entry has ``"schemas"``."""
        with self._dialler.explorer(connection) as explorer:
            return list(explorer.databases())

    def create_database(self, connection: str, name: str) -> Document:
        """Create a database on the server; return ``{"name"}``."""
        with self._dialler.explorer(connection) as explorer:
            explorer.create_database(name)
        return {"name": name}

    def create_schema(self, connection: str, name: str, database: str | None = None) -> Document:
        """Create a schema (PostgreSQL) in a database; return ``{"name"}``."""
        with self._dialler.explorer(connection, database) as explorer:
            explorer.create_schema(name)
        return {"name": name}

    def tables(
        self, connection: str, database: str | None = None, schema: str | None = None
    ) -> Names:
        """Return the names of the tables.

        Names in the connection's own database, or in the schema ``public``, are bare; others are
        ``schema.table`` (MySQL: ``database.table``).
        """
        return self._names("table", connection, database, schema)

    def views(
        self, connection: str, database: str | None = None, schema: str | None = None
    ) -> Names:
        """Return the names of the views, in the form of `tables`."""
        return self._names("view", connection, database, schema)

    def describe(self, connection: str, table: str, database: str | None = None) -> Document:
        """Return a table's columns, keys, indexes, foreign keys, and the DDL that creates it.

        Raises `NotFound` that lists similar names.
        """
        schema = self._dialler.table(connection, table, database)
        with self._dialler.explorer(connection, database) as explorer:
            return described(schema, explorer.ddl(schema))

    def readiness(
        self, connection: str, tables: Names | None = None, database: str | None = None
    ) -> Documents:
        """Return what prevents following the log of these tables (or all), each with the statement
        that repairs it.

        Raises `ConfigError` for files, which have no log.
        """
        parsed = self._dialler.parsed(connection)
        if not isinstance(parsed, DatabaseConnection):
            raise ConfigError("Files have no log to read changes from.", remedy="Use mode convert.")
        document, log = SourceConnection(database=database), LogOptions("readiness")
        scope = scope_of(parsed, database)
        with reachable(parsed, self._dialler.resolvers) as reached:
            source: Any = open_source(reached, document, self._dialler.resolvers, "$", log)
            with closing(source):
                if not isinstance(source, ReadinessSource):
                    return []
                findings = source.readiness(Scope(scope.schema, tuple(tables) if tables else None))
        return [finding_document(finding) for finding in findings]

    def sequences(
        self, connection: str, database: str | None = None, schema: str | None = None
    ) -> Documents:
        """Return the sequences: ``name``, ``schema``, ``type``, ``start``, ``increment``, ``min``,
        ``max``, ``cycle``, ``lastValue`` and ``ownedBy`` (``schema.table.column``, or None).

        MySQL and files have none.
        """
        return self._objects("sequence", connection, database, schema)

    def triggers(
        self, connection: str, database: str | None = None, schema: str | None = None
    ) -> Documents:
        """Return the triggers: ``name``, ``schema``, ``table``, ``timing``, ``events``, ``enabled``
        and ``definition``."""
        return self._objects("trigger", connection, database, schema)

    def routines(
        self, connection: str, database: str | None = None, schema: str | None = None
    ) -> Documents:
        """Return functions and procedures: ``name``, ``schema``, ``kind``, ``language``,
        ``arguments``, ``returns`` and ``definition`` (None for what the account may not see)."""
        return self._objects("routine", connection, database, schema)

    def overview(
        self, connection: str, database: str | None = None, schema: str | None = None
    ) -> Document:
        """Return ``type``, ``version``, ``database``, ``encoding``, ``bytes``, and how many
        ``schemas``, ``tables``, ``views``, ``sequences``, ``triggers`` and ``routines`` there
        are."""
        with self._dialler.navigator(connection, database) as (navigator, own):
            return navigator.overview(schema if schema is not None else own)

    def sizes(
        self, connection: str, database: str | None = None, schema: str | None = None
    ) -> Documents:
        """Return the sizes of tables, the largest first: ``name``, ``schema``, ``rows`` (an
        estimate), ``bytes``, ``dataBytes`` and ``indexBytes``."""
        with self._dialler.navigator(connection, database) as (navigator, own):
            return navigator.sizes(schema if schema is not None else own)

    def column_summary(
        self,
        connection: str,
        table: str,
        columns: Sequence[str] = (),
        database: str | None = None,
    ) -> Documents:
        """Return what columns hold (or all): ``name``, ``type``, ``rows``, ``nulls``,
        ``distinct``, ``min`` and ``max``, as plain Python values.

        The server reads the whole table. ``min`` and ``max`` are None for types without an order
        (JSON, geometries). Raises `NotFound` that lists similar names, `ConfigError` by path.
        """
        schema = self._dialler.table(connection, table, database)
        known = {column.name: column for column in schema.columns}
        for number, name in enumerate(columns):
            if name not in known:
                path = f"$.columns[{number}]"
                near = difflib.get_close_matches(str(name), known, 3)
                raise ConfigError(
                    f"{path}: {schema.id} has no column '{name}'.",
                    path=path,
                    remedy=f"Similar names: {', '.join(near) or 'none'}.",
                )
        chosen = [known[name] for name in columns] or list(schema.columns)
        with self._dialler.navigator(connection, database) as (navigator, _):
            return navigator.summary(schema, chosen)

    def _objects(
        self, kind: ObjectKind, connection: str, database: str | None, schema: str | None
    ) -> Documents:
        with self._dialler.navigator(connection, database) as (navigator, own):
            return navigator.objects(kind, schema if schema is not None else own)

    def _names(
        self, kind: RelationKind, connection: str, database: str | None, schema: str | None
    ) -> Names:
        parsed = self._dialler.parsed(connection)
        own = scope_of(parsed, database).schema or "public"
        with self._dialler.explorer(connection, database) as explorer:
            wanted = schema if schema is not None else scope_of(parsed, database).schema
            relations = explorer.relations(kind, wanted)
        return [str(one) if one.schema not in ("", wanted, own) else one.name for one in relations]
