"""The files of a connection as files: listed, inspected, read and written below its base."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, BinaryIO

from streams_engine.adapters.files.sniffing import details_of, sniffed
from streams_engine.adapters.files.source import FilesSource
from streams_engine.adapters.files.stores.store import Store
from streams_engine.contracts import FileEntry
from streams_engine.errors import ConfigError

__all__ = ["BucketBrowser", "FilesBrowser"]

TEMPORARY = ".tmp"
"""How the names of files end that are being written: they are in no listing."""

BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
"""https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html"""


class FilesBrowser:
    """Files below a root. Nothing outside of it is read or written, by symbolic links neither."""

    ordered = False

    def __init__(self, store: Store) -> None:
        self._store = replace(store, confined=True)

    def entries(self, path: str, *, deep: bool) -> Iterator[FileEntry]:
        """Yield what a folder contains. Raises `NotFound`."""
        for entry in self._store.entries(path, deep=deep):
            if not entry.path.endswith(TEMPORARY):
                yield entry

    def entry(self, path: str) -> FileEntry:
        """Return one file or folder. Raises `NotFound`."""
        return self._store.entry(path)

    def details(self, path: str, *, sniff: bool) -> dict[str, Any]:
        """Return a file's format, compression and columns. Raises `MalformedFile`."""
        return sniffed(self._store, path) if sniff else details_of(self._store, path)

    def source(self, path: str) -> FilesSource:
        """Open a source of the tables at a path."""
        return FilesSource(self._store, paths=(path,))

    def open(self, path: str) -> BinaryIO:
        """Open a file to read it. Raises `NotFound`."""
        return self._store.open(path)

    def writing(self, path: str) -> AbstractContextManager[BinaryIO]:
        """Open a file that appears, complete, at the end of the block."""
        if path.endswith(TEMPORARY):
            raise ConfigError(
                f"path: names that end with {TEMPORARY} are those of files being written.",
                path="path",
                remedy="Choose another name.",
            )
        return self._store.writing(path)

    def delete(self, path: str) -> int:
        """Delete a file, or a folder with all that is below; return how many files."""
        if self._store.entry(path, follow=False).type != "folder":
            self._store.delete(path)
            return 1
        count = 0
        for entry in self._store.entries(path, deep=True):
            self._store.delete(entry.path)
            count += 1
        self._store.delete_folder(path)
        return count


class BucketBrowser(FilesBrowser):
    """Objects of S3. Where the connection names no bucket, a path begins with one."""

    ordered = True

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._bucket = store.root.partition("/")[0]

    def buckets(self) -> list[dict[str, Any]]:
        """Return the buckets that the account sees; of a connection to one bucket that one."""
        every = self._store.buckets()
        return [one for one in every if self._bucket in ("", one["name"])]

    def create_bucket(self, name: str) -> None:
        """Create a bucket. Raises `TargetConflict` if it exists."""
        if not BUCKET.fullmatch(name):
            raise ConfigError(
                "name: a bucket's name has 3 to 63 small letters, digits, dots and hyphens.",
                path="name",
            )
        if self._bucket not in ("", name):
            raise ConfigError(
                f"name: this connection reaches the bucket {self._bucket} alone.",
                path="name",
                remedy="Use a connection without a bucket.",
            )
        self._store.create_bucket(name)
