"""Refusals that no entry can stand for: they come of what lies around a change, not of the change.

`docs/cdc.md`, "Schema changes", promises them.
"""

from __future__ import annotations

from tests.manuals.entries import Refused

__all__ = ["PROMISES", "REMEDIED"]

PROMISES: dict[str, Refused] = {
    "MySQL cannot roll DDL back": Refused(
        "SCHEMA_CHANGE_REFUSED",
        fresh=True,
        why="PostgreSQL gives a name twice in a transaction that changes rows.",
    ),
    "the table no longer exists under this name": Refused(
        "SCHEMA_CHANGE_REFUSED",
        fresh=True,
        why="It has to be read again, and got another name since, or was dropped.",
    ),
    "has no usable replica identity": Refused(
        "INVALID_CONFIG",
        why="A first start demands that UPDATE works once the table is published.",
    ),
}
"""By words of the error."""

REMEDIED = {"not-joined"}
"""Findings whose remedy brings the tables that they leave out."""
