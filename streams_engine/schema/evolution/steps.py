"""The statements of a schema change in order, each with what tells that it was run."""

from __future__ import annotations

from dataclasses import dataclass

from streams_engine.contracts import Statement
from streams_engine.model import (
    ObjectRef,
)

__all__ = ["DdlPlan", "DdlStep"]


@dataclass(frozen=True, slots=True)
class DdlStep:
    """A statement, and the object of the table that it removes or makes (None: no matter)."""

    statement: Statement
    object: ObjectRef | None
    """An index, a check or a foreign key, without its table, which may be renamed."""


@dataclass(frozen=True, slots=True)
class DdlPlan:
    """Statements that change a table; ``main`` succeeds as a whole or not at all."""

    before: tuple[DdlStep, ...] = ()
    """What has to go first."""
    main: tuple[Statement, ...] = ()
    after: tuple[DdlStep, ...] = ()
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
