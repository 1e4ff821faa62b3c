"""PostgreSQL defaults and checks rewritten for MySQL through sqlglot.

As with `expressions`, only what gives the very same value on both servers is carried over: `RULES`
is the whole of it for checks, each rule with the samples on which the tests try it. Anything else
gives None, and the caller says by name what is left behind.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from streams_engine.model import Dialect, Expression, NativeType, TypeKind
from streams_engine.schema.ddl.mysql import literal
from streams_engine.schema.mapping.expression_values import (
    EXACT_NUMBERS,
    ExpressionValue,
    UncertainKindError,
    alike,
    apart,
    demand_comparable,
    reckoned,
    take_only,
)

__all__ = ["RULES", "CheckedColumn", "Rule", "translate_check", "translate_default"]

_NOW = re.compile(r"^(now\(\)|current_timestamp(\(\d\))?|transaction_timestamp\(\))$", re.I)
_LOCAL = re.compile(r"^(\(?now\(\)\)?|current_timestamp|localtimestamp)(\(\d\))?", re.I)
_UUID = re.compile(r"^(gen_random_uuid|uuid_generate_v4|uuidv4)\(\)(::text)?$", re.I)
_NUMBERS = {"tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "float", "double"}
_TEXTS = {"char", "varchar", "longtext", "enum"}


def translate_default(
    default: Expression, source: NativeType, target: NativeType
) -> Expression | None:
    """Translate a column default for a MySQL column of type ``target``; None if that is not
    certain."""
    translated = _default(default, source, target)
    return translated and replace(translated, source=default.sql)


def _default(default: Expression, source: NativeType, target: NativeType) -> Expression | None:
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
    return _literal(tree, source, target)


def _literal(tree: Any, source: NativeType, target: NativeType) -> Expression | None:
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
    if target.name == "json" and source.name in ("json", "jsonb") and value[:1] in "[{":
        return _mysql(f"({literal(value)})")
    if target.name in {"date", "datetime", "time"} and re.fullmatch(r"[\d :.\-]+", value):
        return _mysql(literal(value))
    if target.name == "bit" and re.fullmatch("[01]+", value):
        return _mysql(f"b'{value}'")
    return None


@dataclass(frozen=True, slots=True)
class CheckedColumn:
    """A column that a check may name: its types on both ends, and its name on the target."""

    source: NativeType
    target: NativeType
    name: str


@dataclass(frozen=True, slots=True)
class Rule:
    """Translation rule for some node types. ``samples`` are conditions over the tests' table."""

    nodes: tuple[type[exp.Expression], ...]
    carry: Callable[[_Translation, Any], ExpressionValue]
    samples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Translation:
    columns: Mapping[str, CheckedColumn]

    def value(self, node: Any) -> ExpressionValue:
        rule = _BY_NODE.get(type(node))
        if rule is None:
            raise UncertainKindError(type(node).__name__)
        return rule.carry(self, node)

    def values(self, nodes: Sequence[Any]) -> list[ExpressionValue]:
        return [self.value(node) for node in nodes]


_KINDS: Mapping[str, str] = {
    **dict.fromkeys(("int2", "int4", "int8"), "integer"),
    **dict.fromkeys(("float4", "float8"), "float"),
    **dict.fromkeys(("text", "varchar", "bpchar"), "text"),
    "bool": "truth",
    "date": "day",
    "timestamp": "moment",
}
_TARGETS: Mapping[str, set[str]] = {
    "integer": {"tinyint", "smallint", "mediumint", "int", "bigint"},
    "float": {"float", "double"},
    "text": {"char", "varchar", "longtext"},
    "truth": {"tinyint"},
    "day": {"date"},
    "moment": {"datetime"},
}
"""By kind: the target's types that hold the very values. (Texts compare byte for byte there.)"""


def _column(at: _Translation, node: exp.Column) -> ExpressionValue:
    take_only(node, "this")
    column = at.columns.get(node.name)
    if column is None:
        raise UncertainKindError("column")
    source, target = column.source, column.target
    tree = exp.column(exp.to_identifier(column.name, quoted=True))
    if source.kind is TypeKind.ENUM and target.kind is TypeKind.ENUM:
        return ExpressionValue(tree, "enum", labels=source.labels)
    if source.kind is not TypeKind.BASE or source.extension is not None:
        raise UncertainKindError(source.name)
    if source.name == "numeric" and target.name == "decimal" and source.args:
        precision, scale = (*source.args, 0)[:2]
        return ExpressionValue(tree, "decimal", precision=precision, scale=scale)
    kind = _KINDS.get(source.name)
    if kind is None or target.name not in _TARGETS[kind]:
        raise UncertainKindError(source.name)
    if kind == "truth":  # by itself a number is no condition for MySQL
        return ExpressionValue(
            exp.paren(exp.NEQ(this=tree, expression=exp.Literal.number(0))), kind
        )
    return ExpressionValue(tree, kind, precision=20, exact_text=kind == "text")


def _literal_value(at: _Translation, node: exp.Literal) -> ExpressionValue:
    text = str(node.this)
    if node.is_string:
        if "\\" in text or "\0" in text or text.endswith(" "):
            raise UncertainKindError("a text that the servers write or compare differently")
        return ExpressionValue(exp.Literal.string(text), "literal", exact_text=True)
    return _number(text)


def _number(text: str) -> ExpressionValue:
    if not re.fullmatch(r"-?\d+(\.\d+)?", text):
        raise UncertainKindError("not a plain number")
    digits = text.removeprefix("-")
    whole, _, fraction = digits.partition(".")
    literal = exp.Literal.number(digits)
    tree = exp.paren(exp.Neg(this=literal)) if digits != text else literal
    kind = "decimal" if fraction else "integer"
    return ExpressionValue(tree, kind, len(whole) + len(fraction), len(fraction))


def _boolean(at: _Translation, node: exp.Boolean) -> ExpressionValue:
    return ExpressionValue(exp.Boolean(this=node.this), "truth")


def _null(at: _Translation, node: exp.Null) -> ExpressionValue:
    return ExpressionValue(exp.Null(), "null")


def _paren(at: _Translation, node: exp.Paren) -> ExpressionValue:
    inner = at.value(node.this)
    return replace(inner, tree=exp.paren(inner.tree))


_TEXT_CASTS = {exp.DataType.Type.TEXT, exp.DataType.Type.VARCHAR}
_WHOLE_CASTS = {
    exp.DataType.Type.SMALLINT,
    exp.DataType.Type.INT,
    exp.DataType.Type.BIGINT,
}
_LITERAL_CASTS = {
    *_TEXT_CASTS,
    exp.DataType.Type.BPCHAR,
    exp.DataType.Type.CHAR,
    exp.DataType.Type.DATE,
    exp.DataType.Type.TIMESTAMP,
    exp.DataType.Type.USERDEFINED,
}


def _cast(at: _Translation, node: exp.Cast) -> ExpressionValue:
    """Translate casts that PostgreSQL prints everywhere and that change no value.

    Whether a cast to a date type is one depends on what it is compared with.
    """
    to = node.to.this
    inner = node.this
    while isinstance(inner, exp.Paren):
        inner = inner.this
    numeric = to in (*_WHOLE_CASTS, exp.DataType.Type.DECIMAL, exp.DataType.Type.DOUBLE)
    if numeric and isinstance(inner, exp.Literal) and inner.is_string:
        value = _number(str(inner.this))
    else:
        value = at.value(node.this)
    if node.to.expressions and value.kind != "literal":
        raise UncertainKindError("a cast that truncates or rounds")
    kept = (
        value.kind == "null"
        or (value.kind == "text" and to in _TEXT_CASTS)
        or (value.kind == "literal" and to in _LITERAL_CASTS and not node.to.expressions)
        or (value.kind == "integer" and to in (*_WHOLE_CASTS, exp.DataType.Type.DECIMAL))
        or (value.kind == "decimal" and to is exp.DataType.Type.DECIMAL)
        or (value.kind == "float" and to is exp.DataType.Type.DOUBLE)
        or (isinstance(inner, exp.Literal) and to is exp.DataType.Type.DOUBLE)
    )
    if not kept:
        raise UncertainKindError("a cast that changes values")
    return value


def _reckoned(at: _Translation, node: Any) -> ExpressionValue:
    left, right = at.value(node.this), at.value(node.expression)
    kind, precision, scale = reckoned(node, left, right)
    tree: Any = type(node)(this=left.tree, expression=right.tree)
    return ExpressionValue(tree, kind, precision, scale)


def _negated(at: _Translation, node: exp.Neg) -> ExpressionValue:
    inner = at.value(node.this)
    if inner.kind not in EXACT_NUMBERS:
        raise UncertainKindError("a number that is not exact")
    return replace(inner, tree=exp.Neg(this=inner.tree))


def _listed(node: exp.Expression) -> list[Any] | None:
    """Return the elements of ``ANY (ARRAY[...])`` or ``ALL (ARRAY[...])``, or None."""
    inner: Any = None
    if isinstance(node, exp.Any):
        inner = node.this
    elif isinstance(node, exp.Anonymous) and str(node.this).upper() in ("ANY", "ALL"):
        inner = node.expressions[0]
    while isinstance(inner, exp.Cast | exp.Paren):
        inner = inner.this
    return list(inner.expressions) if isinstance(inner, exp.Array) else None


def _compared(at: _Translation, node: Any) -> ExpressionValue:
    every = isinstance(node.expression, exp.Anonymous)
    listed = _listed(node.expression)
    if listed is not None:
        if not listed or isinstance(node, exp.NEQ) is not every:
            raise UncertainKindError("a comparison with a list")
        parts = at.values([node.this, *listed])
        demand_comparable(*parts, order=False)
        tree: Any = exp.In(this=parts[0].tree, expressions=[p.tree for p in parts[1:]])
        return ExpressionValue(exp.paren(exp.Not(this=tree)) if every else tree, "truth")
    left, right = at.value(node.this), at.value(node.expression)
    demand_comparable(left, right, order=not isinstance(node, exp.EQ | exp.NEQ))
    tree = type(node)(this=left.tree, expression=right.tree)
    return ExpressionValue(tree, "truth")


def _is_null(at: _Translation, node: exp.Is) -> ExpressionValue:
    if not isinstance(node.expression, exp.Null):
        raise UncertainKindError("IS")
    inner = at.value(node.this)
    tree: Any = exp.Is(this=apart(inner.tree), expression=exp.Null())
    return ExpressionValue(
        exp.paren(exp.Not(this=tree)) if node.args.get("negate") else tree, "truth"
    )


def _joined(at: _Translation, node: Any) -> ExpressionValue:
    left, right = at.value(node.this), at.value(node.expression)
    if {left.kind, right.kind} != {"truth"}:
        raise UncertainKindError("no conditions")
    return ExpressionValue(type(node)(this=left.tree, expression=right.tree), "truth")


def _not(at: _Translation, node: exp.Not) -> ExpressionValue:
    inner = at.value(node.this)
    if inner.kind != "truth":
        raise UncertainKindError("no condition")
    return ExpressionValue(exp.Not(this=inner.tree), "truth")


def _coalesce(at: _Translation, node: exp.Coalesce) -> ExpressionValue:
    take_only(node, "this", "expressions")
    parts = at.values([node.this, *node.expressions])
    tree = exp.Coalesce(this=parts[0].tree, expressions=[part.tree for part in parts[1:]])
    return replace(alike(parts), tree=tree)


def _characters(at: _Translation, node: exp.Length) -> ExpressionValue:
    take_only(node, "this")
    inner = at.value(node.this)
    if inner.kind != "text":
        raise UncertainKindError("no text")
    return ExpressionValue(
        exp.Anonymous(this="CHAR_LENGTH", expressions=[inner.tree]), "integer", 20
    )


RULES: tuple[Rule, ...] = (
    Rule((exp.Column,), _column, ("b", "i > 0", "v = 'abc'", "en = 'b'", "r >= 0", "d > 0")),
    Rule((exp.Literal,), _literal_value, ("i < 7", "d >= 1.250", "t <> 'it''s \"é\" %'")),
    Rule((exp.Boolean,), _boolean, ("b = true", "b <> false")),
    Rule((exp.Null,), _null, ("i = ANY (ARRAY[1, NULL])",)),
    Rule((exp.Paren,), _paren, ("(i > 0 OR s > 0) AND d > 0",)),
    Rule((exp.Cast,), _cast, (
        "t <> ''", "i::numeric > 1.5", "r > 0.5::double precision", "i > '-1'::integer",
        "c = 'ab'", "f8 > 0.1",
    )),
    Rule((exp.Add, exp.Sub, exp.Mul), _reckoned, (
        "i + s > 0", "d * d < 100", "i - s < d", "big * 2 > i",
    )),
    Rule((exp.Neg,), _negated, ("-i > s", "d > -1.5")),
    Rule((exp.EQ, exp.NEQ), _compared, (
        "t = 'abc'", "t <> v", "i = s", "en <> 'C'", "d = 1.5", "da = '2020-02-29'",
        "t IN ('a', 'É', '')", "i NOT IN (1, 2)", "en IN ('a', 'b')", "t NOT IN ('a', 'x')",
        "(i IS NULL) = (s IS NULL)",
    )),
    Rule((exp.GT, exp.GTE, exp.LT, exp.LTE), _compared, (
        "i > s", "d <= 0.5", "da > '2020-01-01'", "ts >= '2020-01-01 10:00:00'", "big < i",
        "i BETWEEN -1 AND 5", "r < 0.1",
    )),
    Rule((exp.Is,), _is_null, ("t IS NULL", "i IS NOT NULL", "(i + s) IS NULL", "da IS NULL")),
    Rule((exp.And, exp.Or), _joined, ("i > 0 AND s > 0", "i > 0 OR s IS NULL", "b OR i > 0")),
    Rule((exp.Not,), _not, ("NOT b", "NOT (i > 0 AND s > 0)")),
    Rule((exp.Coalesce,), _coalesce, ("COALESCE(i, 0) > 0", "COALESCE(t, v) = 'abc'")),
    Rule((exp.Length,), _characters, ("char_length(t) > 2", "length(v) < 4", "length(c) = 2")),
)  # fmt: skip
"""The order is that of reading; no node has two rules."""

_BY_NODE = {node: rule for rule in RULES for node in rule.nodes}


def translate_check(
    expression: Expression, columns: Mapping[str, CheckedColumn]
) -> Expression | None:
    """Translate a condition for MySQL; None if its meaning could differ."""
    try:
        tree = sqlglot.parse_one(f"SELECT {expression.sql}", dialect="postgres")
        expressions = tree.args.pop("expressions", [])
        if len(expressions) != 1 or any(tree.args.values()):
            return None
        value = _Translation(columns).value(expressions[0])
    except (SqlglotError, UncertainKindError):
        return None
    if value.kind != "truth":
        return None
    sql = value.tree.sql("mysql", identify=True)
    return Expression(sql, Dialect.MYSQL, source=expression.sql)


def _mysql(sql: str) -> Expression:
    return Expression(sql, Dialect.MYSQL)
