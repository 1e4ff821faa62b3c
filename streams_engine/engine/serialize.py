"""Tables, findings and runs as the JSON-able documents that an `Engine` hands out."""

from __future__ import annotations

from typing import Any

from streams_engine.model import Column, Expression, Finding, ForeignKey, Index, TableSchema

__all__ = ["described", "finding_document"]


def described(table: TableSchema, ddl: str | None) -> dict[str, Any]:
    """Return a table's structure as a document."""
    key = table.primary_key
    return {
        "name": table.id.name,
        "schema": table.id.schema or None,
        "comment": table.comment,
        "estimatedRows": table.estimated_rows,
        "bytes": table.bytes,
        "columns": [_column(column) for column in table.columns],
        "primaryKey": None if key is None else _index(key),
        "indexes": [_index(index) for index in table.indexes],
        "foreignKeys": [_foreign_key(foreign) for foreign in table.foreign_keys],
        "checks": [{"name": c.name, "expression": c.expression.sql} for c in table.checks],
        "ddl": ddl,
    }


def _column(column: Column) -> dict[str, Any]:
    return {
        "name": column.name,
        "type": column.type.text,
        "nullable": column.nullable,
        "default": _sql(column.default),
        "generated": _sql(column.generated),
        "identity": column.identity is not None,
        "collation": column.collation,
        "comment": column.comment,
    }


def _sql(expression: Expression | None) -> str | None:
    return None if expression is None else expression.sql


def _index(index: Index) -> dict[str, Any]:
    return {
        "name": index.name,
        "columns": [part.column or _sql(part.expression) for part in index.parts],
        "unique": index.unique or index.primary,
        "method": index.method,
        "where": _sql(index.where),
    }


def _foreign_key(foreign: ForeignKey) -> dict[str, Any]:
    return {
        "name": foreign.name,
        "columns": list(foreign.columns),
        "referencedTable": str(foreign.referenced),
        "referencedColumns": list(foreign.referenced_columns),
        "onDelete": foreign.on_delete,
        "onUpdate": foreign.on_update,
    }


def finding_document(finding: Finding) -> dict[str, Any]:
    """Return a finding in the form of the stats document."""
    return {
        "severity": str(finding.severity),
        "code": finding.code,
        "object": finding.object,
        "message": finding.message,
        "remedy": finding.remedy,
    }
