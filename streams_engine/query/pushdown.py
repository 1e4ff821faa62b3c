"""The scopes of a qualified statement: which source's rows each condition leaves.

A condition goes to a source only where a row that fails it cannot have any part in the result:

- in WHERE, on any table: a comparison rejects NULL, so that it also rejects the row of NULLs that
  an outer join would put in the place of what the source left out; IS NULL does not, and goes to
  tables alone that no outer join can fill with NULLs;
- in ON, on the tables whose rows the join drops where ON does not hold;
- through a derived table or a CTE that is used once and passes the column on as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlglot import exp
from sqlglot.optimizer.scope import Scope, traverse_scope

from streams_engine.model import Sort
from streams_engine.query.predicates import (
    PushedCondition,
    condition_of,
    conjuncts,
    pushed,
    sort_of,
)
from streams_engine.query.source_request import KeyNarrowing, TableRequest

__all__ = ["narrow_down"]

PLAIN_JOINS = {"", "INNER", "CROSS", "OUTER", "SEMI", "ANTI"}
TABLE_PARTS = {"this", "alias", "db", "catalog"}


@dataclass(slots=True)
class ScopedJoin:
    """One join: the table that it adds, and whose rows its condition drops."""

    label: str
    side: str
    kind: str
    conditions: list[Any]

    def drops(self, label: str) -> bool:
        """Return whether rows of a table are dropped if ON does not hold."""
        if self.side in ("RIGHT", "FULL"):
            return False
        if self.side == "LEFT" and self.kind not in ("SEMI",):
            return label == self.label
        return label == self.label if self.kind == "ANTI" else True

    def narrows(self, by: str, label: str) -> bool:
        """Return whether the keys of ``by`` may narrow ``label``, given that ON compares them."""
        if self.side == "FULL":
            return False
        if self.side == "RIGHT":
            return by == self.label
        if self.kind == "ANTI" or (self.side == "LEFT" and self.kind != "SEMI"):
            return label == self.label
        return True


@dataclass(slots=True)
class ScopedSelect:
    """One SELECT: its tables by label, its joins, its conditions."""

    scope: Scope
    tables: dict[str, Any] = field(default_factory=dict)
    """By label: the name of a view, or the scope of a derived table or CTE."""
    joins: list[ScopedJoin] = field(default_factory=list)
    nullable: set[str] = field(default_factory=set)
    plain: bool = True
    """False: something in it makes rows depend on rows that a filter would leave out."""

    @property
    def expression(self) -> Any:
        """Its tree."""
        return self.scope.expression

    @property
    def where(self) -> list[Any]:
        """Return the conjuncts of WHERE."""
        clause = self.expression.args.get("where")
        return conjuncts(clause.this) if clause is not None else []


def narrow_down(tree: Any, asks: Mapping[str, TableRequest]) -> list[KeyNarrowing]:
    """Give each ask its filters and limit; returns whose keys may narrow which table down.

    ``tree`` is qualified: each column says its table.
    """
    analysis = _Analysis(tree, asks)
    analysis.run()
    narrowings = dict.fromkeys(analysis.narrowings)
    return [one for one in narrowings if one.by != one.view and one.fits(asks)]


class _Analysis:
    def __init__(self, tree: Any, asks: Mapping[str, TableRequest]) -> None:
        self.asks = asks
        self.narrowings: list[KeyNarrowing] = []
        scopes = [s for s in traverse_scope(tree) if isinstance(s.expression, exp.Select)]
        self.selects = {id(scope.expression): self._select(scope) for scope in scopes}
        self.uses: dict[int, int] = {}
        for select in self.selects.values():
            for source in select.tables.values():
                if isinstance(source, Scope):
                    key = id(source.expression)
                    self.uses[key] = self.uses.get(key, 0) + 1

    def run(self) -> None:
        for select in self.selects.values():
            if not select.plain:
                continue
            exact = [self._where(select, node) for node in select.where]
            for join in select.joins:
                for node in join.conditions:
                    self._on(select, join, node)
            self._limit(select, all(exact))

    # One SELECT

    def _select(self, scope: Scope) -> ScopedSelect:
        select = ScopedSelect(scope)
        for label, _ in scope.references:
            source = scope.sources.get(label)
            if isinstance(source, exp.Table):
                select.tables[label] = source.name
                used = {key for key, value in source.args.items() if value}
                select.plain &= used <= TABLE_PARTS
            elif source is not None:
                select.tables[label] = source
        expression = scope.expression
        for part in ("laterals", "pivots", "sample", "connect", "match", "prewhere"):
            select.plain &= not expression.args.get(part)
        select.plain &= len(select.tables) == len(scope.references)
        before = [_label_of_from(expression)]
        for join in expression.args.get("joins") or []:
            side, kind = join.side.upper(), join.kind.upper()
            label = join.alias_or_name
            select.plain &= kind in PLAIN_JOINS and not join.method and label in select.tables
            on = join.args.get("on")
            select.plain &= not join.args.get("using")
            select.joins.append(ScopedJoin(label, side, kind, conjuncts(on)))
            if side in ("LEFT", "FULL") and kind not in ("SEMI", "ANTI"):
                select.nullable.add(label)
            if side in ("RIGHT", "FULL"):
                select.nullable |= set(before)
            before.append(label)
        return select

    # Conditions

    def _where(self, select: ScopedSelect, node: Any) -> bool:
        """Hand a conjunct of WHERE on; whether the source keeps exactly what it keeps."""
        condition = condition_of(node)
        if condition is not None:
            label = condition.column.table
            if condition.rejects_null or label not in select.nullable:
                return self._give(select, label, condition)
            return False
        for pair in _equal(node):
            self._narrowing(select, *pair)
        self._within(select, node)
        return False

    def _on(self, select: ScopedSelect, join: ScopedJoin, node: Any) -> None:
        condition = condition_of(node)
        if condition is not None:
            label = condition.column.table
            raw = condition.rejects_null or label == join.label
            if raw and join.drops(label):
                self._give(select, label, condition)
            return
        for by, rows in _equal(node):
            if join.narrows(by.table, rows.table):
                self._narrowing(select, by, rows)

    def _give(self, select: ScopedSelect, label: str, condition: PushedCondition) -> bool:
        source = select.tables.get(label)
        if isinstance(source, str):
            ask = self.asks.get(source)
            column = ask and ask.by_name.get(condition.column.name.lower())
            pushed_filter = pushed(condition, column) if column else None
            if ask is None or pushed_filter is None:
                return False
            ask.add(pushed_filter[0])
            return pushed_filter[1]
        if source is not None:
            self._through(source, condition)
        return False

    def _through(self, scope: Scope, condition: PushedCondition) -> None:
        """Hand a condition on a derived table's column to the table that the column is of."""
        inner = self.selects.get(id(scope.expression))
        if inner is None or not inner.plain or self.uses.get(id(scope.expression)) != 1:
            return
        if not _passes_rows_on(inner.expression):
            return
        for projection in inner.expression.selects:
            column = projection.unalias()
            if projection.alias_or_name == condition.column.name and isinstance(column, exp.Column):
                label = column.table
                if condition.rejects_null or label not in inner.nullable:
                    moved = PushedCondition(
                        column, condition.operator, condition.values, condition.kinds
                    )
                    self._give(inner, label, moved)

    def _within(self, select: ScopedSelect, node: Any) -> None:
        """Use ``a.id IN (SELECT b.id FROM b ...)``: the keys of b narrow a."""
        query = node.args.get("query") if isinstance(node, exp.In) else None
        inner = self.selects.get(id(query.unnest())) if query is not None else None
        column = node.this.unnest() if inner is not None else None
        if inner is None or not isinstance(column, exp.Column) or not inner.plain:
            return
        projections = inner.expression.selects
        keys = projections[0].unalias() if len(projections) == 1 else None
        if isinstance(keys, exp.Column) and keys.table in inner.tables:
            self._edge(inner.tables.get(keys.table), keys, select.tables.get(column.table), column)

    def _narrowing(self, select: ScopedSelect, by: exp.Column, rows: exp.Column) -> None:
        self._edge(select.tables.get(by.table), by, select.tables.get(rows.table), rows)

    def _edge(self, by: Any, keys: exp.Column, view: Any, column: exp.Column) -> None:
        if by in self.asks and view in self.asks:
            self.narrowings.append(KeyNarrowing(by, keys.name.lower(), view, column.name.lower()))

    # LIMIT

    def _limit(self, select: ScopedSelect, exact: bool) -> None:
        """Push a LIMIT to the only table of a SELECT if the source applies its conditions
        exactly."""
        expression = select.expression
        limit, offset = expression.args.get("limit"), expression.args.get("offset")
        if limit is None or not exact or len(select.tables) != 1 or select.joins:
            return
        (source,) = select.tables.values()
        rows, skipped = _count(limit), 0 if offset is None else _count(offset)
        ask = self.asks.get(source) if isinstance(source, str) else None
        if ask is None or rows is None or skipped is None or not _keeps_rows(expression):
            return
        sorts = _sorts(expression, ask)
        if sorts is not None:
            ask.sorts, ask.limit = sorts, rows + skipped


def _label_of_from(expression: Any) -> str:
    clause = expression.args.get("from_") or expression.args.get("from")
    return str(clause.this.alias_or_name) if clause is not None else ""


def _equal(node: Any) -> Iterator[tuple[exp.Column, exp.Column]]:
    """Yield both directions of an equality of two columns."""
    if isinstance(node, exp.EQ):
        left, right = node.left.unnest(), node.right.unnest()
        if isinstance(left, exp.Column) and isinstance(right, exp.Column):
            yield left, right
            yield right, left


def _keeps_rows(expression: Any) -> bool:
    """Return True if each row of the table makes one row: there is no aggregation and no other step
    that adds or merges rows."""
    for part in ("group", "having", "distinct", "qualify", "windows"):
        if expression.args.get(part):
            return False
    gathering = (exp.AggFunc, exp.Window, exp.Unnest, exp.Explode, exp.Subquery, exp.Exists)
    return expression.find(*gathering) is None


def _passes_rows_on(expression: Any) -> bool:
    """Return True if a filter on the result is the same filter on its rows."""
    limited = expression.args.get("limit") or expression.args.get("offset")
    return (
        not limited
        and all(
            projection.find(exp.AggFunc, exp.Window, exp.Unnest, exp.Explode) is None
            for projection in expression.selects
        )
        and not any(
            expression.args.get(part)
            for part in ("group", "having", "distinct", "qualify", "windows")
        )
    )


def _count(node: Any) -> int | None:
    literal = node.expression
    if any(value for key, value in node.args.items() if key != "expression"):
        return None  # a share, or WITH TIES
    if isinstance(literal, exp.Literal) and not literal.is_string and str(literal.this).isdigit():
        return int(literal.this)
    return None


def _sorts(expression: Any, ask: TableRequest) -> list[Sort] | None:
    """Return the order of a LIMIT for the source; None if the source could order differently."""
    order = expression.args.get("order")
    sorts: list[Sort] = []
    terms: Sequence[Any] = order.expressions if order is not None else ()
    outputs = {one.alias_or_name: one.unalias() for one in expression.selects}
    for term in terms:
        column = term.this.unnest()
        if isinstance(column, exp.Column) and not column.table:
            column = outputs.get(column.name)
        known = ask.by_name.get(column.name.lower()) if isinstance(column, exp.Column) else None
        if known is None or known.nullable:
            return None
        if sort_of(known) not in ("integer", "decimal", "date", "moment", "instant"):
            return None  # texts by their collation, NULLs first or last
        if sort_of(known) in ("date", "moment", "instant") and known.type.dialect == "mysql":
            return None  # zero dates become NULL
        if sort_of(known) == "decimal" and known.type.dialect == "postgres":
            return None  # NaN
        sorts.append(Sort(known.name, bool(term.args.get("desc"))))
    return sorts
