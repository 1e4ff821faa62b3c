"""A scheduled job: cron or a timer starts it, it loads afresh, and it remembers its runs.

python nightly.py jobs.db source.json target.json
"""

import json
import sys
from pathlib import Path

from streams_engine import Engine, State, StreamsError

LIMIT_SECONDS = 4 * 3600


def connection(engine: Engine, path: str) -> str:
    """The id of the connection that a file describes, stored at the first run."""
    document = json.loads(Path(path).read_text())
    for stored in engine.connections.all():
        if stored["name"] == document["name"]:
            return str(stored["id"])
    return str(engine.connections.create(document)["id"])


def config(engine: Engine, source: str, target: str) -> str:
    found = engine.configs.list("nightly")["items"]
    if found:
        return str(found[0]["id"])
    return str(
        engine.configs.create(
            {
                "name": "nightly",
                "mode": "convert",
                "source": {"connections": [{"connectionId": source}]},
                "target": {"id": target, "spec": {"db": {"writeMode": "truncate_and_load"}}},
                "limits": {"elapsedTime": LIMIT_SECONDS},
            }
        )["id"]
    )


def main(path: str, source: str, target: str) -> int:
    with Engine(path) as engine:
        job = config(engine, connection(engine, source), connection(engine, target))
        try:
            stream = engine.streams.start(job)
        except StreamsError as error:  # yesterday's is still under way
            print(error.message, file=sys.stderr)
            return 1
        state = engine.streams.wait(stream)
        for run in engine.streams.history(job, limit=7)["items"]:
            print(run["started"], run["status"], f"{run['rows']:,} rows", run["error"] or "")
    return 0 if state is State.FINISHED else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
