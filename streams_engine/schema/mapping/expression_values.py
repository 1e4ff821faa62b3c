"""Parts of expressions, the kinds of their values, and which kinds two servers compare alike."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp

__all__ = [
    "EXACT_NUMBERS",
    "NUMBERS",
    "ExpressionValue",
    "UncertainKindError",
    "alike",
    "apart",
    "demand_comparable",
    "operand",
    "reckoned",
    "take_only",
]

EXACT_NUMBERS = {"integer", "decimal"}
NUMBERS = {*EXACT_NUMBERS, "float"}
DAY = re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$")
MOMENT = re.compile(DAY.pattern.rstrip("$") + r"( ([01]\d|2[0-3]):[0-5]\d:[0-5]\d)?$")
LARGEST_SCALE, LARGEST_PRECISION = 30, 65
"""Beyond them MySQL rounds the result of exact arithmetic."""


class UncertainKindError(Exception):
    """Both servers may not agree about the expression."""


@dataclass(frozen=True, slots=True)
class ExpressionValue:
    """A part of an expression as PostgreSQL writes it, and what kind of value it gives.

    Kinds: integer, decimal, float, text, truth, null, day, moment, enum, and literal (a text
    that takes the kind of what it is compared with).
    """

    tree: exp.Expression
    kind: str
    precision: int = 0
    scale: int = 0
    exact_text: bool = False
    """A text whose equality is that of its bytes."""
    labels: tuple[str, ...] = ()
    plain_number: bool = False
    """An integer column: as a text it is its digits."""


def take_only(node: exp.Expression, *names: str) -> None:
    """Raise where the node says more than these arguments."""
    flags = {"safe", "coalesce", "ignore_nulls"}
    if any(value for name, value in node.args.items() if name not in (*names, *flags)):
        raise UncertainKindError(type(node).__name__)


def apart(tree: exp.Expression) -> exp.Expression:
    return tree if isinstance(tree, exp.Column | exp.Paren) else exp.paren(tree)


def reckoned(
    node: exp.Expression, left: ExpressionValue, right: ExpressionValue
) -> tuple[str, int, int]:
    """Return kind, precision and scale of +, - and * of two exact numbers.

    Raises `UncertainKindError` if MySQL would round the result.
    """
    if not {left.kind, right.kind} <= EXACT_NUMBERS:
        raise UncertainKindError("numbers that are not exact")
    if isinstance(node, exp.Mul):
        precision, scale = left.precision + right.precision, left.scale + right.scale
    else:
        scale = max(left.scale, right.scale)
        precision = max(left.precision - left.scale, right.precision - right.scale) + scale + 1
    if scale > LARGEST_SCALE or precision > LARGEST_PRECISION:
        raise UncertainKindError("MySQL rounds it")
    return ("decimal" if scale else "integer"), precision, scale


def demand_comparable(*values: ExpressionValue, order: bool) -> None:
    """Raise where both servers may not agree about the comparison."""
    kinds = {value.kind for value in values} - {"null"}
    if kinds <= NUMBERS:
        return
    if kinds == {"truth"} and not order:
        return
    literals = [str(value.tree.this) for value in values if value.kind == "literal"]
    if kinds == {"literal"}:
        raise UncertainKindError("the collation decides")
    if kinds <= {"text", "literal"}:
        if order or not all(value.exact_text for value in values):
            raise UncertainKindError("the collation decides")
        return
    if kinds <= {"enum", "literal"} and not order:
        enums = [value for value in values if value.kind == "enum"]
        if len(enums) == 1 and all(text in enums[0].labels for text in literals):
            return
    for kind, pattern in (("day", DAY), ("moment", MOMENT)):
        if kinds <= {kind, "literal"} and all(map(pattern.match, literals)):
            return
    raise UncertainKindError("kinds that MySQL converts")


def operand(node: exp.Expression) -> exp.Expression:
    """Return the operand if it reads the same under every server's operator precedence. Raises
    `UncertainKindError` otherwise."""
    if isinstance(node, exp.Predicate | exp.Connector | exp.Not):
        raise UncertainKindError("precedence")
    return node


def alike(values: Sequence[ExpressionValue]) -> ExpressionValue:
    """Combine values of one kind; the tree is of no meaning."""
    kinds = {value.kind for value in values} - {"null"}
    if not kinds:
        raise UncertainKindError("only NULL")
    if kinds <= {"text", "literal"}:
        return ExpressionValue(exp.Null(), "text", exact_text=all(v.exact_text for v in values))
    if kinds <= EXACT_NUMBERS:
        scale = max(value.scale for value in values)
        precision = max(value.precision - value.scale for value in values) + scale
        return ExpressionValue(
            exp.Null(), "decimal" if "decimal" in kinds else "integer", precision, scale
        )
    raise UncertainKindError("kinds that MySQL converts")
