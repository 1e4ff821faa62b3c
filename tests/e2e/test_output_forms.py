"""What a server prints is the value: XML with a declaration; numbers and times in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from streams_engine.testing.servers import Server
from tests.support.cdc import caught_up, following, prepared
from tests.support.databases import End, move

XML = [
    "CREATE TABLE x (id int PRIMARY KEY, v xml, d doc, a xml[])",
    """INSERT INTO x VALUES
    (1, '<?xml version="1.0" encoding="utf-8"?><a>é</a>', '<?xml version="1.1"?><b/>',
     ARRAY['<?xml version="1.0" encoding="UTF-8"?><q/>'::xml]),
    (2, '<?xml version="1.1" encoding="UTF-8" standalone="yes"?><a/>', NULL, '{}'),
    (3, '<?xml version="1.0" standalone="no"?><a/>', ' <c/> ', NULL), (4, NULL, NULL, NULL)""",
]


@pytest.mark.parametrize("kind", ["pg15", "mysql9", "mariadb"])
def test_xml_is_what_the_server_prints_by_load_and_by_log(
    request: pytest.FixtureRequest, pg15: Server, database: Any, kind: str
) -> None:
    """A cast to text shows an encoding that the output function leaves out."""
    server = request.getfixturevalue(kind)
    target = End(server, database(server))
    with prepared(pg15, database) as source:
        source.run("CREATE DOMAIN doc AS xml", *XML)
        with following(source, target, tables=["x"]) as stream:
            source.run("INSERT INTO x SELECT id + 10, v, d, a FROM x")
            caught_up(stream)
            assert stream.verify().ok
        query = "SELECT v, d, a FROM x WHERE id {} 10 ORDER BY id"
        assert target.rows(query.format(">")) == target.rows(query.format("<"))
        if kind == "pg15":
            assert target.rows(query.format("<")) == source.rows(query.format("<"))
        else:
            printed = source.rows(query.format("<"))
            assert [r[:2] for r in target.rows(query.format("<"))] == [r[:2] for r in printed]


@pytest.mark.parametrize("file_format", ["csv", "jsonl", "parquet"])
def test_numbers_and_times_keep_their_types_in_every_format(
    tmp_path: Path, pg15: Server, mysql9: Server, database: Any, file_format: str
) -> None:
    """As docs/types.md says: MySQL has decimal and time again, and no longtext."""
    source, back = End(pg15, database(pg15)), End(pg15, database(pg15))
    source.run(
        "CREATE TABLE n"
        " (id int PRIMARY KEY, d numeric(12, 3), w numeric(50, 10), t time, u numeric)",
        "INSERT INTO n VALUES"
        " (1, 1234.5, 12345678901234567890.0123456789, '23:59:59.999999', 1e40),"
        " (2, -0.001, 0, '00:00', 0.5), (3, NULL, NULL, NULL, NULL)",
    )
    folder = f"file://{tmp_path}?format={file_format}"
    move(source, folder)
    move(str(tmp_path), back)
    query = "SELECT * FROM n ORDER BY id"
    assert back.rows(query) == source.rows(query)
    mysql = End(mysql9, database(mysql9))
    move(str(tmp_path), mysql)
    types = (
        "SELECT column_name, column_type FROM information_schema.columns"
        " WHERE table_schema = DATABASE() AND table_name = 'n' ORDER BY ordinal_position"
    )
    assert [r[1] for r in mysql.rows(types)] == [
        "int", "decimal(12,3)", "decimal(50,10)", "time(6)", "longtext",
    ]  # fmt: skip
    assert mysql.rows("SELECT d, w FROM n ORDER BY id") == source.rows(
        "SELECT d, w FROM n ORDER BY id"
    )
    assert mysql.rows("SELECT CAST(t AS CHAR) FROM n ORDER BY id")[0] == ("23:59:59.999999",)
