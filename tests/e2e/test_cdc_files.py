"""A cdc into files: the load's files and the log of changes over them are the source's rows."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from streams_engine import State, Stream
from streams_engine.errors import SchemaChangeRefused, StreamsError
from streams_engine.testing.servers import Server
from tests.support.buckets import bucket_name
from tests.support.databases import End
from tests.support.kills import child
from tests.support.replay_files import changes, counting, dropped, folder_files, replayed
from tests.support.workload import NOTE, TABLES, Workload, make_tables

SECONDS = 60
FORMS = [("csv", "none"), ("jsonl", "gzip"), ("parquet", "zstd")]
COLUMNS = ("id", "label", "amount", "note")


@pytest.fixture(params=["mysql9", "pg18"])
def source(request: pytest.FixtureRequest, database: Any) -> End:
    """A database with a table of some rows, with a key and a long text."""
    server: Server = request.getfixturevalue(request.param)
    return filled(End(server, database(server)))


def filled(end: End) -> End:
    postgres = end.server.kind == "postgresql"
    end.run(
        "CREATE TABLE t (id bigint PRIMARY KEY, label varchar(40), amount decimal(12,3),"
        f" note {'text' if postgres else 'mediumtext'})",
        "CREATE TABLE bag (x int, y varchar(40))",
    )
    if postgres:
        end.run("ALTER TABLE bag REPLICA IDENTITY FULL", "ALTER TABLE t ALTER note SET STORAGE"
                " EXTERNAL")  # fmt: skip
    end.run(
        "INSERT INTO t VALUES "
        + ", ".join(f"({i}, {'NULL' if i % 5 == 0 else repr(f'l {i}')}, {i}.125, '{NOTE}')"
                    for i in range(200)),
        "INSERT INTO bag VALUES (1, 'a'), (1, 'a'), (2, ''), (3, NULL)",
    )  # fmt: skip
    return end


def change(end: End, first: int = 1000) -> None:
    """One change of each kind."""
    end.run(
        f"INSERT INTO t VALUES ({first}, '', 1.5, NULL), ({first + 1}, 'a\"b,c', -2.25, 'x')",
        "UPDATE t SET label = 'ünew' WHERE id BETWEEN 10 AND 40",
        f"UPDATE t SET id = {first + 500}, amount = NULL WHERE id = {first}",
        f"UPDATE t SET note = 'short' WHERE id = {first % 7 + 50}",
        "DELETE FROM t WHERE id BETWEEN 100 AND 103",
        "INSERT INTO bag VALUES (1, 'a'), (9, NULL)",
        "DELETE FROM bag WHERE x = 2",
        "UPDATE bag SET y = 'z' WHERE x = 3",
    )


def document(source: End, connection: Any, form: str, compression: str, **more: Any) -> Any:
    kind = "s3" if "s3" in connection["spec"] else "files"
    spec: dict[str, Any] = {"fileFormat": form, "format": {"compression": compression}}
    if kind == "s3":
        spec["upload"] = {"bucket": BOX, "prefix": "in/step"}
    return {
        "mode": "cdc",
        "name": "into files",
        "source": {"connections": [{"connection": source.url}], "options": more.pop("from", {})},
        "target": {"connection": connection, "spec": {kind: spec}},
        **more,
    }


def local(folder: Path) -> Any:
    return {"type": "files", "spec": {"files": {"basePath": str(folder)}}}


def into(source: End, folder: Path, form: str = "parquet", compression: str = "none",
         **more: Any) -> Stream:  # fmt: skip
    return Stream.from_config(document(source, local(folder), form, compression, **more))


def rows(source: End, table: str, columns: tuple[str, ...]) -> list[str]:
    found = source.rows(f"SELECT {', '.join(columns)} FROM {table}")
    return sorted(repr([None if v is None else str(v) for v in row]) for row in found)


def same(source: End, files: Any, table: str = "t", columns: tuple[str, ...] = COLUMNS) -> None:
    """The log over the load's rows is what the source holds."""
    found = sorted(repr([row.get(c) for c in columns]) for row in replayed(files, table))
    assert found == rows(source, table, columns)


def both(source: End, files: Any) -> None:
    same(source, files)
    same(source, files, "bag", ("x", "y"))


@pytest.mark.parametrize(("form", "compression"), FORMS)
def test_the_log_over_the_load_is_the_source(
    source: End, tmp_path: Path, form: str, compression: str
) -> None:
    with into(source, tmp_path, form, compression) as stream:
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        change(source)
        assert stream.catch_up(SECONDS), stream.error
        both(source, folder_files(tmp_path))
        stream.stop()
    change(source, 3000)  # while nobody follows
    with into(source, tmp_path, form, compression) as stream:
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        change(source, 5000)
        assert stream.catch_up(SECONDS), stream.error
        files = folder_files(tmp_path)
        both(source, files)
        stream.stop()
    assert len(counting(files, "t")) >= 3
    told = [row for row, _ in changes(files, "t")]
    assert {row["_op"] for row in told} == {"insert", "update", "delete"}
    assert all(row["_position"] and row["_committed_at"] for row in told)
    if source.server.kind == "postgresql":
        # A long text that an update left alone is not in its log.
        assert any(row["_missing"] == '["note"]' and row["note"] is None for row in told)


def test_many_transactions_are_one_file(source: End, tmp_path: Path) -> None:
    with into(source, tmp_path) as stream:
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        for i in range(300):
            source.run(f"UPDATE t SET amount = {i} WHERE id = {i % 9}")
        assert stream.catch_up(SECONDS), stream.error
        stats = stream.stats()
        stream.stop()
    files = folder_files(tmp_path)
    same(source, files)
    assert len(counting(files, "t")) < 20
    assert stats.changes is not None and stats.changes.transactions >= 300


@pytest.mark.parametrize(("form", "compression"), FORMS)
def test_truncate_and_a_column_added(
    source: End, tmp_path: Path, form: str, compression: str
) -> None:
    with into(source, tmp_path, form, compression) as stream:
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        source.run("INSERT INTO bag VALUES (7, 'gone')", "TRUNCATE TABLE bag",
                   "INSERT INTO bag VALUES (8, 'stays')")  # fmt: skip
        change(source)
        source.run("ALTER TABLE t ADD COLUMN extra int", "UPDATE t SET extra = id WHERE id < 5",
                   "INSERT INTO t (id, extra) VALUES (-1, 2)",
                   "CREATE TABLE more (id int PRIMARY KEY, v int)",
                   "INSERT INTO more VALUES (1, 2), (2, 3)")  # fmt: skip
        assert stream.catch_up(SECONDS), stream.error
        stream.stop()
    files = folder_files(tmp_path)
    same(source, files, "t", (*COLUMNS, "extra"))
    same(source, files, "bag", ("x", "y"))
    assert "truncate" in [row["_op"] for row, _ in changes(files, "bag")]
    versions = json.loads(files["t/_manifest.json"])["changes"]["versions"]
    assert len(versions) == 2
    assert [c["name"] for c in versions[1]["columns"]][8:9] == ["extra"]


RESHAPED = {
    "a column that had been dropped": (
        "ALTER TABLE t DROP COLUMN note; ALTER TABLE t ADD COLUMN note varchar(9)",
        ("note",),
    ),
    "a column with a default": ("ALTER TABLE t ADD COLUMN extra int DEFAULT 7", ("extra",)),
    "a column that lost its default": (
        "ALTER TABLE t ADD COLUMN extra int DEFAULT 7; ALTER TABLE t ALTER extra SET DEFAULT NULL",
        ("extra",),
    ),
    "a column of another name": ("ALTER TABLE t RENAME COLUMN label TO title", ("title",)),
    "a column that is computed": (
        "ALTER TABLE t ADD COLUMN double_it decimal(12,3) GENERATED ALWAYS AS (amount * 2) STORED",
        ("double_it",),
    ),
}


@pytest.mark.parametrize("place", ["live", "backlog"])
@pytest.mark.parametrize("what", RESHAPED)
def test_rows_that_got_other_values_are_read_again(
    source: End, tmp_path: Path, what: str, place: str
) -> None:
    statement, added = RESHAPED[what]
    columns = ("id", "amount", *added)
    names = "id, title" if "title" in added else "id, label"
    with into(source, tmp_path) as stream:
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        source.run("DELETE FROM t WHERE id < 3")
        if place == "backlog":
            assert stream.catch_up(SECONDS), stream.error
            stream.stop()
            stream.wait(timeout=SECONDS)
        source.run(*statement.split("; "), f"INSERT INTO t ({names}) VALUES (900, 'x')")
        source.run("UPDATE t SET amount = 4 WHERE id = 5", "DELETE FROM t WHERE id = 6")
        if place == "live":
            assert stream.catch_up(SECONDS), stream.error
            findings = stream.stats().findings
            stream.stop()
    if place == "backlog":
        with into(source, tmp_path) as stream:
            stream.start()
            assert stream.catch_up(SECONDS), stream.error
            findings = stream.stats().findings
            stream.stop()
    assert "table-reloaded" in [finding.code for finding in findings]
    files = folder_files(tmp_path)
    same(source, files, "t", columns)
    told = [row for row, _ in changes(files, "t")]
    assert "truncate" in [row["_op"] for row in told]
    assert all(row["_position"] for row in told)


def test_rows_are_not_read_again_where_that_is_not_wanted(source: End, tmp_path: Path) -> None:
    def follow(**options: Any) -> Stream:
        return into(source, tmp_path, options={"onRewrite": "fail", **options})

    with follow() as stream:
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        source.run("ALTER TABLE t ADD COLUMN extra int DEFAULT 7", "DELETE FROM t WHERE id = 1")
        with pytest.raises(SchemaChangeRefused):
            stream.catch_up(SECONDS)
        assert stream.wait(timeout=SECONDS) == "FAILED"
    assert stream.error is not None and stream.error.code == "SCHEMA_CHANGE_REFUSED"
    with follow(allowLossy=True) as stream:
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        assert "rows-as-given" in [finding.code for finding in stream.stats().findings]
        stream.stop()


@pytest.mark.parametrize("place", ["live", "backlog"])
def test_tables_that_exchange_names_are_loaded_under_their_new_ones(
    source: End, tmp_path: Path, place: str
) -> None:
    source.run("CREATE TABLE u (id int PRIMARY KEY, label varchar(9))",
               "INSERT INTO u VALUES (1, 'of u')")  # fmt: skip
    swap = [f"ALTER TABLE {old} RENAME TO {new}" for old, new in ("tx", "ut", "xu")]
    with into(source, tmp_path) as stream:
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        if place == "live":
            source.run(*swap, "INSERT INTO t VALUES (2, 'x')", "DELETE FROM u WHERE id = 9")
            assert stream.catch_up(SECONDS), stream.error
        stream.stop()
    if place == "backlog":
        source.run(*swap, "INSERT INTO t VALUES (2, 'x')", "DELETE FROM u WHERE id = 9")
    with into(source, tmp_path) as stream:
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        source.run("UPDATE u SET label = 'later' WHERE id = 10")
        assert stream.catch_up(SECONDS), stream.error
        stream.stop()
    files = folder_files(tmp_path)
    same(source, files, "t", ("id", "label"))
    same(source, files, "u")
    assert "x/_manifest.json" not in files or dropped(files, "x")


def test_dropped_and_new_tables(source: End, tmp_path: Path) -> None:
    with into(source, tmp_path) as stream:
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        source.run("DROP TABLE t", "DROP TABLE bag", "CREATE TABLE new (id int PRIMARY KEY)",
                   "CREATE TABLE bag (id int PRIMARY KEY, w int)")  # fmt: skip
        assert stream.catch_up(SECONDS), stream.error
        stream.stop()
    files = folder_files(tmp_path)
    assert dropped(files, "t")
    for table in ("new", "bag"):
        assert not dropped(files, table)
        assert replayed(files, table) == []


def test_a_renamed_table_that_cannot_join_is_refused(
    mysql9: Server, database: Any, tmp_path: Path
) -> None:
    source = filled(End(mysql9, database(mysql9)))
    with into(source, tmp_path, **{"from": {"initialLoad": False}}) as stream:
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        source.run("ALTER TABLE t RENAME TO u", "INSERT INTO u (id) VALUES (-5)")
        with pytest.raises(SchemaChangeRefused):
            stream.catch_up(SECONDS)
        assert stream.wait(timeout=SECONDS) == "FAILED"
    assert isinstance(stream.error, StreamsError)
    assert stream.error.code == "SCHEMA_CHANGE_REFUSED" and "renamed" in str(stream.error)
    assert stream.error.remedy


def test_begun_anew_its_own_files_go(source: End, tmp_path: Path) -> None:
    for _ in range(2):
        with into(source, tmp_path) as stream:
            stream.start(fresh=True)
            assert stream.catch_up(SECONDS), stream.error
            change(source, random.randint(10**6, 10**9))
            assert stream.catch_up(SECONDS), stream.error
            stream.stop()
        files = folder_files(tmp_path)
        both(source, files)
        assert len([path for path in files if path.startswith("t/_changes/")]) == len(
            counting(files, "t")
        )


def test_without_a_load_there_is_the_log_alone(source: End, tmp_path: Path) -> None:
    with into(source, tmp_path, **{"from": {"initialLoad": False}}) as stream:
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        source.run("DELETE FROM t WHERE id = 3")
        assert stream.catch_up(SECONDS), stream.error
        stream.stop()
    files = folder_files(tmp_path)
    told = [(row["_op"], row["_before_id"], row["id"]) for row, _ in changes(files, "t")]
    assert told == [("delete", "3", None)]


# S3

BOX = bucket_name()
"""Of this file alone."""

KEY, SECRET = "the-key", "the-s3cret"


@pytest.fixture
def bucket() -> Iterator[tuple[Any, str]]:
    """A client, and the address, of a private S3 with the empty bucket."""
    moto = ThreadedMotoServer(port=0)
    moto.start()
    address = "http://{}:{}".format(*moto.get_host_and_port())
    client = boto3.client(
        "s3", endpoint_url=address, region_name="us-east-1", aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
    )  # fmt: skip
    client.create_bucket(Bucket=BOX)
    yield client, address
    for path in bucket_files(client):  # the server forgets nothing while the process lives
        client.delete_object(Bucket=BOX, Key=f"in/step/{path}")
    client.delete_bucket(Bucket=BOX)
    client.close()
    moto.stop()


def bucket_files(client: Any) -> dict[str, bytes]:
    found = client.list_objects_v2(Bucket=BOX, Prefix="in/step/")["Contents"]
    return {
        item["Key"].removeprefix("in/step/"): client.get_object(Bucket=BOX, Key=item["Key"])[
            "Body"
        ].read()
        for item in found
    }


def test_into_a_bucket(source: End, bucket: tuple[Any, str]) -> None:
    client, address = bucket
    credentials = {"accessKey": KEY, "secretKey": SECRET}
    s3 = {"region": "us-east-1", "endpoint": address, "credentials": credentials}
    told = document(source, {"type": "files", "spec": {"s3": s3}}, "parquet", "zstd")
    for first in (1000, 3000):
        with Stream.from_config(told) as stream:
            stream.start()
            assert stream.catch_up(SECONDS), stream.error
            change(source, first)
            assert stream.catch_up(SECONDS), stream.error
            stream.stop()
        both(source, bucket_files(client))


# Kills

CHILD = """
import json, logging, os, signal, sys
import streams_engine.faults as faults
import streams_engine.pipeline.changes.applier as following
from streams_engine import Stream
config, point, count = json.loads(sys.argv[1]), sys.argv[2], int(sys.argv[3])
following.GATHER_SECONDS = 0.1
logging.basicConfig(level=logging.ERROR)

def reached(here):
    global count
    if point in (here, "any"):
        count -= 1
        if count < 0:
            print("killed at", here, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

faults.install(reached)
stream = Stream.from_config(config)
try:
    stream.run()
except Exception as error:
    print("failed", error, flush=True)
"""

POINTS = ("handover: view opened", "handover: structure made", "handover: rows copied",
          "handover: keys built", "handover: load recorded", "log: opened", "log: fetched",
          "apply: done", "commit: before", "commit: after", "acknowledge: after",
          "ddl: recorded", "reload: emptied", "reload: rows applied")  # fmt: skip


def killed(config: Any, point: str, count: int) -> None:
    with child(CHILD, json.dumps(config), point, str(count)) as process:
        told = process.told(SECONDS)
    assert "killed at" in told, f"{point}: {told}"


@pytest.mark.parametrize(
    ("source", "form"),
    [
        ("pg18", "csv"),
        *(
            pytest.param(source, form, marks=pytest.mark.soak)
            for source, form in (("mysql9", "csv"), ("pg18", "parquet"), ("mysql9", "parquet"))
        ),
    ],
    indirect=["source"],
)
def test_killed_at_every_point(source: End, tmp_path: Path, form: str) -> None:
    make_tables_beside(source)
    config = document(source, local(tmp_path), form, "none")
    chosen = random.Random(7)
    with Workload(source, 7, pause=0.005).running():
        for point in POINTS:
            if point == "ddl: recorded":
                source.run("ALTER TABLE keyed ADD COLUMN extra int")
            if point == "reload: emptied":
                source.run("ALTER TABLE keyed ADD COLUMN filled int DEFAULT 7")
            later = point.split(":")[0] in ("apply", "commit", "acknowledge")
            killed(config, point, chosen.randint(0, 1) if later else 0)
        for _ in range(2):
            killed(config, "any", chosen.randint(0, 10))
    with Stream.from_config(config) as stream:
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        assert stream.state is State.RUNNING
        stream.stop()
    files = folder_files(tmp_path)
    for table, columns in TABLES.items():
        same(source, files, table, columns)
    same(source, files, "keyed", ("id", "extra", "filled"))
    for table in TABLES:
        left = [path for path in files if path.startswith(f"{table}/_changes/")]
        assert sorted(left) == counting(files, table), "what never counted is gone"


def make_tables_beside(source: End) -> None:
    """The workload's tables in place of the fixture's."""
    source.run("DROP TABLE t", "DROP TABLE bag")
    make_tables(source, 300)
