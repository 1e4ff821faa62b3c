"""The sockets of ADBC's connections, which it does not show: found by a setting that none else has.

Only on Linux, and not for unix sockets; elsewhere none is found, and none is watched.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

__all__ = ["SocketMark"]

HOUR_MS = 3_600_000
_numbers = itertools.count()


class SocketMark:
    """A tcp_user_timeout of its own: about an hour, too long to end anything."""

    def __init__(self) -> None:
        self.milliseconds = HOUR_MS + next(_numbers) % HOUR_MS

    def descriptors(self) -> set[int]:
        """Return the open sockets of this process that have the mark."""
        return {number for number in _sockets() if self._bears(number)}

    def _bears(self, number: int) -> bool:
        with (
            contextlib.suppress(OSError),
            socket.socket(fileno=os.dup(number)) as sock,
        ):
            return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == self.milliseconds
        return False

    def shut_down(self, number: int) -> None:
        """Cut one of them: who waits on it fails at once."""
        if self._bears(number):  # its number may be another socket's by now
            with (
                contextlib.suppress(OSError),
                socket.socket(fileno=os.dup(number)) as sock,
            ):
                sock.shutdown(socket.SHUT_RDWR)

    def shut_all_down(self) -> None:
        """Cut all of them."""
        for number in self.descriptors():
            self.shut_down(number)


def _sockets() -> Iterator[int]:
    """Yield every socket of this process."""
    try:
        numbers = [int(path.name) for path in Path("/proc/self/fd").iterdir()]
    except OSError:
        return
    for number in numbers:
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(os.fstat(number).st_mode):
                yield number
