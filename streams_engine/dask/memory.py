"""Memory that a worker's blocks free stays with the process for as long as it copies.

Dask starts workers with a MALLOC_TRIM_THRESHOLD_ of 64 kB, so that they give memory back. With it
glibc maps every array of a block anew, and touching its pages costs a third of the copy.
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["keeping_memory"]

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Of mallopt(3)."""
KEPT = {TRIM_THRESHOLD: 256 << 20, MMAP_THRESHOLD: 32 << 20}
USUAL = {TRIM_THRESHOLD: 64 << 10, MMAP_THRESHOLD: 128 << 10}

_lock = threading.Lock()
_holders = 0


@contextmanager
def keeping_memory() -> Iterator[None]:
    """Keep what is freed; at the end of the last block it goes back. Thread-safe.

    Does nothing where the C library is none of GNU's.
    """
    _count(1)
    try:
        yield
    finally:
        _count(-1)


def _count(change: int) -> None:
    global _holders
    with _lock, contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        _holders += change
        for name, size in (KEPT if _holders else USUAL).items():
            library.mallopt(name, size)
        if not _holders:
            library.malloc_trim(0)
