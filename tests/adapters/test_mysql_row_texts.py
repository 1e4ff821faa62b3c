"""Changes as texts of MySQL's log are on PostgreSQL what they are in columns, and on the source."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams_engine.adapters.postgres.connection import PostgresConnect
from streams_engine.adapters.postgres.sink.sink import PostgresSink
from streams_engine.contracts import TextReader, TextWriter
from streams_engine.errors import RowRejected
from streams_engine.model import (
    Catalog,
    ChangeSet,
    Dialect,
    Op,
    RowChanges,
    TableSubscription,
    TextRow,
    TextRows,
)
from streams_engine.pipeline.changes.netting import net
from streams_engine.pipeline.changes.table_replication import TableReplication, follow
from streams_engine.schema.ddl import postgres as ddl
from streams_engine.schema.ddl.structure import Structure
from streams_engine.schema.mapping.mysql_to_postgres import map_mysql
from streams_engine.schema.mapping.tables import MappingOptions, TableMapping
from streams_engine.testing.servers import Server
from tests.support.mysql_log import Place
from tests.support.mysql_values import possible, session

MOST = 24
OWN = [
    ("TIME(6)", "'23:59:59.999999'"),
    ("TIME(3)", "'-00:00:01.5'"),
    ("TIME", "'24:00:00'"),
    ("TIME", "'100:00:00'"),
    ("BIT(17)", "b'10000000000000001'"),
    ("BIT(1)", "b'1'"),
    ("DATE", "'0001-01-01'"),
    ("DATETIME(6)", "'9999-12-31 23:59:59.999999'"),
    ("TIMESTAMP(2)", "'2038-01-19 03:14:07.99'"),
    ("VARCHAR(20)", "'nul\\0in it'"),
    ("VARCHAR(20) CHARACTER SET latin1", "'é€'"),
    ("VARCHAR(20) CHARACTER SET gbk", "'中文'"),
    ("VARCHAR(20) CHARACTER SET utf16", "'a😀'"),
    ("BLOB", "x'0027225c00'"),
    ("BINARY(5)", "'ab'"),
    ("SET('a','b\"','c\\\\d')", "'a,b\",c\\\\d'"),
    ("SET('a','b')", "''"),
    ("FLOAT", "-0.0"),
    ("FLOAT", "0.1"),
    ("DOUBLE", "-0.0"),
    ("DECIMAL(65,30)", f"-{'9' * 35}.{'9' * 30}"),
    ("DECIMAL(5,5)", "-0.00001"),
    ("DECIMAL(10,0)", "0"),
    ("BIGINT UNSIGNED", "18446744073709551615"),
    ("YEAR", "0"),
]  # fmt: skip


class Both:
    """MySQL tables, and two copies of each on PostgreSQL: one changed in columns, one by texts."""

    def __init__(self, place: Place, server: Server, database: str) -> None:
        self.place = place
        self.server, self.database = server, database
        where = (server.host, server.port, server.user, server.password, database)
        self.sink = PostgresSink(PostgresConnect(*where))
        self.followed: dict[str, tuple[TableReplication, TableReplication]] = {}
        self.as_texts: list[TextRow] = []

    def begin(self) -> tuple[list[TableSubscription], Any]:
        found, position = self.place.begin()
        catalog = Catalog(Dialect.MYSQL, tuple(one.schema for one in found))
        ways = [map_mysql(catalog, MappingOptions(way)) for way in ("columns", "texts")]
        with closing(self.server.connect(self.database)) as connection:
            for mapped in ways:
                made = [*ddl.objects(mapped.target)]
                for table in mapped.target.tables:
                    made += [*ddl.table(table, Structure()), *ddl.indexes(table, Structure())]
                for statement in made:
                    connection.execute(statement.sql)
            if not connection.autocommit:
                connection.commit()
        for one, *mappings in zip(found, *(way.tables for way in ways), strict=True):
            both = [self._follow(mapping, one) for mapping in mappings]
            self.followed[one.schema.id.name] = (both[0], both[1])
        return [ways[0].tracked for ways in self.followed.values()], position

    def _follow(self, mapping: TableMapping, one: TableSubscription) -> TableReplication:
        return follow(
            mapping,
            one.schema,
            one.identity,
            (),
            None,
            zero_dates="null",
            quarantine=False,
            operations=frozenset(Op),
        )

    def apply(self, changes: ChangeSet, columns: Any, texts: Any) -> None:
        document = {"at": 1}
        for part in changes.parts:
            assert isinstance(part, TextRows | RowChanges)
            batches = part.decode() if isinstance(part, TextRows) else [part]
            self._in_columns(batches, columns, 0)
            if not (isinstance(part, TextRows) and self._in_texts(part, texts)):
                self._in_columns(batches, texts, 1)
        for writer in (columns, texts):
            writer.commit(document)

    def _in_texts(self, part: TextRows, writer: TextWriter) -> bool:
        assert part.rows <= MOST
        rows = []
        for change in part.changes:
            form = self.followed[change.table.name][1].texts
            row = None if form is None else form.row(change)
            if row is None:
                return False
            if row.columns or row.op is Op.DELETE:
                rows.append(row)
        applied = writer.apply_texts_and_commit(rows, {"at": 1})
        if applied is None:
            return False
        assert not applied.unmatched
        self.as_texts += part.changes
        return True

    def _in_columns(self, batches: Sequence[RowChanges], writer: Any, way: int) -> None:
        steps: list[Any] = []
        for batch in sorted(batches, key=lambda batch: int(batch.seq[0])):
            followed = self.followed[batch.table.name][way]
            converted = followed.converted(batch, [])
            if converted is not None:
                steps += net([converted], followed.key)
        writer.apply(steps)

    def rows(self, table: str) -> list[list[Any]]:
        found = []
        with closing(self.server.connect(self.database)) as connection:
            for one in self.followed[table]:
                name = ddl.name_of(one.mapping.target.id)
                query = f"SELECT t::text FROM {name} t ORDER BY 1"
                found.append(connection.execute(query).fetchall())
        return found


@pytest.fixture
def both(mysql_server: Server, pg18: Server, database: Any) -> Iterator[Both]:
    place = Place(mysql_server, database(mysql_server))
    made = Both(place, pg18, database(pg18))
    with closing(made.sink):
        yield made


@pytest.mark.parametrize("own", [False, True])
def test_every_type_case_is_the_same_in_both_ways(both: Both, shared_data: Path, own: bool) -> None:
    lines = (shared_data / "type_cases.jsonl").read_text().splitlines()
    kinds = ("mysql", both.place.server.kind)
    listed = [c for c in map(json.loads, lines) if c["db"] in kinds]
    if own:
        listed = [{"id": f"o-{n}", "type": t, "literal_sql": v} for n, (t, v) in enumerate(OWN)]
    cases = possible(both.place, listed)
    tables: dict[tuple[str, str], list[Any]] = {}
    for case in cases:
        alone = case["id"] if "NOT NULL" in case["type"].upper() else ""
        kind = alone or case["type"].split("(")[0]
        tables.setdefault((kind, str(session(case))), []).append(case)
    named = {f"t{number}": several for number, several in enumerate(tables.values())}
    for name, several in named.items():
        columns = ", ".join(f"v{n} {case['type']}" for n, case in enumerate(several))
        both.place.run(
            f"CREATE TABLE {name} (id INT PRIMARY KEY, {columns})", session=session(several[0])
        )
    tracked, position = both.begin()
    rows = refused = 0
    with (
        both.place.source.changes(tracked, position) as reader,
        both.sink.change_writer("stream", "columns") as in_columns,
        both.sink.change_writer("stream", "texts") as in_texts,
    ):
        assert isinstance(reader, TextReader)
        reader.give_texts(MOST)
        for name, several in named.items():
            inserts = [
                f"INSERT INTO {name} (id, v{n}) VALUES ({n}, {case['literal_sql']})"
                for n, case in enumerate(several)
            ]
            both.place.run(*inserts, session=session(several[0]))
            rows += len(inserts)
            wanted, reached = both.place.source.end(), False
            while not reached:
                changes = reader.poll(10, 1)
                assert changes is not None and changes.position is not None
                reached = both.place.source.at_or_after(changes.position, wanted)
                try:
                    both.apply(changes, in_columns, in_texts)
                except RowRejected:
                    refused += 1
                    in_columns.rollback()
                    in_texts.rollback()
            one, other = both.rows(name)
            assert one == other, several[0]["type"]
    assert len(both.as_texts) > 0.7 * (rows - refused), (rows, refused)


COLUMNS = (
    "id INT, part VARCHAR(10), yes TINYINT, amount DECIMAL(20,4), body MEDIUMTEXT, raw BLOB,"
    " at TIMESTAMP(6) NULL, moment DATETIME(3), choice ENUM('a','b'), several SET('x','y'),"
    " doc JSON, clock TIME, share DOUBLE, latin VARCHAR(20) CHARACTER SET latin1"
)
VALUES = {
    "yes": ["0", "1", "-7", "NULL"],
    "amount": ["0", "-12.5", "9999999999999999.9999", "NULL"],
    "body": ["''", "'\\t\\\\ä\"x'", "REPEAT('long', 500)", "REPEAT('longer', 40000)", "NULL"],
    "raw": ["x'00ff'", "''", "REPEAT(x'c0', 900)", "NULL"],
    "at": ["'2024-05-06 07:08:09.1'", "'1970-01-02'", "NULL"],
    "moment": ["'2024-05-06 07:08:09.1'", "'1000-01-01'", "NULL"],
    "choice": ["'a'", "'b'", "NULL"],
    "several": ["''", "'x'", "'x,y'", "NULL"],
    "doc": ["'{\"a\": [1, 2.5, null]}'", "'\"x\"'", "NULL"],
    "clock": ["'12:13:14'", "'00:00:00'", "NULL"],
    "share": ["0.1", "-1e300", "NULL"],
    "latin": ["'é€'", "'plain'", "NULL"],
}


@st.composite
def statements(draw: st.DrawFn) -> str:
    """A change of some rows, also of their keys, and of many at once."""
    number = draw(st.integers(1, 6))
    column = draw(st.sampled_from(sorted(VALUES)))
    value = draw(st.sampled_from(VALUES[column]))
    return draw(
        st.sampled_from(
            [
                f"INSERT INTO t (id, part, {column}) VALUES ({number}, 'p', {value})"
                f" ON DUPLICATE KEY UPDATE {column} = VALUES({column})",
                f"REPLACE INTO t (id, part, {column}) VALUES ({number}, 'p', {value})",
                f"UPDATE t SET {column} = {value} WHERE id = {number}",
                f"UPDATE t SET {column} = {value} WHERE id > 0",
                f"UPDATE t SET part = 'P' WHERE id = {number}",
                f"UPDATE IGNORE t SET id = id + 100 WHERE id = {number}",
                f"DELETE FROM t WHERE id = {number}",
            ]
        )
    )


TRANSACTIONS = st.lists(st.lists(statements(), min_size=1, max_size=3), min_size=1, max_size=6)


@pytest.mark.parametrize("image", ["FULL", "MINIMAL", "NOBLOB"])
def test_texts_are_what_columns_are(both: Both, image: str) -> None:
    """Any changes, in transactions of any size, with any images: both copies are equal."""
    if image != "FULL" and both.place.server.kind == "mariadb":
        pytest.skip("MariaDB's partial images are refused")
    both.place.run(f"CREATE TABLE t ({COLUMNS}, PRIMARY KEY (id, part))")
    tracked, position = both.begin()
    setup = [f"SET SESSION binlog_row_image = '{image}'", "SET time_zone = '+00:00'"]
    with (
        both.place.source.changes(tracked, position) as reader,
        both.sink.change_writer("stream", "columns") as columns,
        both.sink.change_writer("stream", "texts") as texts,
    ):
        assert isinstance(reader, TextReader)
        reader.give_texts(MOST)
        both.place.run("INSERT INTO t (id, part) VALUES (0, 'p')")

        @settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
        @given(TRANSACTIONS)
        def play(transactions: list[list[str]]) -> None:
            for several in transactions:
                both.place.run("BEGIN", *several, "COMMIT", session=setup)
            arrive()

        def arrive() -> None:
            both.place.run("UPDATE t SET yes = 1 - COALESCE(yes, 0) WHERE id = 0", session=setup)
            for changes in both.place.until(reader, both.place.source.end()):
                both.apply(changes, columns, texts)
            one, other = both.rows("t")
            assert one == other

        play()
        before = len(both.as_texts)
        arrive()
        assert len(both.as_texts) == before + 1
        # What is there is what the source has.
        keys = both.place.ask("SELECT id, part, body FROM t ORDER BY id, part")
        with closing(both.server.connect(both.database)) as connection:
            query = 'SELECT id, part, body FROM texts.t ORDER BY id, part COLLATE "C"'
            assert sorted(map(str, connection.execute(query).fetchall())) == sorted(map(str, keys))
