"""Waits of a start for other sessions of a source: reported, and ended by pause and stop."""

from __future__ import annotations

from dataclasses import dataclass

from streams_engine.model import Finding, Severity
from streams_engine.runtime.control import Control
from streams_engine.stats import Counters

__all__ = ["Interrupted", "StartWaits"]


class Interrupted(Exception):
    """The run is to pause or to end while it waits: nothing is wrong."""


@dataclass(frozen=True, slots=True)
class StartWaits:
    """What a source tells its waits to. Raises `Interrupted` once they should end."""

    control: Control
    counters: Counters
    alias: str

    def __call__(self, what: str) -> None:
        if self.control.cut():
            raise Interrupted
        self.counters.phase = "waiting"
        self.counters.found(
            [
                Finding(
                    Severity.INFO,
                    "start-waits",
                    f"source {self.alias}".strip(),
                    f"The start waits for other sessions. {what}",
                    "End what is named, or stop the stream.",
                )
            ]
        )
