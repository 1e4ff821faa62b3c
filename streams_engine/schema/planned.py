"""The statements of a change in their order, with what tells of each that it was run."""

from __future__ import annotations

from dataclasses import dataclass

from streams_engine.protocols import Statement

__all__ = ["Plan", "Step"]


@dataclass(frozen=True, slots=True)
class Step:
    """A statement, and the object of the table that it removes or makes (empty: no matter)."""

    statement: Statement
    object: str
    """As ``index a``, ``check a`` or ``foreign key a``."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a table is changed; ``main`` happens as a whole or not at all."""

    before: tuple[Step, ...] = ()
    """What has to go first."""
    main: tuple[Statement, ...] = ()
    after: tuple[Step, ...] = ()
    """What is made at the end."""
    alone: int = 0
    """How many of the first statements are to be committed each by itself."""
    repeatable: bool = False
    """``main`` may be run once more."""

    @property
    def statements(self) -> tuple[Statement, ...]:
        """All of them, in order."""
        return (
            *(step.statement for step in self.before),
            *self.main,
            *(step.statement for step in self.after),
        )
