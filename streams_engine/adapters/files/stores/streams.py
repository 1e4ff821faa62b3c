"""Read and write the bytes of one file: decompressed, counted, every fault named."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

import pyarrow as pa

from streams_engine.adapters.files.stores.store import Store
from streams_engine.errors import MalformedFile

__all__ = [
    "pieces",
    "stream",
]


@contextmanager
def stream(store: Store, path: str, codec: str | None) -> Iterator[BinaryIO]:
    """Open a file as a stream of its decompressed bytes. Raises `NotFound`, `ConnectionFailed`."""
    with store.open(path) as file:
        if codec is None:
            yield file
            return
        with pa.PythonFile(file, "r") as plain:
            yield cast(BinaryIO, pa.CompressedInputStream(plain, codec))


def pieces(
    store: Store, path: str, codec: str | None, size: int
) -> Generator[bytes, int | None, None]:
    """Yield the decompressed bytes of a file in pieces of about ``size``, or of the size given to
    `send`.

    Raises `MalformedFile` if it cannot be decompressed.
    """
    where = store.show(path)
    with stream(store, path, codec) as source:
        wanted = size
        while True:
            try:
                piece = source.read(wanted)
            except (OSError, pa.ArrowException):
                if codec is None:
                    raise
                raise MalformedFile(f"{where}: damaged, or not a {codec} file.") from None
            if not piece:
                return
            wanted = (yield piece) or size
