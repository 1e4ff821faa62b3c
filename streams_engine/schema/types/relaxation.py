"""Columns of a PostgreSQL table that hold today's rows of MySQL, and not every one to come.

A TINYINT(1) whose rows show only 0, 1 and NULL is a boolean, a TIME within a day a time, and a date
that is NOT NULL stays so while no row holds a zero date. The first other row in the log makes the
column hold it.
"""

from __future__ import annotations

from collections.abc import Collection

from streams_engine.contracts import Statement
from streams_engine.model import (
    Column,
    Dialect,
    Expression,
    Finding,
    NativeType,
    ObjectKind,
    ObjectRef,
    Severity,
)
from streams_engine.schema.ddl import postgres as ddl
from streams_engine.schema.mapping.mysql_to_postgres_types import RULES
from streams_engine.schema.mapping.tables import ColumnMapping, TableMapping
from streams_engine.schema.types.postgres import postgres_type

__all__ = ["fits_boolean", "is_flag", "overflows", "relax", "relaxable"]

BOOLEAN_DEFAULTS = {"0", "1", "null", "true", "false", "b'0'", "b'1'"}
WIDER = postgres_type(str(RULES["tinyint"].target))
DEFAULTS = {"true": "1", "false": "0"}


def is_flag(native: NativeType) -> bool:
    """Return True for TINYINT(1), which MySQL calls BOOLEAN."""
    signed = native.name == "tinyint" and not native.unsigned
    return native.dialect is Dialect.MYSQL and signed and native.args == (1,)


def fits_boolean(column: Column) -> bool:
    """Return True for a TINYINT(1) whose default is 0, 1, NULL or missing."""
    if not is_flag(column.type):
        return False
    return column.default is None or column.default.sql.strip("()' ").lower() in BOOLEAN_DEFAULTS


def relaxable(
    mapping: TableMapping, key: Collection[str], zero_dates: str, *, quarantine: bool
) -> frozenset[str]:
    """Return the source names of the columns that can be altered to hold values they cannot hold
    now.

    ``key`` names the target columns that identify rows; these must stay NOT NULL. ``quarantine``:
    times outside a day are set aside, in the log as in the load.
    """
    if mapping.target.dialect is not Dialect.POSTGRES:
        return frozenset()
    primary = mapping.target.primary_key
    solid = {*key, *(primary.columns if primary else ())}
    return frozenset(
        c.source.name
        for c in mapping.columns
        if _widens(c)
        or (overflows(c) and not quarantine)
        or (zero_dates == "null" and _becomes_nullable(c) and c.target.name not in solid)
    )


def _widens(column: ColumnMapping) -> bool:
    return is_flag(column.source.type) and column.target.type.name == "bool"


def overflows(column: ColumnMapping) -> bool:
    """Return True for a TIME of MySQL that is PostgreSQL's time, which ends at 24:00:00."""
    source, target = column.source.type, column.target.type
    kinds = (source.dialect, source.name, target.dialect, target.name)
    return kinds == (Dialect.MYSQL, "time", Dialect.POSTGRES, "time")


def _becomes_nullable(column: ColumnMapping) -> bool:
    return column.convert == "date" and not column.target.nullable


def relax(mapping: TableMapping, names: Collection[str]) -> tuple[list[Statement], list[Finding]]:
    """Return the statements that let these columns hold every value, and their findings."""
    statements, findings = [], []
    table = mapping.target.id
    for column in (c for c in mapping.columns if c.source.name in names):
        target = column.target
        action, code, text = _relaxed(column)
        what = ObjectRef(ObjectKind.COLUMN, target.name, table)
        statements.append(Statement(f"ALTER TABLE {ddl.name_of(table)} {action}", what, table))
        remedy = (
            f"Tell the applications that read the column. The statement was: {statements[-1].sql};"
        )
        where = f"{mapping.source.id}.{column.source.name}"
        findings.append(Finding(Severity.WARNING, code, where, text, remedy))
    return statements, findings


def _relaxed(column: ColumnMapping) -> tuple[str, str, str]:
    """Return the action of ALTER TABLE, and the code and text of the finding."""
    if _widens(column):
        return _widened(column.target)
    if overflows(column):
        return _spanned(column.target)
    return _nullable(column.target)


def _spanned(column: Column) -> tuple[str, str, str]:
    digits = f"({column.type.args[0]})" if column.type.args else ""
    action = f"ALTER COLUMN {ddl.quote(column.name)} TYPE interval{digits}"
    text = "The log contains a time outside 00:00:00 to 24:00:00: the column became an interval."
    return action, "time-widened", text


def _widened(column: Column) -> tuple[str, str, str]:
    name = ddl.quote(column.name)
    actions = [f"ALTER COLUMN {name} TYPE {WIDER.text} USING {name}::int::{WIDER.text}"]
    if column.default is not None:
        # A default is cast by no rule of the server's own.
        default = _number(column.default)
        actions = [
            f"ALTER COLUMN {name} DROP DEFAULT",
            *actions,
            f"ALTER COLUMN {name} SET DEFAULT {default}",
        ]
    text = f"The log contains a value other than 0, 1 and NULL: the column became {WIDER.text}."
    return ", ".join(actions), "boolean-widened", text


def _number(default: Expression) -> str:
    return DEFAULTS.get(default.sql.lower(), f"({default.sql})::int")


def _nullable(column: Column) -> tuple[str, str, str]:
    action = f"ALTER COLUMN {ddl.quote(column.name)} DROP NOT NULL"
    text = "The log contains a zero or partial date: the column now allows NULL (zeroDates: null)."
    return action, "zero-dates-not-null", text
