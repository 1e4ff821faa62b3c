"""Compare files with a server by blocks: as many rows in the order of their key as a batch has.

To hash a row is a call of Python, and more on a server than to print it. A block is hashed in one,
so a table that is equal costs half. It needs files that are sorted by their key, as the copy of a
table by ranges of its key writes them; else, and where anything differs, nothing is said.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from typing import cast

from streams_engine.schema.types.canonical import CanonicalRead, KeyRange
from streams_engine.schema.types.row_digests import BlockDigests, Digested, OrderedBlocks
from streams_engine.verify.rows import End, both

__all__ = ["are_equal", "can_compare_blocks"]

BLOCK_BYTES = 64
"""About what the answer to one block takes."""
AHEAD = 8
"""Blocks that the files may be ahead of the server."""


def can_compare_blocks(ends: tuple[End, End]) -> bool:
    """Return whether one end is files and the other a server that hashes blocks."""
    return _roles(ends) is not None


def _roles(ends: tuple[End, End]) -> tuple[End, End] | None:
    """Return the files and the server."""
    for files, server in (ends, ends[::-1]):
        ordered = isinstance(files.canonical, OrderedBlocks)
        if ordered and isinstance(server.canonical, BlockDigests):
            return files, server
    return None


def are_equal(
    pool: Executor,
    ends: tuple[End, End],
    key: tuple[str, str],
    read_of: Callable[[End], CanonicalRead],
) -> tuple[bool | None, int]:
    """Return whether both ends are equal, None where that is not known, and their rows.

    ``key``: of each end, the column of whole numbers that is the whole key. ``read_of``: what is
    read of an end.
    """
    roles = _roles(ends)
    if roles is None:
        return None, 0
    files, server = roles
    names = dict(zip(map(id, ends), key, strict=True))
    given: queue.Queue[tuple[KeyRange, Digested] | None] = queue.Queue(AHEAD)
    over = threading.Event()

    def put(one: tuple[KeyRange, Digested] | None) -> bool:
        while not over.is_set():
            try:
                given.put(one, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def hash_files(halt: threading.Event) -> tuple[bool | None, int]:
        rows = 0
        blocks = cast(OrderedBlocks, files.canonical).blocks(read_of(files), names[id(files)])
        try:
            for one, digested in blocks:
                if halt.is_set() or not digested.whole or not put((one, digested)):
                    return None, rows
                rows += digested.rows
                files.tell(rows)
        finally:
            put(None)
        return True, rows

    def ask_server(halt: threading.Event) -> tuple[bool | None, int]:
        column, canonical = names[id(server)], cast(BlockDigests, server.canonical)
        try:
            while not halt.is_set() and (taken := given.get()) is not None:
                one, digested = taken
                server.bytes_read += BLOCK_BYTES
                read = replace(read_of(server), part=replace(one, column=column))
                if canonical.block(read) != digested:
                    return False, 0
            return True, canonical.count(read_of(server))
        finally:
            over.set()

    def side(end: End, halt: threading.Event) -> tuple[bool | None, int]:
        return hash_files(halt) if end is files else ask_server(halt)

    (hashed, rows), (same, count) = both(pool, roles, side)
    if same is False:
        return False, rows
    return (rows == count if hashed else None), rows
