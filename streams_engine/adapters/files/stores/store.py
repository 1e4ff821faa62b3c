"""A root under which files lie: a folder, or a bucket with a prefix. Paths are relative to it.

What is written becomes visible only when it is complete. Every failure is one of ours and
names the path, never a secret.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, BinaryIO

from streams_engine.adapters.files.stores.backend import Backend, FileInfo, Location
from streams_engine.contracts import FileEntry
from streams_engine.errors import MalformedFile, NotFound

if TYPE_CHECKING:
    from streams_engine.adapters.files.stores.s3 import S3Files

__all__ = ["FileInfo", "Store"]

Buckets = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Store(Location):
    """The files at a location. Pickles; opens nothing before it is used."""

    def show(self, path: str = "") -> str:
        """Return a path with its root, as messages name it."""
        return _backend(self).show(path)

    def list(self, path: str = "") -> list[FileInfo]:
        """List the files below a folder, at any depth, sorted by path; empty if it does not exist.

        A path that is a file lists as that file. Raises `ConnectionFailed`, `PermissionDenied`;
        `NotFound` if the bucket does not exist.
        """
        return sorted(_backend(self).list(path))

    def stat(self, path: str) -> FileInfo:
        """Return a file's present size and mark. Raises `NotFound`."""
        return _backend(self).stat(path)

    def open(self, path: str) -> BinaryIO:
        """Open a file to read it, seekable. Raises `NotFound`."""
        return _backend(self).open(path)

    def writing(self, path: str) -> AbstractContextManager[BinaryIO]:
        """Open a file for writing; it appears, complete, when the block ends without an error."""
        return _backend(self).writing(path)

    def delete(self, path: str) -> None:
        """Delete a file; do nothing if it does not exist."""
        _backend(self).delete(path)

    def entries(self, path: str, *, deep: bool) -> Iterator[FileEntry]:
        """Yield what a folder contains, as the store lists it; ``deep``: all files at any depth.

        A path that is a file yields that file. Raises `NotFound`.
        """
        return _backend(self).entries(path, deep=deep)

    def entry(self, path: str, *, follow: bool = True) -> FileEntry:
        """Return one file or folder; without ``follow`` a symbolic link is one of type link. Raises
        `NotFound`."""
        return _backend(self).entry(path, follow=follow)

    def delete_folder(self, path: str) -> None:
        """Delete a folder in which there is no file, where a store has folders."""
        _backend(self).delete_folder(path)

    def buckets(self) -> Buckets:
        """Return ``{"name", "created"}`` of each bucket. Only of S3."""
        return _s3(self).buckets()

    def create_bucket(self, name: str) -> None:
        """Create a bucket. Only of S3. Raises `TargetConflict` if it exists."""
        _s3(self).create_bucket(name)

    def read_json(self, path: str) -> Any:
        """Read a JSON document; None if it does not exist. Raises `MalformedFile`."""
        try:
            with self.open(path) as file:
                return json.loads(file.read())
        except NotFound:
            return None
        except ValueError:
            raise MalformedFile(f"{self.show(path)} is not a valid JSON document.") from None

    def write_json(self, path: str, document: Mapping[str, Any]) -> None:
        """Put a JSON document in one atomic step."""
        with self.writing(path) as file:
            file.write(json.dumps(document, ensure_ascii=False).encode())

    @contextmanager
    def probing(self, path: str) -> Iterator[None]:
        """Check, around the block, that a file can be written and deleted."""
        with self.writing(path) as file:
            file.write(b"{}")
        try:
            yield
        finally:
            self.delete(path)


_LOCK = threading.Lock()


def _s3(store: Store) -> S3Files:
    backend: Any = _backend(store)
    found: S3Files = backend
    return found


def _backend(store: Store) -> Backend:
    with _LOCK:
        return _made(store)


@lru_cache(maxsize=64)
def _made(store: Store) -> Backend:
    """Import only the kind of storage that is asked for: a short run notices the others."""
    if store.protocol == "file":
        from streams_engine.adapters.files.stores.local import LocalFiles

        return LocalFiles(store)
    if store.protocol == "s3":
        from streams_engine.adapters.files.stores.s3 import S3Files

        return S3Files(store)
    from streams_engine.adapters.files.stores.remote import FsspecFiles

    return FsspecFiles(store)
