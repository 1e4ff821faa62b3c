"""MySQL expressions (generated columns, defaults, checks, key parts) rewritten for PostgreSQL.

Only what gives the very same value on both servers, row by row, is carried over: `RULES` is the
whole of it, and each rule brings the samples on which the tests try it on both servers. Anything
else gives None, and the caller says by name what is left behind.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from streams_engine.model import Column, Dialect, Expression, NativeType, TypeKind
from streams_engine.schema.mapping.expression_values import (
    EXACT_NUMBERS,
    ExpressionValue,
    UncertainKindError,
    alike,
    apart,
    demand_comparable,
    operand,
    reckoned,
    take_only,
)

__all__ = ["RULES", "NodeRule", "translate", "translate_default"]

_TEXT = {"char", "varchar", "tinytext", "text", "mediumtext", "longtext"}
_INTEGERS = {"tinyint", "smallint", "mediumint", "int", "bigint"}
_EXACT_TEXT = re.compile(r"_(0900_bin|nopad_bin)$")
"""Collations that compare texts byte for byte, trailing blanks included, as PostgreSQL does."""
_NOW = re.compile(
    r"^\(?\s*(?:current_timestamp|now|localtimestamp|localtime)\s*(?:\(\s*(\d*)\s*\))?\s*\)?$", re.I
)


@dataclass(frozen=True, slots=True)
class NodeRule:
    """Translation rule for some node types.

    ``samples`` are pairs of a column type and an expression over the columns of the tests' table;
    without a type the expression is a condition.
    """

    nodes: tuple[type[exp.Expression], ...]
    carry: Callable[[_Translation, Any], ExpressionValue]
    samples: tuple[tuple[str | None, str], ...]


@dataclass(frozen=True, slots=True)
class _Translation:
    columns: Mapping[str, Column]
    names: Mapping[str, str]
    conditions: bool
    """Dates may be compared. (Where they are zero, the target has NULL: a condition lets it
    pass, a generated value would be another one.)"""

    near: bool = False
    """Letters may be made lower and upper, as the target's locale does it."""

    def value(self, node: Any) -> ExpressionValue:
        if self.near and isinstance(node, exp.Lower | exp.Upper):
            return ExpressionValue(type(node)(this=_text_of(self.value(node.this))), "text")
        rule = _BY_NODE.get(type(node))
        if rule is None:
            raise UncertainKindError(type(node).__name__)
        return rule.carry(self, node)

    def values(self, nodes: Sequence[Any]) -> list[ExpressionValue]:
        return [self.value(node) for node in nodes]


# Leaves


def _column(at: _Translation, node: exp.Column) -> ExpressionValue:
    take_only(node, "this")
    column = at.columns.get(node.name)
    if column is None:
        raise UncertainKindError("column")
    native = column.type
    tree = exp.column(exp.to_identifier(at.names[node.name], quoted=True))
    if native.name in _TEXT:
        binary = bool(_EXACT_TEXT.search(column.collation or ""))
        return ExpressionValue(tree, "text", exact_text=binary)
    if native.name in _INTEGERS:
        plain = "zerofill" not in native.text.lower()
        return ExpressionValue(tree, "integer", precision=20, plain_number=plain)
    if native.name == "decimal":
        precision, scale = (*native.args, 0, 0)[:2] if native.args else (10, 0)
        return ExpressionValue(tree, "decimal", precision=precision, scale=scale)
    if native.name == "double":
        return ExpressionValue(tree, "float")
    if native.kind is TypeKind.ENUM:
        return ExpressionValue(tree, "enum", labels=native.labels)
    if at.conditions and native.name in ("date", "datetime"):
        return ExpressionValue(tree, {"date": "day", "datetime": "moment"}[native.name])
    raise UncertainKindError(native.name)


def _literal(at: _Translation, node: exp.Literal) -> ExpressionValue:
    text = str(node.this)
    if node.is_string:
        return ExpressionValue(exp.Literal.string(text), "literal", exact_text=True)
    if not re.fullmatch(r"\d+(\.\d+)?", text):
        raise UncertainKindError("a number in floating point")
    whole, _, fraction = text.partition(".")
    kind = "decimal" if fraction else "integer"
    return ExpressionValue(
        exp.Literal.number(text), kind, len(whole) + len(fraction), len(fraction)
    )


def _introduced(at: _Translation, node: exp.Introducer) -> ExpressionValue:
    """Translate a literal with a character set introducer; the text itself is UTF-8 already."""
    value = at.value(node.expression)
    text = str(value.tree.this)
    charset = str(node.this).lower()
    if charset not in ("_utf8mb4", "_utf8mb3", "_utf8", "_ascii") and not text.isascii():
        raise UncertainKindError("a literal in another character set")
    if charset in ("_utf16", "_utf16le", "_utf32", "_ucs2", "_binary"):
        raise UncertainKindError("a literal in another character set")
    return value


def _null(at: _Translation, node: exp.Null) -> ExpressionValue:
    return ExpressionValue(exp.Null(), "null")


def _paren(at: _Translation, node: exp.Paren) -> ExpressionValue:
    inner = at.value(node.this)
    tree = inner.tree if isinstance(inner.tree, exp.Paren) else exp.paren(inner.tree)
    return replace(inner, tree=tree)


# Numbers


def _numeric(value: ExpressionValue) -> exp.Expression:
    """Cast a non-literal integer to decimal, so that nothing overflows that MySQL computes in 64
    bits or decimals."""
    if value.kind == "integer" and not isinstance(value.tree, exp.Literal):
        return exp.cast(value.tree, "decimal")
    return value.tree


def _reckoned(at: _Translation, node: Any) -> ExpressionValue:
    left, right = at.value(node.this), at.value(node.expression)
    kind, precision, scale = reckoned(node, left, right)
    tree: Any = type(node)(this=_numeric(left), expression=_numeric(right))
    return ExpressionValue(tree, kind, precision, scale)


def _rounded(at: _Translation, node: exp.Expression) -> ExpressionValue:
    """Translate unary minus, ABS, CEILING and FLOOR."""
    take_only(node, "this")
    inner = at.value(node.this)
    if inner.kind not in EXACT_NUMBERS:
        raise UncertainKindError("a number that is not exact")
    tree = type(node)(this=_numeric(inner))
    if isinstance(node, exp.Ceil | exp.Floor):
        return ExpressionValue(tree, "integer", inner.precision + 1)
    return ExpressionValue(tree, inner.kind, inner.precision, inner.scale)


def _extreme(at: _Translation, node: exp.Greatest | exp.Least) -> ExpressionValue:
    """Translate GREATEST and LEAST, which are NULL in MySQL if any argument is; PostgreSQL ignores
    NULLs."""
    take_only(node, "this", "expressions")
    parts = at.values([node.this, *node.expressions])
    if not {part.kind for part in parts} <= EXACT_NUMBERS:
        raise UncertainKindError("numbers that are not exact")
    tree = type(node)(
        this=_numeric(parts[0]),
        expressions=[_numeric(part) for part in parts[1:]],
        ignore_nulls=True,
    )
    absent = [
        exp.Is(this=apart(part.tree), expression=exp.Null())
        for part in parts
        if not isinstance(part.tree, exp.Literal)
    ]
    scale = max(part.scale for part in parts)
    precision = max(part.precision - part.scale for part in parts) + scale
    kind = "decimal" if any(part.kind == "decimal" for part in parts) else "integer"
    if absent:
        case = exp.Case(ifs=[exp.If(this=exp.or_(*absent), true=exp.Null())], default=tree)
        return ExpressionValue(exp.paren(case), kind, precision, scale)
    return ExpressionValue(tree, kind, precision, scale)


# Conditions


def _compared(at: _Translation, node: exp.Binary) -> ExpressionValue:
    left, right = at.values([operand(node.this), operand(node.expression)])
    demand_comparable(left, right, order=not isinstance(node, exp.EQ | exp.NEQ))
    tree: Any = type(node)(this=left.tree, expression=right.tree)
    return ExpressionValue(tree, "truth")


def _between(at: _Translation, node: exp.Between) -> ExpressionValue:
    take_only(node, "this", "low", "high")
    parts = at.values([operand(node.this), operand(node.args["low"]), operand(node.args["high"])])
    demand_comparable(*parts, order=True)
    this, low, high = (part.tree for part in parts)
    return ExpressionValue(exp.Between(this=this, low=low, high=high), "truth")


def _in(at: _Translation, node: exp.In) -> ExpressionValue:
    take_only(node, "this", "expressions")
    parts = at.values([operand(node.this), *map(operand, node.expressions)])
    demand_comparable(*parts, order=False)
    return ExpressionValue(
        exp.In(this=parts[0].tree, expressions=[p.tree for p in parts[1:]]), "truth"
    )


def _is_null(at: _Translation, node: exp.Is) -> ExpressionValue:
    if not isinstance(node.expression, exp.Null):
        raise UncertainKindError("IS")
    inner = at.value(operand(node.this))
    if inner.kind in ("day", "moment"):
        # Of a zero date in a column that is NOT NULL, MySQL says that it is NULL.
        raise UncertainKindError("a zero date")
    return ExpressionValue(exp.Is(this=apart(inner.tree), expression=exp.Null()), "truth")


def _joined(at: _Translation, node: exp.And | exp.Or) -> ExpressionValue:
    parts = at.values([node.this, node.expression])
    if {part.kind for part in parts} != {"truth"}:
        raise UncertainKindError("no conditions")
    return ExpressionValue(type(node)(this=parts[0].tree, expression=parts[1].tree), "truth")


def _not(at: _Translation, node: exp.Not) -> ExpressionValue:
    inner = at.value(node.this)
    if inner.kind != "truth":
        raise UncertainKindError("no condition")
    return ExpressionValue(exp.Not(this=inner.tree), "truth")


# Choices


def _coalesce(at: _Translation, node: exp.Coalesce) -> ExpressionValue:
    take_only(node, "this", "expressions")
    parts = at.values([node.this, *node.expressions])
    tree = exp.Coalesce(this=parts[0].tree, expressions=[part.tree for part in parts[1:]])
    return replace(alike(parts), tree=tree)


def _nullif(at: _Translation, node: exp.Nullif) -> ExpressionValue:
    take_only(node, "this", "expression")
    parts = at.values([node.this, node.expression])
    demand_comparable(*parts, order=False)
    tree = exp.Nullif(this=parts[0].tree, expression=parts[1].tree)
    return replace(alike(parts[:1]), tree=tree)


def _case(at: _Translation, node: exp.Case | exp.If) -> ExpressionValue:
    take_only(
        node, *(("ifs", "default") if isinstance(node, exp.Case) else ("this", "true", "false"))
    )
    tests = node.args["ifs"] if isinstance(node, exp.Case) else [node]
    conditions = at.values([test.this for test in tests])
    results = at.values([test.args["true"] for test in tests])
    other = node.args.get("default") or node.args.get("false")
    otherwise = at.value(other) if other is not None else None
    if any(condition.kind != "truth" for condition in conditions):
        raise UncertainKindError("no condition")
    tree = exp.Case(
        ifs=[
            exp.If(this=condition.tree, true=result.tree)
            for condition, result in zip(conditions, results, strict=True)
        ],
        default=otherwise and otherwise.tree,
    )
    return replace(alike([*results, *([otherwise] if otherwise else [])]), tree=tree)


# Texts


def _text_of(value: ExpressionValue) -> exp.Expression:
    if value.plain_number:
        return exp.cast(value.tree, "text")
    if value.kind not in ("text", "literal"):
        raise UncertainKindError("no text")
    return apart(value.tree) if not isinstance(value.tree, exp.Literal) else value.tree


def _chained(parts: Sequence[exp.Expression]) -> exp.Expression:
    """Return ``a || b || c``, which is immutable and NULL if any part is."""
    if isinstance(parts[0], exp.Literal):
        parts = [exp.cast(parts[0], "text"), *parts[1:]]
    tree = parts[0]
    for part in parts[1:]:
        tree = exp.DPipe(this=tree, expression=part)
    return exp.paren(tree)


def _concat(at: _Translation, node: exp.Concat) -> ExpressionValue:
    take_only(node, "expressions")
    return ExpressionValue(
        _chained([_text_of(part) for part in at.values(node.expressions)]), "text"
    )


def _concat_ws(at: _Translation, node: exp.ConcatWs) -> ExpressionValue:
    """Translate CONCAT_WS, which skips NULLs; PostgreSQL's own function is not immutable."""
    take_only(node, "expressions")
    separator, *parts = at.values(node.expressions)
    if separator.kind != "literal" or not parts:
        raise UncertainKindError("a separator that is not a literal")
    pieces: list[exp.Expression] = []
    for part in parts:
        absent = exp.Is(this=apart(part.tree), expression=exp.Null())
        piece = _chained([separator.tree, _text_of(part)])
        empty = exp.If(this=absent, true=exp.Literal.string(""))
        pieces.append(exp.paren(exp.Case(ifs=[empty], default=piece)))
    start = exp.Literal.number(len(str(separator.tree.this)) + 1)
    return ExpressionValue(
        exp.Anonymous(this="substr", expressions=[_chained(pieces), start]), "text"
    )


def _characters(at: _Translation, node: exp.Length) -> ExpressionValue:
    """Translate CHAR_LENGTH. (LENGTH counts bytes of the source's character set.)"""
    take_only(node, "this")
    inner = at.value(node.this)
    return ExpressionValue(exp.Length(this=_text_of(inner)), "integer", 20)


def _trim(at: _Translation, node: exp.Trim) -> ExpressionValue:
    """Translate TRIM of spaces. (With more than one character the servers differ.)"""
    take_only(node, "this", "position")
    inner = at.value(node.this)
    position = node.args.get("position") or "BOTH"
    name = {"BOTH": "btrim", "LEADING": "ltrim", "TRAILING": "rtrim"}[str(position)]
    return ExpressionValue(exp.Anonymous(this=name, expressions=[_text_of(inner)]), "text")


_BIG = "decimal(40,6)"

RULES: tuple[NodeRule, ...] = (
    NodeRule((exp.Column,), _column, (
        ("varchar(30)", "t"), ("char(10)", "c"), ("longtext", "x"), ("bigint", "i"),
        ("decimal(20,0)", "ub"), ("int", "d"), ("decimal(10,1)", "d"), ("decimal(12,5)", "d"),
        (None, "en = 'b'"), (None, "fl >= 0.5"),
    )),
    NodeRule((exp.Literal,), _literal, (
        ("varchar(30)", "concat('it''s \"é\" %', t)"), ("int", "i * 0 + 7"),
        (_BIG, "d + 1.250"), (None, "i > 2147483648"), (None, "fl < 0.1"),
    )),
    NodeRule((exp.Introducer,), _introduced, (("varchar(40)", "concat(t, _utf8mb4'ä')"),)),
    NodeRule((exp.Null,), _null, (("int", "if(i > 0, 1, NULL)"), (None, "i in (1, NULL)"))),
    NodeRule((exp.Paren,), _paren, ((_BIG, "(i + s) * (d - 1)"), (None, "(i > 0)"))),
    NodeRule((exp.Add, exp.Sub, exp.Mul), _reckoned, (
        ("bigint", "i + s"), (_BIG, "d - i"), (_BIG, "big * i"), (_BIG, "d * d"),
        (_BIG, "ub + 7"), (_BIG, "i - s - 3"), (_BIG, "i - (s - 3)"), ("int", "s * d"),
    )),
    NodeRule((exp.Neg, exp.Abs, exp.Ceil, exp.Floor), _rounded, (
        ("bigint", "-i"), (_BIG, "-d"), (_BIG, "abs(d)"), ("bigint", "abs(i)"),
        ("bigint", "ceiling(d)"), ("bigint", "floor(d)"), (_BIG, "ceiling(big)"),
        (_BIG, "abs(-big)"), (_BIG, "floor(-d)"),
    )),
    NodeRule((exp.Greatest, exp.Least), _extreme, (
        ("int", "greatest(i, s)"), ("int", "least(i, s)"), (_BIG, "least(i, d, 2)"),
        ("int", "least(i, ifnull(s, 5))"), (_BIG, "greatest(d * 2, big, -1)"),
    )),
    NodeRule((exp.EQ, exp.NEQ), _compared, (
        (None, "i = s"), (None, "d <> 0"), (None, "tb = 'abc'"), (None, "tb = t2"),
        (None, "en <> 'C'"), (None, "big = d"), (None, "(i is null) = (s is null)"),
        (None, "tb <> ''"), (None, "da = '2020-02-29'"), (None, "cb = 'a'"),
    )),
    NodeRule((exp.GT, exp.GTE, exp.LT, exp.LTE), _compared, (
        (None, "i > s"), (None, "d >= 0.5"), (None, "ub < 9223372036854775808"), (None, "i <= d"),
        (None, "da > '2020-01-01'"), (None, "dt >= '2020-01-01'"),
        (None, "dt < '2020-01-01 10:00:00'"), (None, "fl > 0"), (None, "fl <= d"),
    )),
    NodeRule((exp.Between,), _between, (
        (None, "i between -1 and 5"), (None, "d not between 0 and 1.5"),
        (None, "da between '2000-01-01' and '2020-12-31'"),
    )),
    NodeRule((exp.In,), _in, (
        (None, "i in (1, 2, 7)"), (None, "i not in (1, 2)"), (None, "tb in ('abc', '', 'É')"),
        (None, "en in ('a', 'C')"), (None, "d in (0, 1.5)"),
    )),
    NodeRule((exp.Is,), _is_null, ((None, "t is null"), (None, "i is not null"),
                               (None, "(i + s) is null"))),
    NodeRule((exp.And, exp.Or), _joined, (
        (None, "i > 0 and s > 0"), (None, "i > 0 or s is null"), (None, "i > 0 or s > 0 and d > 0"),
        (None, "(i > 0 or s > 0) and d > 0"),
    )),
    NodeRule((exp.Not,), _not, ((None, "not (i > 0)"), (None, "not (i > 0 and s > 0)"))),
    NodeRule((exp.Coalesce,), _coalesce, (
        ("varchar(60)", "coalesce(t, x, 'none')"), ("int", "ifnull(i, 0)"),
        (_BIG, "coalesce(i, d, 0)"), ("varchar(30)", "ifnull(c, t)"),
    )),
    NodeRule((exp.Nullif,), _nullif, (
        ("int", "nullif(i, 0)"), (_BIG, "nullif(d, i)"), ("varchar(30)", "nullif(tb, '')"),
    )),
    NodeRule((exp.Case, exp.If), _case, (
        ("int", "case when i > 0 then 1 when i < 0 then -1 else 0 end"),
        ("varchar(30)", "if(t is null, 'none', t)"), ("int", "if(i > s and d > 0, i, s)"),
        ("varchar(30)", "case when en = 'a' then t end"),
    )),
    NodeRule((exp.Concat,), _concat, (
        ("varchar(90)", "concat(t, ' ', c)"), ("varchar(90)", "concat('[', x, ']')"),
        ("varchar(90)", "concat('No ', i, '/', ub)"), ("varchar(90)", "concat(t)"),
        ("varchar(90)", "concat(t, concat(c, x))"),
    )),
    NodeRule((exp.ConcatWs,), _concat_ws, (
        ("varchar(90)", "concat_ws('-', t, c)"), ("varchar(120)", "concat_ws(', ', t, c, x, i)"),
        ("varchar(90)", "concat_ws('', t, c)"), ("varchar(90)", "concat_ws('é-', t, 'x')"),
    )),
    NodeRule((exp.Length,), _characters, (
        ("int", "char_length(t)"), ("int", "char_length(c)"),
        ("int", "char_length(concat(t, 'é'))"), (None, "char_length(x) > 2"),
    )),
    NodeRule((exp.Trim,), _trim, (
        ("varchar(30)", "trim(t)"), ("varchar(30)", "ltrim(t)"), ("varchar(30)", "rtrim(x)"),
    )),
)  # fmt: skip
"""The order is that of reading; no node has two rules."""

_BY_NODE = {node: rule for rule in RULES for node in rule.nodes}


def translate(
    expression: Expression,
    columns: Mapping[str, Column],
    names: Mapping[str, str],
    result: NativeType | None = None,
    *,
    conditions: bool = False,
    near: bool = False,
) -> Expression | None:
    """Translate an expression for PostgreSQL; None if its meaning could differ.

    ``columns`` are the *source's* columns that may be named, without those that become another kind
    of value (a boolean is no number any more); ``names`` maps each to its target name. With
    ``result``, the source type of a generated column, the value must be of its kind.
    ``conditions``: the expression is a condition, as in a check. ``near``: it neither produces nor
    forbids values (an index that is not unique).
    """
    try:
        text = expression.sql.replace("\\'", "''")
        if "\\" in text:  # what it means in a literal hangs on modes
            return None
        tree = _parsed(text)
        value = _Translation(columns, names, conditions, near).value(tree)
    except (SqlglotError, UncertainKindError):
        return None
    if conditions and value.kind != "truth":
        return None
    if result is not None and not _assignable(value, result):
        return None
    sql = value.tree.sql("postgres", identify=True)
    return Expression(sql, Dialect.POSTGRES, source=expression.sql)


def _parsed(text: str) -> exp.Expression:
    """Parse one expression. (By itself REPLACE(...) would be parsed as the statement.)"""
    select = sqlglot.parse_one(f"SELECT {text}", dialect="mysql")
    expressions = select.args.pop("expressions", [])
    if not isinstance(select, exp.Select) or len(expressions) != 1 or any(select.args.values()):
        raise UncertainKindError("no expression")
    tree: exp.Expression = expressions[0]
    return tree


def _assignable(value: ExpressionValue, result: NativeType) -> bool:
    """Return True if a column of this type stores the value unchanged, or rounded the same way."""
    if result.name in _TEXT:
        return value.kind in ("text", "literal")
    return result.name in {*_INTEGERS, "decimal"} and value.kind in EXACT_NUMBERS


def translate_default(default: Expression, target: NativeType) -> Expression | None:
    """Translate a column default for a PostgreSQL column of type ``target``; None if that is not
    certain."""
    translated = _default(default, target)
    return translated and replace(translated, source=default.sql)


def _default(default: Expression, target: NativeType) -> Expression | None:
    sql = default.sql.strip()
    now = _NOW.match(sql)
    if now:
        stamp = f"CURRENT_TIMESTAMP({now[1]})" if now[1] else "CURRENT_TIMESTAMP"
        # Both servers give a zoneless column the wall clock of the session's time zone.
        return _postgres(stamp) if target.name in _MOMENTS else None
    try:
        tree = _parsed(sql).transform(_plain)
    except (SqlglotError, UncertainKindError):
        return None
    while isinstance(tree, exp.Paren):
        tree = tree.this
    if isinstance(tree, exp.Null):
        return None
    if isinstance(tree, exp.CurrentDate):
        return _postgres("CURRENT_DATE") if target.name in _MOMENTS else None
    empty = _EMPTY_JSON.match(sql)
    if empty and target.name in {"json", "jsonb"}:
        return _postgres("'[]'" if empty[1].lower() == "array" else "'{}'")
    call = re.sub(r"[\s()]+", " ", sql.lower()).strip()
    if call in _UNIQUE:
        made = _UNIQUE[call].get(target.name)
        return _postgres(made) if made else None
    translated = _literal_default(tree, target)
    if translated is None and target.name in _DEFAULT_NUMBERS:
        computed = translate(Expression(sql, Dialect.MYSQL), {}, {}, _ANY_NUMBER)
        translated = computed and _postgres(f"({computed.sql})")
    return translated


def _literal_default(tree: exp.Expression, target: NativeType) -> Expression | None:
    """Translate a literal default to the notation of ``target``, or return None."""
    if isinstance(tree, exp.Boolean):
        tree = exp.Literal.number(int(bool(tree.this)))
    sign = ""
    if isinstance(tree, exp.Neg):
        sign, tree = "-", tree.this
    bits = None
    if isinstance(tree, exp.HexString) and target.name == "bytea":
        return _postgres(f"'\\x{tree.this}'::bytea")
    if isinstance(tree, exp.BitString):
        # sqlglot keeps a bit string's digits, or their value where the dialect has no such literal
        bits = int(str(tree.this), 2)
    elif isinstance(tree, exp.HexString):
        bits = int(str(tree.this), 16)
    elif not isinstance(tree, exp.Literal):
        return None
    value = str(tree.this)
    if target.name == "bool":
        number = bits if bits is not None else int(value) if value.isdigit() else None
        return _postgres("true" if number else "false") if number in (0, 1) else None
    if target.name == "bit":
        number = bits if bits is not None else int(value)
        return _postgres(f"B'{number:0{target.args[0] if target.args else 1}b}'")
    if bits is not None:
        return _postgres(str(bits)) if target.name in _DEFAULT_NUMBERS else None
    if target.name in _DEFAULT_NUMBERS:
        return _postgres(sign + value) if re.fullmatch(r"[\d.eE+-]+", value) else None
    if target.name in _MOMENTS and (re.search(r"0000|-00", value) or not _DATED.match(value)):
        return None
    if target.name == "time" and not _DAYTIME.fullmatch(sign + value):
        return None
    if target.name == "interval" and not _SPAN.fullmatch(sign + value):
        return None
    if target.name == "bytea":
        return _postgres(f"'\\x{value.encode().hex()}'::bytea")
    if target.name == "timestamptz":
        value += "+00"
    if target.name == "_text":
        quoted = ",".join('"' + _escape(label) + '"' for label in value.split(",") if label)
        value = "{" + quoted + "}"
    return _postgres(exp.Literal.string(sign + value).sql("postgres"))


_DAYTIME = re.compile(r"([01]?\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d*)?)?|24:00(:00(\.0*)?)?")
"""A time of day; MySQL's TIME counts on, and below zero."""
_DATED = re.compile(r"\d{4}-\d{1,2}-\d|\d{8}\Z")
"""A date; MySQL takes other numbers too."""
_SPAN = re.compile(r"-?\d{1,3}:[0-5]\d:[0-5]\d(\.\d*)?")
"""A TIME in full, which means the same to an interval."""
_EMPTY_JSON = re.compile(r"^\(?\s*json_(array|object)\(\s*\)\s*\)?$", re.I)
_MOMENTS = {"timestamp", "timestamptz", "date"}
_DEFAULT_NUMBERS = {"int2", "int4", "int8", "numeric", "float4", "float8"}
_ANY_NUMBER = NativeType(Dialect.MYSQL, "decimal", "decimal")
_UNIQUE: Mapping[str, Mapping[str, str]] = {
    "uuid": {
        "uuid": "gen_random_uuid()",
        "text": "gen_random_uuid()::text",
        "varchar": "gen_random_uuid()::text",
    },
    "uuid_to_bin uuid": {"bytea": "uuid_send(gen_random_uuid())"},
}
"""What gives a new value at every call, by the words of the call and the target's type."""


def _escape(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"')


def _postgres(sql: str) -> Expression:
    return Expression(sql, Dialect.POSTGRES)


def _plain(node: exp.Expression) -> exp.Expression:
    """Remove a character set introducer: the text is UTF-8 already."""
    return node.expression if isinstance(node, exp.Introducer) else node
