"""What hinders following a database's log, each with the statement that repairs it."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg

from streams_engine.adapters.postgres.slots import Slots
from streams_engine.model import Finding, TableId

__all__ = ["findings_for"]


def findings_for(
    connection: psycopg.Connection, slots: Slots, tables: Sequence[TableId]
) -> Sequence[Finding]:
    """The findings about a server and the tables to follow."""
    return ()
