"""Columns of a PostgreSQL table that hold today's rows of MySQL, and not every one to come.

A TINYINT(1) whose rows show only 0, 1 and NULL is a boolean, and a date that is NOT NULL
stays so while no row holds a zero date. The first other row in the log makes the column hold it.
"""

from __future__ import annotations

from collections.abc import Collection

from streams_engine.model import Column, Dialect, Expression, Finding, NativeType, Severity
from streams_engine.protocols import Statement
from streams_engine.schema import postgres_ddl as ddl
from streams_engine.schema.mapping import ColumnMapping, TableMapping
from streams_engine.schema.mysql_to_postgres import RULES
from streams_engine.schema.postgres_names import postgres_type

__all__ = ["fits_boolean", "is_flag", "relax", "relaxable"]

BOOLEAN_DEFAULTS = {"0", "1", "null", "true", "false", "b'0'", "b'1'"}
WIDER = postgres_type(str(RULES["tinyint"].target))
DEFAULTS = {"true": "1", "false": "0"}


def is_flag(native: NativeType) -> bool:
    """True for TINYINT(1), which MySQL calls BOOLEAN."""
    signed = native.name == "tinyint" and not native.unsigned
    return native.dialect is Dialect.MYSQL and signed and native.args == (1,)


def fits_boolean(column: Column) -> bool:
    """True for a TINYINT(1) whose default is 0, 1, NULL or none."""
    if not is_flag(column.type):
        return False
    return column.default is None or column.default.sql.strip("()' ").lower() in BOOLEAN_DEFAULTS


def relaxable(mapping: TableMapping, key: Collection[str], zero_dates: str) -> frozenset[str]:
    """The columns, by their source names, that can be made to hold what they do not hold now.

    ``key``: target columns by which rows are found, which must stay NOT NULL.
    """
    if mapping.target.dialect is not Dialect.POSTGRES:
        return frozenset()
    primary = mapping.target.primary_key
    solid = {*key, *(primary.columns if primary else ())}
    return frozenset(
        c.source.name
        for c in mapping.columns
        if _widens(c)
        or (zero_dates == "null" and _becomes_nullable(c) and c.target.name not in solid)
    )


def _widens(column: ColumnMapping) -> bool:
    return is_flag(column.source.type) and column.target.type.name == "bool"


def _becomes_nullable(column: ColumnMapping) -> bool:
    return column.convert == "date" and not column.target.nullable


def relax(mapping: TableMapping, names: Collection[str]) -> tuple[list[Statement], list[Finding]]:
    """What makes these columns hold every value, and what is said of it."""
    statements, findings = [], []
    table = mapping.target.id
    for column in (c for c in mapping.columns if c.source.name in names):
        target = column.target
        action, code, text = _widened(target) if _widens(column) else _nullable(target)
        what = f"column {table}.{target.name}"
        statements.append(Statement(f"ALTER TABLE {ddl.name_of(table)} {action}", what, table))
        remedy = f"What reads the column has to know; it was done by: {statements[-1].sql};"
        where = f"{mapping.source.id}.{column.source.name}"
        findings.append(Finding(Severity.WARNING, code, where, text, remedy))
    return statements, findings


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
    text = f"The log holds another value than 0, 1 and NULL: the column became {WIDER.text}."
    return ", ".join(actions), "boolean-widened", text


def _number(default: Expression) -> str:
    return DEFAULTS.get(default.sql.lower(), f"({default.sql})::int")


def _nullable(column: Column) -> tuple[str, str, str]:
    action = f"ALTER COLUMN {ddl.quote(column.name)} DROP NOT NULL"
    text = "The log holds a zero or partial date: the column allows NULL now (zeroDates: null)."
    return action, "zero-dates-not-null", text
