"""One table that is followed: how its log changes become changes of its target table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streams_engine.changes import ChangeBatch, LoggedChanges, Op, Tracked
from streams_engine.errors import ConfigError, RowRejected, TargetConflict
from streams_engine.model import Dialect, Index, Position, TableSchema
from streams_engine.protocols import Rejected
from streams_engine.row_text import row_texts
from streams_engine.runtime.compaction import Changes, Shape
from streams_engine.schema.mapping import ColumnMapping, TableMapping
from streams_engine.schema.relaxation import relaxable
from streams_engine.schema.values import BadRows, Converter

__all__ = ["Followed", "Relax", "demand_logged", "follow", "in_log_form", "operations_of"]


class Relax(Exception):
    """Columns of the target have to hold more than they do before the log can go on."""

    def __init__(self, followed: Followed, columns: tuple[str, ...]) -> None:
        super().__init__(columns)
        self.followed = followed
        self.columns = columns


def demand_logged(mapping: TableMapping) -> None:
    """Raise `TargetConflict` where a column would be written that the log does not carry.

    pgoutput leaves generated columns out: a plain column on the target would keep old values.
    """
    for column in mapping.columns:
        source = column.source
        if source.generated is None or mapping.source.dialect is not Dialect.POSTGRES:
            continue
        where = f"{mapping.source.id}.{source.name}"
        raise TargetConflict(
            f"The column {where} is generated as ({source.generated.sql}): PostgreSQL's log does "
            "not hold its values, and the target does not compute it.",
            remedy="Leave it out (selectedColumns with the other columns, or initialLoad: false "
            f"into a table without it), or make {mapping.target.id}.{column.target.name} a "
            "generated column on the target before the stream starts.",
            column=where,
        )


@dataclass(slots=True)
class Followed:
    """What is known of a table while its log is read."""

    mapping: TableMapping
    tracked: Tracked
    shape: Shape
    operations: frozenset[Op]
    quarantine: bool
    _after: Converter
    _before: Converter
    cascades: tuple[bool, bool] = (False, False)
    """Whether foreign keys of others act on its deletes, and on changes of its keys, without a
    trace in the log."""
    relaxable: frozenset[str] = frozenset()
    """The source columns that can be made to hold a value that they do not hold now."""
    replaced: dict[str, int] = field(default_factory=dict)
    """Zero dates that became NULL, by column."""

    def changes(
        self, batch: ChangeBatch, rejected: list[Rejected]
    ) -> tuple[Changes, np.ndarray] | None:
        """The batch in the target's types, and its order, without operations not wanted.

        Rows that fit no target value go to ``rejected``; raises `RowRejected` where they may
        not be set aside, and `Relax` where the target's columns can be made to hold them. None
        where nothing is left.
        """
        after, bad, replaced = self._after(batch.after)
        self._demand_held(batch, bad)
        for column, count in replaced.items():
            self.replaced[column] = self.replaced.get(column, 0) + count
        before = None
        if batch.before is not None:
            before, bad_keys, _ = self._before(batch.before)
            if bad_keys:
                raise self._refused(bad_keys[0])
        names = {c.source.name: c.target.name for c in self.mapping.columns}
        missing = {names[name]: mask for name, mask in batch.missing.items() if name in names}
        changes = Changes(batch.op, after, before, missing)
        keep = self._kept(batch, bad, rejected)
        if keep is None:
            return changes, batch.seq
        return (changes.only(keep), batch.seq[keep]) if keep.any() else None

    def _demand_held(self, batch: ChangeBatch, bad: Sequence[BadRows]) -> None:
        """Raise `Relax` with the columns that have to hold more than they do."""
        wanted = self._wanted(batch) & (batch.op != Op.DELETE)
        columns = [r.column for r in bad if r.column in self.relaxable and (r.mask & wanted).any()]
        if columns:
            raise Relax(self, tuple(columns))

    def _wanted(self, batch: ChangeBatch) -> np.ndarray:
        """The changes whose operation is wanted."""
        if len(self.operations) == len(Op):
            return np.ones(batch.rows, bool)
        return np.isin(batch.op, list(self.operations))

    def logged(self, changes: Changes, seq: np.ndarray) -> LoggedChanges:
        """The changes for a target that keeps the log."""
        names = {c.source.name: c.target.name for c in self.mapping.columns}
        return LoggedChanges(
            self.shape.table,
            self.shape.columns,
            tuple(names[name] for name in self.tracked.identity),
            changes.op,
            seq,
            changes.after,
            changes.before,
            changes.missing,
        )

    def acting(self, batch: ChangeBatch) -> list[tuple[int, int]]:
        """The runs (first seq, seq after the last) of changes that foreign keys answered.

        Only where the log does not carry what they did.
        """
        deletes, updates = self.cascades
        if not (deletes or updates):
            return []
        acts = (batch.op == Op.DELETE) if deletes else np.zeros(batch.rows, bool)
        if updates and batch.before is not None:
            acts |= (batch.op == Op.UPDATE) & _differs(batch.before, batch.after)
        if batch.unchecked is not None:
            acts &= ~batch.unchecked
        places = np.flatnonzero(acts)
        if not len(places):
            return []
        kinds, seq = batch.op[places], batch.seq[places]
        breaks = (np.diff(seq) != 1) | (kinds[1:] != Op.DELETE) | (kinds[:-1] != Op.DELETE)
        groups = np.split(seq, np.flatnonzero(breaks) + 1)
        return [(int(group[0]), int(group[-1]) + 1) for group in groups]

    def _kept(
        self, batch: ChangeBatch, bad: Sequence[BadRows], rejected: list[Rejected]
    ) -> np.ndarray | None:
        """The rows to go on with; None: all of them."""
        keep = self._wanted(batch) if len(self.operations) < len(Op) else None
        for rows in bad:
            # A deleted row has no values, and none that could be bad.
            mask = rows.mask & (batch.op != Op.DELETE) & self._wanted(batch)
            if not mask.any():
                continue
            if not self.quarantine:
                raise self._refused(rows)
            keep = np.ones(batch.rows, bool) if keep is None else keep
            rejected += [self._rejected(batch, int(i), rows) for i in np.flatnonzero(mask & keep)]
            keep &= ~mask
        return keep

    def _refused(self, rows: BadRows) -> RowRejected:
        table = self.mapping.source.id
        return RowRejected(
            f"A change of {table} cannot be applied: column {rows.column}: {rows.reason}.",
            remedy="Choose another type (options.typeOverrides), another zeroDates policy, or "
            "onError: quarantine.",
            table=str(table),
            column=rows.column,
        )

    def _rejected(self, batch: ChangeBatch, index: int, rows: BadRows) -> Rejected:
        reason = f"column {rows.column}: {rows.reason}"
        return Rejected(self.mapping.source.id, reason, "POLICY", _shown(batch, index))

    def refused(self, batch: ChangeBatch, index: int, error: RowRejected) -> Rejected:
        """A change that the target refused, to be set aside."""
        code = error.details.get("sqlstate") or error.details.get("errno") or "RANGE"
        reason = f"{Op(batch.op[index]).name}: {error.message}"
        return Rejected(self.mapping.source.id, reason, str(code), _shown(batch, index))


def follow(
    mapping: TableMapping,
    schema: TableSchema,
    identity: tuple[str, ...],
    watched: tuple[str, ...],
    since: Position | None,
    *,
    zero_dates: str,
    quarantine: bool,
    operations: frozenset[Op],
    cascades: tuple[bool, bool] = (False, False),
    relaxes: bool = False,
) -> Followed:
    """A table that is followed from a position on.

    ``schema`` is the source's own, whole; ``watched`` are columns whose old values are wanted
    beside those of ``identity``. ``relaxes``: the target's columns may be made to hold more than
    they do. Raises `ConfigError` where the key is not among the columns
    that are moved.
    """
    mapping = in_log_form(mapping)
    by_name = {c.source.name: c for c in mapping.columns}
    left_out = [name for name in identity if name not in by_name]
    keyed = _is_key(schema, identity)
    if left_out and keyed:
        raise ConfigError(
            f"{mapping.source.id}: the columns {', '.join(left_out)} are of its key and are not "
            "selected.",
            path="$.source.connections[*].tables[*].selection.selectedColumns",
            remedy="Select the key's columns too: changes are applied by them.",
        )
    old = [by_name[name] for name in (*identity, *watched) if name in by_name]
    columns = tuple(c.target for c in mapping.columns)
    key = tuple(by_name[name].target.name for name in identity) if keyed else ()
    # A log knows no aliases.
    extract = replace(mapping.extract(), table=schema.id)
    return Followed(
        mapping,
        Tracked(schema, extract, tuple(c.source.name for c in old), since),
        Shape(mapping.target.id, columns, key),
        operations,
        quarantine,
        Converter(mapping.columns, zero_dates),
        Converter(old, zero_dates),
        cascades,
        relaxable(mapping, key, zero_dates) if relaxes else frozenset(),
    )


def in_log_form(mapping: TableMapping) -> TableMapping:
    """The mapping as changes are carried: PostgreSQL's log has each value as the text that any
    of its servers reads back exactly."""
    ends = (mapping.source.dialect, mapping.target.dialect)
    if ends != (Dialect.POSTGRES, Dialect.POSTGRES):
        return replace(mapping, tuples=False)
    return replace(
        mapping, tuples=False, columns=tuple(c if c.fit else _as_text(c) for c in mapping.columns)
    )


def _as_text(column: ColumnMapping) -> ColumnMapping:
    return replace(
        column,
        source=replace(column.source, arrow=pa.string(), as_json=False),
        target=replace(column.target, arrow=pa.string()),
        convert=None,
    )


def _is_key(table: TableSchema, identity: tuple[str, ...]) -> bool:
    """True where at most one row has these values, at each moment of a transaction too."""
    solid = {column.name for column in table.columns if not column.nullable}

    def fits(index: Index | None) -> bool:
        return (
            index is not None
            and index.unique
            and not index.deferrable
            and index.where is None
            and all(part.column is not None and part.length is None for part in index.parts)
            and set(index.columns) == set(identity)
            and (index.primary or set(identity) <= solid)
        )

    return any(fits(index) for index in (table.primary_key, *table.indexes))


def _shown(batch: ChangeBatch, index: int) -> dict[str, str | None]:
    """The new values of a change; the old identity of a deletion."""
    gone = batch.op[index] == Op.DELETE and batch.before is not None
    values = batch.before if gone and batch.before is not None else batch.after
    return row_texts(values.slice(index, 1))


def operations_of(names: Sequence[str]) -> frozenset[Op]:
    """The operations by the words of the stream document."""
    return frozenset(Op[name.upper()] for name in names)


def _differs(before: pa.RecordBatch, after: pa.RecordBatch) -> np.ndarray:
    """True where an old value is another one than the new."""
    found = np.zeros(before.num_rows, bool)
    for name in before.schema.names:
        old, new = before.column(name), after.column(name)
        same = pc.or_(
            pc.fill_null(pc.equal(old, new), False), pc.and_(pc.is_null(old), pc.is_null(new))
        )
        found |= ~np.asarray(same)
    return found
