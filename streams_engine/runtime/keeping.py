"""What a target that keeps the log itself cannot do, said in time."""

from __future__ import annotations

from streams_engine.errors import SchemaChangeRefused
from streams_engine.runtime.followed import Followed

__all__ = ["demand_name"]


def demand_name(old: Followed | None, new: Followed | None) -> None:
    """A log that is kept cannot go on under another name: the rows before it are elsewhere.

    Raises `SchemaChangeRefused`.
    """
    if old is None or new is None or old.mapping.target.id == new.mapping.target.id:
        return
    raise SchemaChangeRefused(
        f"{old.mapping.source.id} was renamed, and a target that keeps the log keeps it under "
        "the table's name.",
        remedy="Choose schemaChanges ignore to go on under the old name, or load again with "
        "start(fresh=True).",
        table=str(old.mapping.source.id),
    )
