"""Refusals that no entry can stand for: they come of what lies around a change, not of the change.

`docs/cdc.md`, "Changes of structure", promises them.
"""

from __future__ import annotations

from tests.manuals.entries import Refused

__all__ = ["PROMISES"]

PROMISES: dict[str, Refused] = {
    "MySQL cannot roll DDL back": Refused(
        "SCHEMA_CHANGE_REFUSED",
        fresh=True,
        why="PostgreSQL changes structure and rows in one transaction, which MySQL cannot.",
    ),
    "the table is not there any more under that name": Refused(
        "SCHEMA_CHANGE_REFUSED",
        fresh=True,
        why="It has to be read again, and got another name since, or was dropped.",
    ),
}
"""By words of the error."""
