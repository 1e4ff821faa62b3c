"""Decode a recording again and again, damaged each time: a process that the test can lose.

``python -m tests.support.fuzz_replay FILE SEED SECONDS`` prints a line with the number before
each input, and one with what came of it. Whatever is no error of the library is told by its name.
"""

from __future__ import annotations

import contextlib
import math
import pickle
import random
import sys
import time
import traceback
from array import array
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

import psycopg
import pymysql

from streams_engine.adapters.mysql.binlog.dump import BinlogDump
from streams_engine.adapters.mysql.binlog.packet_buffer import PacketBuffer
from streams_engine.adapters.mysql.binlog.reader import BinlogReader
from streams_engine.adapters.mysql.connection import GuardedConnection, MysqlConnect
from streams_engine.adapters.mysql.snapshot.result_set import stream
from streams_engine.adapters.postgres.replication.old_rows import OldRows
from streams_engine.adapters.postgres.replication.pgoutput import Burst
from streams_engine.adapters.postgres.replication.reader import PostgresChangeReader
from streams_engine.adapters.postgres.snapshot.copy_columns import columns_of
from streams_engine.adapters.postgres.snapshot.copy_messages import Messages
from streams_engine.errors import ConnectionFailed, InternalError, StreamsError
from streams_engine.model import ChangeSet, RowChanges, SchemaChange
from tests.support.binlog_bytes import assembler
from tests.support.fuzz_mutation import damaged, damaged_events, damaged_pieces

__all__ = ["decoded"]

SLACK = 48 << 20
"""Bytes of memory that are no fault: buffers that every reader has."""


class Wire:
    """A socket that received these bytes, and then the end."""

    def __init__(self, data: bytes) -> None:
        self._left = memoryview(data)

    def recv(self, size: int) -> bytes:
        found, self._left = bytes(self._left[:size]), self._left[size:]
        return found

    def recv_into(self, view: Any) -> int:
        found = self.recv(len(view))
        view[: len(found)] = found
        return len(found)

    def read(self, size: int) -> bytes:
        return self.recv(size)

    def makefile(self, *_: Any) -> Wire:
        return self

    def sendall(self, _: bytes) -> None: ...
    def settimeout(self, _: float | None) -> None: ...
    def close(self) -> None: ...


def checked(batches: Any) -> None:
    """Look at every value: what Arrow holds must be whole."""
    for batch in batches:
        batch.validate(full=True)


def checked_sets(reader: Any) -> None:
    """All sets of a log; a table that changes is not followed on."""
    for one in polled(reader):
        for part in one.decoded().parts:
            if isinstance(part, RowChanges):
                checked([part.after, *([] if part.before is None else [part.before])])
            elif isinstance(part, SchemaChange):
                reader.adopt(part.table, None)


# By kind of recording: how it is read


def result_set(recording: dict[str, Any], data: bytes) -> None:
    connection = GuardedConnection(defer_connect=True, ssl_disabled=True)
    connection._sock = connection._rfile = Wire(data)
    connection._current_timeout = None
    with contextlib.closing(stream(connection, "SELECT", recording["schema"], "t")) as batches:
        checked(batches)


def copy(recording: dict[str, Any], data: bytes) -> None:
    schema = recording["schema"]
    for tuples in Messages(Wire(data), 1 << 20).blocks():  # type: ignore[arg-type]
        checked([columns_of(tuples, schema.types, schema)])


class Slot:
    """A replication stream that gives these messages, and then ends."""

    woken = False

    def __init__(self, pieces: list[bytes]) -> None:
        ends = array("q", accumulate(map(len, pieces)))
        starts = array("q", [0, *ends[:-1]])
        self._bursts = [Burst(b"".join(pieces), starts, ends, 0)]

    def take(self, _: float) -> list[Burst]:
        if not self._bursts:
            raise ConnectionFailed("the recording is at its end")
        return [self._bursts.pop()]

    def acknowledge(self, _: int) -> None: ...
    def close(self) -> None: ...


class Describer:
    """A catalog that knows the types that were recorded."""

    def __init__(self, natives: dict[int, Any]) -> None:
        self._natives = natives

    def types(self, relation: Any) -> list[Any]:
        return [self._natives.get(column.type) for column in relation.columns]

    def unpublished(self, _: Any) -> frozenset[str]:
        return frozenset()

    def by_oid(self, _: Any) -> None:
        """Know of no table under another name."""

    def today(self, _: Any) -> None:
        """Know of no table at all."""

    def json(self, texts: list[str], _: Any) -> list[str]:
        return texts

    def compute(self, *_: Any) -> list[str | None]:
        return []

    def user_types(self, _: Any) -> tuple[Any, ...]:
        return ()

    def table(self, _: Any) -> None: ...
    def close(self) -> None: ...

    def tables(self, _: Any) -> dict[Any, Any]:
        return {}

    def old_rows(self, *_: Any) -> OldRows:
        return OldRows()

    @contextlib.contextmanager
    def asking(self) -> Iterator[Unchanged]:
        yield Unchanged()


class Unchanged:
    """A connection to a catalog in which nothing is to be seen."""

    _rows: list[Any]

    def execute(self, query: bytes, *_: Any) -> Unchanged:
        self._rows = [] if b"md5" in query else [("0/0",)]
        return self

    def fetchall(self) -> list[Any]:
        return self._rows

    def fetchone(self) -> Any:
        return self._rows[0]


MOST_TEXTS = 24
"""Small sets are read as texts, which takes other code."""


class Unwatched:
    """A publication that nobody alters."""

    due, due_at = False, math.inf

    def hurry(self) -> None: ...
    def adopt(self, *_: Any) -> None: ...


def log_of_postgres(recording: dict[str, Any], pieces: list[bytes]) -> None:
    reader = PostgresChangeReader(
        Slot(pieces),  # type: ignore[arg-type]
        recording["tracked"],
        recording["after"],
        Describer(recording["natives"]),  # type: ignore[arg-type]
        Unwatched(),  # type: ignore[arg-type]
    )
    with contextlib.closing(reader):
        reader.give_texts(MOST_TEXTS)
        checked_sets(reader)


def framed(packets: list[bytes]) -> bytes:
    """Packets as they come over the wire."""
    return b"".join(
        len(packet).to_bytes(3, "little") + bytes([number & 255]) + packet
        for number, packet in enumerate(packets)
    )


class Dump(BinlogDump):
    """A connection that has all bytes already."""

    woken = False

    def _awaits(self, timeout: float) -> bool:
        return True


def log_of_mysql(recording: dict[str, Any], packets: list[bytes]) -> None:
    dump = Dump.__new__(Dump)
    dump._connect = MysqlConnect("mysql", "127.0.0.1", 1, "fuzz", None)
    dump.what, dump.mariadb = "reading the binary log", recording["mariadb"]
    dump.packets = PacketBuffer()
    dump._silent, dump._sock = 0.0, Wire(framed(packets))
    after = recording["after"]
    reader = BinlogReader(
        dump,
        assembler(
            recording["tracked"], gtids=after.get("gtid") or "", mariadb=recording["mariadb"]
        ),
        after,
        server=after["server"],
        replay=lambda name, begin, tracked: [],
    )
    reader.give_texts(MOST_TEXTS)
    checked_sets(reader)


def polled(reader: Any) -> Iterator[ChangeSet]:
    """All sets; the end of the recording is the end of the connection."""
    while True:
        found = reader.poll(0.0)
        if found is None:
            return
        yield found


READ: dict[str, tuple[Callable[..., None], Callable[..., Any]]] = {
    "result set": (result_set, damaged),
    "copy": (copy, damaged),
    "pgoutput": (log_of_postgres, damaged_pieces),
    "binlog": (log_of_mysql, damaged_events),
}
"""By kind: how it is decoded, and damaged."""

REFUSALS = (StreamsError, pymysql.MySQLError, psycopg.Error)


def outcome(read: Callable[..., None], recording: dict[str, Any], data: Any) -> str:
    """What came of one input: "read", the error's code, or a fault."""
    try:
        read(recording, data)
    except InternalError as error:
        return f"FAULT {error}"
    except OSError as error:
        return "refused CONNECTION" if "closed" in str(error) else f"FAULT {error!r}"
    except REFUSALS as error:
        return f"refused {getattr(error, 'code', type(error).__name__)}"
    except BaseException:
        return "FAULT " + traceback.format_exc().replace("\n", " | ")
    return "read"


def decoded(recording: dict[str, Any]) -> str:
    """What comes of the recording as it is."""
    read, _ = READ[recording["kind"]]
    return outcome(read, recording, recording["data"])


def resident(name: str) -> int:
    """A figure of this process's memory in bytes (https://man7.org/linux/man-pages/man5/proc.5)."""
    text = Path("/proc/self/status").read_text()
    return int(text.split(f"{name}:")[1].split()[0]) * 1024


def main() -> None:
    recording = pickle.loads(Path(sys.argv[1]).read_bytes())
    seed, seconds = int(sys.argv[2]), float(sys.argv[3])
    read, damage = READ[recording["kind"]]
    outcome(read, recording, recording["data"])
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        data = damage(recording["data"], random.Random(seed))
        print("input", seed, flush=True)
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before = resident("VmRSS")
        told = outcome(read, recording, data)
        grown = resident("VmHWM") - before
        size = len(data) if isinstance(data, bytes) else sum(map(len, data))
        if grown > 4 * size + SLACK:
            told = f"FAULT {grown >> 20} MB of memory for {size} bytes"
        print(told, flush=True)
        seed += 1


if __name__ == "__main__":
    main()
