"""What a publication leaves out of a log is refused, at each start and while it is read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any

import pytest

from streams_engine import State, Stream
from streams_engine.adapters.postgres.replication.ddl_events import TRIGGERS
from streams_engine.adapters.postgres.replication.publication import LEFT_OUT
from streams_engine.errors import LogLost
from streams_engine.testing.servers import Server
from tests.support.cdc import OWN_SLOTS, caught_up, failure
from tests.support.databases import End
from tests.support.polling import until
from tests.support.stream_control import SECONDS

PUB = "shop_pub"
NULLABLE = "SELECT attnotnull FROM pg_attribute WHERE attrelid = 'n'::regclass AND attname = 'a'"
ROWS = "SELECT id, a FROM t ORDER BY id"


@pytest.fixture
def source(pg18: Server, database: Any) -> Iterator[End]:
    end = End(pg18, database(pg18))
    end.run("CREATE TABLE t (id int PRIMARY KEY, a int)", "INSERT INTO t VALUES (1, 1), (2, 20)")
    yield end
    end.run(f"SELECT pg_terminate_backend(active_pid, 5000) {OWN_SLOTS} AND active")
    end.run(f"SELECT pg_drop_replication_slot(slot_name) {OWN_SLOTS}")


@pytest.fixture
def target(pg15: Server, database: Any) -> End:
    return End(pg15, database(pg15))


def cdc(source: End, target: End, **options: Any) -> Stream:
    options = {"name": "pubs", "publication_name": PUB, **options}
    return Stream(source.url, target.url, mode="cdc", **options)


def refusal(source: End, target: End, **options: Any) -> tuple[list[str], str]:
    """The codes of the findings that refuse a start, and what it says; nothing is left."""
    with cdc(source, target, **options) as stream:
        stream.start()
        error = failure(stream)
    assert source.rows(f"SELECT slot_name {OWN_SLOTS}") == []
    codes = [f.code for f in stream.stats().findings if f.severity == "error"]
    return codes, str(error)


LEAVES_OUT = {
    "rows": (["FOR TABLE t WHERE (id > 10)"], ["publication-rows"], "WHERE"),
    "columns": (["FOR TABLE t (id)"], ["publication-columns"], "a. The target would miss"),
    "deletes": (
        ["FOR TABLE t WITH (publish = 'insert, update')"],
        ["publication-operations"],
        "not publish delete and truncate",
    ),
    "truncations": (
        ["FOR TABLE t WITH (publish = 'insert, update, delete')"],
        ["publication-operations"],
        "not publish truncate",
    ),
}


@pytest.mark.parametrize("what", LEAVES_OUT)
def test_a_publication_that_leaves_something_out_is_refused(
    source: End, target: End, what: str
) -> None:
    (how,), codes, words = LEAVES_OUT[what]
    source.run(f"CREATE PUBLICATION {PUB} {how}")
    found, said = refusal(source, target)
    assert found == codes
    assert PUB in said and words in said and "ALTER PUBLICATION" in said
    assert source.rows("SELECT pubname FROM pg_publication") == [(PUB,)]


def test_a_column_that_is_dropped_at_this_moment_is_not_left_out(source: End) -> None:
    source.run(f"CREATE PUBLICATION {PUB} FOR TABLE t")
    with closing(source.server.connect(source.database)) as connection:
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        connection.execute("SELECT FROM pg_class")
        source.run("ALTER TABLE t DROP COLUMN a")
        rows = connection.execute(LEFT_OUT, (PUB,)).fetchall()
    assert rows == [("public", "t", None, [])]


def test_the_statement_that_cures_it_does(source: End, target: End) -> None:
    source.run(f"CREATE PUBLICATION {PUB} FOR TABLE t (id) WHERE (id > 10)")
    source.run(f"ALTER PUBLICATION {PUB} SET (publish = 'insert')")
    with cdc(source, target) as stream:
        stream.start()
        failure(stream)
    for finding in stream.stats().findings:
        if finding.severity == "error" and finding.code != "publication-columns":
            source.run(*str(finding.remedy).split("; or ")[0].split("; "))
    with cdc(source, target) as stream:
        stream.start()
        caught_up(stream)


def test_operations_that_are_not_wanted_need_not_be_published(source: End, target: End) -> None:
    source.run(f"CREATE PUBLICATION {PUB} FOR TABLE t WITH (publish = 'insert, update')")
    with cdc(source, target, operations=["insert", "update"]) as stream:
        stream.start()
        caught_up(stream)
        source.run("INSERT INTO t VALUES (3, 3)", "DELETE FROM t WHERE id = 1")
        caught_up(stream)
    assert target.rows(ROWS) == [(1, 1), (2, 20), (3, 3)]


def test_who_wants_no_deletes_keeps_rows_that_are_truncated(source: End, target: End) -> None:
    source.run(f"CREATE PUBLICATION {PUB} FOR TABLE t")
    with cdc(source, target, operations=["insert", "update"]) as stream:
        stream.start()
        caught_up(stream)
        source.run("TRUNCATE t", "INSERT INTO t VALUES (3, 3)")
        caught_up(stream)
    assert target.rows(ROWS) == [(1, 1), (2, 20), (3, 3)]


def test_columns_that_are_not_selected_need_not_be_published(source: End, target: End) -> None:
    source.run(f"CREATE PUBLICATION {PUB} FOR TABLE t (id)")
    selected = [{"name": "t", "selection": {"selectedColumns": ["id"]}}]
    document = {
        "name": "pubs",
        "mode": "cdc",
        "source": {
            "connections": [{"connection": source.url, "tables": selected}],
            "options": {"publicationName": PUB},
        },
        "target": {"connection": target.url},
    }
    with Stream.from_config(document) as stream:
        stream.start()
        caught_up(stream)
        source.run("INSERT INTO t VALUES (3, 3)")
        caught_up(stream)
    assert target.rows("SELECT * FROM t ORDER BY id") == [(1,), (2,), (3,)]


def test_who_means_it_says_so(source: End, target: End) -> None:
    source.run(f"CREATE PUBLICATION {PUB} FOR TABLE t WHERE (id > 10)")
    with cdc(source, target, partial_publication=True) as stream:
        stream.start()
        caught_up(stream)
        source.run("INSERT INTO t VALUES (3, 3), (11, 11)")
        caught_up(stream)
    assert target.rows(ROWS) == [(1, 1), (2, 20), (11, 11)]


# Partition roots


def test_a_publication_by_partitions_serves_plain_tables(source: End, target: End) -> None:
    source.run(
        "CREATE TABLE p (id int PRIMARY KEY) PARTITION BY LIST (id)",
        "CREATE TABLE p_1 PARTITION OF p FOR VALUES IN (1)",
        f"CREATE PUBLICATION {PUB} FOR TABLE t, p",
    )
    with cdc(source, target, tables=["t"]) as stream:
        stream.start()
        caught_up(stream)
        source.run("INSERT INTO t VALUES (3, 3)")
        caught_up(stream)
    assert target.rows(ROWS) == source.rows(ROWS)
    with cdc(source, target, name="other") as stream:
        stream.start()
        said = str(failure(stream))
    assert "public.p:" in said and "publish_via_partition_root = true" in said


def test_all_tables_of_a_publication_serve(source: End, target: End) -> None:
    source.run(f"CREATE PUBLICATION {PUB} FOR ALL TABLES")
    with cdc(source, target) as stream:
        stream.start()
        caught_up(stream)
        source.run("INSERT INTO t VALUES (3, 3)")
        caught_up(stream)
    assert target.rows(ROWS) == source.rows(ROWS)


@pytest.mark.parametrize("identity", ["DEFAULT", "FULL"])
def test_published_generated_columns_do_no_harm(source: End, target: End, identity: str) -> None:
    source.run(
        f"ALTER TABLE t REPLICA IDENTITY {identity}",
        "ALTER TABLE t ADD COLUMN twice int GENERATED ALWAYS AS (a * 2) STORED",
        f"CREATE PUBLICATION {PUB} FOR TABLE t WITH (publish_generated_columns = stored)",
    )
    with cdc(source, target) as stream:
        stream.start()
        caught_up(stream)
        source.run("INSERT INTO t VALUES (3, 3)", "UPDATE t SET a = 7 WHERE id = 1")
        caught_up(stream)
        assert stream.verify().ok
    assert target.rows("SELECT * FROM t ORDER BY 1") == source.rows("SELECT * FROM t ORDER BY 1")


# Altered in mid run, or while the stream was stopped

FILTER = f"ALTER PUBLICATION {PUB} SET TABLE t WHERE (id > 10)"
WHOLE = f"ALTER PUBLICATION {PUB} SET TABLE t"
ALTERED = {
    "rows are left out": [FILTER],
    "columns are left out": [f"ALTER PUBLICATION {PUB} SET TABLE t (id)"],
    "kinds are left out": [f"ALTER PUBLICATION {PUB} SET (publish = 'insert')"],
    "the table is dropped from it": [f"ALTER PUBLICATION {PUB} DROP TABLE t"],
    "rows were left out for a while": [FILTER, "INSERT INTO t VALUES (4, 4)", WHOLE],
    "kinds were left out for a while": [
        f"ALTER PUBLICATION {PUB} SET (publish = 'update')",
        "INSERT INTO t VALUES (4, 4)",
        f"ALTER PUBLICATION {PUB} SET (publish = 'insert, update, delete, truncate')",
    ],
    "the table was out of it for a while": [
        f"ALTER PUBLICATION {PUB} DROP TABLE t",
        "INSERT INTO t VALUES (4, 4)",
        f"ALTER PUBLICATION {PUB} ADD TABLE t",
    ],
    "it is gone": [f"DROP PUBLICATION {PUB}"],
    "it is another server": [f"DROP PUBLICATION {PUB}", f"CREATE PUBLICATION {PUB} FOR TABLE t"],
}


@pytest.mark.parametrize("what", ALTERED)
def test_a_publication_that_is_altered_while_it_is_read(
    source: End, target: End, what: str
) -> None:
    source.run(f"CREATE PUBLICATION {PUB} FOR TABLE t")
    with cdc(source, target) as stream:
        stream.start()
        caught_up(stream)
        source.run(*ALTERED[what])
        with suppress(LogLost):  # whoever of both threads asks first
            assert not stream.catch_up(SECONDS)
        error = failure(stream)
    assert error.code == "LOG_LOST"
    assert PUB in error.message and error.remedy


@pytest.mark.parametrize("what", ALTERED)
def test_a_publication_that_was_altered_while_the_stream_was_stopped(
    source: End, target: End, what: str
) -> None:
    source.run(f"CREATE PUBLICATION {PUB} FOR TABLE t")
    with cdc(source, target) as stream:
        stream.start()
        caught_up(stream)
    source.run("INSERT INTO t VALUES (3, 3)", *ALTERED[what])
    with cdc(source, target) as stream:
        stream.start()
        error = failure(stream)
    assert error.code in ("LOG_LOST", "INVALID_CONFIG")
    assert PUB in str(error) and error.remedy
    assert target.rows(ROWS) == [(1, 1), (2, 20)]


def test_an_idle_stream_notices_it_by_itself(source: End, target: End) -> None:
    source.run(f"CREATE PUBLICATION {PUB} FOR TABLE t")
    with cdc(source, target) as stream:
        stream.start()
        caught_up(stream)
        source.run(FILTER)
        assert stream.wait(timeout=SECONDS) is State.FAILED
        assert failure(stream).code == "LOG_LOST"


def test_a_table_for_another_stream_harms_nobody(source: End, target: End) -> None:
    source.run(
        "CREATE TABLE other (id int PRIMARY KEY)", f"CREATE PUBLICATION {PUB} FOR TABLE ONLY t"
    )
    with cdc(source, target, tables=["t"]) as stream:
        stream.start()
        caught_up(stream)
        source.run(f"ALTER PUBLICATION {PUB} ADD TABLE other", "INSERT INTO t VALUES (3, 3)")
        caught_up(stream)
        source.run(f"ALTER PUBLICATION {PUB} SET TABLE t", "INSERT INTO t VALUES (4, 4)")
        caught_up(stream)
    with cdc(source, target, tables=["t", "other"]) as stream:  # joins, and is published
        stream.start()
        source.run("INSERT INTO other VALUES (1)", "INSERT INTO t VALUES (5, 5)")
        caught_up(stream)
    with cdc(source, target, tables=["t", "other"]) as stream:
        stream.start()
        source.run("INSERT INTO other VALUES (2)", "INSERT INTO t VALUES (6, 6)")
        caught_up(stream)
    assert target.rows(ROWS) == source.rows(ROWS)
    assert target.rows("SELECT * FROM other ORDER BY 1") == [(1,), (2,)]


def test_a_followed_table_is_not_published_again_in_silence(source: End, target: End) -> None:
    """A start that loads a further table publishes what is missing: not what was followed."""
    source.run("CREATE TABLE other (id int PRIMARY KEY)", f"CREATE PUBLICATION {PUB} FOR TABLE t")
    with cdc(source, target, tables=["t"]) as stream:
        stream.start()
        caught_up(stream)
    source.run(f"ALTER PUBLICATION {PUB} DROP TABLE t", "INSERT INTO t VALUES (3, 3)")
    with cdc(source, target, tables=["t", "other"]) as stream:
        stream.start()
        assert failure(stream).code == "LOG_LOST"


def test_a_target_conflict_leaves_nothing_on_the_source(source: End, target: End) -> None:
    target.run("CREATE TABLE t (id date)")
    with cdc(source, target, publication_name=None) as stream:
        stream.start()
        assert failure(stream).code == "TARGET_CONFLICT"
    assert source.rows(f"SELECT slot_name {OWN_SLOTS}") == []
    assert source.rows("SELECT pubname FROM pg_publication") == []


# Tables that no publication takes


def test_an_unlogged_table_is_left_out_where_all_are_followed(source: End, target: End) -> None:
    source.run(
        "CREATE UNLOGGED TABLE cache (id int PRIMARY KEY)",
        "CREATE TABLE heir (PRIMARY KEY (id)) INHERITS (cache)",
        "INSERT INTO heir VALUES (1)",
    )
    for number in (3, 4):
        with cdc(source, target, publication_name=None) as stream:
            stream.start()
            source.run(f"INSERT INTO t VALUES ({number}, 1)", "INSERT INTO cache VALUES (1)"
                       " ON CONFLICT DO NOTHING")  # fmt: skip
            caught_up(stream)
            found = [f for f in stream.stats().findings if f.code == "unlogged"]
        assert [(f.object, str(f.severity)) for f in found] == [("public.cache", "warning")]
        assert "SET LOGGED" in str(found[0].remedy)
    assert target.rows(ROWS) == source.rows(ROWS)
    assert target.rows("SELECT id FROM heir") == [(1,)]
    assert target.rows("SELECT to_regclass('cache')") == [(None,)]


def test_an_unlogged_table_that_is_named_is_refused(source: End, target: End) -> None:
    source.run("CREATE UNLOGGED TABLE cache (id int PRIMARY KEY)")
    codes, said = refusal(source, target, tables=["t", "cache"], publication_name=None)
    assert codes == ["unlogged"] and "SET LOGGED" in said


def test_an_unlogged_partition_is_refused(source: End, target: End) -> None:
    """A part of its table's changes would be missing."""
    source.run(
        "CREATE TABLE p (id int PRIMARY KEY) PARTITION BY LIST (id)",
        "CREATE UNLOGGED TABLE p_1 PARTITION OF p FOR VALUES IN (1)",
    )
    codes, said = refusal(source, target, publication_name=None)
    assert codes == ["unlogged"] and "public.p_1" in said


def test_children_of_other_kinds_are_no_matter_of_their_parent(source: End, target: End) -> None:
    source.run(
        "CREATE FOREIGN DATA WRAPPER dummy",
        "CREATE SERVER far FOREIGN DATA WRAPPER dummy",
        "CREATE FOREIGN TABLE t_far () INHERITS (t) SERVER far",
    )
    with (
        closing(source.server.connect(source.database)) as session,
        cdc(source, target, publication_name=None) as stream,
    ):
        session.execute("CREATE TEMPORARY TABLE t_temp () INHERITS (t)")
        session.execute("INSERT INTO t_temp VALUES (77, 7)")
        stream.start()
        caught_up(stream)
        source.run("INSERT INTO t VALUES (3, 3)")
        caught_up(stream)
    assert target.rows(ROWS) == [(1, 1), (2, 20), (3, 3)]


def test_an_unlogged_partition_that_is_made_while_the_log_is_followed_is_refused(
    source: End, target: End
) -> None:
    source.run(
        "CREATE TABLE p (id int PRIMARY KEY) PARTITION BY LIST (id)",
        "CREATE TABLE p_1 PARTITION OF p FOR VALUES IN (1)",
    )
    with cdc(source, target, publication_name=None) as stream:
        stream.start()
        caught_up(stream)
        source.run("CREATE UNLOGGED TABLE p_2 PARTITION OF p FOR VALUES IN (2)")
        error = failure(stream)
    assert error.code == "SCHEMA_CHANGE_REFUSED"
    assert "public.p_2" in str(error) and "SET LOGGED" in str(error.remedy)


def test_a_table_that_joined_a_moment_before_the_end_was_not_altered(
    source: End, target: End
) -> None:
    """The position says that the publication was seen after its own ALTER PUBLICATION."""
    source.run(TRIGGERS)
    with cdc(source, target) as stream:
        stream.start()
        caught_up(stream)
        source.run("CREATE TABLE n (id int PRIMARY KEY, a int NOT NULL)")
        caught_up(stream)
        source.run("ALTER TABLE n ALTER a DROP NOT NULL")
        until(lambda: target.rows(NULLABLE) == [(False,)])
    with cdc(source, target) as stream:
        stream.start()
        caught_up(stream)
