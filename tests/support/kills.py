"""Processes that tests kill, forked from one that has imported the library.

Each is as ``python -c`` would run it. There are more than a hundred, and every one would else take
most of its time to import what all of them need.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import pkgutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from typing import TextIO

__all__ = ["Child", "child"]

PARTS = ("streams_engine.assembly", "streams_engine.config", "streams_engine.pipeline",
         "streams_engine.schema", "streams_engine.adapters.files", "streams_engine.adapters.mysql",
         "streams_engine.adapters.postgres", "streams_engine.adapters.sql")  # fmt: skip
"""What a stream loads where it is used: whole, for none may be left for each process."""


def _modules() -> Iterator[str]:
    """Every module of the parts, and what they import from other packages at their first use."""
    for part in PARTS:
        package = importlib.import_module(part)
        yield part
        for found in pkgutil.walk_packages(getattr(package, "__path__", ()), f"{part}."):
            yield found.name


FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(list(_modules()))


@dataclass(frozen=True)
class Child:
    """A process, and what it prints."""

    process: ForkServerProcess
    out: TextIO

    def told(self, seconds: float) -> str:
        """All that it prints to its end, which is made where it does not come in time."""
        self.process.join(seconds)
        self.process.kill()
        return self.out.read()


@contextmanager
def child(code: str, *arguments: str) -> Iterator[Child]:
    """Run code with these as ``sys.argv[1:]``; dead at the end."""
    reading, writing = FORKS.Pipe(duplex=False)
    process = FORKS.Process(target=_run, args=(code, arguments, writing))
    process.start()
    writing.close()
    with reading, open(os.dup(reading.fileno()), encoding="utf-8") as out:
        try:
            yield Child(process, out)
        finally:
            process.kill()
            process.join()
            process.close()


def _run(code: str, arguments: tuple[str, ...], out: Connection) -> None:
    os.dup2(out.fileno(), sys.stdout.fileno())
    out.close()
    sys.argv = ["-c", *arguments]
    exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
