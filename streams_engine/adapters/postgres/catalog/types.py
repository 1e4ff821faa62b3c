"""PostgreSQL's types by oid: `NativeType` for columns, `UserType` for DDL."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import psycopg

from streams_engine.adapters.postgres.catalog import queries
from streams_engine.model import (
    Check,
    Dialect,
    Expression,
    NativeType,
    TableId,
    TypeKind,
    UserType,
)

__all__ = ["TypeCatalog", "check_condition"]

_KINDS = {
    "e": TypeKind.ENUM,
    "d": TypeKind.DOMAIN,
    "c": TypeKind.COMPOSITE,
    "r": TypeKind.RANGE,
    "m": TypeKind.MULTIRANGE,
}
_LENGTHS = {"varchar", "bpchar"}
_BITS = {"bit", "varbit"}
_FRACTIONS = {"time", "timetz", "timestamp", "timestamptz"}
_ALL_DIGITS = 0xFFFF
"""INTERVAL_FULL_PRECISION: an interval that declares none."""


@dataclass(frozen=True, slots=True)
class _Row:
    """One row of `queries.TYPES`."""

    oid: int
    schema: str
    name: str
    typtype: str
    category: str
    element: int
    length: int
    base: int
    base_text: str | None
    modifier: int
    not_null: bool
    default: str | None
    comment: str | None
    extension: str | None
    labels: list[str]
    attribute_names: list[str]
    attribute_types: list[int]
    attribute_texts: list[str]
    subtype: int
    subtype_text: str | None
    collation: str | None
    opclass: str | None
    subdiff: str | None
    is_row_type: bool
    label_numbers: list[int]
    attribute_numbers: list[int]

    @property
    def is_array(self) -> bool:
        return self.category == "A" and self.length == -1 and self.element != 0

    @property
    def parts(self) -> tuple[int, ...]:
        """The types that it is built from."""
        parts = (self.element, self.base, self.subtype, *self.attribute_types)
        return tuple(filter(None, parts))


class TypeCatalog:
    """The types that a set of columns needs, each with all that it is built from."""

    def __init__(self, connection: psycopg.Connection, oids: Sequence[int]) -> None:
        self._rows: dict[int, _Row] = {}
        if oids:
            cursor = connection.execute(queries.TYPES, {"types": list(oids)})
            self._rows = {row[0]: _Row(*row) for row in cursor}
        self._checks: dict[int, list[tuple[int, Check]]] = {}
        self._functions: Mapping[int, Sequence[str]] = {}
        domains = [oid for oid, row in self._rows.items() if row.typtype == "d"]
        if not domains:
            return
        for oid, name, expression, definition, number in connection.execute(
            queries.DOMAIN_CHECKS, {"types": domains}
        ):
            sql = expression or check_condition(definition)
            check = Check(name, Expression(sql, Dialect.POSTGRES))
            self._checks.setdefault(oid, []).append((number, check))

    def needs(self, functions: Mapping[int, Sequence[str]]) -> None:
        """Set which of the user's functions types and checks of domains call, by oid."""
        self._functions = functions

    @property
    def oids(self) -> list[int]:
        """Every type that was needed, directly or not."""
        return list(self._rows)

    def native(self, oid: int, text: str, modifier: int) -> NativeType:
        """Return the type of a column from its oid, text and modifier."""
        row = self._rows[oid]
        own = row.schema not in ("pg_catalog", "information_schema") and row.extension is None
        native = NativeType(
            Dialect.POSTGRES,
            text,
            row.name,
            arguments(row.name, modifier),
            kind=_KINDS.get(row.typtype, TypeKind.BASE),
            labels=tuple(row.labels),
            user=TableId(row.schema, row.name) if own and not row.is_array else None,
            extension=row.extension,
        )
        if row.is_array:
            inner = text.removesuffix("[]")
            element = self.native(row.element, inner, modifier)
            return replace(
                native, kind=TypeKind.ARRAY, element=element, extension=element.extension
            )
        if row.base:
            return replace(native, element=self.native(row.base, str(row.base_text), row.modifier))
        if row.subtype:
            return replace(native, element=self.native(row.subtype, str(row.subtype_text), -1))
        return native

    def built_from(self, oids: Iterable[int]) -> set[int]:
        """Return these types and every type that they are built from."""
        found: set[int] = set()
        left = [oid for oid in oids if oid in self._rows]
        while left:
            oid = left.pop()
            if oid not in found:
                found.add(oid)
                left += [needed for needed in self._rows[oid].parts if needed in self._rows]
        return found

    def user_types(self, oids: Iterable[int] | None = None) -> tuple[UserType, ...]:
        """Return every user-defined type among them, or among those that ``oids`` are built from;
        what others are built from comes first."""
        ordered: dict[int, UserType] = {}
        for oid in self._rows if oids is None else oids:
            self._visit(oid, ordered)
        return tuple(ordered.values())

    def _visit(self, oid: int, ordered: dict[int, UserType]) -> None:
        row = self._rows.get(oid)
        if row is None or oid in ordered:
            return
        for needed in row.parts:
            if needed != oid:
                self._visit(needed, ordered)
        kind = _KINDS.get(row.typtype)
        own = row.schema not in ("pg_catalog", "information_schema") and row.extension is None
        if own and kind is not None and kind is not TypeKind.MULTIRANGE and not row.is_row_type:
            ordered[oid] = self._user_type(row, kind)

    def _user_type(self, row: _Row, kind: TypeKind) -> UserType:
        base = None
        if row.base:
            base = self.native(row.base, str(row.base_text), row.modifier)
        elif row.subtype:
            base = self.native(row.subtype, str(row.subtype_text), -1)
        options = []
        if row.opclass:
            options.append(f"subtype_opclass = {row.opclass}")
        if row.subdiff:
            options.append(f"subtype_diff = {row.subdiff}")
        return UserType(
            TableId(row.schema, row.name),
            kind,
            labels=tuple(row.labels),
            base=base,
            default=self._default(row),
            nullable=not row.not_null,
            checks=tuple(self._check(*found) for found in self._checks.get(row.oid, ())),
            collation=row.collation,
            attributes=self._attributes(row),
            numbers=tuple(row.label_numbers or row.attribute_numbers),
            options=tuple(options),
            comment=row.comment,
        )

    def _default(self, row: _Row) -> Expression | None:
        functions = tuple(self._functions.get(row.oid, ()))
        return Expression(row.default, Dialect.POSTGRES, functions) if row.default else None

    def _check(self, number: int, check: Check) -> Check:
        functions = tuple(self._functions.get(number, ()))
        return replace(check, expression=replace(check.expression, functions=functions))

    def _attributes(self, row: _Row) -> tuple[tuple[str, NativeType], ...]:
        parts: Any = zip(row.attribute_names, row.attribute_types, row.attribute_texts, strict=True)
        return tuple((name, self.native(oid, text, -1)) for name, oid, text in parts)


def arguments(name: str, modifier: int) -> tuple[int, ...]:
    """Return a type modifier as the arguments that DDL writes.

    https://www.postgresql.org/docs/current/catalog-pg-attribute.html: typmod is type-specific;
    lengths are stored plus 4 (the header), NUMERIC packs precision and an 11-bit scale, INTERVAL
    its fields and the fractional digits.
    """
    if modifier < 0:
        return ()
    if name in _LENGTHS:
        return (modifier - 4,)
    if name == "numeric":
        packed = modifier - 4
        scale = packed & 0x7FF
        return (packed >> 16 & 0xFFFF, scale - 0x800 if scale > 0x3FF else scale)
    if name == "interval":
        digits = modifier & _ALL_DIGITS
        return () if digits == _ALL_DIGITS else (digits,)
    return (modifier,) if name in _BITS | _FRACTIONS else ()


def check_condition(definition: str) -> str:
    """Return the condition inside ``CHECK ((...)) NOT VALID``, as pg_get_constraintdef renders
    it."""
    inner = definition[definition.index("(") + 1 : definition.rindex(")")]
    return inner
