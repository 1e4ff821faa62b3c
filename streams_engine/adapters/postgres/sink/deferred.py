"""Changes that foreign keys refuse, deferred until others have made way for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable

from streams_engine.errors import RowRejected, require
from streams_engine.model import NetChanges

__all__ = ["DeferredChanges"]

CONSTRAINT = "23"
"""https://www.postgresql.org/docs/current/errcodes-appendix.html"""

FEW = 16
"""Up to so many are tried again after every change, else only at the end."""


class DeferredChanges:
    """Applies changes by ``change``, which keeps nothing of what it refuses, in an order that no
    constraint refuses. Changes of one key keep theirs."""

    def __init__(self, change: Callable[[NetChanges], None]) -> None:
        self._change = change
        self._steps: list[tuple[NetChanges, RowRejected]] = []
        self._keys: Counter[Hashable] = Counter()
        self._refusal: RowRejected | None = None

    def take(self, step: NetChanges) -> None:
        """Apply a change, now or later."""
        keys = _keys(step) if self._steps else ()
        if any(self._keys[key] for key in keys) or not self._done(step):
            self._wait(step)
        elif len(self._steps) <= FEW:
            self._again()

    def demand_none(self) -> None:
        """Apply what waits. Raises what the first of it was refused for."""
        self._again()
        if self._steps:
            raise self._steps[0][1]

    def _done(self, step: NetChanges) -> bool:
        try:
            self._change(step)
        except RowRejected as error:
            if not str(error.details.get("sqlstate")).startswith(CONSTRAINT):
                raise
            self._refusal = error
            return False
        return True

    def _wait(self, step: NetChanges) -> None:
        refusal = require(self._refusal, "why a step waits")
        self._steps.append((step, refusal))
        self._keys.update(_keys(step))

    def _again(self) -> None:
        """Try all that wait, until none of them goes any more."""
        count = -1
        while self._steps and len(self._steps) != count:
            count = len(self._steps)
            tried, self._steps = self._steps, []
            self._keys.clear()
            for step, error in tried:
                self._refusal = error
                if any(self._keys[key] for key in _keys(step)) or not self._done(step):
                    self._wait(step)


def _keys(step: NetChanges) -> set[Hashable]:
    """Return the keys of the rows that the step changes."""
    several = [step.deletes, step.inserts, *step.updates]
    for move in step.moves:
        several += move
    return {
        (step.table, *row)
        for batch in several
        if batch is not None
        for row in zip(*(batch.column(k).to_pylist() for k in step.key), strict=True)
    } or {(step.table,)}
