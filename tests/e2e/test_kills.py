"""Issue: a snapshot of 2,000,000 rows whose process is killed twenty times is complete, and
what was finished is never read again. A long run: ``tox -e soak``."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from streams_engine import Stream
from streams_engine.testing.servers import Server
from tests.support.databases import End
from tests.support.stream_control import big, equal, finish

KILLS = 20
ROWS = 1_000_000
"""Of each of the two tables: one with a key and one without."""

CHILD = """
import sys
from streams_engine import Stream
from streams_engine.pipeline.multi_source import CombinedSnapshot
from streams_engine.pipeline.checkpoint_records import ChunkRecord
from streams_engine.stats import Counters

def told(cls, name, what):
    plain = getattr(cls, name)
    def tell(self, *rest):
        if what(*rest):
            print(what(*rest), flush=True)
        return plain(self, *rest)
    setattr(cls, name, tell)

told(CombinedSnapshot, "read", lambda extract, chunk, rows: "chunk " + ChunkRecord.key_of(chunk))
told(Counters, "read", lambda rows, size: "rows" if size else "")
told(Counters, "wrote", lambda *rest: "wrote")
told(Counters, "found", lambda findings: "found")
stream = Stream(sys.argv[1], sys.argv[2], chunk_rows=60_000)
stream.run(fresh=sys.argv[3] == "fresh")
print("ended", stream.state, flush=True)
"""


def finished(target: End) -> set[str]:
    """The chunks that are recorded as whole where the rows are."""
    if target.server.kind == "postgresql":
        if target.rows("SELECT to_regclass('streams_engine.state')")[0][0] is None:
            return set()
        found = target.rows("SELECT key, document::text FROM streams_engine.state")
    else:
        if not target.rows("SHOW TABLES LIKE 'streams\\_engine\\_state'"):
            return set()
        found = target.rows("SELECT CAST(name AS CHAR), document FROM streams_engine_state")
    return {key for key, text in found if key.startswith("chunk:") and json.loads(text)["done"]}


def run_and_kill(source: End, target: End, lines: int, *, fresh: bool) -> tuple[bool, set[str]]:
    """(whether it came to its end, the chunks that it began to read)."""
    begun: set[str] = set()
    command = [sys.executable, "-c", CHILD, source.url, target.url, "fresh" if fresh else ""]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        line = ""
        for _ in range(lines):
            line = child.stdout.readline()
            if not line or line.startswith("ended"):
                break
            if line.startswith("chunk "):
                begun.add(line.removeprefix("chunk ").rstrip())
        child.kill()
        rest = line + child.stdout.read()
    begun |= {x.removeprefix("chunk ") for x in rest.splitlines() if x.startswith("chunk ")}
    return "ended FINISHED" in rest, begun


@pytest.mark.soak
@pytest.mark.parametrize(
    ("source_name", "target_name"),
    [("mysql9", "pg18"), ("mariadb", "pg18"), ("pg15", "pg18"), ("pg15", "mysql9")],
)
def test_twenty_kills_lose_and_double_nothing(
    source_name: str,
    target_name: str,
    request: pytest.FixtureRequest,
    database: Any,
    counted: Callable[[str], None],
    tmp_path: Path,
) -> None:
    one: Server = request.getfixturevalue(source_name)
    other: Server = request.getfixturevalue(target_name)
    source, target = End(one, database(one)), End(other, database(other))
    big(source, "t", ROWS)
    big(source, "k", ROWS, key=False)
    chosen = random.Random(f"{source_name} {target_name}")
    ended, again, kept = False, 0, 0
    for kill in range(KILLS):
        if ended:
            with closing(target.server.connect(target.database)) as connection:
                connection.cursor().execute("DROP TABLE t, k")
        before = finished(target)
        ended, begun = run_and_kill(source, target, chosen.randint(1, 80), fresh=ended)
        again += len(begun & before)
        kept += len(before)
        assert kill or not before
    if not ended:
        finish(Stream(source.url, target.url))
    equal(source, target, "t", "k")
    assert not again, f"{again} finished chunks were read again"
    assert kept, "no kill left a finished chunk: nothing was tried"
    counted(f"{source_name} -> {target_name}: {KILLS} kills, {kept} times a finished chunk kept")
