"""A connection that logs in while another one is asked."""

from __future__ import annotations

from collections.abc import Callable

import psycopg

from streams_engine.adapters.sql.background import begin
from streams_engine.errors import StreamsError

__all__ = ["EarlyLogin"]


class EarlyLogin:
    """Logs in on a thread of its own inside the block. What nobody takes is closed."""

    def __init__(self, open: Callable[[], psycopg.Connection]) -> None:
        self._open = open
        self._login = begin(open)
        self._taken = False

    def take(self) -> psycopg.Connection:
        """Return the connection, for the caller to close.

        A login that failed is tried again, because the server may have had no connection to spare
        for as long as it was asked. Raises what that raises.
        """
        self._taken = True
        try:
            return self._login.result()
        except StreamsError:
            return self._open()

    def __enter__(self) -> EarlyLogin:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._taken and self._login.exception() is None:
            self._login.result().close()
