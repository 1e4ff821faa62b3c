"""Errors over documents, without the frames whose local variables hold the documents.

Tools that report an error with its local variables would send the secrets in them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from streams_engine.errors import ConfigError

__all__ = ["without_locals"]

P = ParamSpec("P")
R = TypeVar("R")


def without_locals(function: Callable[P, R]) -> Callable[P, R]:
    """Let a `ConfigError` of a call begin at the call; its message has the path of the fault."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except ConfigError as error:
            del args, kwargs
            raise error.with_traceback(None) from None

    return call
