"""DuckDB's scanners, in an environment of their own: they fit one version of DuckDB.

``python benchmarks/duckdb_scanner.py JOB`` runs in that environment, which has nothing of ours. Its
last line of output is what `benchmarks.child` prints.
"""

from __future__ import annotations

import json
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

__all__ = ["main"]


def _attached(duckdb: Any, url: str) -> tuple[Any, str]:
    """Return a connection with the source attached, and the schema of its tables."""
    at = urlsplit(url)
    postgres = at.scheme.startswith("postgres")
    kind = "postgres" if postgres else "mysql"
    module = import_module(f"duckdb_extension_{kind}_scanner")
    (extension,) = Path(str(module.__file__)).parent.rglob("*.duckdb_extension")
    name = "dbname" if postgres else "database"
    words = {
        "host": at.hostname,
        "port": at.port,
        "user": at.username,
        "password": at.password,
        name: at.path.lstrip("/"),
    }
    told = " ".join(f"{key}={value}" for key, value in words.items())
    connection = duckdb.connect()
    connection.execute(f"LOAD '{extension}'")
    connection.execute(f"ATTACH '{told}' AS source (TYPE {kind}, READ_ONLY)")
    return connection, "source.public" if postgres else "source"


def main() -> None:
    """Read one table: drop it as Arrow batches, or write one Parquet file."""
    job = json.loads(sys.argv[1])
    duckdb: Any = import_module("duckdb")
    import_module("pyarrow")
    begun = time.perf_counter()
    connection, schema = _attached(duckdb, job["source"])
    query = f"SELECT * FROM {schema}.{job['shape_name']}"
    if job["options"].get("parquet"):
        out = f"{job['directory']}/out.parquet"
        copied = connection.execute(f"COPY ({query}) TO '{out}' (FORMAT parquet, COMPRESSION zstd)")
        (rows,) = copied.fetchone()
    else:
        batches = connection.execute(query).to_arrow_reader(100_000)
        rows = sum(batch.num_rows for batch in batches)
    print(json.dumps({"seconds": time.perf_counter() - begun, "rows": rows}))


if __name__ == "__main__":
    main()
