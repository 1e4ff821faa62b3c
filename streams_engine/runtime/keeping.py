"""What a target that keeps the log itself cannot do, said in time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from streams_engine.errors import SchemaChangeRefused
from streams_engine.model import Finding, Severity, TableId
from streams_engine.runtime.followed import Followed

__all__ = ["demand_name", "unlogged"]


def unlogged(tables: Mapping[TableId, Followed]) -> Iterator[Finding]:
    """A warning for each table whose changes make others that the source's log does not carry.

    A database does them again by its own foreign keys; who replays a log has none.
    """
    for name, table in tables.items():
        if any(table.cascades):
            yield Finding(
                Severity.WARNING,
                "cascades-not-logged",
                str(name),
                "Foreign keys of other tables act on its deletes or on changes of its keys, and "
                "this server's log does not carry what they do to the rows there.",
                "Load those tables again after such changes, or have the application make them.",
            )


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
