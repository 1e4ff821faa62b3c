"""PostgreSQL defaults and checks rewritten for MySQL through sqlglot.

As with `expressions`, only what is known to mean the same on both servers is carried over;
anything else gives None, and the caller says by name what is left behind.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from streams_engine.model import Dialect, Expression, NativeType
from streams_engine.schema.mysql_ddl import literal

__all__ = ["translate_check", "translate_default"]

_COMPARED: tuple[type[exp.Expression], ...] = (
    exp.Column, exp.Identifier, exp.Literal, exp.Null, exp.Boolean, exp.Paren, exp.Neg, exp.Add,
    exp.Sub, exp.Mul, exp.And, exp.Or, exp.Not, exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE,
    exp.Is, exp.In, exp.Between, exp.Tuple,
)  # fmt: skip

_NOW = re.compile(r"^(now\(\)|current_timestamp(\(\d\))?|transaction_timestamp\(\))$", re.I)
_LOCAL = re.compile(r"^(\(?now\(\)\)?|current_timestamp|localtimestamp)(\(\d\))?", re.I)
_UUID = re.compile(r"^(gen_random_uuid|uuid_generate_v4|uuidv4)\(\)(::text)?$", re.I)
_NUMBERS = {"tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "float", "double"}
_TEXTS = {"char", "varchar", "longtext", "enum"}


def translate_default(
    default: Expression, source: NativeType, target: NativeType
) -> Expression | None:
    """A column default for a MySQL column of type ``target``, or None."""
    sql = default.sql.strip()
    digits = f"({target.args[0]})" if target.args else ""
    if target.name == "datetime":
        if source.name == "timestamptz" and _NOW.match(sql):
            return _mysql(f"(UTC_TIMESTAMP{digits})")
        if source.name == "timestamp" and _LOCAL.match(sql):
            return _mysql(f"CURRENT_TIMESTAMP{digits}")
    if target.name == "date" and sql.upper() in ("CURRENT_DATE", "('NOW'::TEXT)::DATE"):
        return _mysql("(CURRENT_DATE)")
    if _UUID.match(sql) and target.name in _TEXTS:
        return _mysql("(UUID())")
    try:
        tree = sqlglot.parse_one(sql, dialect="postgres")
    except SqlglotError:
        return None
    return _literal(tree, target)


def _literal(tree: Any, target: NativeType) -> Expression | None:
    sign = ""
    while isinstance(tree, exp.Cast | exp.Paren | exp.Neg):
        sign = "-" if isinstance(tree, exp.Neg) else sign
        tree = tree.this
    if isinstance(tree, exp.Boolean):
        return _mysql(str(int(bool(tree.this)))) if target.name == "tinyint" else None
    if not isinstance(tree, exp.Literal):
        return None
    value = sign + str(tree.this)
    if target.name in _NUMBERS:
        return _mysql(value) if re.fullmatch(r"-?[\d.]+(e[+-]?\d+)?", value, re.I) else None
    if target.name in _TEXTS:
        return _mysql(literal(value))
    if target.name == "json" and value[:1] in "[{":
        return _mysql(f"({literal(value)})")
    if target.name in {"date", "datetime", "time"} and re.fullmatch(r"[\d :.\-]+", value):
        return _mysql(literal(value))
    if target.name == "bit" and re.fullmatch("[01]+", value):
        return _mysql(f"b'{value}'")
    return None


def translate_check(
    expression: Expression, columns: Mapping[str, NativeType], names: Mapping[str, str]
) -> Expression | None:
    """A condition for MySQL, or None where its meaning cannot be vouched for.

    ``columns`` gives each column's *target* type, ``names`` its name there.
    """
    try:
        tree = sqlglot.parse_one(expression.sql, dialect="postgres")
    except SqlglotError:
        return None
    tree = tree.transform(_listed).transform(_uncast)
    for node in list(tree.walk()):
        if not isinstance(node, _COMPARED):
            return None
        if isinstance(node, exp.Column):
            native = columns.get(node.name)
            if native is None or native.name not in _NUMBERS | _TEXTS | {"date", "datetime"}:
                return None
    return _mysql(_quoted(tree, names).sql("mysql", identify=True))


def _quoted(tree: exp.Expression, names: Mapping[str, str]) -> exp.Expression:
    def renamed(node: exp.Expression) -> exp.Expression:
        if isinstance(node, exp.Column):
            return exp.column(exp.to_identifier(names[node.name], quoted=True))
        return node

    return tree.transform(renamed)


def _listed(node: exp.Expression) -> exp.Expression:
    """``x = ANY (ARRAY[...])``, which is how PostgreSQL prints IN, is IN again."""
    if isinstance(node, exp.EQ) and isinstance(node.expression, exp.Any):
        inner = node.expression.this
        while isinstance(inner, exp.Cast | exp.Paren):
            inner = inner.this
        if isinstance(inner, exp.Array):
            return exp.In(this=node.this, expressions=inner.expressions)
    return node


def _uncast(node: exp.Expression) -> exp.Expression:
    """Casts of literals and of whole columns, which PostgreSQL prints everywhere, away."""
    while isinstance(node, exp.Cast) and isinstance(
        node.this, exp.Literal | exp.Column | exp.Paren | exp.Cast | exp.Neg
    ):
        node = node.this
    return node


def _mysql(sql: str) -> Expression:
    return Expression(sql, Dialect.MYSQL)
