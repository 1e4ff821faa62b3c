"""Replicate one table: convert its log changes to changes of its target table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streams_engine.arrow.plain import filled, to_numpy
from streams_engine.contracts import QuarantinedRow
from streams_engine.errors import ConfigError, RowRejected
from streams_engine.model import (
    Column,
    Op,
    Position,
    RowChanges,
    RowTexts,
    TableId,
    TableSchema,
    TableSubscription,
    TextRow,
)
from streams_engine.schema.dialects import spec_of
from streams_engine.schema.mapping.tables import (
    ColumnMapping,
    TableMapping,
    TextConversion,
    unchanged,
)
from streams_engine.schema.row_keys import is_key
from streams_engine.schema.types.conversions import CHOOSE_TYPE, BadRows, Converter
from streams_engine.schema.types.relaxation import overflows, relaxable
from streams_engine.schema.types.source_texts import source_texts

__all__ = [
    "Relaxation",
    "TableReplication",
    "TextForm",
    "follow",
    "in_log_form",
    "operations_of",
]

T = TypeVar("T")
Texts = tuple["bytes | None", ...]
Conversions = tuple[tuple[int, TextConversion], ...]
"""By the place of a value, for those that need one."""


@dataclass(frozen=True, slots=True)
class TextForm:
    """The form of a target's rows whose values are the log's own texts."""

    table: TableId
    names: tuple[str, ...]
    """The target's columns, in the order of the extract."""
    key: tuple[str, ...]
    other_places: tuple[int, ...]
    """The columns that an update sets: those beside the key, or the key if there are none."""
    others: tuple[str, ...]
    converted: Conversions = ()
    """What is done to some columns' texts."""
    key_converted: Conversions = ()
    """The same for the key's columns, by their place in the key."""

    @classmethod
    def of(
        cls,
        table: TableId,
        names: tuple[str, ...],
        key: tuple[str, ...],
        conversions: Sequence[TextConversion] = (),
    ) -> TextForm:
        """Return the form of a table with these columns, and what is done to their texts."""
        places = {name: place for place, name in enumerate(names)}
        others = tuple(name for name in names if name not in key) or key
        return cls(
            table,
            names,
            key,
            tuple(places[name] for name in others),
            others,
            _changing(conversions),
            _changing([conversions[places[name]] for name in key if conversions]),
        )

    def row(self, change: TextRow) -> RowTexts | None:
        """Return a change of the target's row; None if only all its values name it, or if one has
        no text there."""
        if not self.key and change.op is not Op.INSERT:
            return None
        values, identity = change.after, change.identity[: len(self.key)]
        if self.converted:
            try:
                values = _converted(values, self.converted)
                identity = _converted(identity, self.key_converted)
            except ValueError:
                return None
        if change.op is Op.INSERT:
            return RowTexts(self.table, Op.INSERT, self.key, self.names, cast(Texts, values))
        if change.op is Op.DELETE:
            return RowTexts(self.table, Op.DELETE, self.key, (), identity)
        names, after = self.others, [values[place] for place in self.other_places]
        if ... in after:
            there = [v for v in zip(names, after, strict=True) if v[1] is not ...]
            names, after = tuple(name for name, _ in there), [value for _, value in there]
        return RowTexts(self.table, Op.UPDATE, self.key, names, (*cast(Texts, after), *identity))


def _changing(conversions: Sequence[TextConversion]) -> Conversions:
    return tuple((place, c) for place, c in enumerate(conversions) if c is not unchanged)


def _converted(values: tuple[T, ...], conversions: Conversions) -> tuple[T, ...]:
    """Return converted values; a deleted row has none. Raises `ValueError`."""
    several: list[Any] = [*values]
    for place, convert in conversions if several else ():
        if isinstance(several[place], bytes):
            several[place] = convert(several[place])
    return tuple(several)


class Relaxation(Exception):
    """Signal that columns of the target must be altered to hold more values before the log can
    continue."""

    def __init__(self, followed: TableReplication, columns: tuple[str, ...]) -> None:
        super().__init__(columns)
        self.followed = followed
        self.columns = columns


@dataclass(slots=True)
class TableReplication:
    """The state of a table while its log is read."""

    mapping: TableMapping
    tracked: TableSubscription
    columns: tuple[Column, ...]
    """The target's columns that changes carry."""
    key: tuple[str, ...]
    """The target's columns that name a row; empty: only all values together do."""
    operations: frozenset[Op]
    quarantine: bool
    _after: Converter
    _before: Converter
    cascades: tuple[bool, bool] = (False, False)
    """Whether foreign keys of others act on its deletes, and on changes of its keys, without a
    trace in the log."""
    relaxable: frozenset[str] = frozenset()
    """The source columns that can be made to hold a value that they do not hold now."""
    texts: TextForm | None = None
    """How its rows go as the log's own texts; None: they are converted."""
    replaced: dict[str, int] = field(default_factory=dict)
    """Zero dates that became NULL, by column."""

    def ignore(self) -> None:
        """Leave out all changes from here on: the target's table is dropped already."""
        self.operations, self.texts = frozenset(), None

    def converted(self, batch: RowChanges, quarantined: list[QuarantinedRow]) -> RowChanges | None:
        """Convert the batch to the target's names and types, without excluded operations.

        Rows that fit no target value go to ``quarantined``. Raises `RowRejected` if they may not be
        quarantined, and `Relaxation` if the target's columns can be altered to hold them. Returns
        None if nothing is left.
        """
        if not self.operations:
            return None
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
        changes = replace(
            batch,
            table=self.mapping.target.id,
            columns=self.columns,
            identity=tuple(names[name] for name in batch.identity),
            after=after,
            before=before,
            missing=missing,
        )
        keep = self._kept(batch, bad, quarantined)
        if keep is None:
            return changes
        return changes.filter(keep) if keep.any() else None

    def _demand_held(self, batch: RowChanges, bad: Sequence[BadRows]) -> None:
        """Raise `Relaxation` with the columns that have to hold more than they do."""
        wanted = self._wanted(batch) & (batch.op != Op.DELETE)
        columns = [r.column for r in bad if r.column in self.relaxable and (r.mask & wanted).any()]
        if columns:
            raise Relaxation(self, tuple(columns))

    def _wanted(self, batch: RowChanges) -> np.ndarray:
        """Mark the changes whose operation is selected."""
        if len(self.operations) == len(Op):
            return np.ones(batch.rows, bool)
        return np.isin(batch.op, list(self.operations))

    def triggered_ranges(self, batch: RowChanges) -> list[tuple[int, int]]:
        """Return the half-open ``seq`` ranges whose changes triggered referential actions.

        Only if the log lacks the changes that these actions made.
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
        self, batch: RowChanges, bad: Sequence[BadRows], quarantined: list[QuarantinedRow]
    ) -> np.ndarray | None:
        """Return a mask of the rows to apply; None for all."""
        keep = self._wanted(batch) if len(self.operations) < len(Op) else None
        for rows in bad:
            # A deleted row has no values, and none that could be bad.
            mask = rows.mask & (batch.op != Op.DELETE) & self._wanted(batch)
            if not mask.any():
                continue
            if not self.quarantine:
                raise self._refused(rows)
            keep = np.ones(batch.rows, bool) if keep is None else keep
            quarantined += [
                self._quarantined(batch, int(i), rows) for i in np.flatnonzero(mask & keep)
            ]
            keep &= ~mask
        return keep

    def _refused(self, rows: BadRows) -> RowRejected:
        table = self.mapping.source.id
        return RowRejected(
            f"A change of {table} cannot be applied: column {rows.column}: {rows.reason}.",
            remedy=f"Start again with onError: quarantine. Or {CHOOSE_TYPE}",
            table=str(table),
            column=rows.column,
        )

    def _quarantined(self, batch: RowChanges, index: int, rows: BadRows) -> QuarantinedRow:
        reason = f"column {rows.column}: {rows.reason}"
        return QuarantinedRow(self.mapping.source.id, reason, "POLICY", self._shown(batch, index))

    def refused(self, batch: RowChanges, index: int, error: RowRejected) -> QuarantinedRow:
        """Return a change that the target rejected as a quarantined row."""
        code = error.details.get("sqlstate") or error.details.get("errno") or "RANGE"
        reason = f"{Op(batch.op[index]).name}: {error.message}"
        return QuarantinedRow(self.mapping.source.id, reason, str(code), self._shown(batch, index))

    def _shown(self, batch: RowChanges, index: int) -> dict[str, Any]:
        """Return the new values of a change; for a deletion the old identity."""
        gone = batch.op[index] == Op.DELETE and batch.before is not None
        values = batch.before if gone and batch.before is not None else batch.after
        return source_texts(values.slice(index, 1), self.mapping.columns)


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
) -> TableReplication:
    """Follow a table from a position on.

    ``schema`` is the source's own, complete; ``watched`` are columns whose old values are needed
    besides those of ``identity``. ``relaxes``: the target's columns may be altered to hold more
    values. Raises `ConfigError` if the key is not among the moved columns.
    """
    mapping = in_log_form(mapping)
    by_name = {c.source.name: c for c in mapping.columns}
    left_out = [name for name in identity if name not in by_name]
    keyed = is_key(schema, identity)
    if left_out and keyed:
        raise ConfigError(
            f"{mapping.source.id}: the key columns {', '.join(left_out)} are not selected.",
            path="$.source.connections[*].tables[*].selection.selectedColumns",
            remedy="Select the key columns too: they identify the rows to change.",
        )
    if not keyed:  # only all values together name a row
        computed = (c.source.name for c in mapping.columns if c.source.generated is not None)
        identity = tuple(dict.fromkeys((*identity, *computed)))
    old = [by_name[name] for name in (*identity, *watched) if name in by_name]
    columns = tuple(c.target for c in mapping.columns)
    key = tuple(by_name[name].target.name for name in identity) if keyed else ()
    # A log knows no aliases.
    extract = replace(mapping.extract(), table=schema.id)
    return TableReplication(
        mapping,
        TableSubscription(schema, extract, tuple(c.source.name for c in old), since),
        columns,
        key,
        operations,
        quarantine,
        Converter(mapping.columns, zero_dates),
        Converter(old, zero_dates),
        cascades,
        relaxable(mapping, key, zero_dates, quarantine=quarantine) if relaxes else frozenset(),
        _text_form(mapping, key) if len(operations) == len(Op) and not any(cascades) else None,
    )


def _text_form(mapping: TableMapping, key: tuple[str, ...]) -> TextForm | None:
    """Return the form in which the log's texts are the target's; None if values are converted."""
    route = spec_of(mapping.target.dialect).text_routes.get(mapping.source.dialect)
    if route is None or not mapping.columns:
        return None
    conversions = []
    for column in mapping.columns:
        conversion = route(column)
        if conversion is None:
            return None
        conversions.append(conversion)
    names = tuple(c.target.name for c in mapping.columns)
    return TextForm.of(mapping.target.id, names, key, conversions)


def in_log_form(mapping: TableMapping) -> TableMapping:
    """Return the mapping in the form of the log: PostgreSQL's has each value as a text that any
    server reads back exactly.

    Only bytes are carried as bytes, because their text is twice as long.
    """
    source = mapping.source.dialect
    if source is not mapping.target.dialect or not spec_of(source).log_texts:
        columns = tuple(
            replace(c, convert="time_of_day") if overflows(c) and c.convert is None else c
            for c in mapping.columns
        )
        return replace(mapping, tuples=False, columns=columns)
    return replace(
        mapping,
        tuples=False,
        columns=tuple(c if c.fit or _is_bytes(c) else _as_text(c) for c in mapping.columns),
    )


def _is_bytes(column: ColumnMapping) -> bool:
    ends = (column.source, column.target)
    return column.convert is None and all(end.arrow == pa.binary() for end in ends)


def _as_text(column: ColumnMapping) -> ColumnMapping:
    return replace(
        column,
        source=replace(column.source, arrow=pa.string(), as_json=False),
        target=replace(column.target, arrow=pa.string()),
        convert=None,
    )


def operations_of(names: Sequence[str]) -> frozenset[Op]:
    """Return the operations named in the stream document."""
    return frozenset(Op[name.upper()] for name in names)


def _differs(before: pa.RecordBatch, after: pa.RecordBatch) -> np.ndarray:
    """Mark the rows with an old value that differs from the new one."""
    differing = np.zeros(before.num_rows, bool)
    for name in before.schema.names:
        old, new = before.column(name), after.column(name)
        same = pc.or_(filled(pc.equal(old, new), False), pc.and_(pc.is_null(old), pc.is_null(new)))
        differing |= ~to_numpy(same)
    return differing
