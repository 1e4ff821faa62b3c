"""Waits of a start for other sessions of a source: reported, and ended by pause and stop."""

from __future__ import annotations

from dataclasses import dataclass

from streams_engine.model import Finding, Severity
from streams_engine.pipeline.control import Control
from streams_engine.stats import Counters

__all__ = ["StartInterrupted", "StartWaits"]


class StartInterrupted(Exception):
    """The run is to pause or to end while it waits: nothing is wrong."""


@dataclass(frozen=True, slots=True)
class StartWaits:
    """The callback that a source tells its waits to. Raises `StartInterrupted` once they should
    end."""

    control: Control
    counters: Counters
    alias: str

    def __call__(self, what: str) -> None:
        if self.control.cut():
            raise StartInterrupted
        self.counters.phase = "waiting"
        self.counters.found(
            [
                Finding(
                    Severity.INFO,
                    "start-waits",
                    f"source {self.alias}".strip(),
                    f"Other sessions block the start of the stream. {what}",
                    "End those sessions, or stop the stream.",
                )
            ]
        )
