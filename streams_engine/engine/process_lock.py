"""Lock of a process's runs: a locked file next to the Engine's, held while the process lives.

The operating system releases the lock when the process ends, however it ends. The processes must be
on one machine, and the folder on a file system that supports locks.
"""

from __future__ import annotations

import contextlib
import secrets
from pathlib import Path

from filelock import FileLock, Timeout

__all__ = ["ProcessLock", "is_alive"]


class ProcessLock:
    """One open `Engine` that runs streams; in memory without a file, for nobody else sees it."""

    def __init__(self, path: Path | None) -> None:
        self.token = secrets.token_hex(8)
        self._lock = None if path is None else _lock(path, self.token)

    def claim(self) -> None:
        """Lock this process's file, to show other processes that it lives. Call it before the first
        run is recorded."""
        if self._lock is not None and not self._lock.is_locked:
            self._lock.acquire(timeout=0)

    def release(self) -> None:
        """Unlock and remove this process's file. Idempotent."""
        if self._lock is not None and self._lock.is_locked:
            path = Path(self._lock.lock_file)
            self._lock.release()
            with contextlib.suppress(OSError):
                path.unlink()


def is_alive(path: Path | None, token: str) -> bool:
    """Return whether the process of a token still lives; remove the file that a dead process
    left."""
    if path is None:
        return True
    lock = _lock(path, token)
    if not Path(lock.lock_file).exists():
        return False
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    with contextlib.suppress(OSError):
        Path(lock.lock_file).unlink()
    lock.release()
    return False


def _lock(path: Path, token: str) -> FileLock:
    return FileLock(f"{path}.{token}.lock", thread_local=False, mode=0o600)
