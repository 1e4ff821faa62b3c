"""A folder of this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, cast

from streams_engine.adapters.files.stores.backend import FileInfo, Location, UnclosedSink
from streams_engine.errors import ConnectionFailed, NotFound, PermissionDenied

__all__ = ["LocalFiles"]


class LocalFiles:
    """Files below a folder. A file is written under a temporary name and then renamed."""

    def __init__(self, store: Location) -> None:
        self._root = Path(store.root).absolute()

    def show(self, path: str) -> str:
        """Return the absolute path."""
        return str(self._root / path) if path else str(self._root)

    def list(self, path: str) -> list[FileInfo]:
        """List all files below a folder, except temporary ones."""
        place = self._root / path
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

    def stat(self, path: str) -> FileInfo:
        """Size and time of last change; a file that was replaced has another inode."""
        with self._failing(path):
            facts = (self._root / path).stat()
        return FileInfo(path, facts.st_size, f"{facts.st_mtime_ns}-{facts.st_ino}")

    def open(self, path: str) -> BinaryIO:
        """Open a buffered file."""
        with self._failing(path):
            return (self._root / path).open("rb", buffering=1 << 20)

    @contextmanager
    def writing(self, path: str) -> Iterator[BinaryIO]:
        """Write to a temporary file in the same folder, which is synced and moved at the end."""
        place = self._root / path
        temporary = place.with_name(f".{place.name}.tmp")
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
            (self._root / path).unlink(missing_ok=True)
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
