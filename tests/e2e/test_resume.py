"""Runs that ended early, by will or by violence, and what the next run makes of it."""

from __future__ import annotations

import random
import threading
from contextlib import closing
from typing import Any

import pytest

from streams_engine import State, Stream
from streams_engine.errors import CheckpointMismatch, StreamsError, TargetConflict
from tests.support.databases import End, account
from tests.support.kills import child
from tests.support.stream_control import (
    CHUNK_ROWS,
    ROWS,
    SECONDS,
    big,
    equal,
    finish,
    held,
    kill_first,
    more,
    records,
    sums,
)

SMALL = {"data_bundle_size": 100, "reporting_interval": 1}
KINDS = ["mysql9", "mariadb", "pg15"]


def source_of(request: pytest.FixtureRequest, database: Any, name: str, rows: int = ROWS) -> End:
    server = request.getfixturevalue(name)
    end = End(server, database(server))
    big(end, rows=rows)
    return end


@pytest.fixture(params=KINDS)
def source(request: pytest.FixtureRequest, database: Any) -> End:
    """A database of each kind with one table."""
    return source_of(request, database, request.param)


@pytest.fixture
def mysql(request: pytest.FixtureRequest, database: Any) -> End:
    """A MySQL database with one table."""
    return source_of(request, database, "mysql9")


@pytest.fixture
def target(pg18: Any, database: Any) -> End:
    """An empty target."""
    return End(pg18, database(pg18))


def stream(source: End | str, target: End, **options: Any) -> Stream:
    url = source if isinstance(source, str) else source.url
    return Stream(url, target.url, **{**SMALL, **options})


def stop_after(s: Stream, rows: int) -> None:
    """Run a stream and stop it in mid-copy."""
    with held(rows) as gate:
        s.start()
        gate.wait()
        s.stop()
        gate.open()
        assert s.wait(timeout=SECONDS) is State.STOPPED


def codes(s: Stream) -> set[str]:
    return {finding.code for finding in s.stats().findings}


# Stopped in the middle


def test_a_stopped_copy_goes_on_where_it_was_cut(source: End, target: End) -> None:
    s = stream(source, target)
    stop_after(s, 5000)
    assert sums(target)[0] == s.stats().rows == 5000
    [chunk] = records(target, "chunk:%")
    assert (chunk["done"], chunk["rows"]) == (False, 5000)
    again = stream(source, target)
    finish(again)
    assert again.stats().rows == ROWS - 5000
    assert "reloaded" not in codes(again)
    equal(source, target)
    assert records(target) == []
    assert target.rows("SELECT count(*) FROM pg_index WHERE indrelid = 't'::regclass") == [(1,)]


def test_a_second_stop_without_a_row_forgets_nothing(source: End, target: End) -> None:
    stop_after(stream(source, target), 5000)
    s = stream(source, target)
    stop_after(s, 1)
    finish(stream(source, target))
    equal(source, target)


def test_finished_chunks_are_kept(source: End, target: End) -> None:
    big(source, "k", 3000, key=False)
    stop_after(stream(source, target, chunk_rows=CHUNK_ROWS), 9000)
    kept = sums(target, "t")[0] + sums(target, "k")[0]
    assert 0 < kept < ROWS + 3000
    again = stream(source, target, chunk_rows=CHUNK_ROWS)
    finish(again)
    assert again.stats().rows <= ROWS + 3000
    equal(source, target, "t", "k")


def test_a_changed_source_is_loaded_again(source: End, target: End) -> None:
    stop_after(stream(source, target), 5000)
    source.run("UPDATE t SET v = 'changed' WHERE n < 500", "DELETE FROM t WHERE n = 999")
    again = stream(source, target)
    finish(again)
    assert "reloaded" in codes(again)
    equal(source, target)


def test_mixed_keeps_what_it_has(mysql: End, target: End) -> None:
    stop_after(stream(mysql, target, on_resume="mixed"), 5000)
    more(mysql, "t", 100, first=ROWS)
    again = stream(mysql, target, on_resume="mixed")
    finish(again)
    assert "mixed-views" in codes(again)
    assert again.stats().rows == ROWS - 5000 + 100
    equal(mysql, target)


def test_mixed_reloads_the_heap_that_was_cut(request: Any, database: Any, target: End) -> None:
    source = source_of(request, database, "pg15")
    stop_after(stream(source, target, on_resume="mixed"), 5000)
    source.run("UPDATE t SET v = 'moved' WHERE n < 500", "VACUUM t")
    again = stream(source, target, on_resume="mixed")
    finish(again)
    equal(source, target)


def test_rows_that_moved_without_a_write_are_noticed(
    request: Any, database: Any, target: End
) -> None:
    source = source_of(request, database, "pg15")
    source.run("CREATE INDEX other ON t (n)")
    stop_after(stream(source, target), 5000)
    source.run("CLUSTER t USING other")
    again = stream(source, target)
    finish(again)
    assert "reloaded" in codes(again)
    equal(source, target)


def test_a_fresh_start_forgets(source: End, target: End) -> None:
    stop_after(stream(source, target), 5000)
    again = stream(source, target)
    assert again.run(fresh=True).rows == ROWS
    equal(source, target)
    assert records(target) == []


def test_another_config_does_not_fit(mysql: End, target: End) -> None:
    stop_after(stream(mysql, target, name="one"), 5000)
    other = {"type_overrides": [{"column": "t.v", "type": "text"}], "name": "one"}
    s = stream(mysql, target, **other)
    with pytest.raises(CheckpointMismatch) as caught:
        s.run()
    assert s.state is State.FAILED and "typeOverrides" in str(caught.value)
    assert "fresh" in str(caught.value)
    assert sums(target)[0] == 5000
    finish(stream(mysql, target, name="one"))
    equal(mysql, target)


# Append


def test_append_goes_on_and_never_doubles(source: End, target: End) -> None:
    target.run("CREATE TABLE t (id BIGINT, n INT, v VARCHAR(60), d NUMERIC(12,2))")
    target.run("INSERT INTO t VALUES (1, 1, 'mine', 1)")
    options = {"write_mode": "append"}
    stop_after(stream(source, target, **options), 5000)
    assert sums(target)[0] == 5001
    finish(stream(source, target, **options))
    target.run("DELETE FROM t WHERE v = 'mine'")
    equal(source, target)


@pytest.mark.parametrize("key", [True, False])
def test_append_after_a_change_is_refused(mysql: End, target: End, key: bool) -> None:
    target.run("CREATE TABLE k (id BIGINT, n INT, v VARCHAR(60), d NUMERIC(12,2))")
    target.run("INSERT INTO k VALUES (1, 1, 'mine', 1)")
    big(mysql, "k", 9000, key=key)
    options = {"write_mode": "append", "tables": ["k"]}
    stop_after(stream(mysql, target, **options), 5000)
    if key:
        mysql.run("UPDATE k SET n = 7 WHERE n = 3")
    s = stream(mysql, target, **options)
    with pytest.raises(TargetConflict, match="append"):
        s.run()
    assert sums(target, "k")[0] == 5001


def test_upsert_empties_nothing(mysql: End, target: End) -> None:
    target.run(
        "CREATE TABLE t (id BIGINT PRIMARY KEY, n INT, v VARCHAR(60), d NUMERIC(12,2))",
        "INSERT INTO t VALUES (1, 1, 'mine', 1)",
    )
    stop_after(stream(mysql, target, write_mode="upsert"), 5000)
    mysql.run("UPDATE t SET n = 7 WHERE n = 3")
    again = stream(mysql, target, write_mode="upsert")
    finish(again)
    assert "rows-may-remain" in codes(again)
    assert target.rows("DELETE FROM t WHERE v = 'mine' RETURNING id") == [(1,)]
    equal(mysql, target)


# Connections that are killed

KILLS = {
    "mysql9": "SELECT id FROM information_schema.processlist WHERE db = '{db}'"
    " AND id <> connection_id()",
    "pg15": "SELECT pid FROM pg_stat_activity WHERE datname = '{db}' AND pid <> pg_backend_pid()"
    " AND application_name = 'streams_engine'",
}
READER = " AND query LIKE 'COPY%'"
HOLDER = " AND query NOT LIKE 'COPY%'"


@pytest.mark.parametrize(
    ("kind", "which"),
    [("mysql9", ""), ("mariadb", ""), ("pg15", READER), ("pg15", HOLDER), ("pg15", "")],
)
def test_killed_sessions_of_the_source_fail_the_stream_or_lose_nothing(
    request: Any, database: Any, target: End, kind: str, which: str
) -> None:
    # More than a socket's buffers hold, so that the server is in the middle of its answer.
    source = source_of(request, database, kind, 400_000)
    s = stream(source, target, data_bundle_size=1000)
    with held(3000) as gate:
        s.start()
        gate.wait()
        form = KILLS["pg15" if kind == "pg15" else "mysql9"]
        assert kill_first(source, form.format(db=source.database) + which)
        gate.open()
        ended = s.wait(timeout=SECONDS)
    # Buffers on the way may have held every row already: then nothing was lost.
    if ended is not State.FINISHED:
        assert ended is State.FAILED and s.error is not None
        assert s.error.category == "connection", s.error
        assert sums(target)[0] == s.stats().rows
        finish(stream(source, target, data_bundle_size=1000))
    equal(source, target)


def test_a_load_goes_on_after_a_killed_session_of_the_target(source: End, target: End) -> None:
    s = stream(source, target)
    with held(5000) as gate:
        s.start()
        gate.wait()
        assert kill_first(target, KILLS["pg15"].format(db=target.database))
        gate.open()
        assert s.wait(timeout=SECONDS) is State.FINISHED, s.error
    equal(source, target)


# The process is killed

KILLED = """
import sys
from streams_engine import Stream
from streams_engine.pipeline.control import Control
from streams_engine.stats import Counters
def told(cls, name):
    plain = getattr(cls, name)
    def tell(self, *rest):
        try:
            return plain(self, *rest)
        finally:
            print(name, flush=True)
    setattr(cls, name, tell)
for cls, name in ((Counters, "read"), (Counters, "wrote"), (Counters, "enter"),
                  (Counters, "found"), (Control, "hold")):
    told(cls, name)
from functools import partial
from streams_engine.pipeline.context import Job
import streams_engine.assembly
streams_engine.assembly.Job = partial(Job, chunk_rows=1500)
s = Stream(sys.argv[1], sys.argv[2], data_bundle_size=100, limits={"numberOfEvents": 1 << 40})
stats = s.run(fresh=sys.argv[3] == "fresh")
print("ended", s.state, flush=True)
"""


def killed(source: End, target: End, lines: int, fresh: bool) -> bool:
    """Run in a process that is killed after so many steps. True where it came to its end."""
    with child(KILLED, source.url, target.url, "fresh" if fresh else "") as process:
        for _ in range(lines):
            line = process.out.readline()
            if not line or line.startswith("ended"):
                break
        process.process.kill()
        rest = line + process.out.read()
    return "ended FINISHED" in rest


@pytest.mark.parametrize("seed", [1, 2])
def test_a_process_killed_anywhere_is_no_loss(source: End, target: End, seed: int) -> None:
    big(source, "k", 2500, key=False)
    source.run("CREATE TABLE f (id BIGINT PRIMARY KEY REFERENCES t (id))")
    source.run("INSERT INTO f SELECT id FROM t WHERE n = 5")
    chosen = random.Random(f"{seed} {source.server.kind}")
    done = False
    for kill in range(4):
        done = done or killed(source, target, chosen.randint(3, 250), fresh=kill == 2)
    if not done:
        finish(resumed(source, target))
    equal(source, target, "t", "k")
    [(rows,)] = target.rows("SELECT count(*) FROM f")
    assert rows == source.rows("SELECT count(*) FROM f")[0][0] > 0
    keys = "SELECT count(*) FROM pg_index WHERE indisprimary AND indrelid IN ('t'::regclass, 'f')"
    assert target.rows(keys.replace("'f'", "'f'::regclass")) == [(2,)]


def resumed(source: End, target: End) -> Stream:
    return Stream(source.url, target.url)


# One table alone


def test_one_failing_table_lets_the_others_finish(source: End, target: End) -> None:
    big(source, "bad", 500)
    big(source, "good", 500)
    target.run(
        "CREATE TABLE bad (id BIGINT PRIMARY KEY, n INT CONSTRAINT low CHECK (n < 990),"
        " v VARCHAR(60), d NUMERIC(12,2))"
    )
    s = stream(source, target)
    with pytest.raises(StreamsError, match="bad") as caught:
        s.run()
    assert s.state is State.FAILED and caught.value.code == "ROW_REJECTED"
    assert "low" in str(caught.value)
    equal(source, target, "t", "good")
    assert sums(target, "bad")[0] == 0
    target.run("ALTER TABLE bad DROP CONSTRAINT low")
    again = stream(source, target)
    assert finish(again).rows == 500
    equal(source, target, "t", "good", "bad")


# The view


def test_writers_do_not_show_in_the_view(source: End, target: End) -> None:
    source.run("CREATE TABLE a (id INT PRIMARY KEY, money INT)")
    source.run("CREATE TABLE b (id INT PRIMARY KEY, money INT)")
    source.run("INSERT INTO a SELECT n, 100 FROM t WHERE n < 50 GROUP BY n")
    source.run("INSERT INTO b SELECT id, money FROM a")
    ended, moving = threading.Event(), threading.Event()
    chosen = random.Random(7)

    def transfer() -> None:
        with closing(source.server.connect(source.database)) as c, c.cursor() as cursor:
            while not ended.is_set():
                amount, one, two = (chosen.randint(0, 49) for _ in range(3))
                cursor.execute("BEGIN")
                cursor.execute(f"UPDATE a SET money = money - {amount} WHERE id = {one}")
                cursor.execute(f"UPDATE b SET money = money + {amount} WHERE id = {two}")
                cursor.execute("COMMIT")
                moving.set()

    writers = [threading.Thread(target=transfer) for _ in range(2)]
    for writer in writers:
        writer.start()
    try:
        assert moving.wait(SECONDS)
        finish(stream(source, target, parallelism=4))
    finally:
        ended.set()
        for writer in writers:
            writer.join()
    total = "SELECT (SELECT SUM(money) FROM a) + (SELECT SUM(money) FROM b)"
    assert target.rows(total) == [(10_000,)]
    assert target.rows("SELECT sum(money) FROM a") != [(5000,)]


def test_ddl_waits_for_the_copy(source: End, target: End) -> None:
    big(source, "u", 300)
    with held(200) as gate:
        s = stream(source, target)
        s.start()
        gate.wait()
        for table in ("t", "u"):
            with closing(source.server.connect(source.database)) as c, c.cursor() as cursor:
                if source.server.kind == "postgresql":
                    cursor.execute("SET lock_timeout = '100ms'")
                else:
                    cursor.execute("SET SESSION lock_wait_timeout = 1")
                with pytest.raises(Exception, match=r"(?i)lock"):
                    cursor.execute(f"ALTER TABLE {table} ADD COLUMN more INT")
        gate.open()
        assert s.wait(timeout=SECONDS) is State.FINISHED
    equal(source, target, "t", "u")


@pytest.mark.parametrize("kind", ["mysql9", "mariadb"])
def test_without_reload_one_reader_reads_consistently(
    request: Any, database: Any, target: End, kind: str
) -> None:
    source = source_of(request, database, kind, 3000)
    grant = f"GRANT SELECT ON {source.database}.* TO {{who}}"
    with account(source.server, "plain", "plain-pw", grant) as url:
        s = stream(url + source.database, target)
        finish(s)
    [finding] = [f for f in s.stats().findings if f.code == "one-reader"]
    assert finding.severity == "warning" and "RELOAD" in f"{finding.message} {finding.remedy}"
    equal(source, target)
