"""A statement that one server answers alone, in that server's own SQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlglot import exp

from streams_engine.errors import QueryRefused
from streams_engine.protocols import Scope
from streams_engine.queries.places import Places
from streams_engine.queries.statement import Statement
from streams_engine.queries.stopping import Stopping
from streams_engine.runtime.reading import Look, Reading, reading
from streams_engine.schema.mapping import Selected

__all__ = ["native_rows", "native_text"]

EVERYTHING = (1 << 64) - 1
NAME = "query"


@contextmanager
def native_rows(
    statement: Statement, places: Places, limit: int | None, stopping: Stopping
) -> Iterator[Reading]:
    """The rows, in one consistent view. Raises what reading a source raises."""
    alias = str(statement.native)
    scope = Scope(places.schema(alias), (), ((NAME, native_text(statement, limit)),))
    with places.opened(alias) as source:
        stopping.add(source.close)
        look = Look(Selected(limit=None if limit is None else limit + 1))
        with reading(source, scope, look) as found:
            yield found


def native_text(statement: Statement, limit: int | None) -> str:
    """The statement without its alias, with the row limit if it has none of its own.

    An order that has no limit may be dropped by MySQL's family, where the statement is read as
    a derived table.
    """
    tree = statement.tree
    names = [name.lower() for name in tree.named_selects if name and name != "*"]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise QueryRefused(
            f"Two columns of the result are called '{twice}'.", remedy="Give one another name: AS."
        )
    own = tree.args.get("limit") or tree.args.get("fetch") or tree.args.get("offset")
    if own or not isinstance(tree, exp.Select | exp.SetOperation):
        return statement.text
    if limit is not None:
        return f"{statement.text} LIMIT {limit + 1}"
    if statement.family == "mysql" and tree.args.get("order"):
        return f"{statement.text} LIMIT {EVERYTHING}"
    return statement.text
