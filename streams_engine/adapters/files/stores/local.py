"""A folder of this machine."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, cast

from streams_engine.adapters.files.stores.backend import (
    FileInfo,
    Location,
    UnclosedSink,
    outside,
    temporary_name,
)
from streams_engine.contracts import FileEntry
from streams_engine.errors import ConnectionFailed, NotFound, PermissionDenied

__all__ = ["LocalFiles"]


class LocalFiles:
    """Files below a folder. A file is written under a temporary name and then renamed."""

    def __init__(self, store: Location) -> None:
        self._store = store
        self._root = Path(store.root).absolute()

    def show(self, path: str) -> str:
        """Return the absolute path."""
        return str(self._root / path) if path else str(self._root)

    def list(self, path: str) -> list[FileInfo]:
        """List all files below a folder, except temporary ones."""
        place = self._place(path)
        with self._failing(path):
            if place.is_file():
                return [self.stat(path)]
            infos = []
            for folder, _, names in os.walk(place, onerror=_raise):
                for name in names:
                    relative = (Path(folder) / name).relative_to(self._root).as_posix()
                    if not name.endswith(".tmp"):
                        with suppress(NotFound):  # removed since it was listed
                            infos.append(self.stat(relative))
            return infos

    def entries(self, path: str, *, deep: bool) -> Iterator[FileEntry]:
        """Yield what a folder contains, as the system lists it. Links to folders are not
        descended."""
        with self._failing(path):
            place = self._place(path)
            if place.is_file():
                yield self.entry(path)
                return
            folders = [path]
            while folders:
                folder = folders.pop()
                with os.scandir(self._root / folder) as listed:
                    for one in listed:
                        inner = f"{folder}/{one.name}" if folder else one.name
                        if deep and one.is_dir(follow_symlinks=False):
                            folders.append(inner)
                            continue
                        with suppress(FileNotFoundError):  # removed since it was listed
                            facts = one.stat(follow_symlinks=False)
                            yield self._entry(inner, facts, "files" if deep else "all")

    def entry(self, path: str, *, follow: bool = True) -> FileEntry:
        """Return one file or folder; a link that leads out or nowhere is one of type link, without
        ``follow`` any link."""
        with self._failing(path):
            facts = os.lstat(self._place(path, last=False))
            return self._entry(path, facts, "all" if follow else "none")

    def _entry(self, path: str, facts: os.stat_result, links: str) -> FileEntry:
        """Describe a file or folder; ``links``: which of them are followed (files: to files)."""
        if stat.S_ISLNK(facts.st_mode):
            real = os.path.realpath(self._root / path)
            if not self._is_below(real) or not os.path.exists(real):
                return FileEntry(path, "link")
            facts = os.stat(real)
            if links == "none" or (links == "files" and stat.S_ISDIR(facts.st_mode)):
                return FileEntry(path, "link")
        modified = datetime.fromtimestamp(facts.st_mtime, UTC)
        if stat.S_ISDIR(facts.st_mode):
            return FileEntry(path, "folder", None, modified)
        return FileEntry(path, "file", facts.st_size, modified)

    def _is_below(self, real: str) -> bool:
        root = os.path.realpath(self._root)
        return real == root or real.startswith(root.rstrip("/") + "/")

    def _place(self, path: str, *, last: bool = True) -> Path:
        """Return where a file lies. Raises `ConfigError` if a link leads out of a confined root;
        ``last``: also if the file itself is one."""
        place = self._root / path
        if self._store.confined:
            looked = place if last else place.parent
            if path and not self._is_below(os.path.realpath(looked)):
                raise outside(self.show(path))
        return place

    def delete_folder(self, path: str) -> None:
        """Delete a folder and the empty folders below it."""
        with self._failing(path):
            for folder, _, __ in os.walk(self._place(path), topdown=False):
                os.rmdir(folder)

    def stat(self, path: str) -> FileInfo:
        """Size and time of last change; a file that was replaced has another inode."""
        with self._failing(path):
            facts = self._place(path).stat()
        return FileInfo(path, facts.st_size, f"{facts.st_mtime_ns}-{facts.st_ino}")

    def open(self, path: str) -> BinaryIO:
        """Open a buffered file."""
        with self._failing(path):
            return self._place(path).open("rb", buffering=1 << 20)

    @contextmanager
    def writing(self, path: str) -> Iterator[BinaryIO]:
        """Write to a temporary file in the same folder, which is synced and moved at the end."""
        place = self._place(path)
        temporary = place.with_name(temporary_name(f".{place.name}", self._store))
        with self._failing(path):
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                with temporary.open("wb") as file:
                    given = UnclosedSink(file)
                    try:
                        yield cast(BinaryIO, given)
                    finally:
                        given.drop()
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(temporary, place)
            except BaseException:
                with suppress(OSError):
                    temporary.unlink()
                raise
            _sync(place.parent)

    def delete(self, path: str) -> None:
        """Delete a file, and the folders that are empty then."""
        with self._failing(path):
            self._place(path, last=False).unlink(missing_ok=True)
        with suppress(OSError):
            for folder in (self._root / path).relative_to(self._root).parents:
                if folder != Path():
                    (self._root / folder).rmdir()

    @contextmanager
    def _failing(self, path: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise NotFound(f"{self.show(path)} does not exist.", path=self.show(path)) from None
        except PermissionError:
            raise PermissionDenied(
                f"{self.show(path)}: permission denied.", path=self.show(path)
            ) from None
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise ConnectionFailed(f"{self.show(path)}: {reason}.", retryable=False) from None


def _raise(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _sync(folder: Path) -> None:
    """Make a move in this folder outlive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
