"""A statement over several sources as a plan: what each is asked for, and what DuckDB runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.annotate_types import annotate_types
from sqlglot.optimizer.qualify import qualify
from sqlglot.schema import MappingSchema

from streams_engine.errors import QueryRefused
from streams_engine.model import Finding, TableSchema
from streams_engine.query.comparability import collations, demand_comparable
from streams_engine.query.pushdown import narrow_down
from streams_engine.query.source_names import NamedSource
from streams_engine.query.source_request import KeyNarrowing, TableRequest, duckdb_type
from streams_engine.query.statement import ParsedStatement
from streams_engine.query.validation import refuse_foreign_functions

__all__ = ["QueryPlan", "planned"]

Describe = Callable[[Sequence[NamedSource]], Mapping[NamedSource, TableSchema]]


@dataclass(slots=True)
class QueryPlan:
    """The requests to the sources, and the statement over their answers."""

    asks: dict[str, TableRequest]
    """By the name that the statement has for them."""
    sql: str
    """DuckDB's statement."""
    names: tuple[str, ...]
    """The result's columns, as the user wrote them."""
    narrowings: list[KeyNarrowing] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    again: frozenset[str] = frozenset()
    """Those that the statement may read more than once."""


def planned(statement: ParsedStatement, describe: Describe, limit: int | None = None) -> QueryPlan:
    """Plan a statement. ``describe`` returns the tables as their catalogs describe them.

    Raises `QueryRefused` naming a column that does not exist, or that is compared with one of
    another kind.
    """
    tree = statement.tree.copy()
    named = _views(tree, statement)
    refuse_foreign_functions(tree)
    if limit is not None:
        tree = _limited(tree, limit)
    tables = describe(list(dict.fromkeys(named.values())))
    asks = {view: TableRequest(view, one, tables[one]) for view, one in named.items()}
    _note_writing(tree)
    tree = _qualified(tree, asks)
    _choose_columns(tree, asks)
    demand_comparable(tree)
    narrowings = narrow_down(tree, asks)
    names = _output_names(tree, asks)
    _materialize(tree)
    return QueryPlan(
        asks,
        tree.sql(dialect="duckdb"),
        names,
        narrowings,
        list(collations(tree, asks)),
        _again(tree, asks),
    )


def _views(tree: Any, statement: ParsedStatement) -> dict[str, NamedSource]:
    """Put a view in the place of each table of a source."""
    taken = {node.name.lower() for node in tree.find_all(exp.Identifier)}
    pairs = zip(statement.tree.find_all(exp.Table), tree.find_all(exp.Table), strict=True)
    copies = {id(old): new for old, new in pairs}
    views: dict[str, NamedSource] = {}
    for number, (old, named) in enumerate(statement.tables):
        view = f"source_{number}"
        while view in taken:
            view += "_"
        table = copies[id(old)]
        alias = table.args.get("alias")
        if alias is None or not alias.name:
            columns = alias.columns if alias is not None else None
            alias = exp.TableAlias(this=exp.to_identifier(named.name, quoted=True), columns=columns)
        table.set("alias", alias)
        for part in ("db", "catalog"):
            table.set(part, None)
        table.set("this", exp.to_identifier(view))
        views[view] = named
    _shorten_columns(tree, statement)
    return views


def _shorten_columns(tree: Any, statement: ParsedStatement) -> None:
    """Shorten ``alias.schema.table.column`` to the table and column; a field of a struct stays."""
    names = {tuple(part.name.lower() for part in table.parts) for table, _ in statement.tables}
    names |= {parts[1:] for parts in names if len(parts) == 3}
    for column in tree.find_all(exp.Column):
        if tuple(part.name.lower() for part in column.parts[:-1]) in names:
            column.set("db", None)
            column.set("catalog", None)


def _limited(tree: Any, limit: int) -> Any:
    """Return the statement with the limit, unless it has one; the reader counts rows in any
    case."""
    if tree.args.get("limit") is not None or tree.args.get("fetch") is not None:
        return tree
    if isinstance(tree, exp.Select | exp.SetOperation):
        tree.set("limit", exp.Limit(expression=exp.Literal.number(limit)))
    return tree


def _note_writing(tree: Any) -> None:
    """Remember how names are written: the analysis turns them to lower case."""
    for identifier in tree.find_all(exp.Identifier):
        identifier.meta["written"] = identifier.name


def _qualified(tree: Any, asks: Mapping[str, TableRequest]) -> Any:
    """Return the statement with its table before each column, and with stars expanded."""
    schema = MappingSchema(dialect="duckdb")
    for ask in asks.values():
        columns = {name: duckdb_type(column) for name, column in ask.by_name.items()}
        schema.add_table(ask.view, columns, dialect="duckdb")
    try:
        qualified = qualify(tree, schema=schema, dialect="duckdb", sql=None)
        return annotate_types(qualified, schema=schema, dialect="duckdb")
    except SqlglotError as error:
        raise _unresolved(str(error)) from None


def _unresolved(text: str) -> QueryRefused:
    remedy = "Write alias.column, and check that the table has it."
    name = re.search(r"'([^'\n]*)'", text) or re.search(r"column: (.+)", text)
    place = re.search(r"Line: (\d+), Col: (\d+)", text)
    if name is None or "olumn" not in text:
        return QueryRefused("The names of the statement cannot be resolved.", remedy=remedy)
    where: dict[str, Any] = {}
    if place is not None:
        where = {"line": int(place[1]), "column": max(int(place[2]) - len(name[1]) + 1, 1)}
    return QueryRefused(
        f"The column '{name[1]}' is in none of the tables, or in several.", remedy=remedy, **where
    )


def _choose_columns(tree: Any, asks: Mapping[str, TableRequest]) -> None:
    """Record the columns that the statement mentions; all columns if that is not certain."""
    labels: dict[str, list[TableRequest]] = {}
    for table in tree.find_all(exp.Table):
        if table.name in asks:
            ask = asks[table.name]
            labels.setdefault(table.alias_or_name.lower(), []).append(ask)
            # Its columns renamed, or turned into others.
            odd = any(value for key, value in table.args.items() if key not in ("this", "alias"))
            if odd or table.args["alias"].columns:
                ask.columns |= set(ask.by_name)
    if any(_is_open(star) for star in tree.find_all(exp.Star)) or tree.find(
        exp.Columns, exp.TableColumn
    ):
        for ask in asks.values():
            ask.columns |= set(ask.by_name)
    for column in tree.find_all(exp.Column):
        for ask in labels.get(column.table.lower(), [] if column.table else list(asks.values())):
            if column.name.lower() in ask.by_name:
                ask.columns.add(column.name.lower())


def _is_open(star: Any) -> bool:
    """Return whether a star stands for columns: in count(*) it does not."""
    return not isinstance(star.parent, exp.Count)


def _output_names(tree: Any, asks: Mapping[str, TableRequest]) -> tuple[str, ...]:
    query = tree
    while not isinstance(query, exp.Select):
        query = query.this if isinstance(query, exp.Subquery) else query.left
    real = {
        (table.alias_or_name, name): column.name
        for table in query.find_all(exp.Table)
        if table.name in asks
        for name, column in asks[table.name].by_name.items()
    }
    return tuple(_name_of(projection, real) for projection in query.selects)


def _name_of(projection: Any, real: Mapping[tuple[str, str], str]) -> str:
    """Return a column's name in the result.

    An alias or column as it was written, a star's column as its table has it, or a function's name,
    as in PostgreSQL.
    """
    own = projection.args.get("alias")
    if own is not None and "written" in own.meta:
        return str(own.meta["written"])
    column = projection.unalias()
    if isinstance(column, exp.Column):
        written = column.this.meta.get("written")
        return str(written or real.get((column.table, column.name), column.name))
    if isinstance(column, exp.Coalesce) and not projection.alias.startswith("_col_"):
        first = column.this  # a column of USING, which qualifying makes of both
        return str(real.get((first.table, first.name), projection.alias))
    if isinstance(column, exp.Func) and not isinstance(column, exp.Cast):
        return str(column.name if isinstance(column, exp.Anonymous) else column.sql_name()).lower()
    return str(projection.alias_or_name)


def _materialize(tree: Any) -> None:
    """Materialize every CTE that is used more than once, because a source can be read only once."""
    names = [table.name for table in tree.find_all(exp.Table)]
    for cte in tree.find_all(exp.CTE):
        recursive = cte.parent is not None and cte.parent.args.get("recursive")
        if not recursive and names.count(cte.alias) > 1:
            cte.set("materialized", True)


def _again(tree: Any, asks: Mapping[str, TableRequest]) -> frozenset[str]:
    """Return the sources inside a recursive CTE, which reads its tables in every round."""
    return frozenset(
        table.name
        for with_ in tree.find_all(exp.With)
        if with_.args.get("recursive")
        for table in with_.find_all(exp.Table)
        if table.name in asks
    )
