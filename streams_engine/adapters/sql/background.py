"""Work that is begun now and needed later."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["begin"]

T = TypeVar("T")


def begin(work: Callable[[], T]) -> Future[T]:
    """Do work on a thread of its own, which ends with it."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="streams-engine-begun")
    future = pool.submit(work)
    pool.shutdown(wait=False)
    return future
