"""Bytes of a file, decompressed, with every fault of it named after the file."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

import pyarrow as pa

from streams_engine.adapters.files.store import Store
from streams_engine.errors import MalformedFile

__all__ = ["pieces", "stream"]


@contextmanager
def stream(store: Store, path: str, codec: str | None) -> Iterator[BinaryIO]:
    """A file as a stream of its plain bytes. Raises `NotFound`, `ConnectionFailed`."""
    with store.open(path) as file:
        if codec is None:
            yield file
            return
        with pa.PythonFile(file, "r") as plain:
            yield cast(BinaryIO, pa.CompressedInputStream(plain, codec))


def pieces(
    store: Store, path: str, codec: str | None, size: int
) -> Generator[bytes, int | None, None]:
    """The plain bytes of a file in pieces of about ``size``, larger if so asked by `send`.

    Raises `MalformedFile` where it does not decompress.
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
                raise MalformedFile(f"{where}: it is damaged or no {codec} file.") from None
            if not piece:
                return
            wanted = (yield piece) or size
