"""What the sources are asked, as documents: before a query, and after it."""

from __future__ import annotations

from typing import Any

from streams_engine.queries.asking import Ask
from streams_engine.queries.gathering import MOST_KEYS, Gathered
from streams_engine.queries.native import native_text
from streams_engine.queries.planning import Plan
from streams_engine.queries.rendering import rendered
from streams_engine.queries.statement import Statement

__all__ = ["asked_of", "explained", "native_explained"]


def explained(plan: Plan) -> dict[str, Any]:
    """A plan: by source what it is asked, whose keys may narrow it down, what DuckDB runs."""
    return {
        "statement": plan.sql,
        "sources": [_source(plan, ask) for ask in plan.asks.values()],
        "findings": [
            {"code": f.code, "object": f.object, "message": f.message, "remedy": f.remedy}
            for f in plan.findings
        ],
    }


def _source(plan: Plan, ask: Ask) -> dict[str, Any]:
    return {
        "source": str(ask.named),
        "connection": ask.named.alias,
        "sql": rendered(ask),
        "columns": [column.name for column in ask.wanted()],
        "filters": [
            {"column": f.column, "operator": f.operator, "value": f.value} for f in ask.filters
        ],
        "limit": ask.limit,
        "narrowedBy": [
            {
                "column": edge.column,
                "keysOf": f"{plan.asks[edge.by].named}.{edge.by_column}",
                "most": MOST_KEYS,
            }
            for edge in plan.narrowings
            if edge.view == ask.view
        ],
    }


def native_explained(statement: Statement, limit: int | None) -> dict[str, Any]:
    """A statement that one server answers alone."""
    text = native_text(statement, limit)
    return {
        "statement": text,
        "sources": [{"source": None, "connection": statement.native, "sql": text}],
        "findings": [],
    }


def asked_of(plan: Plan, gathered: Gathered) -> list[dict[str, Any]]:
    """What was asked, and how many rows came of it."""
    return [
        {
            "source": str(ask.named),
            "connection": ask.named.alias,
            "sql": gathered.fetches[view].asked if view in gathered.fetches else None,
            "rows": gathered.fetches[view].rows if view in gathered.fetches else 0,
        }
        for view, ask in plan.asks.items()
    ]
