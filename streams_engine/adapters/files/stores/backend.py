"""Contract of a store: its location, and the operations on files."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Protocol

from streams_engine.contracts import FileEntry
from streams_engine.errors import ConfigError

__all__ = ["Backend", "FileInfo", "Location", "UnclosedSink", "outside", "temporary_name"]


@dataclass(frozen=True, slots=True, order=True)
class FileInfo:
    """A file as a listing shows it; ``make_checkpoint`` changes whenever its content does."""

    path: str
    size: int
    mark: str
    """The time of its last change in nanoseconds, or its ETag."""


class Backend(Protocol):
    """The few things that a kind of storage has to be able to do."""

    def show(self, path: str) -> str: ...
    def list(self, path: str) -> list[FileInfo]: ...
    def stat(self, path: str) -> FileInfo: ...
    def open(self, path: str) -> BinaryIO: ...
    def writing(self, path: str) -> AbstractContextManager[BinaryIO]: ...
    def delete(self, path: str) -> None: ...
    def entries(self, path: str, *, deep: bool) -> Iterator[FileEntry]: ...
    def entry(self, path: str, *, follow: bool = True) -> FileEntry: ...
    def delete_folder(self, path: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Location:
    """Root of the files, and its credentials. Pickles."""

    protocol: str = "file"
    """file, s3, or that of an fsspec filesystem."""
    root: str = ""
    """A folder; the bucket and a prefix, as ``bucket/exports``; or a URL without secrets."""
    key: str = field(default="", repr=False)
    """S3: the access key; without one, the default chain of AWS finds credentials."""
    secret: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    endpoint_url: str = ""
    """S3: another server than AWS; buckets are then addressed by path."""
    region: str = ""
    storage_class: str = ""
    server_side_encryption: str = ""
    """'', AES256 or aws:kms."""
    kms_key_id: str = ""
    confined: bool = False
    """Symbolic links that lead out of the root are refused, and several may write a file at
    once."""
    options: str = field(default="", repr=False)
    """fsspec: the storage options, as JSON."""


class ByteSink(Protocol):
    """Something that takes bytes."""

    def write(self, data: Any, /) -> Any: ...


class UnclosedSink:
    """Passes bytes on; its end is decided elsewhere, for only there the file may appear."""

    closed = False

    def __init__(self, under: ByteSink) -> None:
        self._under = under
        self._count = 0
        self._dropped = False

    def drop(self) -> None:
        """Ignore all later writes: the file is finished or given up, and its writer may be
        collected later."""
        self._dropped = True

    def write(self, data: Any) -> int:
        """Pass bytes on."""
        view = memoryview(data)
        if not self._dropped:
            self._under.write(view)
        self._count += view.nbytes
        return view.nbytes

    def tell(self) -> int:
        """Return how many bytes were written so far."""
        return self._count

    def writable(self) -> bool:
        """Return True."""
        return True

    def readable(self) -> bool:
        """Return False."""
        return False

    def seekable(self) -> bool:
        """Return False."""
        return False

    def flush(self) -> None:
        """Do nothing until the end."""

    def close(self) -> None:
        """Do nothing until the end."""


def outside(shown: str) -> ConfigError:
    """Return the error for a path that a symbolic link leads out of the root."""
    return ConfigError(
        f"path: a symbolic link leads {shown} out of the connection's base.",
        path="path",
        remedy="Give a path below the base, or use a connection with another one.",
    )


def temporary_name(name: str, location: Location) -> str:
    """Return the name under which a file is written: its own one for each writer if there may be
    several."""
    token = f".{secrets.token_hex(4)}" if location.confined else ""
    return f"{name}{token}.tmp"
