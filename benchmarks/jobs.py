"""One piece of work, as every contender gets it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

from benchmarks.data import SHAPES, Shape

__all__ = ["Contender", "Job", "Place", "Unavailable", "place"]


class Unavailable(Exception):
    """A contender cannot be had on this machine; the text says why."""


@dataclass(frozen=True, slots=True)
class Job:
    """Move one table from here to there. ``target`` may be ``null://`` or ``file://``."""

    source: str
    target: str
    shape_name: str
    rows: int
    directory: str
    """Scratch space, empty when the work begins."""
    ready: str = ""
    """A directory with the table as ``<table>.csv`` (with header) and ``<table>.tsv``."""
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def shape(self) -> Shape:
        """The table that is moved."""
        return SHAPES[self.shape_name]

    def to_json(self) -> str:
        """What a child process is told."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        """The job that a parent process told."""
        return cls(**json.loads(text))


@dataclass(frozen=True, slots=True)
class Contender:
    """Something that can do a job: the library, or a peer."""

    name: str
    command: Callable[[Job], list[str]]
    """The command line; raises `Unavailable` where the peer cannot be had."""
    settings: str
    """How it is run, for the results."""
    measures_itself: bool = False
    """A Python child that reports its own seconds, without the interpreter's start."""
    indexed: bool = True
    """Whether the target must have the key and the indexes afterwards."""
    reads_file: bool = False
    """Whether it reads the table from ready files."""


@dataclass(frozen=True, slots=True)
class Place:
    """The parts of a connection URL."""

    host: str
    port: str
    user: str
    password: str
    database: str


def place(url: str) -> Place:
    """Take a URL of a private server apart."""
    parts = urlsplit(url)
    return Place(
        parts.hostname or "",
        str(parts.port),
        parts.username or "",
        parts.password or "",
        parts.path.lstrip("/"),
    )
