"""The options of lists: page, filters and order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from streams_engine.errors import ConfigError

__all__ = ["Filters", "Limit", "Offset", "Sorts", "page_of"]

Limit = Annotated[int | None, typer.Option("--limit", min=0, help="Show at most this many.")]
Offset = Annotated[int, typer.Option("--offset", min=0, help="Skip this many first.")]
Filters = Annotated[
    list[str] | None,
    typer.Option(
        "--filter",
        metavar="KEY=VALUE",
        help="Only items that match, such as status=FAILED; also !=, <, <=, > and >= (repeatable).",
    ),
]
Sorts = Annotated[
    list[str] | None,
    typer.Option("--sort", metavar="KEY", help="Sort by a key; -KEY: descending (repeatable)."),
]

CONDITION = re.compile(
    r"(?P<column>[^=!<>]+?)\s*(?P<operator>!=|<=|>=|=|<|>)\s*(?P<value>.*)", re.S
)


def page_of(
    limit: int | None, offset: int, filters: Sequence[str] | None, sort: Sequence[str] | None
) -> dict[str, Any]:
    """Return the arguments of an engine's list. Raises `ConfigError`."""
    return {
        "limit": limit,
        "offset": offset,
        "filters": [_filter(text) for text in filters or ()],
        "sort": [
            {"column": key.removeprefix("-"), "direction": "desc" if key[:1] == "-" else "asc"}
            for key in sort or ()
        ],
    }


def _filter(text: str) -> dict[str, Any]:
    match = CONDITION.fullmatch(text)
    if match is None:
        raise ConfigError(
            f"--filter {text}: expected KEY=VALUE.", remedy="For example: --filter status=FAILED"
        )
    value: Any = match["value"]
    if re.fullmatch(r"-?\d+", value):
        value = int(value)
    return {"column": match["column"], "operator": match["operator"], "value": value}
