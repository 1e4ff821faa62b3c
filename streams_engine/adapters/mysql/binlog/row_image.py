"""Row images in columns: a generated walker finds the rows, then each column is decoded at once.

A `RowImageLayout` is one table in one version of its table map, with the columns that an event's
images hold. The result is what a snapshot of the same extract yields.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from streams_engine.adapters.mysql.binlog.row_rendering import decoder_of
from streams_engine.adapters.mysql.binlog.row_values import (
    Image,
    length_bytes,
    value_lengths,
    width,
)
from streams_engine.adapters.mysql.binlog.system_versioning import (
    CURRENT,
    current_decoder,
    period_of,
    row_end,
)
from streams_engine.adapters.mysql.binlog.table_map import Field, TableMap
from streams_engine.adapters.mysql.binlog.value_texts import ValueText, value_text
from streams_engine.errors import RowRejected, SchemaChangeRefused
from streams_engine.model import Column, TableSubscription

__all__ = ["RowImageLayout", "Walker", "columns_of", "present", "walker"]

Walker = Callable[[Any, int, int, Callable[[int], None]], int]
"""(buffer, place of the first image, end of the event, what takes each image's place)."""

_u4: Any = struct.Struct("<I").unpack_from


def present(bitmap: bytes, fields: Sequence[Field]) -> tuple[int, ...]:
    """Return the numbers of the columns in an image with this bitmap."""
    return tuple(i for i in range(len(fields)) if bitmap[i >> 3] >> (i & 7) & 1)


# Walking


def walker(images: Sequence[Sequence[Field]]) -> Walker:
    """Return a function that steps over rows of these images: one, or two for an update."""
    lines = ["def walk(buf, p, end, add):", "    while p < end:"]
    for fields in images:
        lines += ["        add(p)", "        s = p", f"        p += {(len(fields) + 7) // 8}"]
        lines += [f"        {line}" for line in _steps(fields)]
    lines.append("    return p")
    tables: dict[str, Any] = {"u4": _u4}
    for fields in images:
        tables |= _tables(fields)
    exec("\n".join(lines), tables)  # our own text: widths and bits, nothing from outside
    walk: Walker = tables["walk"]
    return walk


def _steps(fields: Sequence[Field]) -> list[str]:
    """Return the lines that step over one image; columns of fixed size are taken together."""
    lines: list[str] = []
    sure, maybe = 0, set[int]()
    run: list[int] = []

    def flush() -> None:
        nonlocal sure, run
        terms = [str(sure)] if sure else []
        for byte in sorted(maybe):
            terms.append(f"{_table_name(fields, run, byte)}[buf[s + {byte}]]")
        if terms:
            lines.append("p += " + " + ".join(terms))
        sure, run = 0, []
        maybe.clear()

    for i, field in enumerate(fields):
        size = width(field)
        if size is not None:
            if field.nullable:
                maybe.add(i >> 3)
                run.append(i)
            else:
                sure += size
            continue
        flush()
        step = _STEPS[length_bytes(field)]
        null = f"if not buf[s + {i >> 3}] & {1 << (i & 7)}: " if field.nullable else ""
        lines.append(null + step)
    flush()
    return lines


_STEPS = {
    1: "p += 1 + buf[p]",
    2: "p += 2 + (buf[p] | buf[p + 1] << 8)",
    3: "p += 3 + (u4(buf, p)[0] & 0xFFFFFF)",
    4: "p += 4 + u4(buf, p)[0]",
}


def _widths(fields: Sequence[Field], run: Sequence[int], byte: int) -> tuple[tuple[int, int], ...]:
    """Return (bit, width) of the run's columns whose NULL bit is in this byte."""
    return tuple((1 << (i & 7), width(fields[i]) or 0) for i in run if i >> 3 == byte)


def _table_name(fields: Sequence[Field], run: Sequence[int], byte: int) -> str:
    return "w" + "_".join(f"{bit}x{size}" for bit, size in _widths(fields, run, byte))


def _tables(fields: Sequence[Field]) -> dict[str, tuple[int, ...]]:
    """Return, for each byte of NULL bits, the width of a run's columns that are present, by the
    byte's value."""
    tables: dict[str, tuple[int, ...]] = {}
    run: list[int] = []
    for i, field in enumerate([*fields, None]):
        if field is not None and width(field) is not None:
            if field.nullable:
                run.append(i)
            continue
        for byte in {n >> 3 for n in run}:
            parts = _widths(fields, run, byte)
            tables[_table_name(fields, run, byte)] = tuple(
                sum(size for bit, size in parts if not value & bit) for value in range(256)
            )
        run = []
    return tables


# Decoding


def columns_of(table: TableMap, tracked: TableSubscription) -> list[str]:
    """Return the column names in the order of the images, from full metadata, else from the
    subscription."""
    if table.named:
        return [str(field.name) for field in table.fields]
    names = [column.name for column in tracked.schema.columns]
    names += period_of(table, tracked.schema)
    if len(names) != len(table.fields):
        raise SchemaChangeRefused(
            f"{tracked.schema.id}: its row images have {len(table.fields)} columns, expected "
            f"{len(names)}, and the binary log does not name them.",
            remedy="SET GLOBAL binlog_row_metadata = 'FULL' on the source, and load it again.",
        )
    return names


class RowImageLayout:
    """Layout of one table's images, from one table map and one `TableSubscription`."""

    def __init__(self, table: TableMap, tracked: TableSubscription, translate: Any) -> None:
        self.tracked = tracked
        self.fields = table.fields
        self.schema = tracked.extract.arrow_schema()
        names = columns_of(table, tracked)
        self._number = {name: i for i, name in enumerate(names)}
        known = {column.name: column for column in tracked.schema.columns}
        wanted = {column.name: column for column in tracked.extract.columns}
        for column in tracked.extract.columns:
            if column.name not in self._number:
                raise SchemaChangeRefused(
                    f"{tracked.schema.id}: its row images lack the column {column.name}, which "
                    "the stream selects.",
                    remedy=(
                        "The table was altered without writing to the binary log: load it again."
                    ),
                )
        self._known, self._translate = known, translate
        self._decoders: dict[str, Callable[..., pa.Array]] = {
            name: decoder_of(
                self.fields[self._number[name]], known.get(name, column), column.arrow, translate
            )
            for name, column in wanted.items()
        }
        self._wanted: Mapping[str, Column] = wanted
        self.versioned = self._tell_current(table, tracked)

    def _tell_current(self, table: TableMap, tracked: TableSubscription) -> bool:
        """Decode, as the column `CURRENT`, whether an image is of a current row. Returns False
        if the table has no history."""
        name = row_end(table, tracked.schema)
        if name is None:
            return False
        if name not in self._number:
            raise SchemaChangeRefused(
                f"{tracked.schema.id}: its row images lack the column {name}, the end of a row "
                "version's period.",
                remedy="The table was altered without writing to the binary log: load it again.",
            )
        self._period = self._number[name]
        self._is_current = current_decoder(self.fields[self._period], str(tracked.schema.id))
        return True

    def number(self, name: str) -> int:
        """Return the number of a column among ``fields``."""
        return self._number[name]

    def value_texts(self) -> Mapping[str, ValueText] | None:
        """Return how single values of each selected column become texts; None if a column's do not,
        or rows have a history."""
        if self.versioned:
            return None
        texts = {}
        for name, column in self._wanted.items():
            field = self.fields[self._number[name]]
            text = value_text(field, self._known.get(name, column), column, self._translate)
            if text is None:
                return None
            texts[name] = text
        return texts

    def kind(self, name: str) -> pa.DataType:
        """Return the Arrow type that `decode` returns for a column."""
        return pa.bool_() if name == CURRENT else self.schema.field(name).type

    def decode(
        self, image: Image, starts: np.ndarray, there: Sequence[int], names: Sequence[str]
    ) -> dict[str, pa.Array]:
        """Decode these columns of the images that begin at ``starts``, leaving out missing ones."""
        current = CURRENT in names
        numbers = {self._number[name]: name for name in names if name != CURRENT}
        if current:
            numbers.setdefault(self._period, "")
        last = max((i for i in numbers if i in there), default=-1)
        place = starts + (len(there) + 7) // 8
        arrays: dict[str, pa.Array] = {}
        flags: dict[int, np.ndarray] = {}
        ahead = 0  # bytes of columns that every row has, not yet added to its place
        for bit, number in enumerate(there):
            if number > last:
                break
            field = self.fields[number]
            nulls = _nulls(image, starts, bit, flags) if field.nullable else None
            here = place + ahead if ahead else place
            if current and number == self._period:
                arrays[CURRENT] = self._is_current(image, here)
            if name := numbers.get(number):
                arrays[name] = self._column(image, here, nulls, name)
            size = width(field)
            if size is None:
                place, ahead = _after(image, here, nulls, field), 0
            elif nulls is None:
                ahead += size
            else:
                place, ahead = here + size * (~nulls).astype(np.int64), 0
        return arrays

    def _column(
        self, image: Image, place: np.ndarray, nulls: np.ndarray | None, name: str
    ) -> pa.Array:
        column = self._wanted[name]
        field = self.fields[self._number[name]]
        try:
            array = self._decoders[name](image, place, nulls, field, column)
            return array if array.type == column.arrow else array.cast(column.arrow)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeError):
            raise RowRejected(
                f"{self.tracked.schema.id}, column {name}: a value is not a valid {column.arrow} "
                "(bytes that are not UTF-8?).",
                remedy="Read the column as bytea with typeOverrides.",
                column=name,
            ) from None


def _nulls(
    image: Image, starts: np.ndarray, bit: int, flags: dict[int, np.ndarray]
) -> np.ndarray | None:
    byte = bit >> 3
    if byte not in flags:
        flags[byte] = image.u8[starts + byte]
    mask: np.ndarray = (flags[byte] & np.uint8(1 << (bit & 7))).astype(bool)
    return mask if mask.any() else None


def _after(image: Image, place: np.ndarray, nulls: np.ndarray | None, field: Field) -> np.ndarray:
    length = value_lengths(image, place, field) + length_bytes(field)
    if nulls is not None:
        length[nulls] = 0
    after: np.ndarray = place + length
    return after
