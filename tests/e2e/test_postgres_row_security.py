"""Row-level security on PostgreSQL: a role that sees a part of the rows is refused by name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streams_engine import Engine, State, Stream
from streams_engine.config.connection import parse_connection
from streams_engine.errors import PermissionDenied, StreamsError
from streams_engine.query import Queries, QueryConnections
from streams_engine.testing.servers import Server
from tests.support.databases import End
from tests.support.stream_control import SECONDS

ROLE, PASSWORD = "rls_reader", "pw"
MEMO = [
    "CREATE TABLE memo (id int PRIMARY KEY, tenant text)",
    "INSERT INTO memo SELECT g, CASE WHEN g % 3 = 0 THEN 'me' ELSE 'other' END"
    " FROM generate_series(1, 9) g",
    "CREATE TABLE free (id int PRIMARY KEY)",
    "INSERT INTO free VALUES (1)",
    "ALTER TABLE memo ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own ON memo USING (tenant = 'me')",
    f"GRANT USAGE ON SCHEMA public TO {ROLE}",
    f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {ROLE}",
]
FORCED = [
    "ALTER TABLE memo FORCE ROW LEVEL SECURITY",
    f"ALTER TABLE memo OWNER TO {ROLE}",
    f"ALTER TABLE free OWNER TO {ROLE}",
]


class Limited(End):
    """A database with ``memo``, dialled by a role that its policies hold for."""

    def __init__(self, server: Server, database: str) -> None:
        super().__init__(server, database)
        self.owner_url = self.url
        self.url = re.sub("//[^@]*@", f"//{ROLE}:{PASSWORD}@", self.url)


@pytest.fixture
def limited(pg_server: Server, database: Any) -> Iterator[Limited]:
    end = Limited(pg_server, database(pg_server))
    end.run(f"CREATE ROLE {ROLE} LOGIN REPLICATION PASSWORD '{PASSWORD}'", *MEMO)
    end.run(f"GRANT CREATE ON DATABASE {end.database} TO {ROLE}")
    yield end
    end.run(f"REASSIGN OWNED BY {ROLE} TO CURRENT_USER", f"DROP OWNED BY {ROLE}")
    end.run(f"DROP ROLE {ROLE}")


def refused(error: StreamsError, table: str = "memo") -> None:
    assert isinstance(error, PermissionDenied)
    assert error.code == "PERMISSION_DENIED"
    assert table in error.message and "row-level security" in error.message
    assert "BYPASSRLS" in str(error.remedy)


def test_a_convert_by_a_granted_reader_is_refused(limited: Limited, tmp_path: Path) -> None:
    with pytest.raises(PermissionDenied) as caught:
        Stream(limited.url, str(tmp_path)).run()
    refused(caught.value, "public.memo")
    assert ROLE in caught.value.message
    assert caught.value.details["role"] == ROLE
    assert "free" not in caught.value.message


def test_tables_without_policies_are_copied(limited: Limited, tmp_path: Path) -> None:
    stats = Stream(limited.url, str(tmp_path), tables=["free"]).run()
    assert [(t.table, t.rows) for t in stats.tables] == [("public.free", 1)]


def test_a_plan_says_that_a_run_would_be_refused(limited: Limited, tmp_path: Path) -> None:
    findings = Stream(limited.url, str(tmp_path)).plan().findings
    assert [f.object for f in findings if "hides rows" in f.message] == ["public.memo"]


def test_a_policy_of_a_partition_counts(limited: Limited, tmp_path: Path) -> None:
    limited.run(
        "CREATE TABLE log (id int) PARTITION BY RANGE (id)",
        "CREATE TABLE log_1 PARTITION OF log FOR VALUES FROM (1) TO (10)",
        "ALTER TABLE log_1 ENABLE ROW LEVEL SECURITY",
        f"GRANT SELECT ON log, log_1 TO {ROLE}",
    )
    with pytest.raises(PermissionDenied) as caught:
        Stream(limited.url, str(tmp_path), tables=["log"]).run()
    refused(caught.value, "public.log_1")


def test_the_owner_with_force_is_refused_in_a_cdc_and_nothing_is_left(
    limited: Limited, tmp_path: Path
) -> None:
    limited.run(*FORCED)
    with Stream(limited.url, str(tmp_path), mode="cdc", name="rls") as stream:
        stream.start()
        assert stream.wait(timeout=SECONDS) is State.FAILED
    assert stream.error is not None
    refused(stream.error, "public.memo")
    assert 'ALTER TABLE "public"."memo" NO FORCE ROW LEVEL SECURITY;' in str(stream.error.remedy)
    assert limited.rows("SELECT pubname FROM pg_publication") == []
    assert limited.rows(
        "SELECT slot_name FROM pg_replication_slots WHERE database = current_database()"
    ) == []  # fmt: skip


def test_the_owner_without_force_copies_all(limited: Limited, tmp_path: Path) -> None:
    limited.run(*FORCED, "ALTER TABLE memo NO FORCE ROW LEVEL SECURITY")
    with Stream(limited.url, str(tmp_path)) as stream:
        stream.run()
        report = stream.verify()
    assert report.ok
    assert {t.table: t.rows for t in stream.stats().tables}["public.memo"] == 9


def test_a_query_of_a_convert_is_refused(limited: Limited, tmp_path: Path) -> None:
    document = {
        "mode": "convert",
        "source": {
            "connections": [
                {
                    "connection": limited.url,
                    "queries": [{"name": "q", "query": "SELECT id FROM memo"}],
                }
            ]
        },
        "target": {"connection": str(tmp_path)},
    }
    with pytest.raises(PermissionDenied) as caught:
        Stream.from_config(document).run()
    refused(caught.value)


def test_verify_says_that_it_cannot_see_all_rows(limited: Limited, tmp_path: Path) -> None:
    """It would compare the few rows that both of its looks are shown."""
    Stream(limited.owner_url, str(tmp_path), tables=["memo"]).run()
    with Stream(limited.url, str(tmp_path), tables=["memo"]) as stream:
        report = stream.verify()
    (memo,) = report.tables
    assert not report.ok and memo.equal is None
    assert "row-level security" in memo.note and "BYPASSRLS" in memo.note


def test_an_engine_shows_no_part_of_a_table(limited: Limited) -> None:
    with Engine() as engine:
        connection = engine.connections.create({
            "name": "limited", "type": "postgresql", "host": limited.server.host,
            "port": limited.server.port, "username": ROLE, "password": PASSWORD,
            "database": limited.database,
        })["id"]  # fmt: skip
        with pytest.raises(PermissionDenied) as caught:
            list(engine.data(connection, "memo"))
        refused(caught.value)
        with pytest.raises(PermissionDenied) as counted:
            engine.count(connection, "memo")
        refused(counted.value)


def test_a_federated_query_is_refused(limited: Limited) -> None:
    places = QueryConnections(("pg",), {"pg": parse_connection(limited.url)}.__getitem__, {})
    queries = Queries(places)
    with (
        pytest.raises(PermissionDenied) as caught,
        queries.query("SELECT count(*) FROM pg.public.memo") as result,
    ):
        result.table()
    refused(caught.value)


def test_a_target_table_whose_rows_are_hidden_is_refused(
    limited: Limited, pg_server: Server, database: Any
) -> None:
    """With hidden rows in it a target would not be empty, nor equal."""
    source = End(pg_server, database(pg_server))
    source.run("CREATE TABLE memo (id int PRIMARY KEY, tenant text)")
    for mode in ("append", "upsert", "truncate_and_load", "fail_if_not_empty"):
        with pytest.raises(PermissionDenied) as caught:
            Stream(source.url, limited.url, write_mode=mode).run()
        refused(caught.value, "public.memo")
        assert "target" in caught.value.message
    assert limited.rows("SELECT count(*) FROM memo") == [(9,)]
