"""Named points at which a test may end a run, to see the state that a kill leaves.

Nothing happens at a point unless a test installed a hook; the cost is one comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

__all__ = ["POINTS", "install", "reach"]

POINTS: Mapping[str, str] = {
    "load: structure made": "A convert has created its tables.",
    "load: rows read": "A batch was read, and not yet written.",
    "handover: position taken": "The position in the log is known; no reader has a view yet.",
    "handover: view opened": "Every reader of the load sees the rows at that position.",
    "handover: structure made": "The target's tables are created.",
    "handover: chunk copied": "A chunk is committed with its record.",
    "handover: rows copied": "Every chunk is committed.",
    "handover: keys built": "Indexes and keys are created.",
    "handover: load recorded": "The target says from which position its tables count.",
    "log: opened": "The log is open at the position on the target.",
    "log: fetched": "A set of changes was read.",
    "apply: done": "A set is applied in the open transaction.",
    "commit: before": "The position is written in the same transaction.",
    "commit: after": "Rows and position are committed; the source has not heard of it.",
    "acknowledge: after": "The source knows that it may forget its log.",
    "pending: begun": "DDL that waited until all tables show one moment is to be carried out.",
    "pending: executed": "It is carried out.",
    "pending: recorded": "It is recorded as carried out.",
    "ddl: begun": "A schema change of the log is to be carried out.",
    "ddl: intent recorded": "The target says what is going to be carried out.",
    "ddl: executed": "Its statements are carried out.",
    "reload: emptied": "A table that is read again is empty.",
    "reload: rows applied": "Its rows are written.",
    "ddl: recorded": "The schema after the change is recorded.",
    "verify: progress noted": "Ranges that were found equal are recorded.",
    "verify: repair written": "Rows that differed are written in the open transaction.",
    "verify: repair committed": "They are committed.",
}
"""Every point by name, and what has happened there, in the order of a run; those of a verification
last."""

_hook: Callable[[str], None] | None = None


def install(hook: Callable[[str], None] | None) -> None:
    """Call ``hook(name)`` at every point from now on; None stops that. For tests."""
    global _hook
    _hook = hook


def reach(name: str) -> None:
    """Call the test hook, if any, at a point of `POINTS`."""
    if _hook is not None:
        _hook(name)
