"""Private servers that are killed, frozen, and started again on the same data."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from streams_engine.testing import servers
from streams_engine.testing.servers import Server
from tests.support.polling import until

__all__ = ["Down", "down", "frozen", "kill"]

SECONDS = 90.0


class Down:
    """A server that was killed, and how it was started."""

    def __init__(self, server: Server) -> None:
        process = Path(f"/proc/{server.pid}")
        self._server = server
        self._command = process.joinpath("cmdline").read_bytes().decode().split("\0")[:-1]
        given = process.joinpath("environ").read_bytes().decode().split("\0")
        self._environment = dict(line.split("=", 1) for line in given if line)
        # The guard would take the end of the process for that of the tests.
        servers._dismiss(server.watch)
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()

    def start(self) -> None:
        """Start it again, and wait until it answers."""
        server = self._server

        def answers() -> bool:
            server.process = servers._spawn(
                self._command, server.directory, servers._account(), self._environment
            )
            try:
                servers._await(server)
            except servers.ServerStartError:  # PostgreSQL's children may outlive it for a moment
                return False
            return True

        until(answers, SECONDS, pause=0.2)
        server.watch = servers._watch(server.process, server.kind, server.directory)


def kill(server: Server) -> Down:
    """Kill a server at once, whatever it is at."""
    return Down(server)


@contextlib.contextmanager
def down(server: Server) -> Iterator[None]:
    """A server that is not there for the length of a ``with``, and answers again afterwards."""
    killed = kill(server)
    try:
        yield
    finally:
        killed.start()


@contextlib.contextmanager
def frozen(server: Server) -> Iterator[None]:
    """A server whose processes are stopped: the kernel alone acknowledges what comes."""
    processes = [server.pid, *_children(server.pid)]
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in reversed(processes):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)


def _children(process: int) -> list[int]:
    told = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process)], capture_output=True)
    return [int(line) for line in told.stdout.split()]
