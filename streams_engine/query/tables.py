"""The tables that a statement names, as their catalogs have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from streams_engine.contracts import Scope, Source
from streams_engine.errors import NotFound, QueryRefused, StreamsError
from streams_engine.model import Dialect, TableId, TableSchema
from streams_engine.query.connections import QueryConnections
from streams_engine.query.source_names import NamedSource
from streams_engine.query.sql import every_row

__all__ = ["described", "one_file", "view_of"]


def described(
    places: QueryConnections, wanted: Sequence[NamedSource]
) -> Mapping[NamedSource, TableSchema]:
    """Return each table, view or file as a table schema. Raises `NotFound` and
    `ConnectionFailed`."""
    tables: dict[NamedSource, TableSchema] = {}
    groups: dict[object, list[NamedSource]] = {}
    for named in wanted:
        # What is opened of a connection depends on the file, and on nothing where it is a table.
        key = named.alias if named.path is None else named
        groups.setdefault(key, []).append(named)
    for group in groups.values():
        with places.opened(group[0].alias, group[0].document()) as source:
            for named in group:
                tables[named] = _one(source, named)
    return tables


def _one(source: Source, named: NamedSource) -> TableSchema:
    if named.path is not None:
        return one_file(source.catalog(Scope()).tables, named)
    try:
        return source.catalog(Scope(named.schema, (named.full,))).tables[-1]
    except NotFound as error:
        view = view_of(source, named)
        if view is None:
            raise error from None
        return view


def one_file(tables: Sequence[TableSchema], named: NamedSource) -> TableSchema:
    """Return the one table that a path contains. Raises `QueryRefused`."""
    if len(tables) != 1:
        raise QueryRefused(
            f"{named} is not one file or one folder of files of one table.",
            remedy=f"It contains {len(tables)} tables: name one.",
        )
    return tables[0]


def view_of(source: Source, named: NamedSource) -> TableSchema | None:
    """Return a view as the query that reads it; None if there is no such view."""
    if source.dialect is Dialect.FILES:
        return None
    table = TableSchema(TableId(named.schema or "", named.name), source.dialect, ())
    query = every_row(table)
    try:
        view = source.catalog(Scope(named.schema, (), ((named.name, query),))).tables[-1]
    except StreamsError:
        return None
    return replace(view, id=table.id)
