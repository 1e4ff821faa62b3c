"""Changes as the log's texts are what they are in columns, and what the source holds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams_engine.adapters.postgres.connection import PostgresConnect
from streams_engine.adapters.postgres.sink.sink import PostgresSink
from streams_engine.contracts import ChangeWriter, TextWriter
from streams_engine.model import (
    ChangeSet,
    NetChanges,
    Op,
    RowChanges,
    TableId,
    TextRow,
    TextRows,
)
from streams_engine.pipeline.changes.netting import net
from streams_engine.pipeline.changes.table_replication import TextForm
from streams_engine.testing.servers import Server
from tests.support.postgres_log import Followed, Reading

MOST = 24
COPY = TableId("public", "copy")
COLUMNS = (
    "id int, part text, yes bool, amount numeric, body text, raw bytea, at timestamptz, list text[]"
)
NAMES = tuple(column.split()[0] for column in COLUMNS.split(", "))
KEY = ("id", "part")
VALUES = {
    "yes": ["true", "false", "NULL"],
    "amount": ["0", "-12.50", "'NaN'", "NULL"],
    "body": ["''", r"E'\t\\ä''x'", "repeat('long', 5000)", "NULL"],
    "raw": [r"'\x00ff'", "''", r"decode(repeat('c0', 9000), 'hex')", "NULL"],
    "at": ["'2024-05-06 07:08:09.1+02'", "'infinity'", "'0044-03-15 BC'", "NULL"],
    "list": ["'{}'", """'{a,NULL,"x y"}'""", "NULL"],
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
                f" ON CONFLICT (id, part) DO UPDATE SET {column} = excluded.{column}",
                f"UPDATE t SET {column} = {value} WHERE id = {number}",
                f"UPDATE t SET {column} = {value}",
                f"UPDATE t SET id = id + 100 WHERE id = {number} AND"
                f" NOT EXISTS (SELECT FROM t WHERE id = {number + 100})",
                f"DELETE FROM t WHERE id = {number}",
            ]
        )
    )


TRANSACTIONS = st.lists(st.lists(statements(), min_size=1, max_size=3), min_size=1, max_size=6)


class Both:
    """A followed table, and its copy on the target."""

    def __init__(self, followed: Followed, server: Server, identity: str) -> None:
        self.followed = followed
        followed.run(
            f"CREATE TABLE t ({COLUMNS}, PRIMARY KEY (id, part))",
            f"CREATE TABLE copy ({COLUMNS}, PRIMARY KEY (id, part))",
            "ALTER TABLE t ALTER body SET STORAGE EXTERNAL, ALTER raw SET STORAGE EXTERNAL",
            f"ALTER TABLE t REPLICA IDENTITY {identity}",
        )
        self.start = followed.start("t")
        where = (server.host, server.port, server.user, server.password, followed.database)
        self.sink = PostgresSink(PostgresConnect(*where))
        self.form = TextForm.of(COPY, NAMES, KEY)
        self.as_texts = 0

    def rows(self, table: str) -> list[Any]:
        return self.followed.sql.execute(f"SELECT {table}::text FROM {table} ORDER BY 1").fetchall()

    def apply(self, changes: ChangeSet, writer: ChangeWriter) -> None:
        """As texts where these are given, else in columns."""
        document = {"lsn": changes.position["lsn"]} if changes.position else {}
        for part in changes.parts:
            assert isinstance(part, TextRows | RowChanges)
            if isinstance(part, TextRows):
                assert part.rows <= MOST
                assert shown(part.decode()) == list(part.changes)
                rows = [self.form.row(change) for change in part.changes]
                assert isinstance(writer, TextWriter) and None not in rows
                made = [row for row in rows if row and (row.columns or row.op is Op.DELETE)]
                applied = writer.apply_texts_and_commit(made, document)
                assert applied is None or not applied.unmatched
                self.as_texts += applied is not None
                if applied is not None:
                    continue
            batches = part.decode() if isinstance(part, TextRows) else [part]
            steps: list[NetChanges] = []
            for batch in batches:
                steps += [replaced(step, batch) for step in net([batch], KEY)]
            writer.apply(steps)
        writer.commit(document)


def replaced(step: NetChanges, batch: RowChanges) -> NetChanges:
    """The step on the copy."""
    return NetChanges(
        COPY, batch.columns, KEY, step.deletes, None, step.moves, step.updates, step.inserts
    )


def shown(batches: Any) -> list[TextRow]:
    """Changes in columns as the texts that they hold."""
    (batch,) = batches
    after, before = batch.after.to_pylist(), batch.before and batch.before.to_pylist()
    rows = []
    for number, op in enumerate(batch.op.tolist()):
        values = tuple(
            ... if name in batch.missing and batch.missing[name][number] else text(value)
            for name, value in after[number].items()
        )
        old = after[number] if before is None or op == Op.UPDATE else before[number]
        identity = () if op == Op.INSERT else tuple(text(old[name]) for name in batch.identity)
        rows.append(
            TextRow(batch.table, Op(op), () if op == Op.DELETE else values, identity[: len(KEY)])
        )
    return rows


def text(value: Any) -> bytes | None:
    if isinstance(value, bytes):
        return b"\\x" + value.hex().encode()
    return None if value is None else str(value).encode()


@pytest.fixture
def followed(pg_server: Server, database: Any) -> Iterator[Followed]:
    found = Followed(pg_server, database(pg_server))
    yield found
    found.close()


@pytest.mark.parametrize("identity", ["DEFAULT", "FULL"])
def test_texts_are_what_columns_are(followed: Followed, pg_server: Server, identity: str) -> None:
    """Any changes, in transactions of any size: a target has what its source has, and each text is
    the value of its column."""
    both = Both(followed, pg_server, identity)
    tracked = followed.tracked("t", wanted={"raw": {"arrow": pa.binary()}})
    with (
        closing(both.sink),
        followed.reading(tracked, both.start) as reading,
        both.sink.change_writer("stream", "log") as writer,
    ):
        reading.reader.give_texts(MOST)
        followed.run("INSERT INTO t (id, part) VALUES (0, 'p')")

        def arrive() -> None:
            # The log goes on, whatever came before: a position is given once.
            followed.run("UPDATE t SET yes = NOT coalesce(yes, false) WHERE id = 0")
            for changes in Reading(followed, reading.reader).caught_up():
                if changes.parts:
                    both.apply(changes, writer)
            assert both.rows("copy") == [(r[0],) for r in both.rows("t")]

        @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
        @given(TRANSACTIONS)
        def play(transactions: list[list[str]]) -> None:
            for several in transactions:
                with followed.sql.transaction():
                    followed.run(*several)
            arrive()

        play()
        before = both.as_texts
        arrive()
        assert both.as_texts == before + 1
