"""Exit codes: their meaning, and the states and errors that lead to them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

from streams_engine.errors import QueryRefused, StreamsError
from streams_engine.lifecycle import State

__all__ = ["MEANING", "Exit", "for_error", "for_state"]


class Exit(IntEnum):
    """The exit status of the process."""

    FINISHED = 0
    FAILED = 1
    USAGE = 2
    STOPPED = 3
    LIMIT = 4
    DIFFERENT = 5


MEANING: Mapping[Exit, str] = {
    Exit.FINISHED: "finished",
    Exit.FAILED: "failed",
    Exit.USAGE: "wrong usage or configuration",
    Exit.STOPPED: "stopped by Ctrl-C or SIGTERM",
    Exit.LIMIT: "a limit was reached",
    Exit.DIFFERENT: "verify found differences",
}

_BY_STATE: Mapping[State, Exit] = {
    State.FINISHED: Exit.FINISHED,
    State.FAILED: Exit.FAILED,
    State.STOPPED: Exit.STOPPED,
    State.TIME_LIMIT_REACHED: Exit.LIMIT,
    State.EVENT_LIMIT_REACHED: Exit.LIMIT,
}


def for_error(error: StreamsError) -> Exit:
    """Return the exit code of an error: USAGE for a wrong document, argument or statement, else
    FAILED."""
    refused = error.category == "config" or isinstance(error, QueryRefused)
    return Exit.USAGE if refused else Exit.FAILED


def for_state(state: State, error: StreamsError | None) -> Exit:
    """Return the exit code of a run that ended in ``state``."""
    return for_error(error) if error is not None else _BY_STATE.get(state, Exit.FAILED)
