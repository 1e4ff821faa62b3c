"""What changes of user-defined types mean for the rows of a table; PostgreSQL does not log them.

If a composite type changes its attributes, or an enum renames a label, existing rows are printed
differently, and rows in the log before and after the change have two forms.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from streams_engine.adapters.postgres.replication.relations import same
from streams_engine.model import NativeType, TableSchema, TypeKind, UserType

__all__ = ["is_shown_anew", "more_labels", "wider_types"]


def is_shown_anew(before: TableSchema, now: TableSchema) -> bool:
    """Return True if values of a type that the table still uses are printed differently now."""
    arrays = any(column.type.kind is TypeKind.ARRAY for column in now.columns)
    there = {user.id: user for user in now.types}
    return any(
        (new := there.get(old.id)) is not None and _is_other(old, new, arrays=arrays)
        for old in before.types
    )


def _is_other(old: UserType, new: UserType, *, arrays: bool) -> bool:
    """Return True if the texts of values differ. Arrays may be carried as JSON, which names
    attributes."""
    if old.kind is TypeKind.ENUM:
        return not set(old.labels) <= set(new.labels)
    if old.kind is not TypeKind.COMPOSITE or old.attributes == new.attributes:
        return False
    shapes = [[native for _, native in user.attributes] for user in (old, new)]
    return arrays or old.numbers != new.numbers or shapes[0] != shapes[1]


def more_labels(old: NativeType, new: NativeType | None) -> bool:
    """Return True for the same enum with more labels."""
    return (
        new is not None
        and same(old, new)
        and old.labels != new.labels
        and set(old.labels) <= set(new.labels)
    )


def wider_types(before: Iterable[UserType], now: Iterable[UserType]) -> tuple[UserType, ...]:
    """Return the types, changed only so that they accept more values: with new labels, and domains
    without dropped checks and NOT NULL."""
    there = {user.id: user for user in now}
    return tuple(_wider(old, there.get(old.id, old)) for old in before)


def _wider(old: UserType, new: UserType) -> UserType:
    if old.kind is TypeKind.ENUM and set(old.labels) <= set(new.labels):
        return replace(old, labels=new.labels, numbers=new.numbers)
    if old.kind is TypeKind.DOMAIN:
        kept = tuple(check for check in old.checks if check in new.checks)
        return replace(old, checks=kept, nullable=old.nullable or new.nullable)
    return old
