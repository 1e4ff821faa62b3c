"""Exit codes: their meaning, and the states and errors that lead to them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from enum import IntEnum

from streams_engine.errors import QueryRefused, StreamsError
from streams_engine.lifecycle import State
from streams_engine.model import Finding, Severity

__all__ = ["MEANING", "Exit", "for_error", "for_state", "not_accepted"]


class Exit(IntEnum):
    """The exit status of the process."""

    FINISHED = 0
    FAILED = 1
    USAGE = 2
    STOPPED = 3
    LIMIT = 4
    DIFFERENT = 5
    ERRORS_TOLD = 6


MEANING: Mapping[Exit, str] = {
    Exit.FINISHED: "finished",
    Exit.FAILED: "failed",
    Exit.USAGE: "wrong usage or configuration",
    Exit.STOPPED: "stopped by Ctrl-C or SIGTERM",
    Exit.LIMIT: "a limit was reached",
    Exit.DIFFERENT: "verify found differences",
    Exit.ERRORS_TOLD: "finished, with findings of severity error",
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


def for_state(
    state: State,
    error: StreamsError | None,
    findings: Iterable[Finding] = (),
    accept: Collection[str] = (),
) -> Exit:
    """Return the exit code of a run that ended in ``state``; ``accept`` are codes of findings that
    do not count as errors."""
    if error is not None:
        return for_error(error)
    if state is State.FINISHED and not_accepted(findings, accept):
        return Exit.ERRORS_TOLD
    return _BY_STATE.get(state, Exit.FAILED)


def not_accepted(findings: Iterable[Finding], accept: Collection[str]) -> tuple[Finding, ...]:
    """Return the findings of severity error, without those of accepted codes."""
    errors = (finding for finding in findings if finding.severity is Severity.ERROR)
    return tuple(finding for finding in errors if finding.code not in accept)
