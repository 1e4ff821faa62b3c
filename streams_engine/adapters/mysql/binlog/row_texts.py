"""Read a few row images as the texts of their values, without Arrow.

What is not plain (a column that an image lacks, a key that changed, a table with history, damaged
bytes) is left to `table_decoder`, which knows it all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from streams_engine.adapters.mysql.binlog.row_image import RowImageLayout
from streams_engine.adapters.mysql.binlog.row_values import Image, length_bytes, width
from streams_engine.adapters.mysql.binlog.table_decoder import ImageKind, TableImages
from streams_engine.adapters.mysql.binlog.value_texts import ValueText
from streams_engine.arrow.buffers import PAD, RAW, well_formed
from streams_engine.model import RowChanges, TextRow, TextRows

__all__ = ["text_rows"]

MOST_BYTES = 1 << 16
"""Images that lie further apart are decoded where they are."""

Value = Any
"""``bytes``, None, or ``...`` for what the image does not carry."""

Step = tuple[int, int, int, int, "ValueText | None", int]
"""Of a column: (byte of the NULL bits, the bit or 0, size or 0, bytes of its length, text, place of
the value)."""


class _ImageForm:
    """How the texts of one kind of image are found."""

    def __init__(
        self,
        layout: RowImageLayout,
        there: Sequence[int],
        texts: Mapping[str, ValueText],
        names: Sequence[str],
    ) -> None:
        places = {layout.number(name): place for place, name in enumerate(names)}
        self._bits = (len(there) + 7) // 8
        self._nothing: list[Value] = [...] * len(names)
        self._steps: list[Step] = []
        for bit, number in enumerate(there):
            field = layout.fields[number]
            place, size = places.get(number, -1), width(field)
            null = 1 << (bit & 7) if field.nullable else 0
            lead = 0 if size is not None else length_bytes(field)
            text = texts[names[place]] if place >= 0 else None
            self._steps.append((bit >> 3, null, size or 0, lead, text, place))

    def read(self, data: bytes, start: int) -> list[Value]:
        """Return the values of the image that begins at ``start``. Raises what damaged bytes do."""
        values, at = self._nothing.copy(), start + self._bits
        for byte, null, size, lead, text, place in self._steps:
            if null and data[start + byte] & null:
                if text is not None:
                    values[place] = None
                continue
            if lead:
                size = int.from_bytes(data[at : at + lead], "little")
                at += lead
            stop = at + size
            if text is not None:
                values[place] = text(data[at:stop])
            at = stop
        if at > len(data):
            raise IndexError("a row extends beyond its event")
        return values


class _RowForm:
    """How the changes of one kind of event become texts."""

    def __init__(
        self, images: TableImages, kind: ImageKind, texts: Mapping[str, ValueText]
    ) -> None:
        tracked = images.tracked
        names = [column.name for column in tracked.extract.columns]
        self.table, self.op = tracked.schema.id, kind.op
        self._identity = [names.index(name) for name in tracked.identity]
        self._before = self._after = None
        if kind.before is not None:
            self._before = _ImageForm(images.layout, kind.before, texts, tracked.identity)
        if kind.after is not None:
            self._after = _ImageForm(images.layout, kind.after, texts, names)

    def row(self, data: bytes, starts: Sequence[int]) -> TextRow | None:
        """Return the change whose images begin at ``starts``; None if it has to be decoded."""
        old = () if self._before is None else tuple(self._before.read(data, starts[0]))
        if ... in old:
            return None
        if self._after is None:
            return TextRow(self.table, self.op, (), old)
        new = self._after.read(data, starts[-1])
        if self._before is None:
            return None if ... in new else TextRow(self.table, self.op, tuple(new), ())
        for place, value in zip(self._identity, old, strict=True):
            if new[place] is ...:
                new[place] = value
            elif new[place] != value:
                return None
        return TextRow(self.table, self.op, tuple(new), old)


def text_rows(tables: Iterable[TableImages], buffer: Any, what: str) -> TextRows | None:
    """Take all rows that tables have collected; None, with nothing taken, if they have to be
    decoded from the buffer."""
    chosen = [(images, kind) for images in tables for kind in images.shapes.values() if kind.counts]
    if not chosen:
        return None
    low = min(kind.starts[0] for _, kind in chosen)
    high = max(kind.end for _, kind in chosen)
    if high - low > MOST_BYTES:
        return None
    data = bytes(buffer[low:high])
    rows: list[tuple[int, TextRow]] = []
    for images, kind in chosen:
        form = _form(images, kind)
        if form is None:
            return None
        try:
            for seq, starts in kind.each():
                row = form.row(data, [start - low for start in starts])
                if row is None:
                    return None
                rows.append((seq, row))
        except RAW:
            return None
    if len(chosen) > 1:
        rows.sort(key=_seq)
    taken = [(images, images.take()) for images in {id(one): one for one, _ in chosen}.values()]
    return TextRows(tuple([row for _, row in rows]), partial(_decoded, data, low, taken, what))


def _seq(row: tuple[int, TextRow]) -> int:
    return row[0]


def _form(images: TableImages, kind: ImageKind) -> _RowForm | None:
    """Return how these rows are read; None if they have to be decoded."""
    if kind.aside:
        return None
    if kind.text_form is None:
        texts = images.layout.value_texts()
        kind.text_form = False if texts is None else _RowForm(images, kind, texts)
    return kind.text_form or None


def _decoded(
    data: bytes, low: int, taken: Sequence[tuple[TableImages, list[ImageKind]]], what: str
) -> list[RowChanges]:
    """Decode the rows that were taken; the first byte of ``data`` was at ``low``."""
    image = Image(data + bytes(PAD))
    with well_formed(what):
        batches = [
            images.decode([kind.moved(-low) for kind in kinds], image) for images, kinds in taken
        ]
    return [batch for batch in batches if batch is not None]
