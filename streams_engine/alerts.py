"""Alerts: one when a fact of a running stream crosses a threshold, one when it is below again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from streams_engine.errors import ConfigError
from streams_engine.events import refuse_awaited

__all__ = ["Alert", "AlertCallback", "Watch", "watch"]

Kind = Literal["lag", "retained", "quarantined", "silent", "failed"]

TOLD: Mapping[str, str] = {
    "lag": "the lag is {value:,.1f} s",
    "retained": "the source retains {value:,.0f} bytes of log",
    "quarantined": "{value:,.0f} rows are quarantined",
    "silent": "nothing was heard for {value:,.1f} s",
}


@dataclass(frozen=True, slots=True)
class Alert:
    """A threshold that was crossed, a value that is back below it, or a stream that failed."""

    stream: str
    kind: Kind
    state: Literal["alert", "clear"]
    value: float
    threshold: float
    at: float
    """Unix seconds."""
    reason: str | None = None
    """The error's message of a stream that failed; its value is 1, its threshold 0."""

    @property
    def message(self) -> str:
        """What happened, in words."""
        if self.kind == "failed":
            return f"the stream failed: {self.reason}"
        told = TOLD[self.kind].format(value=self.value)
        side = "above" if self.state == "alert" else "no longer above"
        return f"{told}, {side} {self.threshold:,g}"

    def to_dict(self) -> dict[str, Any]:
        """Return the document of the alert."""
        return {
            "stream": self.stream,
            "kind": self.kind,
            "state": self.state,
            "value": round(self.value, 3),
            "threshold": self.threshold,
            "time": self.at,
            "message": self.message,
        }


AlertCallback = Callable[[Alert], None]


class Watch:
    """Thresholds of one callback, and which of them are crossed."""

    def __init__(self, callback: AlertCallback, thresholds: Mapping[Kind, float]) -> None:
        self.callback = callback
        self._thresholds = thresholds
        self._crossed: set[Kind] = set()

    def look(
        self, stream: str, facts: Mapping[Kind, float | None], failed: str | None = None
    ) -> list[Alert]:
        """Return the alerts that present facts give; a fact that is None is not known and changes
        nothing. ``failed`` is the error's message of a stream that failed: it is told once, and
        nothing is measured any more."""
        if failed is not None:
            told = "failed" in self._crossed
            self._crossed.add("failed")
            return [] if told else [Alert(stream, "failed", "alert", 1.0, 0.0, time.time(), failed)]
        alerts = []
        for kind, threshold in self._thresholds.items():
            value = facts.get(kind)
            if value is None or (value > threshold) is (kind in self._crossed):
                continue
            above = value > threshold
            (self._crossed.add if above else self._crossed.discard)(kind)
            state: Literal["alert", "clear"] = "alert" if above else "clear"
            alerts.append(Alert(stream, kind, state, float(value), threshold, time.time()))
        return alerts


def watch(callback: AlertCallback, thresholds: Mapping[Kind, float | None]) -> Watch:
    """Return the watch for a callback. Raises `ConfigError` for thresholds that are none, and for a
    callback that nobody would await."""
    refuse_awaited(callback)
    chosen: dict[Kind, float] = {}
    for kind, value in thresholds.items():
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
            raise ConfigError(f"{kind}: a threshold is a number of 0 or more.", path=kind)
        chosen[kind] = float(value)
    if not chosen:
        raise ConfigError(
            "on_alert: no threshold is given.",
            path="lag",
            remedy=f"Give one of {', '.join(thresholds)}.",
        )
    return Watch(callback, chosen)
