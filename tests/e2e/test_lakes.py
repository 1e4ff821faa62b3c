"""The files of a cdc are not read as if its load were all of it: refused by name, everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from streams_engine import Engine, Stream
from streams_engine.errors import ConfigError, StreamsError
from streams_engine.testing.servers import Server
from tests.support.cdc import caught_up, prepared
from tests.support.databases import End, move


@pytest.fixture
def lake(tmp_path: Path, pg18: Server, database: Any) -> Any:
    """A folder that a cdc wrote, with a table that changed and one that did not."""
    with prepared(pg18, database) as source:
        stream = Stream(source.url, f"file://{tmp_path}?format=parquet", mode="cdc", name="lake")
        with stream:
            stream.start()
            caught_up(stream)
            source.run("UPDATE t SET v = 'new' WHERE id = 1", "DELETE FROM t WHERE id = 2")
            caught_up(stream)
        with pytest.raises(ConfigError, match="_changes"):
            stream.verify()
        yield tmp_path


def refused(error: StreamsError) -> None:
    assert error.code == "INVALID_CONFIG"
    assert "t/_changes" in str(error) and "part-" in str(error)


def test_a_lake_with_changes_is_no_source(lake: Path, pg15: Server, database: Any) -> None:
    target = End(pg15, database(pg15))
    with pytest.raises(StreamsError) as caught:
        move(str(lake), target)
    refused(caught.value)
    assert target.rows("SELECT count(*) FROM pg_class WHERE relname = 't'") == [(0,)]
    with pytest.raises(StreamsError) as caught:  # the table's own folder
        move(str(lake / "t"), target)
    assert "_changes" in str(caught.value)


def test_tables_that_did_not_change_are_read(lake: Path, pg15: Server, database: Any) -> None:
    target = End(pg15, database(pg15))
    move(str(lake), target, tables=["bag"])
    assert target.rows("SELECT * FROM bag") == [(1, "a"), (1, "a")]


def test_the_parts_are_read_by_name(lake: Path, pg15: Server, database: Any) -> None:
    """Who names them means the rows of the load."""
    target = End(pg15, database(pg15))
    move(str(lake / "t" / "part-0-0.parquet"), target)
    (table,) = target.rows("SELECT relname FROM pg_class WHERE relname LIKE 'part%'")
    assert target.rows(f"SELECT id, v FROM {table[0]} ORDER BY id") == [(1, "one"), (2, "two")]


def test_the_engine_neither_shows_nor_queries_it(lake: Path) -> None:
    files = {"type": "files", "name": "lake", "spec": {"files": {"basePath": str(lake)}}}
    with Engine() as engine:
        connection = engine.connections.create(files)
        assert {"t", "bag"} <= set(engine.connections.tables(connection["id"]))
        with pytest.raises(StreamsError) as caught:
            engine.data(connection["id"], "t")
        refused(caught.value)
        assert engine.data(connection["id"], "bag")["items"].num_rows == 2
        with pytest.raises(StreamsError) as caught, engine.query("SELECT * FROM l.t", {
            "l": connection["id"]
        }) as result:  # fmt: skip
            result.table()
        assert "_changes" in str(caught.value)
        with engine.query("SELECT * FROM l.bag", {"l": connection["id"]}) as result:
            assert result.table().num_rows == 2
