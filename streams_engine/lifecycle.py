"""The eight states of a stream and the one table of moves between them. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from streams_engine.errors import StateConflict

__all__ = ["FINAL", "TRANSITIONS", "State", "check_move"]


class State(StrEnum):
    """State of a stream; as a string, a member equals its own name."""

    READY = "READY"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    STOPPED = "STOPPED"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    TIME_LIMIT_REACHED = "TIME_LIMIT_REACHED"
    EVENT_LIMIT_REACHED = "EVENT_LIMIT_REACHED"

    @property
    def final(self) -> bool:
        """True if no transition leaves this state."""
        return not TRANSITIONS[self]


TRANSITIONS: Mapping[State, frozenset[State]] = {
    State.READY: frozenset({State.RUNNING, State.STOPPED}),
    State.RUNNING: frozenset(
        {
            State.PAUSED,
            State.STOPPED,
            State.FINISHED,
            State.FAILED,
            State.TIME_LIMIT_REACHED,
            State.EVENT_LIMIT_REACHED,
        }
    ),
    State.PAUSED: frozenset({State.RUNNING, State.STOPPED, State.FAILED}),
    State.STOPPED: frozenset(),
    State.FINISHED: frozenset(),
    State.FAILED: frozenset(),
    State.TIME_LIMIT_REACHED: frozenset(),
    State.EVENT_LIMIT_REACHED: frozenset(),
}

FINAL: frozenset[State] = frozenset(state for state, moves in TRANSITIONS.items() if not moves)


ENDED = (
    "It has ended, and holds no connection, lock or transaction any more. Build the stream anew "
    "and start that one: it goes on from the checkpoint."
)
"""What to do with a stream in a final state."""


def check_move(current: State, wanted: State) -> State:
    """Return ``wanted`` if the table allows the transition, else raise `StateConflict`."""
    if wanted in TRANSITIONS[current]:
        return wanted
    allowed = ", ".join(sorted(TRANSITIONS[current]))
    raise StateConflict(
        f"A stream cannot go from {current} to {wanted}.",
        remedy=f"From {current} it can go to: {allowed}." if allowed else ENDED,
        current=str(current),
        wanted=str(wanted),
    )
