"""The library, called as a user would."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.jobs import Job

__all__ = ["convert"]


def convert(job: Job) -> Callable[[], int]:
    """A whole convert: structure, data, key and indexes."""
    from streams_engine import Stream

    def work() -> int:
        if job.source == "csv:":
            stream = Stream.from_config(_csv(job))
        else:
            options: dict[str, Any] = {"schema_policy": "drop_and_recreate", **job.options}
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
