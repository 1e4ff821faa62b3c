"""Named points at which a test may end a run, to see the state that a kill leaves.

Nothing happens at a point unless a test installed a hook; the cost is one comparison.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["POINTS", "install", "reach"]

POINTS = (
    "load: structure made",
    "load: rows read",
    "handover: position taken",
    "handover: view opened",
    "handover: structure made",
    "handover: chunk copied",
    "handover: rows copied",
    "handover: keys built",
    "handover: load recorded",
    "log: opened",
    "log: fetched",
    "apply: done",
    "commit: before",
    "commit: after",
    "acknowledge: after",
    "pending: begun",
    "pending: executed",
    "pending: recorded",
    "ddl: begun",
    "ddl: intent recorded",
    "ddl: executed",
    "reload: emptied",
    "reload: rows applied",
    "ddl: recorded",
    "verify: progress noted",
    "verify: repair written",
    "verify: repair committed",
)
"""Every point by name, in the order of a run; those of a verification last."""

_hook: Callable[[str], None] | None = None


def install(hook: Callable[[str], None] | None) -> None:
    """Call ``hook(name)`` at every point from now on; None stops that. For tests."""
    global _hook
    _hook = hook


def reach(name: str) -> None:
    """Call the test hook, if any, at a point of `POINTS`."""
    if _hook is not None:
        _hook(name)
