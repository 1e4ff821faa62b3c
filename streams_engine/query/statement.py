"""A statement read: whose SQL it is in, which sources it names, and whether one answers alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlglot import exp

from streams_engine.errors import QueryRefused
from streams_engine.query.connections import Family, QueryConnections
from streams_engine.query.source_names import NamedSource, named_sources
from streams_engine.query.validation import parse

__all__ = ["ParsedStatement", "read_statement"]

Tables = list[tuple[exp.Table, NamedSource]]


@dataclass(frozen=True, slots=True)
class ParsedStatement:
    """One SELECT, parsed. ``native``: the alias of the one database that answers it alone."""

    text: str
    tree: Any
    tables: Tables
    native: str | None
    family: Family | None = None


def read_statement(sql: str, places: QueryConnections) -> ParsedStatement:
    """Parse a statement and resolve its names. Raises `QueryRefused`.

    A statement about one database is in that server's SQL, one about several sources, or about
    files, in DuckDB's.
    """
    alone = _alone(places)
    if alone is not None:
        return _native(sql, places, alone, bare=True)
    try:
        text, tree = parse(sql, "duckdb")
        tables = named_sources(tree, places)
    except QueryRefused as refused:
        for family in ("postgres", "mysql"):
            statement = _in_dialect(sql, places, family)
            if statement is not None:
                return statement
        raise refused from None
    aliases = {named.alias for _, named in tables}
    if len(aliases) == 1:
        (alias,) = aliases
        if places.family(alias) != "files":
            return _native(sql, places, alias, bare=False)
    return ParsedStatement(text, tree, tables, None)


def _alone(places: QueryConnections) -> str | None:
    """Return the alias of the only connection if that is a database: names then need no alias."""
    if len(places.names) != 1:
        return None
    (alias,) = places.names
    return alias if places.family(alias) != "files" else None


def _in_dialect(sql: str, places: QueryConnections, family: str) -> ParsedStatement | None:
    """Parse the statement in a server's dialect; return None unless it names one server of that
    family."""
    try:
        _, tree = parse(sql, family)
        aliases = {named.alias for _, named in named_sources(tree, places)}
    except QueryRefused:
        return None
    if len(aliases) != 1:
        return None
    (alias,) = aliases
    return _native(sql, places, alias, bare=False) if places.family(alias) == family else None


def _native(sql: str, places: QueryConnections, alias: str, *, bare: bool) -> ParsedStatement:
    family = places.family(alias)
    text, tree = parse(sql, family)
    tables = [] if bare else named_sources(tree, places)
    if {named.alias for _, named in tables} - {alias}:
        raise QueryRefused(
            "The statement names several sources; one server's SQL cannot read them."
        )
    return ParsedStatement(_without_alias(text, tree, alias), tree, tables, alias, family)


def _without_alias(text: str, tree: Any, alias: str) -> str:
    """Remove the alias before the table names, leaving the rest of the text unchanged."""
    cuts = []
    short = set()
    for table in tree.find_all(exp.Table):
        parts = [part for part in table.parts if isinstance(part, exp.Identifier)]
        if len(parts) in (2, 3) and parts[0].name.lower() == alias.lower():
            cuts.append((parts[0], parts[1]))
            if len(parts) == 2:
                short.add(parts[1].name)
    for column in tree.find_all(exp.Column):
        parts = column.parts
        named = parts[0].name.lower() == alias.lower()
        if named and (len(parts) == 4 or (len(parts) == 3 and parts[1].name in short)):
            cuts.append((parts[0], parts[1]))
    for first, second in sorted(cuts, key=lambda cut: -int(cut[0].meta["start"])):
        text = text[: first.meta["start"]] + text[second.meta["start"] :]
    return text
