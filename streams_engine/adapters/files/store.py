"""A root under which files lie: a folder, or a bucket with a prefix. Paths are relative to it.

What is written becomes visible only when it is complete. Every failure is one of ours and
names the path, never a secret.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, BinaryIO, Protocol

from streams_engine.errors import MalformedFile, NotFound, StreamsError

__all__ = ["FileInfo", "Store"]


@dataclass(frozen=True, slots=True, order=True)
class FileInfo:
    """A file as a listing shows it; ``mark`` changes whenever its content does."""

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


@dataclass(frozen=True, slots=True)
class Store:
    """Where files lie, and the credentials for it. Pickles; opens nothing before it is used."""

    protocol: str = "file"
    """file or s3."""
    root: str = ""
    """A folder; or the bucket and a prefix, as ``bucket/exports``."""
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

    def show(self, path: str = "") -> str:
        """A path as messages name it, with its root."""
        return _backend(self).show(path)

    def list(self, path: str = "") -> list[FileInfo]:
        """The files below a folder, at any depth, sorted by path; none where it is not there.

        A path that is a file itself lists as that file. Raises `ConnectionFailed`,
        `PermissionDenied`; `NotFound` where the bucket is not there.
        """
        return sorted(_backend(self).list(path))

    def stat(self, path: str) -> FileInfo:
        """A file's size and mark, fresh. Raises `NotFound`."""
        return _backend(self).stat(path)

    def open(self, path: str) -> BinaryIO:
        """Open a file to read it, seekable. Raises `NotFound`."""
        return _backend(self).open(path)

    def writing(self, path: str) -> AbstractContextManager[BinaryIO]:
        """A file to write to; it is there, whole, once the block ends without an error."""
        return _backend(self).writing(path)

    def delete(self, path: str) -> None:
        """Remove a file; nothing where it is not there."""
        _backend(self).delete(path)

    def read_json(self, path: str) -> Any:
        """A JSON document, None where it is not there. Raises `MalformedFile`."""
        try:
            with self.open(path) as file:
                return json.loads(file.read())
        except NotFound:
            return None
        except ValueError:
            raise MalformedFile(f"{self.show(path)} is no JSON document.") from None

    def write_json(self, path: str, document: Mapping[str, Any]) -> None:
        """Put a JSON document in one atomic step."""
        with self.writing(path) as file:
            file.write(json.dumps(document, ensure_ascii=False).encode())

    @contextmanager
    def probing(self, path: str) -> Iterator[None]:
        """Show that a file can be written and removed, around what is done in between."""
        with self.writing(path) as file:
            file.write(b"{}")
        try:
            yield
        finally:
            self.delete(path)


_LOCK = threading.Lock()


def _backend(store: Store) -> Backend:
    with _LOCK:
        return _made(store)


@lru_cache(maxsize=64)
def _made(store: Store) -> Backend:
    from streams_engine.adapters.files import local, s3

    kinds: Mapping[str, Any] = {"file": local.LocalFiles, "s3": s3.S3Files}
    if store.protocol not in kinds:
        raise StreamsError(f"No storage is called {store.protocol}; file and s3 are.")
    backend: Backend = kinds[store.protocol](store)
    return backend
