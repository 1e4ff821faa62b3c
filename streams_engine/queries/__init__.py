"""Federated queries: one SELECT over several sources, joined by DuckDB (extra ``query``)."""

from streams_engine.queries.helping import SqlHelp
from streams_engine.queries.places import Places
from streams_engine.queries.result import QueryResult
from streams_engine.queries.running import Queries

__all__ = ["Places", "Queries", "QueryResult", "SqlHelp"]
