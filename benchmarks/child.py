"""The process in which one contender written in Python does one job.

``python -m benchmarks.child NAME JOB``. Its last line of output is a JSON document with the rows
that were moved, and the seconds that it took: imports are over before the clock starts.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping

from benchmarks.jobs import Job
from benchmarks.ours import convert
from benchmarks.python_peers import (
    adbc,
    connectorx,
    connectorx_parquet,
    dlt_postgres,
    pgpq,
    sscursor,
)
from benchmarks.verification import verify, verify_one_wrong

__all__ = ["main"]

WORK: Mapping[str, Callable[[Job], Callable[[], int]]] = {
    "ours": convert,
    "verify": verify,
    "verify_one_wrong": verify_one_wrong,
    "sscursor": sscursor,
    "connectorx": connectorx,
    "connectorx_parquet": connectorx_parquet,
    "adbc": adbc,
    "dlt": dlt_postgres,
    "pgpq": pgpq,
}


def main() -> None:
    """Do the job and report."""
    work = WORK[sys.argv[1]](Job.from_json(sys.argv[2]))
    begun = time.perf_counter()
    rows = work()
    print(json.dumps({"seconds": time.perf_counter() - begun, "rows": rows}))


if __name__ == "__main__":
    main()
