"""Collect the changes of transactions, and build the parts of a change set of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from streams_engine.adapters.mysql.binlog.compression import inflate
from streams_engine.adapters.mysql.binlog.events import Rows, row_images
from streams_engine.adapters.mysql.binlog.row_texts import text_rows
from streams_engine.adapters.mysql.binlog.row_values import Image
from streams_engine.adapters.mysql.binlog.table_decoder import TableImages
from streams_engine.adapters.mysql.binlog.table_id_map import KnownRows
from streams_engine.arrow.buffers import PAD, violation, well_formed
from streams_engine.model import RowChanges, SchemaChange, TableId, TextRows, Truncate

__all__ = ["ChangeSetBuilder", "Part"]

Part = RowChanges | TextRows | Truncate | SchemaChange


class ChangeSetBuilder:
    """The changes of one set, numbered in the order of the log."""

    def __init__(self, what: str) -> None:
        self.seq = 0
        """The number of the next change."""
        self.settled = 0
        """The number after the last change of a transaction that has ended."""
        self.decompressed = bytearray()
        """Events and rows that were compressed; the others stay in the reader's buffer."""
        self.most_texts = 0
        """Sets of at most so many row changes are given as texts."""
        self._what = what
        self._tables: dict[int, TableImages] = {}
        self._truncations: list[Truncate] = []
        self._schema_changes: tuple[SchemaChange, ...] = ()

    def add_rows(self, images: TableImages, event: Rows) -> None:
        """Add the rows of an event; only their places are noted, nothing is decoded."""
        op, unchecked, compressed, columns, bitmaps, start, end = row_images(event)
        buffer = event.buffer
        if columns != len(images.layout.fields):
            raise violation(
                self._what, "a rows event has another number of columns than its table map"
            )
        aside = buffer is self.decompressed
        if compressed:
            data = inflate(bytes(buffer[start:end]))
            aside, buffer = True, self.decompressed
            start, end = len(buffer), len(buffer) + len(data)
            buffer += data
        kind = images.shape(op, bitmaps, aside, unchecked)
        self._tables[id(images)] = images
        self.seq += kind.take(buffer, start, end, self.seq)

    def add_known_rows(
        self, known: KnownRows, buffer: Any, places: Sequence[tuple[int, int]], most: int
    ) -> int:
        """Add the rows of events of which all but the images is known, which lie at ``places`` of
        the reader's buffer, until the set has ``most`` changes; return how many events."""
        if known.kind is None or known.images is None:
            return len(places)
        self._tables[id(known.images)] = known.images
        taken, self.seq = known.kind.take_all(buffer, places, self.seq, most)
        return taken

    def add_truncation(self, tables: tuple[TableId, ...]) -> None:
        """Add the emptying of tables."""
        self._truncations.append(Truncate(tables, self.seq))
        self.seq += 1

    def add_schema_changes(self, changes: Sequence[SchemaChange]) -> None:
        """Add schema changes, after which nothing may be added."""
        self._schema_changes = tuple(replace(change, seq=self.seq) for change in changes)
        self.seq += 1

    def settle(self) -> None:
        """Keep what was added: its transaction ended."""
        self.settled = self.seq

    def discard(self) -> None:
        """Drop what was added since the last transaction ended."""
        for images in self._tables.values():
            images.forget(self.settled)
        self._truncations = [part for part in self._truncations if part.seq < self.settled]
        self._schema_changes = tuple(c for c in self._schema_changes if c.seq < self.settled)
        self.seq = self.settled

    def build(self, buffer: Any) -> tuple[Part, ...]:
        """Return the parts in the order of the log, read from the reader's buffer, and forget
        them."""
        texts = self._as_texts(buffer)
        parts = self._decoded(buffer) if texts is None else (texts,)
        self.seq = self.settled = 0
        self.decompressed = bytearray()
        self._tables, self._truncations, self._schema_changes = {}, [], ()
        return parts

    def _as_texts(self, buffer: Any) -> TextRows | None:
        """Return the changes as texts if they are few and nothing else; None if they have to be
        decoded."""
        if not 0 < self.seq <= self.most_texts or self._truncations or self._schema_changes:
            return None
        return text_rows(self._tables.values(), buffer, self._what)

    def _decoded(self, buffer: Any) -> tuple[Part, ...]:
        parts: list[RowChanges | Truncate] = []
        if self._tables:
            main = Image(buffer)
            self.decompressed += bytes(PAD)
            aside = Image(self.decompressed)
            with well_formed(self._what):
                batches = (images.batch(main, aside) for images in self._tables.values())
                parts += [batch for batch in batches if batch is not None]
        parts += self._truncations
        parts.sort(key=_first)
        return (*parts, *self._schema_changes)


def _first(part: RowChanges | Truncate) -> int:
    return int(part.seq[0] if isinstance(part, RowChanges) else part.seq)
