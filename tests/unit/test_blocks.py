"""Files and a server compared by blocks: equal is said only of ends that hold the same rows."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from streams_engine.errors import ServerError
from streams_engine.model import Dialect, NativeType, TableId
from streams_engine.schema.types.canonical import (
    CanonicalColumn,
    CanonicalRead,
    CanonicalType,
    KeyRange,
)
from streams_engine.schema.types.row_digests import Digested
from streams_engine.verify.blocks import are_equal
from streams_engine.verify.rows import End

INT = NativeType(Dialect.MYSQL, "int", "int")


@dataclass
class Rows:
    """What both kinds of ends have."""

    held: list[int]
    digests: tuple[str, ...] = ("plain",)

    def rows(self, read: CanonicalRead) -> Any: ...
    def can_digest(self, column: CanonicalColumn) -> bool: ...
    def digest(self, read: CanonicalRead, kind: str) -> Digested: ...
    def buckets(self, read: CanonicalRead, kind: str) -> Any: ...
    def renew(self) -> None: ...


@dataclass
class Files(Rows):
    size: int = 3

    def blocks(self, read: CanonicalRead, key: str) -> Iterator[tuple[KeyRange, Digested]]:
        for start in range(0, len(self.held), self.size):
            rows = self.held[start : start + self.size]
            whole = rows == sorted(rows)
            yield (
                KeyRange(key, rows[0], rows[-1] + 1),
                Digested(len(rows), hash(tuple(rows)), whole),
            )


@dataclass
class Server(Rows):
    def block(self, read: CanonicalRead) -> Digested:
        part = read.part
        assert isinstance(part, KeyRange) and part.column == "key"
        assert part.low is not None and part.high is not None
        if part.low < 0:
            raise ServerError("gone")
        rows = [row for row in sorted(self.held) if part.low <= row < part.high]
        return Digested(len(rows), hash(tuple(rows)))

    def count(self, read: CanonicalRead) -> int:
        return len(self.held)


def compared(files: list[int], server: list[int]) -> tuple[bool | None, int]:
    column = CanonicalColumn("id", INT, CanonicalType.INTEGER)
    read = CanonicalRead(TableId("s", "t"), (column,))
    ends = End(Server(server), read, (0,)), End(Files(files), read, (0,))
    with ThreadPoolExecutor(2) as pool:
        return are_equal(pool, ends, ("key", "id"), lambda end: end.read)


ROWS = list(range(1, 40))


@pytest.mark.parametrize(
    ("files", "server", "equal"),
    [
        (ROWS, ROWS, True),
        ([], [], True),
        ([*ROWS[21:], *ROWS[:21]], ROWS, True),  # parts in another order
        ([], [1], False),
        (ROWS, [*ROWS, 100], False),
        (ROWS, [0, *ROWS], False),
        (ROWS, ROWS[1:], False),
        ([*ROWS[:3], *ROWS[6:]], ROWS, False),  # a whole block is not there
        ([*ROWS[:3], *ROWS], ROWS, False),  # one is there twice
        ([1, 3, 2], [1, 2, 3], None),
    ],
)
def test_equal_is_said_of_the_same_rows(
    files: list[int], server: list[int], equal: bool | None
) -> None:
    assert compared(files, server)[0] is equal


def test_a_server_that_fails_does_not_leave_the_files_waiting() -> None:
    with pytest.raises(ServerError):
        compared(list(range(-200, 0)), ROWS)
