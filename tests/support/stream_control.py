"""What the tests of pauses, stops and restarts share: tables of some size, gates, and sums."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from streams_engine import State, Stream
from streams_engine.pipeline.snapshot.rebatcher import STEP_ROWS
from streams_engine.stats import Stats
from tests.support.databases import End
from tests.support.fault_points import at_points

__all__ = [
    "CHUNK_ROWS",
    "ROWS",
    "SECONDS",
    "SMALL_CHUNKS",
    "Gate",
    "big",
    "equal",
    "finish",
    "held",
    "kill_first",
    "records",
    "sums",
]

ROWS = 20_000
CHUNK_ROWS = 2000
"""Where a table of `big` is to be several chunks."""
SMALL_CHUNKS = {"chunkRows": CHUNK_ROWS}
"""The same as ``options`` of a document."""

SECONDS = 120.0
"""How long a test waits for what must come."""

DIGITS = "(SELECT 0 d" + "".join(f" UNION ALL SELECT {n}" for n in range(1, 10)) + ")"
COLUMNS = "id, n, v, d"
MYSQL_SUM = "SUM(CONV(LEFT(SHA2(CONCAT_WS('|', {c}), 256), 8), 16, 10))"
POSTGRES_SUM = (
    "sum(('x' || left(encode(sha256(convert_to(concat_ws('|', {c}), 'UTF8')), 'hex'), 8))"
    "::bit(32)::bigint)"
)


def big(end: End, table: str = "t", rows: int = ROWS, *, key: bool = True, first: int = 0) -> None:
    """A table of ``rows`` generated rows; its keys go beyond what a double holds exactly."""
    primary = "PRIMARY KEY" if key else "NOT NULL"
    end.run(f"CREATE TABLE {table} (id BIGINT {primary}, n INT, v VARCHAR(60), d DECIMAL(12,2))")
    more(end, table, rows, first=first)


def more(end: End, table: str, rows: int, *, first: int = 0) -> None:
    """Add rows to a table of `big`."""
    base = 9_007_199_254_740_993 + first
    if end.server.kind == "postgresql":
        end.run(
            f"INSERT INTO {table} SELECT {base} + i, (i * 7919::bigint) % 1000,"
            f" CASE WHEN i % 11 > 0 THEN 'row ' || i || ' ü' END, (i % 977) / 100.0"
            f" FROM generate_series(0, {rows - 1}) i",
            f"ANALYZE {table}",
        )
        return
    places = range(len(str(rows - 1)))
    numbers = ", ".join(f"{DIGITS} d{n}" for n in places)
    number = " + ".join(f"d{n}.d * {10**n}" for n in places)
    end.run(
        f"INSERT INTO {table} SELECT {base} + i, (i * 7919) % 1000, IF(i % 11 > 0,"
        f" CONCAT('row ', i, ' ü'), NULL), (i % 977) / 100.0 FROM"
        f" (SELECT {number} AS i FROM {numbers}) AS numbers WHERE i < {rows} ORDER BY i",
        f"ANALYZE TABLE {table}",
    )


def sums(end: End, table: str = "t") -> tuple[int, ...]:
    """Rows, keys and contents of a table, summed by the server itself."""
    form = POSTGRES_SUM if end.server.kind == "postgresql" else MYSQL_SUM
    [row] = end.rows(
        f"SELECT COUNT(*), COUNT(DISTINCT id), COALESCE({form.format(c=COLUMNS)}, 0) FROM {table}"
    )
    return tuple(int(value) for value in row)


def equal(source: End, target: End, *tables: str) -> None:
    """Both ends hold the same rows."""
    for table in tables or ("t",):
        assert sums(source, table) == sums(target, table), table


def records(end: End, like: str = "%") -> list[Any]:
    """The checkpoint's documents whose keys match."""
    if end.rows("SELECT to_regclass('streams_engine.state')")[0][0] is None:
        return []
    query = "SELECT document FROM streams_engine.state WHERE key LIKE '{}' ORDER BY key"
    return [row[0] for row in end.rows(query.format(like))]


def finish(stream: Stream) -> Stats:
    """Run to the end, which must be FINISHED."""
    stats = stream.run()
    assert stream.state is State.FINISHED
    return stats


class Gate:
    """Holds the threads that read once so many rows have been read, until it is opened.

    The rows are counted at the places where a run can be cut: every `STEP_ROWS`, in bundles that
    are no larger.
    """

    def __init__(self, rows: int) -> None:
        self.reached, self._opened = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._left = max(1, rows // STEP_ROWS)

    def come(self, point: str) -> None:
        """A thread of the run is at a point."""
        if point != "load: rows read" or self._opened.is_set():
            return
        with self._lock:
            self._left -= 1
            held = self._left <= 0
        if held:
            self.reached.set()
            assert self._opened.wait(SECONDS)

    def wait(self) -> None:
        """Until the reader stands at the gate."""
        assert self.reached.wait(SECONDS)

    def open(self) -> None:
        """Let everything through from now on."""
        self._opened.set()


@contextmanager
def held(rows: int) -> Iterator[Gate]:
    """A gate that is open again at the end, whatever happens."""
    gate = Gate(rows)
    with at_points(gate.come):
        try:
            yield gate
        finally:
            gate.open()


def kill_first(end: End, query: str) -> int:
    """End the server's sessions whose ids a query gives. Returns how many there were."""
    with closing(end.server.connect(end.database)) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        found = [row[0] for row in cursor.fetchall()]
        for session in found:
            if end.server.kind == "postgresql":
                cursor.execute("SELECT pg_terminate_backend(%s, 5000)", (session,))
            else:
                cursor.execute(f"KILL {int(session)}")
    return len(found)
