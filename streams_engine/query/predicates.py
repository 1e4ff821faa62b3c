"""Comparisons of a column with a literal that a source can make itself.

A source may give more rows than it was asked for, never fewer: DuckDB tests the whole condition
again. A comparison is only handed over where every row that DuckDB would keep is kept by the
source: numbers by value, texts by equality (a collation finds more texts equal than DuckDB, never
fewer), dates in one written form, times in UTC.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

import pyarrow as pa
from sqlglot import exp

from streams_engine.model import Column, Dialect, Filter
from streams_engine.schema.types.postgres import base_of

__all__ = ["PushedCondition", "Sort", "condition_of", "conjuncts", "pushed", "sort_of"]

Sort = Literal["integer", "decimal", "double", "text", "bool", "date", "moment", "instant", "other"]
"""What sort of value a column holds, as far as comparisons go."""

NUMBERS = {"integer", "decimal", "double"}
MYSQL: dict[str, Sort] = {
    **dict.fromkeys(("tinyint", "smallint", "mediumint", "int", "bigint"), "integer"),
    **dict.fromkeys(
        ("char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum"), "text"
    ),
    "decimal": "decimal",
    "double": "double",
    "date": "date",
    "datetime": "moment",
    "timestamp": "instant",
}
POSTGRES: dict[str, Sort] = {
    **dict.fromkeys(("int2", "int4", "int8"), "integer"),
    **dict.fromkeys(("text", "varchar", "bpchar"), "text"),
    "numeric": "decimal",
    "float8": "double",
    "bool": "bool",
    "date": "date",
    "timestamp": "moment",
    "timestamptz": "instant",
}

FLIPPED = {"=": "=", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
OPERATORS: dict[type[exp.Expr], str] = {
    exp.EQ: "=",
    exp.NEQ: "!=",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
}
LOOSE = {"<": "<=", ">": ">="}
TEMPORAL = {
    exp.DataType.Type.DATE: "date",
    exp.DataType.Type.TIMESTAMP: "moment",
    exp.DataType.Type.TIMESTAMPNTZ: "moment",
    exp.DataType.Type.DATETIME: "moment",
    exp.DataType.Type.TIMESTAMPTZ: "instant",
}
WRITTEN = re.compile(
    r"\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d(?::?\d\d)?)?)?"
)


@dataclass(frozen=True, slots=True)
class PushedCondition:
    """A column and what it is compared with: one operator of the stream document's."""

    column: exp.Column
    operator: str
    values: tuple[Any, ...] = ()
    kinds: tuple[str, ...] = ()
    """Of each value: number, text, bool, or the sort that it was cast to."""

    @property
    def rejects_null(self) -> bool:
        """No row whose column is NULL passes."""
        return self.operator != "IS NULL"


def conjuncts(condition: Any) -> list[Any]:
    """Split a condition at AND."""
    if condition is None:
        return []
    if isinstance(condition, exp.Paren):
        return conjuncts(condition.this)
    if isinstance(condition, exp.And):
        return [*conjuncts(condition.left), *conjuncts(condition.right)]
    return [condition]


def condition_of(node: Any) -> PushedCondition | None:
    """Return the condition if it compares a column with literals, else None."""
    if type(node) in OPERATORS:
        return _compared(node)
    if isinstance(node, exp.Between) and not node.args.get("symmetric"):
        return _made(node.this, "BETWEEN", [node.args["low"], node.args["high"]])
    if isinstance(node, exp.In) and node.expressions and not _other(node, "expressions"):
        return _made(node.this, "IN", node.expressions)
    if isinstance(node, exp.Like):
        return _made(node.this, "LIKE", [node.expression])
    if isinstance(node, exp.Is) and isinstance(node.expression, exp.Null):
        return _made(node.this, "IS NULL", [])
    if isinstance(node, exp.Not):
        inner = node.this.unnest()
        if isinstance(inner, exp.Is) and isinstance(inner.expression, exp.Null):
            return _made(inner.this, "IS NOT NULL", [])
        if isinstance(inner, exp.In) and inner.expressions and not _other(inner, "expressions"):
            return _made(inner.this, "NOT IN", inner.expressions)
    return None


def _other(node: Any, known: str) -> bool:
    return any(value for key, value in node.args.items() if key not in ("this", known))


def _compared(node: Any) -> PushedCondition | None:
    operator = OPERATORS[type(node)]
    left, right = node.left.unnest(), node.right.unnest()
    if isinstance(left, exp.Column):
        return _made(left, operator, [right])
    if isinstance(right, exp.Column):
        return _made(right, FLIPPED[operator], [left])
    return None


def _made(column: Any, operator: str, literals: Sequence[Any]) -> PushedCondition | None:
    column = column.unnest()
    values = [_literal(literal.unnest()) for literal in literals]
    if not isinstance(column, exp.Column) or any(one is None for one in values):
        return None
    pairs = [one for one in values if one is not None]
    return PushedCondition(
        column, operator, tuple(value for value, _ in pairs), tuple(kind for _, kind in pairs)
    )


def _literal(node: Any) -> tuple[Any, str] | None:
    """Return a value and its kind; None if the node is not a plain literal (NULL included)."""
    if isinstance(node, exp.Neg):
        inner = _literal(node.this.unnest())
        return (-inner[0], "number") if inner is not None and inner[1] == "number" else None
    if isinstance(node, exp.Boolean):
        return bool(node.this), "bool"
    if isinstance(node, exp.Literal):
        if node.is_string:
            return str(node.this), "text"
        return _number(str(node.this))
    if isinstance(node, exp.Cast) and type(node) is exp.Cast:
        kind = TEMPORAL.get(node.to.this)
        literal = node.this
        if kind and isinstance(literal, exp.Literal) and literal.is_string:
            return str(literal.this), kind
    return None


def _number(text: str) -> tuple[Any, str] | None:
    if re.fullmatch(r"\d+", text):
        return int(text), "number"
    if re.fullmatch(r"\d*\.\d*", text) and any(map(str.isdigit, text)):
        return Decimal(text), "number"
    return None  # 1e3 is a DOUBLE to one and a DECIMAL to another


def sort_of(column: Column) -> Sort:
    """Return the kind of values that a source's column holds."""
    native = column.type
    if native.dialect is Dialect.MYSQL:
        return MYSQL.get(native.name, "other")
    if native.dialect is Dialect.POSTGRES:
        base = base_of(native)
        return POSTGRES.get(base.name, "other") if base.kind == "base" else "other"
    return _sort_of_arrow(column.arrow)


def _sort_of_arrow(arrow: pa.DataType) -> Sort:
    if pa.types.is_integer(arrow):
        return "integer"
    if pa.types.is_decimal(arrow):
        return "decimal"
    if pa.types.is_string(arrow):
        return "text"
    return "date" if pa.types.is_date32(arrow) else "other"


def pushed(condition: PushedCondition, column: Column) -> tuple[Filter, bool] | None:
    """Return the filter for a source, and whether it keeps exactly the rows that DuckDB would; None
    if the source cannot apply it."""
    sort, dialect = sort_of(column), column.type.dialect
    temporal = sort in ("date", "moment", "instant")
    if condition.operator in ("IS NULL", "IS NOT NULL"):
        # A zero date is no NULL on its server, and becomes one on the way.
        doubtful = temporal and dialect is Dialect.MYSQL
        if condition.operator == "IS NULL" and doubtful:
            return None
        return Filter(column.name, condition.operator), not doubtful
    if sort in NUMBERS:
        return _of_numbers(condition, column, sort, dialect)
    if sort == "text":
        return _of_texts(condition, column)
    if sort == "bool" and condition.operator in ("=", "!=") and condition.kinds == ("bool",):
        return Filter(column.name, condition.operator, condition.values[0]), True
    if temporal and condition.operator != "LIKE":
        return _of_times(condition, column, sort)
    return None


def _of_numbers(
    condition: PushedCondition, column: Column, sort: Sort, dialect: Dialect
) -> tuple[Filter, bool] | None:
    operator, values = condition.operator, condition.values
    if operator == "LIKE" or set(condition.kinds) - {"number"}:
        return None
    exact = True
    if dialect is Dialect.MYSQL and any(isinstance(value, Decimal) for value in values):
        # Its adapter writes a decimal as a text, which MySQL compares as a DOUBLE: equal numbers
        # stay equal and the order stays, but different ones may become equal.
        if operator in ("!=", "NOT IN"):
            return None
        operator, exact = LOOSE.get(operator, operator), False
    return _filter(column, operator, values), exact


def _of_texts(condition: PushedCondition, column: Column) -> tuple[Filter, bool] | None:
    operator, values = condition.operator, condition.values
    if operator not in ("=", "IN", "LIKE") or set(condition.kinds) != {"text"}:
        return None
    if any("\0" in value for value in values):
        return None
    if operator == "LIKE" and (
        "\\" in values[0]  # an escape to the servers, a character to DuckDB
        or column.type.name in ("bpchar", "char", "enum")  # padding
        or column.type.dialect is Dialect.FILES
    ):
        return None
    return _filter(column, operator, values), False


def _of_times(condition: PushedCondition, column: Column, sort: Sort) -> tuple[Filter, bool] | None:
    mysql = column.type.dialect is Dialect.MYSQL
    times = []
    for value, kind in zip(condition.values, condition.kinds, strict=True):
        written = _time(value, kind, sort, mysql=mysql)
        if written is None:
            return None
        times.append(written)
    return _filter(column, condition.operator, tuple(times)), not mysql


def _time(text: str, kind: str, sort: Sort, *, mysql: bool) -> str | None:
    """Return a date or time as every server reads it; None if they could differ."""
    if kind not in ("text", "date", sort) and (kind, sort) != ("moment", "instant"):
        return None
    if not isinstance(text, str) or WRITTEN.fullmatch(text.strip()) is None:
        return None
    try:
        moment = datetime.datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    plain = len(text.strip()) == 10
    if kind == "date" and not plain:
        return None
    if sort == "date":
        return moment.date().isoformat() if plain else None
    if moment.tzinfo is not None:
        if sort != "instant":
            return None
        moment = moment.astimezone(datetime.UTC).replace(tzinfo=None)
    if mysql and moment.microsecond:
        return None  # it may be rounded to the column's digits
    return moment.isoformat(" ")


def _filter(column: Column, operator: str, values: tuple[Any, ...]) -> Filter:
    several = operator in ("IN", "NOT IN", "BETWEEN")
    return Filter(column.name, operator, list(values) if several else values[0])
