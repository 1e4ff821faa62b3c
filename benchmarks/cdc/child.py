"""The process in which one reader of a log written in Python does one job.

``python -m benchmarks.cdc.child NAME JOB``. Its last line of output is a JSON document with the
row changes that were read, and the seconds that they took.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Mapping

from benchmarks.cdc.debezium import debezium
from benchmarks.cdc.following import follow, keep_following
from benchmarks.cdc.python_readers import drain_binlog, mysql_event_stream, mysql_replication
from benchmarks.cdc.visible import watch_rows, write_rows
from benchmarks.jobs import Job

__all__ = ["main"]

LONGEST_SECONDS = 400

WORK: Mapping[str, Callable[[Job], dict[str, object]]] = {
    "follow": follow,
    "keep-following": keep_following,
    "mysql-replication": mysql_replication,
    "mysql-event-stream": mysql_event_stream,
    "drain-binlog": drain_binlog,
    "debezium": debezium,
    "write-rows": write_rows,
    "watch-rows": watch_rows,
}


def _give_up() -> None:
    print(f"Error: no end after {LONGEST_SECONDS} s", file=sys.stderr, flush=True)
    os._exit(3)


def main() -> None:
    """Do the job and report."""
    timer = threading.Timer(LONGEST_SECONDS, _give_up)
    timer.daemon = True
    timer.start()
    report = WORK[sys.argv[1]](Job.from_json(sys.argv[2]))
    print("\n" + json.dumps(report), flush=True)
    os._exit(0)  # whatever a virtual machine of Java still has to say


if __name__ == "__main__":
    main()
