"""The library, called as a user would."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from benchmarks.jobs import Job

__all__ = ["convert"]

ADAPTERS = {
    "mysql": ("mysql.snapshot.source", "mysql.sink.sink"),
    "mariadb": ("mysql.snapshot.source", "mysql.sink.sink"),
    "postgresql": ("postgres.snapshot.source", "postgres.sink.sink"),
    "csv": ("files.source", "files.sink"),
    "file": ("files.source", "files.sink"),
    "null": ("null", "null"),
}
"""By the scheme of a place: the modules that the library imports once a stream runs, as its source
and as its target."""


def convert(job: Job) -> Callable[[], int]:
    """A whole convert: structure, data, key and indexes."""
    from streams_engine import Stream

    import_module("streams_engine.assembly")
    for side, place in enumerate((job.source, job.target)):
        adapter = ADAPTERS[place.partition(":")[0]][side]
        import_module(f"streams_engine.adapters.{adapter}")

    def work() -> int:
        if job.source == "csv:":
            stream = Stream.from_config(_csv(job))
        else:
            files = job.target.startswith("file")
            policy = {} if files else {"schema_policy": "drop_and_recreate"}
            options: dict[str, Any] = {**policy, **job.options}
            stream = Stream(job.source, job.target, **options)
        return int(stream.run(fresh=True).rows)

    return work


def _csv(job: Job) -> dict[str, Any]:
    """The stream document for a CSV file whose columns are declared."""
    table = job.shape.table
    files = {
        "basePath": job.ready,
        "paths": [f"{table}.csv"],
        "csv": {"header": True},
        "columns": {table: dict(job.shape.declared)},
    }
    return {
        "mode": "convert",
        "source": {"connections": [{"connection": job.ready, "files": files}]},
        "target": {
            "connection": job.target,
            "spec": {"db": {"schemaPolicy": "drop_and_recreate"}},
        },
    }
