"""Federated queries: one SELECT over several sources, joined by DuckDB (extra ``query``)."""

from streams_engine.query.connections import QueryConnections
from streams_engine.query.editor import SqlHelp
from streams_engine.query.queries import Queries
from streams_engine.query.result import QueryResult

__all__ = ["Queries", "QueryConnections", "QueryResult", "SqlHelp"]
