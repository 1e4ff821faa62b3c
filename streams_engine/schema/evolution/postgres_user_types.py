"""Change the user's types of a PostgreSQL table as they changed on another PostgreSQL server.

A type belongs to its schema and may be other tables' too, which change it again when their own turn
comes: each statement does nothing where its work is done. Nothing is dropped but what nothing uses.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from streams_engine.contracts import Statement
from streams_engine.model import (
    Catalog,
    Check,
    Dialect,
    NativeType,
    ObjectKind,
    ObjectRef,
    TableId,
    TypeKind,
    UserType,
)
from streams_engine.schema.ddl import postgres as ddl
from streams_engine.schema.ddl.names import shorten
from streams_engine.schema.evolution.differences import TableDifference

__all__ = ["TypeChanges", "block", "guarded", "made_of", "renewed"]


def guarded(statement: Statement, *conditions: str) -> Statement:
    """Wrap the statement so that it does nothing if its object exists (or is missing) already."""
    caught = " OR ".join(conditions)
    return block(statement, f"{statement.sql}; EXCEPTION WHEN {caught} THEN NULL;")


def made_of(native: NativeType, names: frozenset[TableId]) -> bool:
    """Return True if a type is one of these, or an array or domain of one."""
    if native.user in names:
        return True
    return native.element is not None and made_of(native.element, names)


def renewed(types: Iterable[UserType]) -> Iterator[Statement]:
    """Yield a statement for each type that makes it anew, if nothing uses it.

    It stayed behind when the last table that used it was dropped, and has changed since. What a
    table of the stream uses is altered when that table's turn comes.
    """
    for user in types:
        kind = "DOMAIN" if user.kind is TypeKind.DOMAIN else "TYPE"
        made = "; ".join(s.sql for s in ddl.objects(_alone(user)))
        drop = f"DROP {kind} IF EXISTS {ddl.name_of(user.id)}"
        yield guarded(
            Statement(f"{drop}; {made}", _ref(user.id)),
            "dependent_objects_still_exist",
            "wrong_object_type",
        )


def _alone(user: UserType) -> Catalog:
    there = frozenset({user.id.schema})
    return Catalog(Dialect.POSTGRES, types=(user,), schemas=there)


@dataclass(frozen=True, slots=True)
class TypeChanges:
    """The user's types of a table's columns on the target, before and after."""

    old: Mapping[TableId, UserType]
    new: Mapping[TableId, UserType]

    @classmethod
    def of(cls, difference: TableDifference) -> TypeChanges:
        """Compare the types of a difference."""
        old, new = difference.old.types, difference.new.types
        return cls({user.id: user for user in old}, {user.id: user for user in new})

    @property
    def replaced(self) -> frozenset[TableId]:
        """The enums that lost labels or their order, which takes another type."""
        pairs = self._pairs(TypeKind.ENUM)
        return frozenset(new.id for old, new in pairs if _labels(old, new) is None)

    def labels(self) -> Iterator[Statement]:
        """Yield ALTER TYPE ... ADD VALUE; new labels can be used only after a commit."""
        for old, new in self._pairs(TypeKind.ENUM):
            before = _labels(old, new)
            if before is None:
                continue
            for place, (label, known) in enumerate(zip(new.labels, before, strict=True)):
                if known is not None:
                    continue
                # Those that are renamed have their old names still.
                near = before[place - 1] or new.labels[place - 1] if place else ""
                first = f" BEFORE {ddl.literal(old.labels[0])}" if old.labels else ""
                where = f" AFTER {ddl.literal(near)}" if place else first
                yield _alter(new, f"ADD VALUE IF NOT EXISTS {ddl.literal(label)}{where}")

    def before(self) -> Iterator[Statement]:
        """Yield what comes before the columns: types that are new, and what is altered of those
        that stay."""
        fresh = tuple(user for name, user in self.new.items() if name not in self.old)
        yield from renewed(fresh)
        for old, new in self._pairs(TypeKind.ENUM):
            yield from _renamed_labels(old, new)
        for old, new in self._pairs(TypeKind.COMPOSITE):
            yield from _attributes(old, new)
        for old, new in self._pairs(TypeKind.DOMAIN):
            yield from _domain(old, new)
        for name in sorted(self.replaced):
            yield _made_anew(self.new[name])

    def after(self) -> Iterator[Statement]:
        """Drop what was replaced, once no other table uses it."""
        for name in sorted(self.replaced):
            aside = TableId(name.schema, _aside(name))
            drop = Statement(f"DROP TYPE IF EXISTS {ddl.name_of(aside)}", _ref(aside))
            yield guarded(drop, "dependent_objects_still_exist")

    def _pairs(self, kind: TypeKind) -> Iterator[tuple[UserType, UserType]]:
        for name, new in self.new.items():
            old = self.old.get(name)
            if old is not None and old.kind is new.kind is kind and old != new:
                yield old, new


def block(statement: Statement, body: str) -> Statement:
    """Return the statement with a DO block of this body as its SQL."""
    return Statement(
        f"DO {ddl.literal(f'BEGIN {body} END')}",
        statement.object,
        statement.table,
        statement.optional,
    )


def _ref(name: TableId) -> ObjectRef:
    return ObjectRef(ObjectKind.TYPE, str(name))


def _alter(user: UserType, action: str) -> Statement:
    kind = "DOMAIN" if user.kind is TypeKind.DOMAIN else "TYPE"
    return Statement(f"ALTER {kind} {ddl.name_of(user.id)} {action}", _ref(user.id))


def _aside(name: TableId) -> str:
    return shorten(f"{name.name}_on_its_way")


# Enums


def _labels(old: UserType, new: UserType) -> tuple[str | None, ...] | None:
    """Return, by new label, the old one that it was, None for one that was added; None at all where
    old labels are gone or changed places."""
    known, keys = _keys(old, new, old.labels, new.labels)
    names = dict(zip(known, old.labels, strict=True))
    before = tuple(names.get(key) for key in keys)
    if tuple(label for label in before if label is not None) != old.labels:
        return None
    added = {label for label, was in zip(new.labels, before, strict=True) if was is None}
    return None if added & set(old.labels) else before


def _keys(
    old: UserType, new: UserType, before: tuple[str, ...], after: tuple[str, ...]
) -> tuple[tuple[object, ...], tuple[object, ...]]:
    """Return what tells the parts of two types apart: their numbers, else their names."""
    return (old.numbers, new.numbers) if old.numbers and new.numbers else (before, after)


def _renamed_labels(old: UserType, new: UserType) -> Iterator[Statement]:
    pairs = zip(_labels(old, new) or (), new.labels, strict=False)
    renamed = {was: now for was, now in pairs if was is not None and was != now}
    swapped = set(renamed) & set(renamed.values())
    interim = {was: f"{was} on its way" for was in renamed if was in swapped}
    steps = [*interim.items(), *((interim.get(was, was), now) for was, now in renamed.items())]
    for was, now in steps:
        rename = _alter(new, f"RENAME VALUE {ddl.literal(was)} TO {ddl.literal(now)}")
        yield guarded(rename, "invalid_parameter_value", "duplicate_object")


def _made_anew(new: UserType) -> Statement:
    """Return the statement that puts an enum aside and makes the new one, where that is not the
    one that is there."""
    labels = ", ".join(map(ddl.literal, new.labels))
    name = ddl.name_of(new.id)
    there = (
        "SELECT pg_catalog.array_agg(e.enumlabel::text ORDER BY e.enumsortorder) "
        f"FROM pg_catalog.pg_enum e WHERE e.enumtypid = {ddl.literal(name)}::regtype"
    )
    aside = f"ALTER TYPE {name} RENAME TO {ddl.quote(_aside(new.id))}"
    make = f"CREATE TYPE {name} AS ENUM ({labels})"
    body = f"IF ({there}) IS DISTINCT FROM ARRAY[{labels}]::text[] THEN {aside}; {make}; END IF;"
    return block(Statement("", _ref(new.id)), body)


# Composites


def _attributes(old: UserType, new: UserType) -> Iterator[Statement]:
    """Yield one statement that alters a composite's attributes, if they are the old ones still."""
    known, keys = _keys(old, new, *(tuple(map(_name, u.attributes)) for u in (old, new)))
    before = dict(zip(known, old.attributes, strict=True))
    after = dict(zip(keys, new.attributes, strict=True))
    steps = [
        f"DROP ATTRIBUTE {ddl.quote(_name(attribute))}"
        for key, attribute in before.items()
        if key not in after or after[key][1] != attribute[1]
    ]
    steps += [
        f"RENAME ATTRIBUTE {ddl.quote(_name(before[key]))} TO {ddl.quote(_name(attribute))}"
        for key, attribute in after.items()
        if key in before and before[key][0] != attribute[0] and before[key][1] == attribute[1]
    ]
    steps += [
        f"ADD ATTRIBUTE {ddl.quote(_name(attribute))} {ddl.type_text(attribute[1])}"
        for key, attribute in after.items()
        if key not in before or before[key][1] != attribute[1]
    ]
    if not steps or old.attributes == new.attributes:
        return
    names = ", ".join(ddl.literal(name) for name, _ in old.attributes)
    there = (
        "SELECT coalesce(pg_catalog.array_agg(a.attname::text ORDER BY a.attnum), '{}') "
        "FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.typrelid = a.attrelid "
        f"WHERE t.oid = {ddl.literal(ddl.name_of(new.id))}::regtype "
        "AND a.attnum > 0 AND NOT a.attisdropped"
    )
    alter = " ".join(f"ALTER TYPE {ddl.name_of(new.id)} {step} CASCADE;" for step in steps)
    body = f"IF ({there}) = ARRAY[{names}]::text[] THEN {alter} END IF;"
    yield block(Statement("", _ref(new.id)), body)


def _name(attribute: tuple[str, NativeType]) -> str:
    return attribute[0]


# Domains


def _domain(old: UserType, new: UserType) -> Iterator[Statement]:
    before = {check.name: check for check in _own(old)}
    after = {check.name: check for check in _own(new)}
    for name, check in before.items():
        if after.get(name) != check:
            yield _alter(new, f"DROP CONSTRAINT IF EXISTS {ddl.quote(name)}")
    for name, check in after.items():
        if before.get(name) != check:
            # Rows of other tables that are to go may be there still.
            rule = f"ADD CONSTRAINT {ddl.quote(name)} CHECK ({check.expression.sql}) NOT VALID"
            yield guarded(_alter(new, rule), "duplicate_object")
    if old.default != new.default:
        default = new.default
        carried = default is not None and not default.functions
        yield _alter(new, f"SET DEFAULT {default.sql}" if default and carried else "DROP DEFAULT")
    if old.nullable != new.nullable:
        yield _alter(new, f"{'DROP' if new.nullable else 'SET'} NOT NULL")


def _own(user: UserType) -> tuple[Check, ...]:
    """Return the checks that are carried."""
    return tuple(check for check in user.checks if not check.expression.functions)
