"""A statement that one server answers alone, in that server's own SQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from sqlglot import exp

from streams_engine.contracts import Scope
from streams_engine.errors import QueryRefused, ServerError
from streams_engine.pipeline.preview import PreviewRequest, PreviewRows, preview
from streams_engine.query.cancellation import Cancellation
from streams_engine.query.connections import QueryConnections
from streams_engine.query.statement import ParsedStatement
from streams_engine.schema.mapping.tables import SelectedRows

__all__ = ["native_rows", "native_text"]

OF_STATEMENT = frozenset({1052, 1054, 1055, 1060, 1064, 1305})
"""MySQL's numbers of class 42 (names and syntax) that are no other error here.
https://dev.mysql.com/doc/mysql-errors/9.0/en/server-error-reference.html"""

EVERYTHING = (1 << 64) - 1
NAME = "query"


@contextmanager
def native_rows(
    statement: ParsedStatement, places: QueryConnections, limit: int | None, stopping: Cancellation
) -> Iterator[PreviewRows]:
    """Read the rows in one consistent snapshot. Raises what reading a source raises."""
    alias = str(statement.native)
    scope = Scope(places.schema(alias), (), ((NAME, native_text(statement, limit)),))
    with places.opened(alias) as source:
        stopping.add(source.close)
        request = PreviewRequest(SelectedRows(limit=None if limit is None else limit + 1))
        with ExitStack() as stack:
            try:
                rows = stack.enter_context(preview(source, scope, request))
            except ServerError as error:
                if _is_of_statement(error):
                    raise QueryRefused(
                        error.message, remedy=error.remedy, **error.details
                    ) from None
                raise
            yield rows


def _is_of_statement(error: ServerError) -> bool:
    """Return whether the server refused the statement itself: a name in it, or its syntax."""
    state = str(error.details.get("sqlstate", ""))
    return state.startswith("42") or error.details.get("errno") in OF_STATEMENT


def native_text(statement: ParsedStatement, limit: int | None) -> str:
    """Return the statement without its alias, with the row limit if it has none.

    MySQL and MariaDB may ignore an ORDER BY without a limit when the statement is read as a derived
    table.
    """
    tree = statement.tree
    names = [name.lower() for name in tree.named_selects if name and name != "*"]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise QueryRefused(
            f"Two columns of the result have the name '{twice}'.",
            remedy="Rename one of them with AS.",
        )
    own = tree.args.get("limit") or tree.args.get("fetch") or tree.args.get("offset")
    if own or not isinstance(tree, exp.Select | exp.SetOperation):
        return statement.text
    if limit is not None:
        return f"{statement.text} LIMIT {limit + 1}"
    if statement.family == "mysql" and tree.args.get("order"):
        return f"{statement.text} LIMIT {EVERYTHING}"
    return statement.text
