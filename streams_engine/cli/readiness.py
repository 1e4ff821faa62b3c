"""Tell a supervisor that a stream is ready: by a file, and by systemd's protocol.

A convert is ready when it runs, a cdc when its tables are loaded and it follows the log
(https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html).
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams_engine.errors import ConfigError
from streams_engine.lifecycle import State

if TYPE_CHECKING:
    from streams_engine.events import Event
    from streams_engine.stream import Stream

__all__ = ["ReadyFile", "announced", "sd_notify"]

SOCKET = "NOTIFY_SOCKET"

ReadyFile = Annotated[
    Path | None,
    typer.Option(
        help="Create this file once the stream runs (cdc: follows), remove it at the end."
    ),
]


def sd_notify(message: str) -> bool:
    """Send a message to the service manager; return False where there is none.

    A datagram to the socket that the environment names; a leading ``@`` stands for a NUL byte.
    """
    address = os.environ.get(SOCKET)
    if not address:
        return False
    if address.startswith("@"):
        address = f"\0{address[1:]}"
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
        sending.connect(address)
        sending.sendall(message.encode())
        return True
    return False


@contextmanager
def announced(stream: Stream, ready_file: Path | None) -> Iterator[None]:
    """Tell of the stream's readiness while the block runs it, and of its end afterwards.

    ``ready_file`` is made when it is ready, with the process's id, and removed at the end. Raises
    `ConfigError` for a file that cannot be made.
    """
    if ready_file is not None:
        _demand_writable(ready_file)
    first = threading.Lock()

    def ready() -> None:
        if not first.acquire(blocking=False):  # told already
            return
        if ready_file is not None:
            ready_file.write_text(f"{os.getpid()}\n", encoding="ascii")
        sd_notify(f"READY=1\nSTATUS={stream.name} is running")

    def heard(event: Event) -> None:
        phase, state = event.details.get("phase"), event.details.get("state")
        following = event.event == "phase" and phase == "following"
        if following or (event.event == "state" and state == "RUNNING" and not stream.follows):
            ready()

    unsubscribe = stream.on_record(heard)
    follows = stream.follows and stream.stats().phase == "following"
    if stream.state is State.RUNNING and (follows or not stream.follows):
        ready()  # before somebody listened
    try:
        yield
    finally:
        unsubscribe()
        sd_notify(f"STOPPING=1\nSTATUS={stream.name}: {stream.state}")
        if ready_file is not None:
            ready_file.unlink(missing_ok=True)


def _demand_writable(path: Path) -> None:
    """Remove what an earlier process left, and try whether the file can be made."""
    try:
        path.write_text("", encoding="ascii")
        path.unlink()
    except OSError as error:
        raise ConfigError(
            f"{path}: the ready file cannot be made: {error.strerror}.",
            remedy="Name a file in a folder that this account may write to.",
        ) from None
