"""Files of any fsspec filesystem: SFTP, Google Cloud Storage, Azure, HTTP, memory, and others.

Every filesystem serves as a source. A target needs files that appear whole: `WRITERS` says of which
protocols that is known, and how it is done. Local folders and S3 have modules of their own.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, BinaryIO, cast

from streams_engine.adapters.files.stores.backend import (
    FileInfo,
    Location,
    UnclosedSink,
    outside,
    temporary_name,
)
from streams_engine.adapters.sql.server_message import Masked, server_text
from streams_engine.contracts import FileEntry
from streams_engine.errors import (
    AuthenticationFailed,
    ConfigError,
    ConnectionFailed,
    NotFound,
    PermissionDenied,
    StreamsError,
)

__all__ = ["WRITERS", "FsspecFiles"]

READ_AHEAD = 8 << 20

DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    # sshfs would accept any host key; the empty tuple is asyncssh's own default, the account's
    # known_hosts.
    "sftp": {"known_hosts": ()},
    "ssh": {"known_hosts": ()},
}
"""Storage options by protocol where the package's own default is not safe."""

MARKS = ("ETag", "etag", "generation", "md5Hash", "mtime", "modified", "last_modified", "created")
"""Facts of a file that change with its content, the best one first."""

REFUSED = {"AuthenticationError", "ClientAuthenticationError", "DefaultCredentialsError"}
"""Names of errors of packages for credentials that were not accepted."""
LACKING = {"Forbidden", "SFTPPermissionDenied"}
"""Names of errors of packages for what the account may not do."""


def _upload(fs: Any, local: str, path: str, _: str) -> None:
    """Upload in one call; an object is there once its upload has ended."""
    fs.put_file(local, path)


def _upload_and_copy(fs: Any, local: str, path: str, temporary: str) -> None:
    """Upload under another name and copy: in memory a copy is one assignment."""
    fs.put_file(local, temporary)
    fs.mv(temporary, path)


def _upload_and_rename(fs: Any, local: str, path: str, temporary: str) -> None:
    """Upload under another name and rename with posix-rename@openssh.com.

    That replaces a file in one step; SFTP's own rename fails if the file exists.
    """
    from fsspec.asyn import sync

    async def rename() -> None:
        async with fs.client.start_sftp_client() as sftp:
            await sftp.posix_rename(temporary, path)

    try:
        fs.put_file(local, temporary)
        sync(fs.loop, rename)
    except BaseException:
        with suppress(Exception):
            fs.rm_file(temporary)
        raise


WRITERS: Mapping[str, Callable[[Any, str, str, str], None]] = {
    "abfs": _upload,
    "abfss": _upload,
    "az": _upload,
    "gcs": _upload,
    "gs": _upload,
    "memory": _upload_and_copy,
    "sftp": _upload_and_rename,
    "ssh": _upload_and_rename,
}
"""By protocol, how a local file is put in its place, if need be by a temporary one beside it, so
that no reader sees a part of it."""


def _real_path(fs: Any, path: str) -> str:
    """Return a path of SFTP with all links followed; what does not exist yet is taken as it is."""
    from fsspec.asyn import sync

    async def real(one: str) -> str:
        async with fs.client.start_sftp_client() as sftp:
            return str(await sftp.realpath(one))

    try:
        return str(sync(fs.loop, real, path))
    except FileNotFoundError:
        folder, _, name = path.rpartition("/")
        return f"{_real_path(fs, folder or '/').rstrip('/')}/{name}"
    except OSError as error:
        if not {"SFTPNoSuchFile", "SFTPNoSuchPath"} & {k.__name__ for k in type(error).__mro__}:
            raise
        folder, _, name = path.rpartition("/")
        return f"{_real_path(fs, folder or '/').rstrip('/')}/{name}"


LINKED: Mapping[str, Callable[[Any, str], str]] = {"sftp": _real_path, "ssh": _real_path}
"""By protocol that has symbolic links, how they are followed."""


class FsspecFiles:
    """Files below the path of a URL. A file that is written is held on this machine until it is
    complete."""

    def __init__(self, store: Location) -> None:
        self._store = store
        self._options: dict[str, Any] = json.loads(store.options or "{}")
        self._fs, root = _filesystem(store.protocol, store.root, self._options)
        self._root = root.rstrip("/")
        self._real_root: str | None = None

    def show(self, path: str) -> str:
        """Return the URL, without secrets."""
        return "/".join(part for part in (self._store.root.rstrip("/"), path) if part)

    def list(self, path: str) -> list[FileInfo]:
        """List all files below a folder, never from a cache."""
        with self._failing(path):
            self._fs.invalidate_cache()
            place = self._place(path)
            try:
                facts = self._fs.info(place)
                if facts["type"] == "file" and facts.get("mimetype") != "text/html":
                    return [self._info(place, facts)]
                infos = list(self._below(place))
            except FileNotFoundError:
                return []
        return [one for one in infos if not one.path.endswith(".tmp")]

    def _below(self, place: str) -> Iterator[FileInfo]:
        for entry in self._fs.ls(place, detail=True):
            name = str(entry["name"]).rstrip("/")
            if not name.startswith(f"{place}/"):
                continue  # a link to elsewhere, on a page; or the folder itself
            if entry["type"] == "directory":
                yield from self._below(name)
            else:
                yield self._info(name, entry)

    def entries(self, path: str, *, deep: bool) -> Iterator[FileEntry]:
        """Yield what a folder contains, never from a cache. Raises `NotFound`."""
        with self._failing(path):
            self._fs.invalidate_cache()
            place = self._place(path)
            facts = self._fs.info(place)
            if facts["type"] == "file" and facts.get("mimetype") != "text/html":
                yield self._entry(place, facts, "all")
                return
            folders = [place]
            while folders:
                folder = folders.pop()
                for entry in self._fs.ls(folder, detail=True):
                    name = str(entry["name"]).rstrip("/")
                    if not name.startswith(f"{folder}/"):
                        continue  # a link to elsewhere, on a page; or the folder itself
                    if deep and entry["type"] == "directory":
                        folders.append(name)
                        continue
                    yield self._entry(name, entry, "files" if deep else "all")

    def entry(self, path: str, *, follow: bool = True) -> FileEntry:
        """Return one file or folder, fresh; a link that leads out is one of type link, without
        ``follow`` any link."""
        with self._failing(path):
            self._fs.invalidate_cache()
            place = self._place(path, last=False)
            if path and (self._is_outside(place) or not (follow or self._is_itself(place))):
                return FileEntry(path, "link")
            return self._entry(place, self._fs.info(place), "all")

    def _is_itself(self, place: str) -> bool:
        """Return whether a file or folder is no link."""
        real = LINKED.get(self._store.protocol)
        folder, _, name = place.rpartition("/")
        return real is None or real(self._fs, place) == (
            f"{real(self._fs, folder or '/').rstrip('/')}/{name}"
        )

    def _entry(self, name: str, facts: Mapping[str, Any], links: str) -> FileEntry:
        """Describe a file or folder; ``links``: which of them are followed (files: to files)."""
        path = name[len(self._root) :].strip("/")
        if facts["type"] in ("link", "other"):
            if self._store.protocol not in LINKED or self._is_outside(name):
                return FileEntry(path, "link")
            facts = self._fs.info(name)
            if links == "files" and facts["type"] == "directory":
                return FileEntry(path, "link")
        modified = _modified(facts)
        page = facts.get("mimetype") == "text/html"  # of links: what HTTP has for a folder
        if facts["type"] == "directory" or page:
            return FileEntry(path, "folder", None, modified)
        if facts.get("size") is None:  # a page of links tells names alone
            facts = self._fs.info(name)
        return FileEntry(path, "file", int(facts.get("size") or 0), modified)

    def _is_outside(self, name: str) -> bool:
        """Return whether a confined path, all links followed, lies outside of the root."""
        follow = LINKED.get(self._store.protocol)
        if not self._store.confined or follow is None:
            return False
        if self._real_root is None:
            self._real_root = follow(self._fs, self._root or "/")
        return not _is_below(follow(self._fs, name), self._real_root)

    def delete_folder(self, path: str) -> None:
        """Delete a folder and the folders below it, where the filesystem has folders."""
        with self._failing(path), suppress(FileNotFoundError):
            self._fs.rm(self._place(path), recursive=True)

    def stat(self, path: str) -> FileInfo:
        """Size and mark, fresh."""
        with self._failing(path):
            self._fs.invalidate_cache()
            return self._info(self._place(path), self._fs.info(self._place(path)))

    def _info(self, name: str, facts: Mapping[str, Any]) -> FileInfo:
        if facts.get("size") is None:  # a page of links tells names alone
            facts = self._fs.info(name)
        size = int(facts.get("size") or 0)
        mark = next((facts[key] for key in MARKS if facts.get(key)), "")
        if isinstance(mark, datetime):  # a listing of the same filesystem may give seconds
            mark = mark.timestamp()
        return FileInfo(name[len(self._root) :].strip("/"), size, f"{mark}-{size}")

    def open(self, path: str) -> BinaryIO:
        """Open a file that reads ahead, or a copy of it if the server cannot send parts."""
        place = self._place(path)
        with self._failing(path):
            if self._store.protocol in ("http", "https"):
                facts = self._fs.info(place)
                if not facts.get("partial") or not facts.get("size"):
                    return self._copied(place)
            return cast(BinaryIO, self._fs.open(place, "rb", block_size=READ_AHEAD))

    def _copied(self, place: str) -> BinaryIO:
        copy = tempfile.TemporaryFile()  # noqa: SIM115
        try:
            with self._fs.open(place, "rb", block_size=0) as file:
                shutil.copyfileobj(file, copy, READ_AHEAD)
            copy.seek(0)
        except BaseException:
            copy.close()
            raise
        return cast(BinaryIO, copy)

    @contextmanager
    def writing(self, path: str) -> Iterator[BinaryIO]:
        """Write to a temporary file of this machine, which is uploaded at the end."""
        put = self._writer(path)
        with tempfile.NamedTemporaryFile() as file:
            given = UnclosedSink(file)
            try:
                yield cast(BinaryIO, given)
            finally:
                given.drop()
            file.flush()
            with self._failing(path):
                self._fs.makedirs(self._place(path).rpartition("/")[0], exist_ok=True)
                place = self._place(path)
                put(self._fs, file.name, place, temporary_name(place, self._store))

    def _writer(self, path: str) -> Callable[[Any, str, str, str], None]:
        """Return how a file is put in its place. Raises `ConfigError` for a filesystem of which
        that is not known."""
        put = WRITERS.get(self._store.protocol)
        if put is None:
            raise ConfigError(
                f"{self.show(path)}: files of {self._store.protocol}:// can be read, not written.",
                remedy=f"Write to a folder, to s3://, or to {', '.join(sorted(WRITERS))}.",
            )
        return put

    def delete(self, path: str) -> None:
        """Remove a file; folders that are empty then stay."""
        self._writer(path)
        with self._failing(path), suppress(FileNotFoundError):
            self._fs.rm_file(self._place(path, last=False))

    def _place(self, path: str, *, last: bool = True) -> str:
        """Return where a file lies. Raises `ConfigError` if a link leads out of a confined root;
        ``last``: also if the file itself is one."""
        place = f"{self._root}/{path}".rstrip("/") if path else self._root
        if path and self._is_outside(place if last else place.rpartition("/")[0] or "/"):
            raise outside(self.show(path))
        return place

    @contextmanager
    def _failing(self, path: str) -> Iterator[None]:
        """Translate the errors of the fsspec package, which are known by their names."""
        try:
            yield
        except StreamsError:
            raise
        except Exception as error:
            raise _translated(error, self.show(path), self._options) from None


def _is_below(path: str, root: str) -> bool:
    return f"{path.rstrip('/')}/".startswith(f"{root.rstrip('/')}/")


def _modified(facts: Mapping[str, Any]) -> datetime | None:
    """Return when a file was changed last, of what its filesystem tells."""
    for key in ("mtime", "LastModified", "last_modified", "modified", "updated", "created"):
        told = facts.get(key)
        if isinstance(told, datetime):
            return told.astimezone(UTC) if told.tzinfo else told.replace(tzinfo=UTC)
        if isinstance(told, int | float) and not isinstance(told, bool):
            return datetime.fromtimestamp(told, UTC)
    return None


def _translated(error: Exception, where: str, options: Mapping[str, Any]) -> StreamsError:
    kinds = {kind.__name__ for kind in type(error).__mro__}
    secrets = Masked(*(str(value) for value in options.values() if isinstance(value, str)))
    said = server_text(str(error), secrets) or type(error).__name__
    if isinstance(error, FileNotFoundError):
        return NotFound(f"{where} does not exist.", path=where)
    if kinds & REFUSED:
        return AuthenticationFailed(f"{where}: the server refused the credentials: {said}.")
    if isinstance(error, PermissionError) or kinds & LACKING:
        return PermissionDenied(f"{where}: permission denied.", path=where)
    # What is no error of the system is told at once: waiting would not mend it.
    lost = isinstance(error, OSError)
    return ConnectionFailed(f"{where}: {type(error).__name__}: {said}.", retryable=lost)


def _filesystem(protocol: str, url: str, options: Mapping[str, Any]) -> tuple[Any, str]:
    """Return the filesystem of a URL, and the path in it. Raises `ConfigError` for a wrong
    option."""
    from fsspec.core import url_to_fs

    given = {**DEFAULTS.get(protocol, {}), **options}
    try:
        fs, path = url_to_fs(url, **given, skip_instance_cache=True)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"{url}: the storage options are invalid: {type(error).__name__}.",
            remedy=f"See the documentation of the fsspec package for {protocol}.",
        ) from None
    except PermissionError:  # of the log-in: no file was asked for yet
        raise AuthenticationFailed(f"{url}: the server refused the credentials.") from None
    except Exception as error:
        raise _translated(error, url, options) from None
    return fs, str(path)
