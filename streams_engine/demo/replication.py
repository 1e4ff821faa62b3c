"""The demo's second act: a copy that is kept in step while the shop is open."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streams_engine.testing.servers import Server

__all__ = ["Trade"]

PAUSE = 0.004
"""Seconds between two transactions: some 200 a second."""

_STATEMENTS = (
    "UPDATE customers SET score = COALESCE(score, 0) + 1 WHERE id = {n}",
    "UPDATE orders SET remark = 'call {n}' WHERE id = {n}",
    "INSERT INTO audit (happened_at, actor, action, counter)"
    " VALUES ('2026-01-02 03:04:05', NULL, 'traded', {n})",
    "DELETE FROM reviews WHERE id = {n}",
    "UPDATE products SET price = price + 0.01 WHERE id = {n}",
)


class Trade:
    """Small transactions on the shop, as its application would make them."""

    def __init__(self, server: Server, database: str, most: int) -> None:
        self._server = server
        self._database = database
        self._most = most
        self._closing = threading.Event()
        self.transactions = 0

    @contextmanager
    def open(self) -> Iterator[Trade]:
        """Trade in the shop while the block runs."""
        thread = threading.Thread(target=self._run, name="demo-trade", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._closing.set()
            thread.join()

    def _run(self) -> None:
        chosen = random.Random(1)
        with closing(self._server.connect(self._database)) as connection:
            while not self._closing.wait(PAUSE):
                self._trade(connection, chosen)
                self.transactions += 1

    def _trade(self, connection: Any, chosen: random.Random) -> None:
        with connection.cursor() as cursor:
            cursor.execute("BEGIN")
            for statement in chosen.sample(_STATEMENTS, 2):
                cursor.execute(statement.format(n=chosen.randint(1, self._most)))
            cursor.execute("COMMIT")


def seconds(length: float) -> Iterator[None]:
    """Yield once a second for ``length`` seconds."""
    end = time.monotonic() + length
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(1.0, left))
        yield
