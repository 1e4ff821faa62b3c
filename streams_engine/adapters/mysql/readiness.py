"""What hinders following a server's log, each with the statement that repairs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from streams_engine.model import Catalog, Finding

__all__ = ["findings_for"]


def findings_for(connection: Any, catalog: Catalog) -> Sequence[Finding]:
    """The findings about a server and the tables to follow."""
    return ()
