"""One part of a table in the making, and what its commit puts into the manifest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from streams_engine.adapters.files.encoders import Encoder, normalised
from streams_engine.errors import RowRejected
from streams_engine.model import Column
from streams_engine.protocols import Checkpoint, Load, Rejected
from streams_engine.row_text import row_texts

__all__ = ["NoRows", "Part", "Pending"]


class NoRows(Exception):
    """Every row was set aside: there is no part."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A part that is there, and what its commit puts into the manifest. Pickles."""

    name: str
    number: int
    rows: int
    bytes: int
    key: str
    record: dict[str, Any]
    quarantined: dict[str, Any] | None


@dataclass
class Part:
    """One part in the making."""

    load: Load
    columns: Sequence[Column]
    rows: int = 0
    bytes: int = 0
    rejected: list[Rejected] = field(default_factory=list)
    checkpoint: Checkpoint | None = None

    def take(self, made: Encoder, block: pa.RecordBatch) -> None:
        """Write a block; a bad row is found by halving where it is to be set aside."""
        try:
            encoded = made.encode(normalised(block, self.columns))
        except RowRejected as fault:
            if not self.load.quarantine:
                raise RowRejected(
                    f"writing {self.load.table}: {fault.message}",
                    remedy=fault.remedy,
                    table=str(self.load.table),
                    **fault.details,
                ) from None
            if block.num_rows == 1:
                self.rejected.append(self._rejected(block, fault))
                return
            half = block.num_rows // 2
            self.take(made, block.slice(0, half))
            self.take(made, block.slice(half))
            return
        made.write(encoded)
        self.rows += block.num_rows

    def _rejected(self, row: pa.RecordBatch, fault: RowRejected) -> Rejected:
        return Rejected(self.load.table, fault.message, "RANGE", row_texts(row))
