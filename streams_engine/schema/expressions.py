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
from streams_engine.schema.expression_values import (
    EXACT_NUMBERS,
    UnsureError,
    Value,
    alike,
    apart,
    demand_comparable,
    operand,
    reckoned,
    take_only,
)

__all__ = ["RULES", "Rule", "translate", "translate_default"]

_TEXT = {"char", "varchar", "tinytext", "text", "mediumtext", "longtext"}
_INTEGERS = {"tinyint", "smallint", "mediumint", "int", "bigint"}
_EXACT_TEXT = re.compile(r"_(0900_bin|nopad_bin)$")
"""Collations that compare texts byte for byte, trailing blanks included, as PostgreSQL does."""
_NOW = re.compile(
    r"^\(?\s*(?:current_timestamp|now|localtimestamp|localtime)\s*(?:\(\s*(\d*)\s*\))?\s*\)?$", re.I
)


@dataclass(frozen=True, slots=True)
class Rule:
    """How some nodes are carried over.

    ``samples`` are pairs of a column type and an expression over the columns of the tests' table;
    without a type the expression is a condition.
    """

    nodes: tuple[type[exp.Expression], ...]
    carry: Callable[[_Translation, Any], Value]
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

    def value(self, node: Any) -> Value:
        if self.near and isinstance(node, exp.Lower | exp.Upper):
            return Value(type(node)(this=_text_of(self.value(node.this))), "text")
        rule = _BY_NODE.get(type(node))
        if rule is None:
            raise UnsureError(type(node).__name__)
        return rule.carry(self, node)

    def values(self, nodes: Sequence[Any]) -> list[Value]:
        return [self.value(node) for node in nodes]


# Leaves


def _column(at: _Translation, node: exp.Column) -> Value:
    take_only(node, "this")
    column = at.columns.get(node.name)
    if column is None:
        raise UnsureError("column")
    native = column.type
    tree = exp.column(exp.to_identifier(at.names[node.name], quoted=True))
    if native.name in _TEXT:
        binary = bool(_EXACT_TEXT.search(column.collation or ""))
        return Value(tree, "text", exact_text=binary)
    if native.name in _INTEGERS:
        plain = "zerofill" not in native.text.lower()
        return Value(tree, "integer", precision=20, plain_number=plain)
    if native.name == "decimal":
        precision, scale = (*native.args, 0, 0)[:2] if native.args else (10, 0)
        return Value(tree, "decimal", precision=precision, scale=scale)
    if native.name == "double":
        return Value(tree, "float")
    if native.kind is TypeKind.ENUM:
        return Value(tree, "enum", labels=native.labels)
    if at.conditions and native.name in ("date", "datetime"):
        return Value(tree, {"date": "day", "datetime": "moment"}[native.name])
    raise UnsureError(native.name)


def _literal(at: _Translation, node: exp.Literal) -> Value:
    text = str(node.this)
    if node.is_string:
        return Value(exp.Literal.string(text), "literal", exact_text=True)
    if not re.fullmatch(r"\d+(\.\d+)?", text):
        raise UnsureError("a number in floating point")
    whole, _, fraction = text.partition(".")
    kind = "decimal" if fraction else "integer"
    return Value(exp.Literal.number(text), kind, len(whole) + len(fraction), len(fraction))


def _introduced(at: _Translation, node: exp.Introducer) -> Value:
    """A literal with its character set: by now the text is UTF-8 on both ends."""
    value = at.value(node.expression)
    text = str(value.tree.this)
    charset = str(node.this).lower()
    if charset not in ("_utf8mb4", "_utf8mb3", "_utf8", "_ascii") and not text.isascii():
        raise UnsureError("a literal in another character set")
    if charset in ("_utf16", "_utf16le", "_utf32", "_ucs2", "_binary"):
        raise UnsureError("a literal in another character set")
    return value


def _null(at: _Translation, node: exp.Null) -> Value:
    return Value(exp.Null(), "null")


def _paren(at: _Translation, node: exp.Paren) -> Value:
    inner = at.value(node.this)
    tree = inner.tree if isinstance(inner.tree, exp.Paren) else exp.paren(inner.tree)
    return replace(inner, tree=tree)


# Numbers


def _numeric(value: Value) -> exp.Expression:
    """MySQL reckons in 64 bits or in decimals, and here nothing may overflow earlier."""
    if value.kind == "integer" and not isinstance(value.tree, exp.Literal):
        return exp.cast(value.tree, "decimal")
    return value.tree


def _reckoned(at: _Translation, node: Any) -> Value:
    left, right = at.value(node.this), at.value(node.expression)
    kind, precision, scale = reckoned(node, left, right)
    tree: Any = type(node)(this=_numeric(left), expression=_numeric(right))
    return Value(tree, kind, precision, scale)


def _rounded(at: _Translation, node: exp.Expression) -> Value:
    """-, ABS, CEILING, FLOOR."""
    take_only(node, "this")
    inner = at.value(node.this)
    if inner.kind not in EXACT_NUMBERS:
        raise UnsureError("no exact number")
    tree = type(node)(this=_numeric(inner))
    if isinstance(node, exp.Ceil | exp.Floor):
        return Value(tree, "integer", inner.precision + 1)
    return Value(tree, inner.kind, inner.precision, inner.scale)


def _extreme(at: _Translation, node: exp.Greatest | exp.Least) -> Value:
    """NULL where any part is NULL; PostgreSQL passes NULLs over."""
    take_only(node, "this", "expressions")
    parts = at.values([node.this, *node.expressions])
    if not {part.kind for part in parts} <= EXACT_NUMBERS:
        raise UnsureError("no exact numbers")
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
        return Value(exp.paren(case), kind, precision, scale)
    return Value(tree, kind, precision, scale)


# Conditions


def _compared(at: _Translation, node: exp.Binary) -> Value:
    left, right = at.values([operand(node.this), operand(node.expression)])
    demand_comparable(left, right, order=not isinstance(node, exp.EQ | exp.NEQ))
    tree: Any = type(node)(this=left.tree, expression=right.tree)
    return Value(tree, "truth")


def _between(at: _Translation, node: exp.Between) -> Value:
    take_only(node, "this", "low", "high")
    parts = at.values([operand(node.this), operand(node.args["low"]), operand(node.args["high"])])
    demand_comparable(*parts, order=True)
    this, low, high = (part.tree for part in parts)
    return Value(exp.Between(this=this, low=low, high=high), "truth")


def _in(at: _Translation, node: exp.In) -> Value:
    take_only(node, "this", "expressions")
    parts = at.values([operand(node.this), *map(operand, node.expressions)])
    demand_comparable(*parts, order=False)
    return Value(exp.In(this=parts[0].tree, expressions=[p.tree for p in parts[1:]]), "truth")


def _is_null(at: _Translation, node: exp.Is) -> Value:
    if not isinstance(node.expression, exp.Null):
        raise UnsureError("IS")
    inner = at.value(operand(node.this))
    if inner.kind in ("day", "moment"):
        # Of a zero date in a column that is NOT NULL, MySQL says that it is NULL.
        raise UnsureError("a zero date")
    return Value(exp.Is(this=apart(inner.tree), expression=exp.Null()), "truth")


def _joined(at: _Translation, node: exp.And | exp.Or) -> Value:
    parts = at.values([node.this, node.expression])
    if {part.kind for part in parts} != {"truth"}:
        raise UnsureError("no conditions")
    return Value(type(node)(this=parts[0].tree, expression=parts[1].tree), "truth")


def _not(at: _Translation, node: exp.Not) -> Value:
    inner = at.value(node.this)
    if inner.kind != "truth":
        raise UnsureError("no condition")
    return Value(exp.Not(this=inner.tree), "truth")


# Choices


def _coalesce(at: _Translation, node: exp.Coalesce) -> Value:
    take_only(node, "this", "expressions")
    parts = at.values([node.this, *node.expressions])
    tree = exp.Coalesce(this=parts[0].tree, expressions=[part.tree for part in parts[1:]])
    return replace(alike(parts), tree=tree)


def _nullif(at: _Translation, node: exp.Nullif) -> Value:
    take_only(node, "this", "expression")
    parts = at.values([node.this, node.expression])
    demand_comparable(*parts, order=False)
    tree = exp.Nullif(this=parts[0].tree, expression=parts[1].tree)
    return replace(alike(parts[:1]), tree=tree)


def _case(at: _Translation, node: exp.Case | exp.If) -> Value:
    take_only(
        node, *(("ifs", "default") if isinstance(node, exp.Case) else ("this", "true", "false"))
    )
    tests = node.args["ifs"] if isinstance(node, exp.Case) else [node]
    conditions = at.values([test.this for test in tests])
    results = at.values([test.args["true"] for test in tests])
    other = node.args.get("default") or node.args.get("false")
    otherwise = at.value(other) if other is not None else None
    if any(condition.kind != "truth" for condition in conditions):
        raise UnsureError("no condition")
    tree = exp.Case(
        ifs=[
            exp.If(this=condition.tree, true=result.tree)
            for condition, result in zip(conditions, results, strict=True)
        ],
        default=otherwise and otherwise.tree,
    )
    return replace(alike([*results, *([otherwise] if otherwise else [])]), tree=tree)


# Texts


def _text_of(value: Value) -> exp.Expression:
    if value.plain_number:
        return exp.cast(value.tree, "text")
    if value.kind not in ("text", "literal"):
        raise UnsureError("no text")
    return apart(value.tree) if not isinstance(value.tree, exp.Literal) else value.tree


def _chained(parts: Sequence[exp.Expression]) -> exp.Expression:
    """``a || b || c``, which is immutable and NULL where any part is."""
    if isinstance(parts[0], exp.Literal):
        parts = [exp.cast(parts[0], "text"), *parts[1:]]
    tree = parts[0]
    for part in parts[1:]:
        tree = exp.DPipe(this=tree, expression=part)
    return exp.paren(tree)


def _concat(at: _Translation, node: exp.Concat) -> Value:
    take_only(node, "expressions")
    return Value(_chained([_text_of(part) for part in at.values(node.expressions)]), "text")


def _concat_ws(at: _Translation, node: exp.ConcatWs) -> Value:
    """NULLs are passed over with their separator; PostgreSQL's own function is not immutable."""
    take_only(node, "expressions")
    separator, *parts = at.values(node.expressions)
    if separator.kind != "literal" or not parts:
        raise UnsureError("a separator that is no literal")
    pieces: list[exp.Expression] = []
    for part in parts:
        absent = exp.Is(this=apart(part.tree), expression=exp.Null())
        piece = _chained([separator.tree, _text_of(part)])
        empty = exp.If(this=absent, true=exp.Literal.string(""))
        pieces.append(exp.paren(exp.Case(ifs=[empty], default=piece)))
    start = exp.Literal.number(len(str(separator.tree.this)) + 1)
    return Value(exp.Anonymous(this="substr", expressions=[_chained(pieces), start]), "text")


def _characters(at: _Translation, node: exp.Length) -> Value:
    """CHAR_LENGTH. (LENGTH counts bytes of the source's character set.)"""
    take_only(node, "this")
    inner = at.value(node.this)
    return Value(exp.Length(this=_text_of(inner)), "integer", 20)


def _trim(at: _Translation, node: exp.Trim) -> Value:
    """Blanks alone: of more than one character both servers think differently."""
    take_only(node, "this", "position")
    inner = at.value(node.this)
    position = node.args.get("position") or "BOTH"
    name = {"BOTH": "btrim", "LEADING": "ltrim", "TRAILING": "rtrim"}[str(position)]
    return Value(exp.Anonymous(this=name, expressions=[_text_of(inner)]), "text")


_BIG = "decimal(40,6)"

RULES: tuple[Rule, ...] = (
    Rule((exp.Column,), _column, (
        ("varchar(30)", "t"), ("char(10)", "c"), ("longtext", "x"), ("bigint", "i"),
        ("decimal(20,0)", "ub"), ("int", "d"), ("decimal(10,1)", "d"), ("decimal(12,5)", "d"),
        (None, "en = 'b'"), (None, "fl >= 0.5"),
    )),
    Rule((exp.Literal,), _literal, (
        ("varchar(30)", "concat('it''s \"é\" %', t)"), ("int", "i * 0 + 7"),
        (_BIG, "d + 1.250"), (None, "i > 2147483648"), (None, "fl < 0.1"),
    )),
    Rule((exp.Introducer,), _introduced, (("varchar(40)", "concat(t, _utf8mb4'ä')"),)),
    Rule((exp.Null,), _null, (("int", "if(i > 0, 1, NULL)"), (None, "i in (1, NULL)"))),
    Rule((exp.Paren,), _paren, ((_BIG, "(i + s) * (d - 1)"), (None, "(i > 0)"))),
    Rule((exp.Add, exp.Sub, exp.Mul), _reckoned, (
        ("bigint", "i + s"), (_BIG, "d - i"), (_BIG, "big * i"), (_BIG, "d * d"),
        (_BIG, "ub + 7"), (_BIG, "i - s - 3"), (_BIG, "i - (s - 3)"), ("int", "s * d"),
    )),
    Rule((exp.Neg, exp.Abs, exp.Ceil, exp.Floor), _rounded, (
        ("bigint", "-i"), (_BIG, "-d"), (_BIG, "abs(d)"), ("bigint", "abs(i)"),
        ("bigint", "ceiling(d)"), ("bigint", "floor(d)"), (_BIG, "ceiling(big)"),
        (_BIG, "abs(-big)"), (_BIG, "floor(-d)"),
    )),
    Rule((exp.Greatest, exp.Least), _extreme, (
        ("int", "greatest(i, s)"), ("int", "least(i, s)"), (_BIG, "least(i, d, 2)"),
        ("int", "least(i, ifnull(s, 5))"), (_BIG, "greatest(d * 2, big, -1)"),
    )),
    Rule((exp.EQ, exp.NEQ), _compared, (
        (None, "i = s"), (None, "d <> 0"), (None, "tb = 'abc'"), (None, "tb = t2"),
        (None, "en <> 'C'"), (None, "big = d"), (None, "(i is null) = (s is null)"),
        (None, "tb <> ''"), (None, "da = '2020-02-29'"), (None, "cb = 'a'"),
    )),
    Rule((exp.GT, exp.GTE, exp.LT, exp.LTE), _compared, (
        (None, "i > s"), (None, "d >= 0.5"), (None, "ub < 9223372036854775808"), (None, "i <= d"),
        (None, "da > '2020-01-01'"), (None, "dt >= '2020-01-01'"),
        (None, "dt < '2020-01-01 10:00:00'"), (None, "fl > 0"), (None, "fl <= d"),
    )),
    Rule((exp.Between,), _between, (
        (None, "i between -1 and 5"), (None, "d not between 0 and 1.5"),
        (None, "da between '2000-01-01' and '2020-12-31'"),
    )),
    Rule((exp.In,), _in, (
        (None, "i in (1, 2, 7)"), (None, "i not in (1, 2)"), (None, "tb in ('abc', '', 'É')"),
        (None, "en in ('a', 'C')"), (None, "d in (0, 1.5)"),
    )),
    Rule((exp.Is,), _is_null, ((None, "t is null"), (None, "i is not null"),
                               (None, "(i + s) is null"))),
    Rule((exp.And, exp.Or), _joined, (
        (None, "i > 0 and s > 0"), (None, "i > 0 or s is null"), (None, "i > 0 or s > 0 and d > 0"),
        (None, "(i > 0 or s > 0) and d > 0"),
    )),
    Rule((exp.Not,), _not, ((None, "not (i > 0)"), (None, "not (i > 0 and s > 0)"))),
    Rule((exp.Coalesce,), _coalesce, (
        ("varchar(60)", "coalesce(t, x, 'none')"), ("int", "ifnull(i, 0)"),
        (_BIG, "coalesce(i, d, 0)"), ("varchar(30)", "ifnull(c, t)"),
    )),
    Rule((exp.Nullif,), _nullif, (
        ("int", "nullif(i, 0)"), (_BIG, "nullif(d, i)"), ("varchar(30)", "nullif(tb, '')"),
    )),
    Rule((exp.Case, exp.If), _case, (
        ("int", "case when i > 0 then 1 when i < 0 then -1 else 0 end"),
        ("varchar(30)", "if(t is null, 'none', t)"), ("int", "if(i > s and d > 0, i, s)"),
        ("varchar(30)", "case when en = 'a' then t end"),
    )),
    Rule((exp.Concat,), _concat, (
        ("varchar(90)", "concat(t, ' ', c)"), ("varchar(90)", "concat('[', x, ']')"),
        ("varchar(90)", "concat('No ', i, '/', ub)"), ("varchar(90)", "concat(t)"),
        ("varchar(90)", "concat(t, concat(c, x))"),
    )),
    Rule((exp.ConcatWs,), _concat_ws, (
        ("varchar(90)", "concat_ws('-', t, c)"), ("varchar(120)", "concat_ws(', ', t, c, x, i)"),
        ("varchar(90)", "concat_ws('', t, c)"), ("varchar(90)", "concat_ws('é-', t, 'x')"),
    )),
    Rule((exp.Length,), _characters, (
        ("int", "char_length(t)"), ("int", "char_length(c)"),
        ("int", "char_length(concat(t, 'é'))"), (None, "char_length(x) > 2"),
    )),
    Rule((exp.Trim,), _trim, (
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
    """The expression for PostgreSQL, or None where its meaning cannot be vouched for.

    ``columns`` are the *source's* columns that may be named (one that became another kind of
    value on the target is left out: a boolean is no number any more), ``names`` the target's name
    of each. With ``result``, the source type of a generated column, the value must be of its kind.
    ``conditions``: it is one, as a check is. ``near``: it gives no values and forbids none (an
    index that is not unique).
    """
    try:
        text = expression.sql.replace("\\'", "''")
        if "\\" in text:  # what it means in a literal hangs on modes
            return None
        tree = _parsed(text)
        value = _Translation(columns, names, conditions, near).value(tree)
    except (SqlglotError, UnsureError):
        return None
    if conditions and value.kind != "truth":
        return None
    if result is not None and not _assignable(value, result):
        return None
    sql = value.tree.sql("postgres", identify=True)
    return Expression(sql, Dialect.POSTGRES, source=expression.sql)


def _parsed(text: str) -> exp.Expression:
    """One expression. (By itself REPLACE(...) would be taken for the statement.)"""
    select = sqlglot.parse_one(f"SELECT {text}", dialect="mysql")
    expressions = select.args.pop("expressions", [])
    if not isinstance(select, exp.Select) or len(expressions) != 1 or any(select.args.values()):
        raise UnsureError("no expression")
    tree: exp.Expression = expressions[0]
    return tree


def _assignable(value: Value, result: NativeType) -> bool:
    """True where a column of this type takes the value as it is (rounded alike at most)."""
    if result.name in _TEXT:
        return value.kind in ("text", "literal")
    return result.name in {*_INTEGERS, "decimal"} and value.kind in EXACT_NUMBERS


def translate_default(default: Expression, target: NativeType) -> Expression | None:
    """A column default for a PostgreSQL column of type ``target``, or None."""
    found = _default(default, target)
    return found and replace(found, source=default.sql)


def _default(default: Expression, target: NativeType) -> Expression | None:
    sql = default.sql.strip()
    now = _NOW.match(sql)
    if now:
        stamp = f"CURRENT_TIMESTAMP({now[1]})" if now[1] else "CURRENT_TIMESTAMP"
        # Both servers give a zoneless column the wall clock of the session's time zone.
        return _postgres(stamp) if target.name in _MOMENTS else None
    try:
        tree = _parsed(sql).transform(_plain)
    except (SqlglotError, UnsureError):
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
    found = _literal_default(tree, target)
    if found is None and target.name in _DEFAULT_NUMBERS:
        computed = translate(Expression(sql, Dialect.MYSQL), {}, {}, _ANY_NUMBER)
        found = computed and _postgres(f"({computed.sql})")
    return found


def _literal_default(tree: exp.Expression, target: NativeType) -> Expression | None:
    """A literal default in the notation of ``target``."""
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
    if target.name in {"date", "timestamp", "timestamptz"} and re.search(r"0000|-00", value):
        return None
    if target.name == "bytea":
        return _postgres(f"'\\x{value.encode().hex()}'::bytea")
    if target.name == "timestamptz":
        value += "+00"
    if target.name == "_text":
        quoted = ",".join('"' + _escape(label) + '"' for label in value.split(",") if label)
        value = "{" + quoted + "}"
    return _postgres(exp.Literal.string(sign + value).sql("postgres"))


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
    """Charset introducers away: the text is UTF-8 on both ends by now."""
    return node.expression if isinstance(node, exp.Introducer) else node
