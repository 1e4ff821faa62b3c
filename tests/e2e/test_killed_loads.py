"""A load that is killed goes on when it is started again, wherever between two answers of its
target the kill fell: before a table is made, before its first row, before the first record."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.cdc import prepared, shown
from tests.support.databases import End
from tests.support.kills import child

SECONDS = 60.0

CHILD = """
import logging, os, signal, sys
from urllib.parse import urlsplit
import psycopg, pymysql.connections
from streams_engine import Stream
source, target, mode, left = *sys.argv[1:4], int(sys.argv[4])
logging.basicConfig(level=logging.ERROR)
end = urlsplit(target)

def answered(connection, port):
    global left
    if port == end.port:
        left -= 1
        if left == 0:
            print("killed", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

def told(cls, name, port):
    plain = getattr(cls, name)
    def tell(self, *given, **named):
        found = plain(self, *given, **named)
        answered(self, port(self))
        return found
    setattr(cls, name, tell)

told(pymysql.connections.Connection, "_read_query_result", lambda c: c.port)
told(psycopg.Connection, "wait", lambda c: c.info.port)
stream = Stream(source, target, mode=mode, name="killed", tables=["t", "bag"])
stream.start()
if mode == "cdc":
    stream.catch_up(120)
    stream.stop()
print("ended", stream.wait(timeout=60), stream.error, flush=True)
"""

ROUTES = [
    ("mysql9", "pg18"),
    pytest.param("mysql9", "mariadb", marks=pytest.mark.soak),
    ("pg18", "mysql9"),
]
EVERY = 30
"""One in so many answers in the ordinary run; each of them in a long one."""


@pytest.mark.parametrize(
    "every", [EVERY, pytest.param(1, marks=pytest.mark.soak)], ids=["some", "each"]
)
@pytest.mark.parametrize("mode", ["convert", "cdc"])
@pytest.mark.parametrize(("source_name", "target_name"), ROUTES)
def test_a_load_goes_on_wherever_it_was_killed(
    source_name: str,
    target_name: str,
    mode: str,
    every: int,
    request: pytest.FixtureRequest,
    database: Any,
) -> None:
    server = request.getfixturevalue(target_name)
    answers, ended = every // 2 + 1, False
    while not ended:
        target = End(server, database(server))
        with prepared(request.getfixturevalue(source_name), database) as source:
            fell = ran(source, target, mode, answers)
            ended = "killed" not in fell
            again = fell if ended else ran(source, target, mode, 0)
            wanted = "ended FINISHED None" if mode == "convert" else "ended STOPPED None"
            if mode == "convert" and "These tables on the target contain rows" in again:
                # It had removed its checkpoint: nothing was left to do but to say so.
                assert not keeps_state(target), (answers, again)
                ended = True
            else:
                assert wanted in again, (answers, again)
            assert shown(target) == shown(source), answers
        answers += every


def keeps_state(target: End) -> bool:
    """True where the target holds a checkpoint."""
    [(count,)] = target.rows(
        "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'streams_engine'"
        f" OR (table_schema = '{target.database}' AND table_name = 'streams_engine_state')"
    )
    return bool(count)


def ran(source: End, target: End, mode: str, answers: int) -> str:
    """What a process told; it is killed after so many answers of its target, 0: never."""
    with child(CHILD, source.url, target.url, mode, str(answers)) as process:
        return process.told(SECONDS)
