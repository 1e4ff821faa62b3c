"""The document that says which files of changes count: its atomic replacement is the commit.

``_streams_engine/logs/<stream>/<key>.json``. A file of changes counts where its number is not
beyond ``number`` and its epoch is the one that ``epochs`` gives that number to. So what a killed
or fenced-off writer left counts nowhere, and the document does not grow with the files.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from streams_engine.adapters.files.store import Store
from streams_engine.errors import ConnectionFailed, FencedOff, MalformedFile

__all__ = ["VERSION", "LogDocument", "read_log"]

VERSION = 1
Records = Mapping[str, Mapping[str, Any] | None]


@dataclass
class LogDocument:
    """What is durable of one log."""

    stream: str
    key: str
    epoch: int = 0
    owner: str = ""
    """Who took it over last, by chance: two that do so at once have one number."""
    number: int = 0
    """Of the last file that counts."""
    epochs: list[list[int]] = field(default_factory=list)
    """[epoch, its first number], in order; only those that committed files."""
    document: Mapping[str, Any] | None = None
    """What the last commit said: the position."""
    records: dict[str, Mapping[str, Any] | None] = field(default_factory=dict)
    """Further records of the commits since the takeover; None: removed."""

    def counts(self, number: int, epoch: int) -> bool:
        """Whether a file of this number and epoch is part of the log."""
        mine = [found for found, first in self.epochs if first <= number]
        return number <= self.number and bool(mine) and mine[-1] == epoch

    def taken_over(self) -> LogDocument:
        """The same log under its next epoch."""
        taken = LogDocument(self.stream, self.key, self.epoch + 1, secrets.token_hex(8))
        taken.number, taken.epochs = self.number, [list(pair) for pair in self.epochs]
        taken.document, taken.records = self.document, dict(self.records)
        return taken

    def committed(self, document: Mapping[str, Any], records: Records, files: int) -> LogDocument:
        """The log after a commit of so many numbers."""
        then = LogDocument(self.stream, self.key, self.epoch, self.owner, self.number + files)
        then.epochs = [list(pair) for pair in self.epochs]
        if files and (not then.epochs or then.epochs[-1][0] != self.epoch):
            then.epochs.append([self.epoch, self.number + 1])
        then.document, then.records = document, {**self.records, **records}
        return then

    def put(self, store: Store, path: str, *, after: LogDocument) -> None:
        """Replace the document. Raises `FencedOff` where ``after`` is not the one that is there.

        Whether a put without an answer was done after all is settled by looking.
        """
        there = read_log(store, path)
        if there is None or (there.epoch, there.owner) != (after.epoch, after.owner):
            raise FencedOff(
                f"Stream '{self.stream}': another process follows its log '{self.key}' now.",
                remedy="Stop the other one, or leave the stream to it.",
            )
        self.put_anyway(store, path)

    def put_anyway(self, store: Store, path: str) -> None:
        """Replace the document, whoever had it."""
        wanted = {"version": VERSION, **vars(self)}
        try:
            store.write_json(path, wanted)
        except ConnectionFailed:
            if store.read_json(path) != json.loads(json.dumps(wanted)):
                raise


def read_log(store: Store, path: str) -> LogDocument | None:
    """A log's document, None where there is none. Raises `MalformedFile`."""
    found = store.read_json(path)
    if found is None:
        return None
    try:
        if found.pop("version") != VERSION:
            raise ValueError
        return LogDocument(**found)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise MalformedFile(
            f"{store.show(path)} is no document of a change log of this version.",
            remedy="Restore it, or load again with start(fresh=True).",
            file=store.show(path),
        ) from None
