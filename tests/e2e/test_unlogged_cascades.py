"""MariaDB does ON DELETE and ON UPDATE below its log: a target that would not do it again is
refused by name, before any row is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from streams_engine import State, Stream
from streams_engine.errors import StreamsError
from streams_engine.testing.servers import Server
from tests.support.cdc import caught_up, failure
from tests.support.databases import End
from tests.support.stream_control import SECONDS

TABLES = (
    "CREATE TABLE grp (id INT PRIMARY KEY, code INT UNIQUE)",
    "CREATE TABLE usr (id INT PRIMARY KEY, grp_id INT, CONSTRAINT of_grp FOREIGN KEY (grp_id)"
    " REFERENCES grp (id) ON DELETE CASCADE ON UPDATE CASCADE)",
    "CREATE TABLE opt (id INT PRIMARY KEY, usr_id INT, code INT,"
    " CONSTRAINT of_usr FOREIGN KEY (usr_id) REFERENCES usr (id) ON DELETE SET NULL,"
    " CONSTRAINT of_code FOREIGN KEY (code) REFERENCES grp (code) ON UPDATE CASCADE"
    " ON DELETE SET NULL)",
)
ROWS = (
    "INSERT INTO grp VALUES (1, 1), (2, 2), (3, 3)",
    "INSERT INTO usr VALUES (10, 1), (11, 1), (12, 2), (13, 3)",
    "INSERT INTO opt VALUES (100, 10, 1), (101, 11, 2), (102, 12, 3), (103, 13, 1)",
)
WORK = (
    "DELETE FROM grp WHERE id = 1",
    "UPDATE grp SET id = 20 WHERE id = 2",
    "UPDATE grp SET code = 30 WHERE code = 3",
    "INSERT INTO grp VALUES (1, 1)",
    "DELETE FROM usr WHERE id = 13",
)
WITHOUT_KEYS = {"foreignKeys": False}


@pytest.fixture
def source(mariadb: Server, database: Any) -> End:
    end = End(mariadb, database(mariadb))
    end.run(*TABLES, *ROWS)
    return end


@pytest.fixture(params=["pg18", "mysql9", "mariadb"])
def target(request: pytest.FixtureRequest, database: Any) -> End:
    server: Server = request.getfixturevalue(request.param)
    return End(server, database(server))


def cdc(source: End, target: End | Path, **options: Any) -> Stream:
    url = target.url if isinstance(target, End) else str(target)
    return Stream(source.url, url, mode="cdc", name="cascades", **options)


def refused(source: End, target: End | Path, *names: str, **options: Any) -> None:
    """The stream is refused, and the error names these and a cure."""
    with pytest.raises(StreamsError) as caught:
        cdc(source, target, **options).run()
    assert caught.value.code == "INVALID_CONFIG"
    for name in names:
        assert name in caught.value.message, caught.value.message
    assert caught.value.remedy
    if isinstance(target, End):
        kind = target.server.kind
        schema = "'public'" if kind == "postgresql" else "database()"
        tables = f"SELECT table_name FROM information_schema.tables WHERE table_schema = {schema}"
        for (table,) in target.rows(tables):
            assert target.rows(f"SELECT * FROM {table}") == []


def works(source: End, target: End, **options: Any) -> None:
    """What the log does not carry is done by the target."""
    with cdc(source, target, **options) as stream:
        stream.start()
        caught_up(stream)
        for statement in WORK:
            source.run(statement)
        caught_up(stream)
        for table in ("grp", "usr", "opt"):
            query = f"SELECT * FROM {table} ORDER BY id"
            assert target.rows(query) == source.rows(query)
        assert stream.stats().changes.unmet == 0


def test_three_levels_are_done_by_the_target(source: End, target: End) -> None:
    works(source, target)


@pytest.mark.parametrize(
    ("tables", "key"), [(["usr"], "usr.of_grp"), (["grp", "opt"], "opt.of_usr")]
)
def test_a_parent_that_is_not_followed(
    source: End, target: End, tables: list[str], key: str
) -> None:
    refused(source, target, key, "not in the stream", tables=tables)


def test_a_parent_alone_is_no_matter(source: End, target: End) -> None:
    with cdc(source, target, tables=["grp"]) as stream:
        stream.start()
        caught_up(stream)


def test_foreign_keys_that_are_not_to_be_made(source: End, target: End) -> None:
    refused(source, target, "opt.of_", structure_options=WITHOUT_KEYS)


def test_files_have_no_foreign_keys(source: End, tmp_path: Path) -> None:
    refused(source, tmp_path, "opt.of_", "no foreign keys")


def test_it_can_be_accepted(source: End, tmp_path: Path) -> None:
    with cdc(source, tmp_path, tables=["usr"], allow_lossy=True) as stream:
        stream.start()
        caught_up(stream)
        [finding] = [f for f in stream.stats().findings if f.code == "cascade-not-repeated"]
        assert finding.severity == "warning" and "of_grp" in finding.object


def test_foreign_keys_that_do_nothing_are_no_matter(
    mariadb: Server, database: Any, target: End
) -> None:
    source = End(mariadb, database(mariadb))
    source.run(TABLES[0], "CREATE TABLE c (id INT PRIMARY KEY, g INT REFERENCES grp (id))")
    with cdc(source, target, tables=["c"]) as stream:
        stream.start()
        caught_up(stream)


def made_before(target: End, *changes: str) -> None:
    """The tables as somebody made them on the target."""
    kept = [ddl.replace("code INT UNIQUE", "code INT, UNIQUE (code)") for ddl in TABLES]
    target.run(*kept, *changes)


def dropped(target: End, table: str, key: str) -> str:
    word = "CONSTRAINT" if target.server.kind == "postgresql" else "FOREIGN KEY"
    return f"ALTER TABLE {table} DROP {word} {key}"


def test_tables_that_are_there_with_their_foreign_keys(source: End, target: End) -> None:
    made_before(target)
    works(source, target, structure_options=WITHOUT_KEYS)


@pytest.mark.parametrize("other", [None, "ON DELETE SET NULL ON UPDATE CASCADE"])
def test_tables_that_are_there_and_do_something_else(
    source: End, target: End, other: str | None
) -> None:
    made_before(target, dropped(target, "usr", "of_grp"))
    if other:
        target.run(
            "ALTER TABLE usr ADD CONSTRAINT of_grp FOREIGN KEY (grp_id) REFERENCES grp (id) "
            + other
        )
    stream = cdc(source, target, structure_options=WITHOUT_KEYS)
    stream.start()
    error = failure(stream)
    assert error.code == "INVALID_CONFIG" and "usr.of_grp" in error.message
    assert "ADD CONSTRAINT" in str(error.remedy)


def test_a_foreign_key_that_went_while_the_stream_stood(source: End, target: End) -> None:
    with cdc(source, target) as stream:
        stream.start()
        caught_up(stream)
    target.run(dropped(target, "opt", "of_code"))
    source.run(*WORK)
    stream = cdc(source, target)
    stream.start()
    error = failure(stream)
    assert error.code == "INVALID_CONFIG" and "opt.of_code" in error.message
    remedy = str(error.remedy).split("target: ")[1].split("; or accept")[0]
    target.run(*remedy.split("; "))
    with cdc(source, target) as stream:
        stream.start()
        caught_up(stream)
        for table in ("grp", "usr", "opt"):
            query = f"SELECT * FROM {table} ORDER BY id"
            assert target.rows(query) == source.rows(query)


def test_a_parent_that_gets_another_name_in_the_log(source: End, target: End) -> None:
    """What refers to it follows it, on both sides."""
    with cdc(source, target) as stream:
        stream.start()
        caught_up(stream)
        source.run("RENAME TABLE grp TO team", "DELETE FROM team WHERE id = 1")
        caught_up(stream)
        assert equal(source, target, "team", "usr", "opt")


def equal(source: End, target: End, *tables: str) -> bool:
    queries = [f"SELECT * FROM {table} ORDER BY id" for table in tables]
    return [target.rows(query) for query in queries] == [source.rows(query) for query in queries]


ADDED = (
    "ALTER TABLE c ADD CONSTRAINT k FOREIGN KEY (p) REFERENCES p (id) ON DELETE CASCADE",
    "ALTER TABLE c ADD FOREIGN KEY (p) REFERENCES p (id) ON DELETE SET NULL ON UPDATE CASCADE",
    "ALTER TABLE c ADD COLUMN w INT REFERENCES p (id) ON DELETE CASCADE, ADD KEY (w)",
)


@pytest.mark.parametrize("added", ADDED)
@pytest.mark.parametrize("backlog", [False, True], ids=["live", "backlog"])
def test_a_foreign_key_that_is_added_in_the_log(
    mariadb: Server, database: Any, target: End, added: str, backlog: bool
) -> None:
    source = End(mariadb, database(mariadb))
    source.run("CREATE TABLE p (id INT PRIMARY KEY)", "CREATE TABLE c (id INT PRIMARY KEY, p INT)")
    source.run("INSERT INTO p VALUES (1), (2), (3)", "INSERT INTO c VALUES (1, 1), (2, 2), (3, 3)")
    with cdc(source, target) as stream:
        stream.start()
        caught_up(stream)
        if backlog:
            stream.pause()
            stream.wait(State.PAUSED, timeout=SECONDS)
        source.run(added)
        if "w INT" in added:
            source.run("UPDATE c SET w = p")
        source.run("DELETE FROM p WHERE id = 1", "UPDATE c SET p = 3 WHERE id = 2")
        if "UPDATE CASCADE" in added:
            source.run("UPDATE p SET id = 30 WHERE id = 3")
        if backlog:
            stream.resume()
        caught_up(stream)
        assert equal(source, target, "p", "c")


def test_a_child_that_is_made_in_the_log(mariadb: Server, database: Any, target: End) -> None:
    source = End(mariadb, database(mariadb))
    source.run("CREATE TABLE p (id INT PRIMARY KEY)", "INSERT INTO p VALUES (1), (2), (3), (4)")
    with cdc(source, target) as stream:
        stream.start()
        caught_up(stream)
        source.run(
            "CREATE TABLE c (id INT PRIMARY KEY, p INT, INDEX (p), FOREIGN KEY (p)"
            " REFERENCES p (id) ON DELETE CASCADE)",
            "INSERT INTO c VALUES (1, 1), (2, 2), (3, 3), (4, 4)",
            "DELETE FROM p WHERE id = 1",
        )
        caught_up(stream)
        assert equal(source, target, "p", "c")
        source.run("ALTER TABLE c DROP FOREIGN KEY c_ibfk_1", "DELETE FROM p WHERE id = 2")
        caught_up(stream)
        assert equal(source, target, "p", "c")
        assert (2, 2) in target.rows("SELECT * FROM c")


def test_changes_with_foreign_keys_switched_off(source: End, target: End) -> None:
    """What they did not do on the source is not done on the target."""
    with cdc(source, target) as stream:
        stream.start()
        caught_up(stream)
        source.run(
            "SET foreign_key_checks = 0",
            "DELETE FROM grp WHERE id = 1",
            "UPDATE grp SET id = 20 WHERE id = 2",
            "SET foreign_key_checks = 1",
            "DELETE FROM grp WHERE id = 3",
        )
        caught_up(stream)
        assert equal(source, target, "grp", "usr", "opt")
        assert (10, 1) in target.rows("SELECT id, grp_id FROM usr")
