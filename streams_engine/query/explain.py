"""Explain as documents what the sources are asked: before a query, and after it."""

from __future__ import annotations

from typing import Any

from streams_engine.query.gather import MOST_KEYS, GatheredInputs
from streams_engine.query.native import native_text
from streams_engine.query.plan import QueryPlan
from streams_engine.query.source_request import TableRequest
from streams_engine.query.sql import rendered
from streams_engine.query.statement import ParsedStatement

__all__ = ["asked_of", "explained", "native_explained"]


def explained(plan: QueryPlan) -> dict[str, Any]:
    """Explain a plan: what each source is asked, whose keys may narrow a table, and what DuckDB
    runs."""
    return {
        "statement": plan.sql,
        "sources": [_source(plan, ask) for ask in plan.asks.values()],
        "findings": [
            {"code": f.code, "object": f.object, "message": f.message, "remedy": f.remedy}
            for f in plan.findings
        ],
    }


def _source(plan: QueryPlan, ask: TableRequest) -> dict[str, Any]:
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


def native_explained(statement: ParsedStatement, limit: int | None) -> dict[str, Any]:
    """Explain a statement that one server runs alone."""
    text = native_text(statement, limit)
    return {
        "statement": text,
        "sources": [{"source": None, "connection": statement.native, "sql": text}],
        "findings": [],
    }


def asked_of(plan: QueryPlan, inputs: GatheredInputs) -> list[dict[str, Any]]:
    """Return what was asked, and how many rows came of it."""
    return [
        {
            "source": str(ask.named),
            "connection": ask.named.alias,
            "sql": inputs.fetches[view].asked if view in inputs.fetches else None,
            "rows": inputs.fetches[view].rows if view in inputs.fetches else 0,
        }
        for view, ask in plan.asks.items()
    ]
