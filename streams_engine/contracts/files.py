"""Contract for the files of a folder, a bucket or another store, beside the tables among them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO, Literal, Protocol, runtime_checkable

from streams_engine.contracts.source import Source

__all__ = ["BucketStore", "DataFileStore", "FileEntry", "FileStore"]

EntryType = Literal["file", "folder", "link"]


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file or a folder as a listing shows it."""

    path: str
    """Relative to the base of the connection, with slashes, and none at its ends."""
    type: EntryType
    """``link``: a symbolic link that is not followed, because it leads out or nowhere."""
    size: int | None = None
    """Bytes; None for all but files."""
    modified: datetime | None = None
    """When it was last changed, in UTC; None where the store does not say."""


class FileStore(Protocol):
    """Files below the base of one connection. Safe to use from many threads.

    Paths are relative to the base and clean: the caller has refused those that lead out by their
    names. The store refuses with `ConfigError` those that lead out by symbolic links. All methods
    raise `ConnectionFailed`, `PermissionDenied` and their kin.
    """

    ordered: bool
    """It lists in the order of names (S3: of keys)."""

    def entries(self, path: str, *, deep: bool) -> Iterator[FileEntry]:
        """Yield what a folder contains, page by page where the store has pages; ``deep``: all files
        at any depth. A path that is a file yields that file. Raises `NotFound`."""
        ...

    def entry(self, path: str) -> FileEntry:
        """Return one file or folder. Raises `NotFound`."""
        ...

    def open(self, path: str) -> BinaryIO:
        """Open a file to read it. Raises `NotFound`."""
        ...

    def writing(self, path: str) -> AbstractContextManager[BinaryIO]:
        """Open a file for writing; it appears, complete, when the block ends without an error, and
        replaces the file that was there."""
        ...

    def delete(self, path: str) -> int:
        """Delete a file, or a folder with all that is below; return how many files. A link is
        deleted, not what it leads to. Raises `NotFound`."""
        ...


class DataFileStore(FileStore, Protocol):
    """Files that hold rows."""

    def details(self, path: str, *, sniff: bool) -> dict[str, Any]:
        """Return a data file's format, compression and columns, as far as its name and its footer
        tell; ``sniff``: as far as its first bytes tell. Raises `MalformedFile`."""
        ...

    def source(self, path: str) -> Source:
        """Open a source of the tables at a path; it reads when its methods are called."""
        ...


@runtime_checkable
class BucketStore(Protocol):
    """A store that has buckets."""

    def buckets(self) -> list[dict[str, Any]]:
        """Return ``{"name", "created"}`` of the buckets that the connection may reach."""
        ...

    def create_bucket(self, name: str) -> None:
        """Create a bucket. Raises `TargetConflict` if it exists, `ConfigError` for a name that the
        connection may not reach."""
        ...
