"""Readers of a binary log that are Python libraries, and the log undecoded."""

from __future__ import annotations

import asyncio
import time
from importlib import import_module
from typing import Any

from benchmarks.jobs import Job, place

__all__ = ["drain_binlog", "mysql_event_stream", "mysql_replication"]


def mysql_replication(job: Job) -> dict[str, object]:
    """BinLogStreamReader; rows are taken and dropped."""
    reader: Any = import_module("pymysqlreplication")
    events: Any = import_module("pymysqlreplication.row_event")
    at = place(job.source)
    file, _, position = job.options["entry"].rpartition(":")
    count = 0
    begun = time.perf_counter()
    stream = reader.BinLogStreamReader(
        connection_settings={
            "host": at.host,
            "port": int(at.port),
            "user": at.user,
            "passwd": at.password,
        },
        server_id=4_000_000,
        log_file=file,
        log_pos=int(position),
        resume_stream=True,
        blocking=True,
        only_events=[events.WriteRowsEvent, events.UpdateRowsEvent, events.DeleteRowsEvent],
        only_schemas=[at.database],
    )
    for event in stream:
        count += len(event.rows)
        if count >= job.rows:
            break
    return {"seconds": time.perf_counter() - begun, "rows": count}


def mysql_event_stream(job: Job) -> dict[str, object]:
    """CdcStream; events are taken and dropped."""
    package: Any = import_module("mysql_event_stream")
    at = place(job.source)
    file, _, position = job.options["entry"].rpartition(":")

    async def read() -> int:
        count = 0
        async with package.CdcStream(
            host=at.host,
            port=int(at.port),
            user=at.user,
            password=at.password,
            server_id=4_000_001,
            start_binlog_file=file,
            start_binlog_position=int(position),
            ssl_mode=0,
            allow_public_key_retrieval=True,
            include_databases=[at.database],
        ) as stream:
            async for _ in stream:
                count += 1
                if count >= job.rows:
                    break
        return count

    begun = time.perf_counter()
    count = asyncio.run(read())
    return {"seconds": time.perf_counter() - begun, "rows": count}


def drain_binlog(job: Job) -> dict[str, object]:
    """The bytes of the log as they come, events told apart by their length and not looked at."""
    from pymysql.connections import Connection

    from streams_engine.adapters.mysql.binlog.dump import BinlogDump
    from streams_engine.adapters.mysql.connection import MysqlConnect

    del Connection  # imported before the clock starts
    at = place(job.source)
    file, _, position = job.options["entry"].rpartition(":")
    wanted = int(job.options["end"].rpartition(":")[2])
    connect = MysqlConnect(
        kind="mysql",
        host=at.host,
        port=int(at.port),
        user=at.user,
        password=at.password,
        database="",
    )
    begun = time.perf_counter()
    dump = BinlogDump(connect, {"file": file, "pos": int(position)}, None, by_gtid=False)
    left = wanted - int(position)
    while left > 0:
        received = dump.receive(1.0)
        left -= received
        if dump.packets.room < 1 << 20:
            dump.packets.drop(dump.packets.fill)
    seconds = time.perf_counter() - begun
    dump.close()
    return {"seconds": seconds, "rows": job.rows}
