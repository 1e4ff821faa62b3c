"""MySQL expressions (defaults, checks, key parts) rewritten for PostgreSQL through sqlglot.

Only what is known to mean the same on both servers is carried over: the node and
function lists below are the whole of it. Anything else gives None, and the caller
says by name what is left behind.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from streams_engine.model import Dialect, Expression, NativeType

__all__ = ["translate", "translate_default"]

_SAFE: tuple[type[exp.Expression], ...] = (
    exp.Column,
    exp.Identifier,
    exp.Literal,
    exp.Null,
    exp.Boolean,
    exp.Paren,
    exp.Neg,
    exp.Add,
    exp.Sub,
    exp.Mul,
    exp.And,
    exp.Or,
    exp.Not,
    exp.EQ,
    exp.NEQ,
    exp.GT,
    exp.GTE,
    exp.LT,
    exp.LTE,
    exp.Is,
    exp.In,
    exp.Between,
    exp.Like,
    exp.Tuple,
    exp.Case,
    exp.If,
    exp.Coalesce,
    exp.Nullif,
    exp.Lower,
    exp.Upper,
    exp.Length,
    exp.Trim,
    exp.Abs,
    exp.Ceil,
    exp.Floor,
    exp.Greatest,
    exp.Least,
    exp.DPipe,
)

_TEXT = {"char", "varchar", "tinytext", "text", "mediumtext", "longtext"}
_SMALL = {"tinyint", "smallint", "mediumint", "int"}
_SOURCE_NUMBERS = {
    *("tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "float", "double", "year"),
}
_NOW = re.compile(
    r"^\(?\s*(?:current_timestamp|now|localtimestamp|localtime)\s*(?:\(\s*(\d*)\s*\))?\s*\)?$", re.I
)


def translate(
    expression: Expression,
    columns: Mapping[str, NativeType],
    names: Mapping[str, str],
    result: NativeType | None = None,
) -> Expression | None:
    """The expression for PostgreSQL, or None where its meaning cannot be vouched for.

    ``columns`` gives the *source* type of each column that may be named (one that became
    a boolean is left out: it is no number any more), ``names`` the target's name of each.
    With ``result``, the source type of a generated column, it must also give the very
    same values: no comparison of texts (a collation's) and no implicit casts.
    """
    try:
        tree = sqlglot.parse_one(expression.sql, dialect="mysql")
    except SqlglotError:
        return None
    tree = tree.transform(_plain)
    tree = tree.transform(lambda node: _concat(node, columns))
    if result is not None and _sort(tree, columns) != _sort_of_type(result):
        return None
    if _mixes_text(tree, columns):
        return None
    for node in tree.walk():
        if not isinstance(node, _SAFE):
            return None
        if isinstance(node, exp.Column):
            name = node.name
            if name not in columns or columns[name].name in {"bit", "set", "json"}:
                return None
            column: exp.Expression = exp.column(exp.to_identifier(names[name], quoted=True))
            counts = isinstance(node.parent, exp.Add | exp.Sub | exp.Mul | exp.Neg)
            if result is not None and counts and columns[name].name in _SMALL:
                column = exp.cast(column, "bigint")  # MySQL reckons in 64 bits
            node.replace(column)
    return Expression(tree.sql("postgres", identify=True), Dialect.POSTGRES)


def translate_default(default: Expression, target: NativeType) -> Expression | None:
    """A column default for a PostgreSQL column of type ``target``, or None."""
    sql = default.sql.strip()
    now = _NOW.match(sql)
    if now:
        stamp = f"CURRENT_TIMESTAMP({now[1]})" if now[1] else "CURRENT_TIMESTAMP"
        # Both servers give a zoneless column the wall clock of the session's time zone.
        return _postgres(stamp) if target.name in _MOMENTS else None
    try:
        tree = sqlglot.parse_one(sql, dialect="mysql").transform(_plain)
    except SqlglotError:
        return None
    if isinstance(tree, exp.Paren):
        tree = tree.this
    if isinstance(tree, exp.Null):
        return None
    if isinstance(tree, exp.CurrentDate):
        return _postgres("CURRENT_DATE") if target.name in _MOMENTS else None
    empty = _EMPTY_JSON.match(sql)
    if empty and target.name in {"json", "jsonb"}:
        return _postgres("'[]'" if empty[1].lower() == "array" else "'{}'")
    if isinstance(tree, exp.Anonymous | exp.Uuid) and "uuid" in sql.lower():
        return _postgres("gen_random_uuid()" + ("" if target.name == "uuid" else "::text"))
    found = _literal(tree, target)
    if found is None and target.name in _NUMBERS:
        computed = translate(Expression(sql, Dialect.MYSQL), {}, {})
        found = computed and _postgres(f"({computed.sql})")
    return found


def _literal(tree: exp.Expression, target: NativeType) -> Expression | None:
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
        return _postgres(str(bits)) if target.name in _NUMBERS else None
    if target.name in _NUMBERS:
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
_NUMBERS = {"int2", "int4", "int8", "numeric", "float4", "float8"}


def _escape(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"')


def _postgres(sql: str) -> Expression:
    return Expression(sql, Dialect.POSTGRES)


def _plain(node: exp.Expression) -> exp.Expression:
    """Charset introducers away: the text is UTF-8 on both ends by now."""
    return node.expression if isinstance(node, exp.Introducer) else node


def _concat(node: exp.Expression, columns: Mapping[str, NativeType]) -> exp.Expression:
    """CONCAT of texts becomes ``||``, which is immutable and has MySQL's NULL rule."""
    if not isinstance(node, exp.Concat):
        return node
    parts = list(node.expressions)
    for part in parts:
        textual = (isinstance(part, exp.Literal) and part.is_string) or (
            isinstance(part, exp.Column)
            and part.name in columns
            and columns[part.name].name in _TEXT
        )
        if not textual:
            return node
    joined = parts[0]
    for part in parts[1:]:
        joined = exp.DPipe(this=joined, expression=part)
    return exp.paren(joined)


def _sort_of_type(native: NativeType) -> str:
    if native.name in _TEXT:
        return "text"
    return "number" if native.name in _SOURCE_NUMBERS else native.name


def _sort(node: exp.Expression, columns: Mapping[str, NativeType]) -> str | None:
    """number, text, truth, null or a type's name; None where both servers may not agree."""

    def same(*parts: exp.Expression) -> str | None:
        sorts = {_sort(part, columns) for part in parts} - {"null"}
        return sorts.pop() if len(sorts) == 1 else "null" if not sorts else None

    def comparable(*parts: exp.Expression) -> str | None:
        found = same(*parts)
        return None if found in ("text", "enum") else found

    if isinstance(node, exp.Literal):
        return "text" if node.is_string else "number"
    if isinstance(node, exp.Null):
        return "null"
    if isinstance(node, exp.Column):
        return _sort_of_type(columns[node.name]) if node.name in columns else None
    if isinstance(node, exp.Paren):
        return _sort(node.this, columns)
    if isinstance(node, exp.Add | exp.Sub | exp.Mul | exp.Neg | exp.Abs | exp.Ceil | exp.Floor):
        return "number" if same(*node.iter_expressions()) == "number" else None
    if isinstance(node, exp.And | exp.Or | exp.Not):
        return "truth" if same(*node.iter_expressions()) == "truth" else None
    if isinstance(node, exp.Is):
        return "truth" if isinstance(node.expression, exp.Null) else None
    if isinstance(node, exp.Predicate):
        return "truth" if comparable(*node.iter_expressions()) else None
    if isinstance(node, exp.Nullif | exp.Greatest | exp.Least):
        return comparable(*node.iter_expressions())
    if isinstance(node, exp.Coalesce):
        return same(*node.iter_expressions())
    if isinstance(node, exp.If | exp.Case):
        tests = node.args["ifs"] if isinstance(node, exp.Case) else [node]
        if node.args.get("this") is not None and isinstance(node, exp.Case):
            return None
        if any(_sort(test.this, columns) != "truth" for test in tests):
            return None
        other = node.args.get("default") or node.args.get("false")
        return same(*(test.args["true"] for test in tests), *([other] if other else []))
    if isinstance(node, exp.Lower | exp.Upper | exp.Trim | exp.DPipe):
        return "text" if same(*node.iter_expressions()) == "text" else None
    return None


def _mixes_text(tree: exp.Expression, columns: Mapping[str, NativeType]) -> bool:
    """True where a text comparison hangs on MySQL's collation or on its implicit casts."""
    texts = _TEXT | {"enum"}
    for node in tree.find_all(exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Like, exp.Length):
        for column in node.find_all(exp.Column):
            if column.name in columns and columns[column.name].name in texts:
                return True
    return False
