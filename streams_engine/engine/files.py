"""`engine.files`: the files of a folder, a bucket or another store, below a connection's base."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote

import pyarrow as pa

from streams_engine.adapters.files.formats.options import format_of
from streams_engine.adapters.registry import open_files
from streams_engine.adapters.ssh import reachable
from streams_engine.contracts import BucketStore, DataFileStore, FileEntry, FileStore, Scope
from streams_engine.engine.lists import Conditions, FilePage, list_request
from streams_engine.engine.preview import preview_request
from streams_engine.engine.resolver import ConnectionResolver
from streams_engine.engine.store import demand_confirmed
from streams_engine.errors import (
    ConfigError,
    MalformedFile,
    NotFound,
    PermissionDenied,
    StreamsError,
)
from streams_engine.pipeline.preview import preview
from streams_engine.stats import rfc3339

__all__ = ["Files", "confined"]

Document = dict[str, Any]
Documents = list[Document]

KEYS = ("path", "name", "type", "size", "modified", "format")
PIECE = 1 << 20
MANIFEST = "_manifest.json"
DRIVE = re.compile(r"[A-Za-z]:")
DECODINGS = 4
"""How often a path may be encoded in another one."""


class Files:
    """Files of stored connections. Thread-safe.

    Paths are relative to the connection's base (its folder, or its bucket and prefix; without a
    bucket a path begins with one), with slashes. A path that leads out of the base is refused with
    `ConfigError`: absolute ones, ``..``, symbolic links, encoded forms of these. All methods raise
    `NotFound`, and `ConnectionFailed` and its kin.
    """

    def __init__(self, resolver: ConnectionResolver) -> None:
        self._dialler = resolver

    def list(
        self,
        connection: str,
        path: str = "",
        *,
        limit: int | None = 100,
        offset: int = 0,
        filters: Conditions = (),
        sort: Conditions = (),
        recursive: bool = False,
        total: bool = True,
    ) -> FilePage:
        """Return what a folder contains: ``{"items", "total", "limit", "offset"}``.

        Each item has ``path``, ``name``, ``type`` (file, folder; link: one that leads out),
        ``size`` in bytes, ``modified`` (RFC 3339) and ``format`` (by its name); by default they
        are sorted by path. ``recursive``: all files at any depth, without the folders. Only the
        items up to the end of the page are kept. ``total=False`` counts none, and stops reading a
        store that lists in order (S3) at the end of the page. Raises `ConfigError` by path.
        """
        request = list_request(limit, offset, filters, sort)
        with self._opened(connection) as store:
            entries = store.entries(confined(path), deep=recursive)
            documents = (_document(entry) for entry in entries)
            return request.file_page(documents, KEYS, total=total, ordered=store.ordered)

    def all(
        self, connection: str, path: str = "", *, recursive: bool = False
    ) -> Iterator[Document]:
        """Iterate over what a folder contains, as the store lists it."""
        with self._opened(connection) as store:
            for entry in store.entries(confined(path), deep=recursive):
                yield _document(entry)

    def meta(self, connection: str, path: str) -> Document:
        """Return one file or folder: what `list` tells, and more.

        Of a file ``compression``, of a Parquet file ``rows``, ``rowGroups`` and ``columns``; of a
        folder ``files`` and ``size``, at any depth.
        """
        with self._opened(connection) as store:
            entry = store.entry(confined(path))
            document = _document(entry)
            if entry.type == "file":
                return document | store.details(entry.path, sniff=False)
            if entry.type == "folder":
                sizes = [one.size or 0 for one in store.entries(entry.path, deep=True)]
                return document | {"files": len(sizes), "size": sum(sizes)}
            return document

    def sniff(self, connection: str, path: str) -> Document:
        """Return what a file's first bytes and rows tell, whatever its name says.

        ``{"path", "format", "compression", "columns"}``, of CSV also ``delimiter`` and ``quote``;
        types as the first 1,000 rows show them. Raises `MalformedFile` for other files.
        """
        with self._opened(connection) as store:
            clean = confined(path)
            if store.entry(clean).type != "file":
                raise ConfigError(f"path: {path} is not a file.", path="path")
            return {"path": clean} | store.details(clean, sniff=True)

    def read(
        self,
        connection: str,
        path: str,
        *,
        limit: int | None = 100,
        offset: int = 0,
        columns: Sequence[str] = (),
        filters: Conditions = (),
        sort: Conditions = (),
    ) -> pa.Table:
        """Return rows of a data file, or of a folder of parts, as an Arrow table.

        Columns, filters and sort as for `Engine.data`. Raises `MalformedFile`, `ConfigError` by
        path.
        """
        clean = confined(path)
        request = preview_request(list_request(limit, offset, filters, sort), columns, ())
        with self._opened(connection) as store, closing(store.source(clean)) as source:
            tables = source.catalog(Scope()).tables
            if len(tables) != 1:
                names = ", ".join(table.id.name for table in tables[:5])
                raise ConfigError(
                    f"path: {path or 'the base'} contains {len(tables)} tables: {names}.",
                    path="path",
                    remedy="Give the path of one file, or of the folder of one table.",
                )
            with preview(source, Scope(tables=(tables[0].id.name,)), request) as rows:
                return rows.table()

    def upload(self, connection: str, local: str | Path, path: str) -> Document:
        """Copy a file of this machine to the store; return its document, with ``replaced``.

        It appears there at once and whole, and replaces a file of that path. Nothing is left of an
        upload that fails.
        """
        clean = _named(path)
        with self._opened(connection) as store, _local(local) as file:
            replaced = _file_at(store, clean)
            with store.writing(clean) as target:
                shutil.copyfileobj(file, target, PIECE)
            return _document(store.entry(clean)) | {"replaced": replaced}

    def download(self, connection: str, path: str, local: str | Path) -> Document:
        """Copy a file of the store to this machine; return its document.

        ``local`` appears at once and whole, and replaces a file of that name. Its folder must
        exist.
        """
        clean = _named(path)
        with self._opened(connection) as store:
            entry = store.entry(clean)
            if entry.type != "file":
                raise ConfigError(f"path: {path} is not a file.", path="path")
            with store.open(clean) as file, _appearing(Path(local)) as target:
                shutil.copyfileobj(file, target, PIECE)
            return _document(entry)

    def delete(self, connection: str, path: str, *, confirm: bool = False) -> int:
        """Delete a file, or a folder with all that is below it; return how many files.

        A symbolic link is deleted, not what it leads to. Raises `ConfigError` without
        ``confirm=True``.
        """
        demand_confirmed(confirm, "delete removes the file, or the folder with all its files.")
        with self._opened(connection) as store:
            return store.delete(_named(path))

    def buckets(self, connection: str) -> Documents:
        """Return ``[{"name", "created"}]``: all buckets of the account, or the connection's own.

        Raises `ConfigError` for what is not S3.
        """
        with self._opened(connection) as store:
            found = _with_buckets(store).buckets()
        return [one | {"created": rfc3339(one["created"])} for one in found]

    def create_bucket(self, connection: str, name: str) -> Document:
        """Create a bucket; return ``{"name"}``.

        Raises `TargetConflict` if it exists, `ConfigError` for what is not S3, and for another name
        than that of the connection's own bucket.
        """
        with self._opened(connection) as store:
            _with_buckets(store).create_bucket(name)
        return {"name": name}

    def manifest(self, connection: str, path: str) -> Document:
        """Return the manifest of a table's folder that a stream wrote: columns, parts, rows.

        ``path``: the folder, or a JSON document itself. Raises `MalformedFile` if it is not JSON.
        """
        clean = confined(path)
        with self._opened(connection) as store:
            if store.entry(clean).type == "folder":
                clean = f"{clean}/{MANIFEST}".strip("/")
            with store.open(clean) as file:
                try:
                    document = json.loads(file.read())
                except ValueError:
                    document = None
        if not isinstance(document, dict):
            raise MalformedFile(f"{clean} is not a JSON object.", file=clean)
        return document

    @contextmanager
    def _opened(self, connection: str) -> Iterator[DataFileStore]:
        resolvers = self._dialler.resolvers
        with reachable(self._dialler.parsed(connection), resolvers) as reached:
            yield open_files(reached, resolvers)


def confined(path: str) -> str:
    """Return a path in its plain form. Raises `ConfigError` if it is none below a base.

    What a store, a proxy or a later decoder could take for a way out is refused too: percent
    encodings and other characters that stand for dots, slashes and NUL.
    """
    if not isinstance(path, str):
        raise ConfigError("path: expected a text.", path="path")
    seen = path
    for _ in range(DECODINGS):
        reason = _way_out(seen)
        if reason is not None:
            raise ConfigError(
                f"path: {path!r} {reason}.",
                path="path",
                remedy="Give a path below the connection's base, with slashes: folder/file.csv.",
            )
        seen = unicodedata.normalize("NFKC", unquote(seen))
    return "/".join(step for step in path.split("/") if step not in ("", "."))


def _way_out(path: str) -> str | None:
    """Return why a path leads out of its base, or None."""
    if "\0" in path:
        return "contains NUL"
    if "\\" in path:
        return "contains a backslash"
    if path.startswith("/"):
        return "is absolute"
    if "://" in path or DRIVE.match(path):
        return "names another place"
    if ".." in path.split("/"):
        return "leads out of the base"
    return None


def _named(path: str) -> str:
    """Return a path that is not the base itself. Raises `ConfigError`."""
    clean = confined(path)
    if not clean or path.endswith("/"):
        raise ConfigError(
            f"path: {path!r} names no file.", path="path", remedy="Give the path of a file."
        )
    return clean


def _document(entry: FileEntry) -> Document:
    known = format_of(entry.path) if entry.type == "file" else None
    return {
        "path": entry.path,
        "name": entry.path.rpartition("/")[2],
        "type": entry.type,
        "size": entry.size,
        "modified": None if entry.modified is None else rfc3339(entry.modified),
        "format": None if known is None else known[0],
    }


def _file_at(store: FileStore, path: str) -> bool:
    """Return whether there is a file. Raises `ConfigError` for a folder."""
    try:
        kind = store.entry(path).type
    except NotFound:
        return False
    if kind == "folder":
        raise ConfigError(
            f"path: {path} is a folder.", path="path", remedy="Give the path of the file in it."
        )
    return True


def _with_buckets(store: FileStore) -> BucketStore:
    if not isinstance(store, BucketStore):
        raise ConfigError("connection: only S3 has buckets.", path="connection")
    return store


@contextmanager
def _local(path: str | Path) -> Iterator[BinaryIO]:
    """Open a file of this machine. Raises `NotFound`, `PermissionDenied`, `ConfigError`."""
    try:
        file = Path(path).open("rb")  # noqa: SIM115
    except (OSError, ValueError) as error:
        raise _unusable(path, error) from None
    with file:
        yield file


@contextmanager
def _appearing(path: Path) -> Iterator[BinaryIO]:
    """Write a file of this machine, which is there, complete, at the end of the block."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except (OSError, ValueError) as error:
        raise _unusable(path, error) from None
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise _unusable(path, error) from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _umask() -> int:
    """Return the umask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _unusable(path: str | Path, error: Exception) -> StreamsError:
    if isinstance(error, FileNotFoundError):
        return NotFound(f"local: {path} does not exist, or its folder.", path="local")
    if isinstance(error, PermissionError):
        return PermissionDenied(f"local: {path}: permission denied.", path="local")
    reason = getattr(error, "strerror", None) or type(error).__name__
    return ConfigError(f"local: {path!r} cannot be used: {reason}.", path="local")
