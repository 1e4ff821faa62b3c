"""What has to be there, by our own rules: an error of the library where it is not."""

from __future__ import annotations

from typing import TypeVar

from streams_engine.errors import InternalError

__all__ = ["required"]

T = TypeVar("T")


def required(value: T | None, what: str) -> T:
    """Return a value that has to be there. Raises `InternalError`, naming it, where it is not."""
    if value is None:
        raise InternalError(
            f"A fault of streams_engine: {what} is not there.",
            remedy="Please report it with the log of streams_engine.stream.",
        )
    return value
