"""The tables that a statement names, as their catalogs have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from streams_engine.errors import NotFound, QueryRefused, StreamsError
from streams_engine.model import Dialect, TableId, TableSchema
from streams_engine.protocols import Scope, Source
from streams_engine.queries.naming import Named
from streams_engine.queries.places import Places
from streams_engine.queries.rendering import every_row

__all__ = ["described", "one_file", "view_of"]


def described(places: Places, wanted: Sequence[Named]) -> Mapping[Named, TableSchema]:
    """Each table, view or file. Raises `NotFound`, `ConnectionFailed` and its kin."""
    found: dict[Named, TableSchema] = {}
    groups: dict[object, list[Named]] = {}
    for named in wanted:
        # What is opened of a connection depends on the file, and on nothing where it is a table.
        key = named.alias if named.path is None else named
        groups.setdefault(key, []).append(named)
    for group in groups.values():
        with places.opened(group[0].alias, group[0].document()) as source:
            for named in group:
                found[named] = _one(source, named)
    return found


def _one(source: Source, named: Named) -> TableSchema:
    if named.path is not None:
        return one_file(source.catalog(Scope()).tables, named)
    try:
        return source.catalog(Scope(named.schema, (named.full,))).tables[-1]
    except NotFound as error:
        view = view_of(source, named)
        if view is None:
            raise error from None
        return view


def one_file(tables: Sequence[TableSchema], named: Named) -> TableSchema:
    """The one table that a path leads to. Raises `QueryRefused`."""
    if len(tables) != 1:
        raise QueryRefused(
            f"{named} is not one file or one folder of files of one table.",
            remedy=f"It holds {len(tables)} tables: name one.",
        )
    return tables[0]


def view_of(source: Source, named: Named) -> TableSchema | None:
    """A view, as the query that reads it; None where there is none of that name."""
    if source.dialect is Dialect.FILES:
        return None
    table = TableSchema(TableId(named.schema or "", named.name), source.dialect, ())
    query = every_row(table)
    try:
        found = source.catalog(Scope(named.schema, (), ((named.name, query),))).tables[-1]
    except StreamsError:
        return None
    return replace(found, id=table.id)
