"""Compare a table as it was mapped with the table that is on the target. Pure.

Servers print expressions in their own words: whether a check, a default or an index over an
expression is there is compared, not its text. Names of keys and indexes do not count.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Sequence

from streams_engine.model import (
    Check,
    Column,
    Expression,
    Finding,
    ForeignKey,
    Index,
    NativeType,
    Severity,
    TableSchema,
)
from streams_engine.schema.ddl.structure import Structure
from streams_engine.schema.types.canonical import CanonicalType, canonical_type_of

__all__ = ["compare_structure", "missing_keys"]

MISSING, DIFFERS, EXTRA = "missing-on-target", "differs-on-target", "extra-on-target"

SAME_ACTION = {"RESTRICT": "NO ACTION"}
"""Both refuse; they differ only in when."""
ORDERED = frozenset({"btree", "hash"})
"""Methods that serve the same queries here: InnoDB makes a btree where a hash is asked for."""
_FRACTION = re.compile(r"(:\d\d)(?:\.0+|(\.\d*[1-9])0*)(?!\d)")
"""Seconds with zeros at the end of their fraction, which PostgreSQL does not print."""


def compare_structure(
    wanted: TableSchema, there: TableSchema, structure: Structure, *, positions: bool = True
) -> Iterator[Finding]:
    """Yield a finding for each difference between a mapped table and the one on the target.

    ``structure``: the parts that the stream makes. ``positions``: whether the next value of columns
    that number themselves is compared; not while rows are written.
    """
    name = str(there.id)
    if structure.tables:
        yield from _columns(wanted, there, positions=positions)
    for what in missing_keys(wanted, there, structure):
        yield _missing(name, what)
    if structure.checks:
        for check in _missing_checks(wanted.checks, there.checks):
            yield _missing(name, f"check {check.name}")
    yield from _changed_actions(wanted, there, structure)
    yield from _extra(wanted, there, structure)


def missing_keys(wanted: TableSchema, there: TableSchema, structure: Structure) -> Iterator[str]:
    """Yield the keys, indexes and foreign keys that a table lacks, in words."""
    primary = wanted.primary_key
    if primary is not None and not _same_columns(there.primary_key, primary):
        yield f"primary key {_parts(primary)}"
    if structure.indexes:
        yield from _missing_indexes(wanted.indexes, _keys(there))
    if structure.foreign_keys:
        present = {_reference(key) for key in there.foreign_keys}
        for key in wanted.foreign_keys:
            if _reference(key) not in present:
                yield f"foreign key ({', '.join(key.columns)}) to {key.referenced}"


def _missing(name: str, what: str) -> Finding:
    return Finding(
        Severity.WARNING,
        MISSING,
        name,
        f"It lacks: {what}.",
        "Make it by hand: plan --sql shows the statements.",
    )


def _differs(name: str, message: str, remedy: str | None = None) -> Finding:
    return Finding(Severity.WARNING, DIFFERS, name, message, remedy)


# Indexes


def _keys(table: TableSchema) -> list[Index]:
    return [key for key in (table.primary_key, *table.indexes) if key is not None]


def _missing_indexes(wanted: Sequence[Index], there: Sequence[Index]) -> Iterator[str]:
    left = list(there)
    for index in sorted(wanted, key=lambda index: index.name not in {one.name for one in there}):
        match = _match(index, left)
        if match is None:
            yield f"{'unique key' if index.unique else 'index'} {_parts(index)}"
        elif not _is_plain(index):
            left.remove(match)  # expressions are not told apart: each stands for one


def _match(wanted: Index, there: Sequence[Index]) -> Index | None:
    """Return an index that serves where the wanted one would, the one of its name first."""
    by_name = sorted(there, key=lambda index: index.name != wanted.name)
    return next((index for index in by_name if _serves(index, wanted)), None)


def _serves(index: Index, wanted: Index) -> bool:
    if not _same_method(index, wanted):
        return False
    if (index.where is None) != (wanted.where is None):
        return False
    if wanted.unique:
        return index.unique and frozenset(_forms(index)) == frozenset(_forms(wanted))
    forms = _forms(wanted)
    return _forms(index)[: len(forms)] == forms


def _same_method(index: Index, wanted: Index) -> bool:
    return index.method == wanted.method or {index.method, wanted.method} <= ORDERED


def _forms(index: Index) -> list[Hashable]:
    """Return what each part is over: a column, a column's first letters, or an expression."""
    return [(part.column, part.length) for part in index.parts]


def _is_plain(index: Index) -> bool:
    return all(part.column is not None for part in index.parts) and index.where is None


def _same_columns(key: Index | None, wanted: Index) -> bool:
    return key is not None and set(key.columns) == set(wanted.columns)


def _parts(index: Index) -> str:
    parts = [
        f"({part.expression.sql})" if part.expression is not None
        else f"{part.column}({part.length})" if part.length is not None
        else str(part.column)
        for part in index.parts
    ]  # fmt: skip
    return f"({', '.join(parts)})" + (f" where {index.where.sql}" if index.where else "")


# Foreign keys and checks


def _reference(key: ForeignKey) -> Hashable:
    return key.columns, key.referenced, key.referenced_columns


def _changed_actions(
    wanted: TableSchema, there: TableSchema, structure: Structure
) -> Iterator[Finding]:
    present = {_reference(key): key for key in there.foreign_keys}
    for key in wanted.foreign_keys if structure.foreign_keys else ():
        found = present.get(_reference(key))
        if found is None:
            continue
        for what in ("on_delete", "on_update"):
            asked, is_ = getattr(key, what), getattr(found, what)
            if SAME_ACTION.get(asked, asked) != SAME_ACTION.get(is_, is_):
                rule = what.replace("_", " ").upper()
                yield _differs(
                    str(there.id),
                    f"The foreign key ({', '.join(key.columns)}) has {rule} {is_}; on the source "
                    f"it is {asked}.",
                )


def _missing_checks(wanted: Sequence[Check], there: Sequence[Check]) -> list[Check]:
    """Return the checks that are missing: by name, and of other names as many as there are too
    few."""
    names = {check.name for check in there}
    known = {check.name for check in wanted}
    unnamed = [check for check in wanted if check.name not in names]
    others = [check for check in there if check.name not in known and not _is_of_json(check)]
    return unnamed[len(others) :]


def _is_of_json(check: Check) -> bool:
    """Return whether MariaDB made a check itself, as it does for a column of type JSON."""
    return check.expression.sql.lower().startswith("json_valid")


def _extra(wanted: TableSchema, there: TableSchema, structure: Structure) -> Iterator[Finding]:
    """Yield what refuses rows on the target that the source holds."""
    own = [frozenset(_forms(key)) for key in _keys(wanted) if key.unique or key.primary]
    extra = [
        f"unique key {_parts(key)}"
        for key in _keys(there)
        if (key.unique or key.primary) and frozenset(_forms(key)) not in own and structure.indexes
    ]
    known = {_reference(key) for key in wanted.foreign_keys}
    extra += [
        f"foreign key ({', '.join(key.columns)}) to {key.referenced}"
        for key in there.foreign_keys
        if _reference(key) not in known and structure.foreign_keys
    ]
    for what in extra:
        message = f"It has what the source has not: {what}. It may refuse rows of the source."
        yield Finding(Severity.INFO, EXTRA, str(there.id), message)


# Columns


def _columns(wanted: TableSchema, there: TableSchema, *, positions: bool) -> Iterator[Finding]:
    present = {column.name: column for column in there.columns}
    for column in wanted.columns:
        found = present.get(column.name)
        if found is None:
            yield _missing(str(there.id), f"column {column.name}")
            continue
        for message, remedy in _traits(column, found, positions=positions):
            yield _differs(f"{there.id}.{column.name}", message, remedy)
    if (wanted.partitioning is None) != (there.partitioning is None):
        is_ = "not partitioned" if there.partitioning is None else "partitioned"
        yield _differs(str(there.id), f"It is {is_}, unlike the source's table.")


def _traits(column: Column, there: Column, *, positions: bool) -> Iterator[tuple[str, str | None]]:
    if _type(column.type) != _type(there.type):
        yield f"It is {there.type}; it would be created as {column.type}.", None
    if not column.nullable and there.nullable:
        yield "It allows NULL; the source's is NOT NULL.", "ALTER it to NOT NULL."
    if column.nullable and not there.nullable:
        yield "It is NOT NULL; the source's allows NULL.", "Allow NULL, or a row may be refused."
    if (column.generated is None) != (there.generated is None):
        yield f"It is {'a plain' if there.generated is None else 'a generated'} column.", None
    elif column.generated is None:
        yield from _defaults(column, there)
    if (column.identity is None) != (there.identity is None):
        lacks = there.identity is None
        yield f"It {'does not number' if lacks else 'numbers'} its rows by itself.", None
    elif positions and column.identity is not None and there.identity is not None:
        next_, is_ = column.identity.next_value, there.identity.next_value
        if next_ is not None and is_ is not None and is_ < next_ and column.identity.increment > 0:
            yield f"The next number is {is_}; on the source it is {next_}.", "Set it as plan shows."


def _defaults(column: Column, there: Column) -> Iterator[tuple[str, str | None]]:
    if column.default is None and there.default is None:
        return
    if there.default is None:
        if column.identity is None:
            yield "It has no default; the source's has one.", None
    elif column.default is None:
        if there.identity is None and there.default.sql.upper() != "NULL":
            yield "It has a default; the source's has none.", None
    else:
        wanted, is_ = _literal(column.default, column.type), _literal(there.default, there.type)
        if wanted is not None and is_ is not None and wanted != is_:
            yield f"Its default is {there.default.sql}, and would be {column.default.sql}.", None


def _literal(expression: Expression, native: NativeType) -> Hashable:
    """Return the value of a default of this type that is a constant; None for any other."""
    text = expression.sql.strip()
    while text.startswith("(") and text.endswith(")"):
        text = text[1:-1].strip()
    text = text.partition("::")[0]
    if text.lower() in ("true", "false"):
        return text.lower()
    bare = text[1:-1] if len(text) > 1 and text[0] == text[-1] == "'" else text
    if bare != text and canonical_type_of(native) is CanonicalType.MOMENT:
        bare = _FRACTION.sub(r"\1\2", bare)
    try:
        return float(bare)
    except ValueError:
        # the text of an array is spelt in more than one way
        return bare if bare != text and "'" not in bare and not bare.startswith("{") else None


def _type(native: NativeType) -> Hashable:
    """Return a type by what it holds, however it is spelt."""
    integer = native.name.endswith("int") or native.name in ("int2", "int4", "int8")
    args = () if integer else native.args
    if native.name in ("numeric", "decimal") and args[1:] == (0,):
        args = args[:1]  # numeric(20) is numeric(20, 0)
    return native.name, native.unsigned, args, native.labels, native.user and native.user.name
