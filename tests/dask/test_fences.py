"""Fenced writes on real servers: who was given up ends without harm to who came after."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pyarrow as pa
import pytest

from streams_engine.adapters.mysql.connection import MysqlConnect
from streams_engine.adapters.mysql.sink.sink import MysqlSink
from streams_engine.adapters.postgres.connection import PostgresConnect
from streams_engine.adapters.postgres.sink.sink import PostgresSink
from streams_engine.contracts import Checkpoint, Fence, Statement, WritePlan
from streams_engine.errors import FencedOff
from streams_engine.model import (
    Column,
    ObjectKind,
    ObjectRef,
    TableId,
)
from streams_engine.pipeline.checkpoint_records import RUN
from streams_engine.schema.types.mysql import mysql_type
from streams_engine.schema.types.postgres import postgres_type
from streams_engine.testing.servers import Server
from tests.support.databases import End
from tests.support.polling import until

OLD, NEW = {"start": "old"}, {"start": "new"}
KEY = "chunk:t:0"


class Place(End):
    """A table, and sinks as several processes have them."""

    def __init__(self, server: Server, database: str) -> None:
        super().__init__(server, database)
        self.mysql = server.kind != "postgresql"
        self.run("CREATE TABLE t (id int PRIMARY KEY)")
        self.table = TableId(database if self.mysql else "public", "t")
        kind = mysql_type("int") if self.mysql else postgres_type("integer")
        self.load = WritePlan(self.table, (Column("id", kind, pa.int32()),))

    def sink(self) -> Any:
        """One process's sink."""
        server = self.server
        where = (server.host, server.port, server.user, server.password, self.database)
        if self.mysql:
            return MysqlSink(MysqlConnect(server.kind, *where))
        return PostgresSink(PostgresConnect(*where))

    def stage(self, sink: Any, *ids: int, before: Any = None, gate: Any = None) -> None:
        """Write rows as a worker of the old start."""

        def rows() -> Iterator[pa.RecordBatch]:
            yield pa.record_batch({"id": pa.array(ids, pa.int32())})
            if gate is not None:
                gate()

        fence = Fence((RUN, OLD), (KEY, before))
        mark = {"done": False, "rows": len(ids), "last": None}
        sink.prepare_write("s", self.load, rows(), lambda: Checkpoint(KEY, mark), fence)

    def waits(self) -> bool:
        """Whether a session waits for another one's lock."""
        query = (
            # InnoDB tells what was seen last to who asks again within a tenth of a second.
            "SELECT 1 FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"
            " UNION ALL SELECT 1 FROM information_schema.processlist"
            f" WHERE state LIKE '%metadata lock%' AND db = '{self.database}'"
            if self.mysql
            else "SELECT 1 FROM pg_locks WHERE NOT granted"
        )
        if self.mysql:
            self.rows("SELECT SLEEP(0.15)")
        return bool(self.rows(query))


@pytest.fixture(params=["pg18", "mysql9", "mariadb"])
def place(request: pytest.FixtureRequest, database: Any) -> Place:
    server: Server = request.getfixturevalue(request.param)
    return Place(server, database(server))


def test_a_new_start_that_waits_for_a_worker_of_an_earlier_one_is_not_made_to_give_way(
    place: Place,
) -> None:
    mark = {"done": False, "rows": 1, "last": None}
    reached, go = threading.Event(), threading.Event()

    def gate() -> None:
        reached.set()
        assert go.wait(30)

    with closing(place.sink()) as old, closing(place.sink()) as new, ThreadPoolExecutor(2) as pool:
        old.save_state("s", {RUN: OLD})
        place.stage(old, 1)
        zombie = pool.submit(place.stage, old, *range(2, 5000), before=mark, gate=gate)
        assert reached.wait(30)
        emptied = ObjectRef(ObjectKind.TABLE, table=place.table)
        empty = Statement(f"TRUNCATE TABLE {place.table}", emptied, truncates=(place.table,))
        opened = pool.submit(new.execute, [empty], ("s", {RUN: NEW, KEY: None}))
        until(lambda: opened.done() or place.waits())
        go.set()
        opened.result(30)
        with pytest.raises(FencedOff):
            zombie.result(30)
        assert place.rows("SELECT * FROM t") == []
        assert new.load_state("s") == {RUN: NEW}
