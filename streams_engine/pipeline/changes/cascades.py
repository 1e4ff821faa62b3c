"""Foreign keys that change rows without a trace in the log, and targets that do not repeat them.

MariaDB, and MySQL before 9.6, carry out ON DELETE and ON UPDATE below the log: the target's own
foreign keys have to do it again. Where it has none that does the same, its rows would be wrong, and
nothing would say so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from streams_engine.model import Dialect, Finding, ForeignKey, Severity, TableId, TableSchema
from streams_engine.pipeline.snapshot.consistency import ACTIONS, referential_actions
from streams_engine.schema.dialects import ddl_of, spec_of
from streams_engine.schema.mapping.tables import TableMapping

__all__ = ["TargetKeys", "unrepeated"]

TargetKeys = Callable[[TableMapping], Sequence[ForeignKey] | None]
"""The foreign keys that a table has on the target; None: that is not known yet."""

ACCEPT = "or accept wrong rows in it with options.allowLossy."


def unrepeated(
    mappings: Mapping[TableId, TableMapping],
    schemas: Mapping[TableId, TableSchema],
    target_keys: TargetKeys,
    *,
    accepted: bool,
) -> Iterator[Finding]:
    """Yield an error for each referential action that the target will not perform; a warning if
    ``accepted``.

    ``mappings`` and ``schemas`` are those of the followed tables of one source whose log lacks such
    changes; the schemas are the source's own, complete.
    """
    severity = Severity.WARNING if accepted else Severity.ERROR
    for table, mapping in mappings.items():
        for key in schemas[table].foreign_keys:
            if not _changes_rows(mapping, key):
                continue
            parent = mappings.get(replace(key.referenced, alias=table.alias))
            fault = _fault(mapping, key, parent, target_keys(mapping))
            if fault is not None:
                why, remedy = fault
                yield Finding(
                    severity,
                    "cascade-not-repeated",
                    f"{table}.{key.name}",
                    "The server's log lacks the changes that this foreign key makes "
                    f"({_actions(key)}), and the target does not repeat them: {why}.",
                    remedy,
                )


def _changes_rows(mapping: TableMapping, key: ForeignKey) -> bool:
    """Return True if the key's referential actions change columns of its table that are moved."""
    if key.on_delete == "CASCADE":
        return True
    carried = {column.source.name for column in mapping.columns}
    return any(referential_actions(key)) and any(name in carried for name in key.columns)


def _actions(key: ForeignKey) -> str:
    rules = (("DELETE", key.on_delete), ("UPDATE", key.on_update))
    return ", ".join(f"ON {event} {rule}" for event, rule in rules if rule in ACTIONS)


def _fault(
    mapping: TableMapping,
    key: ForeignKey,
    parent: TableMapping | None,
    there: Sequence[ForeignKey] | None,
) -> tuple[str, str] | None:
    """Return why the target does not perform the key's actions, and the remedy; None if it does, or
    that is unknown."""
    if parent is None:
        return (
            f"it refers to {key.referenced}, which is not in the stream",
            f"Add {key.referenced} to the stream; {ACCEPT}",
        )
    if spec_of(mapping.target.dialect).ddl is None:
        return (
            "the target has no foreign keys",
            f"Use a database as target, or a source of MySQL 9.6 or newer; {ACCEPT}",
        )
    wanted = _on_target(mapping, key, parent)
    if there is None or (wanted is not None and any(_same(wanted, other) for other in there)):
        return None
    if wanted is None:
        return "its columns are not selected", f"Select the columns of the foreign key; {ACCEPT}"
    # Rows that refer to none do not prevent one that is NOT VALID, or that a session of MySQL adds
    # without foreign_key_checks; it acts like any other.
    unchecked = "SET foreign_key_checks = 0; " if mapping.target.dialect is Dialect.MYSQL else ""
    unproved = replace(wanted, validated=False)
    alone = replace(mapping.target, foreign_keys=(unproved,))
    statement = next(iter(ddl_of(mapping.target.dialect).foreign_keys(alone)))
    return (
        f"{mapping.target.id} has no such foreign key",
        (
            "Let the stream create it (structureOptions.foreignKeys), or run on the target: "
            f"{unchecked}{statement.sql}; {ACCEPT}"
        ),
    )


def _on_target(mapping: TableMapping, key: ForeignKey, parent: TableMapping) -> ForeignKey | None:
    """Return the key as the target should have it; None if its columns are not moved."""
    own = {column.source.name: column.target.name for column in mapping.columns}
    others = {column.source.name: column.target.name for column in parent.columns}
    if not set(key.columns) <= set(own) or not set(key.referenced_columns) <= set(others):
        return None
    return replace(
        key,
        columns=tuple(own[name] for name in key.columns),
        referenced=parent.target.id,
        referenced_columns=tuple(others[name] for name in key.referenced_columns),
    )


def _same(wanted: ForeignKey, there: ForeignKey) -> bool:
    """Return True if the existing key does all that is wanted."""
    pairs = [set(zip(k.columns, k.referenced_columns, strict=True)) for k in (wanted, there)]
    rules = ((wanted.on_delete, there.on_delete), (wanted.on_update, there.on_update))
    return (
        wanted.referenced == there.referenced
        and pairs[0] == pairs[1]
        and all(one not in ACTIONS or one == other for one, other in rules)
    )
