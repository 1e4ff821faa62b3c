"""Characters that MySQL's own catalog cannot show never become a silent question mark."""

from __future__ import annotations

from typing import Any

from streams_engine import Stream
from streams_engine.testing.servers import Server


def test_emoji_labels_and_defaults(mysql_server: Server, pg18: Server, database: Any) -> None:
    name, target = database(mysql_server), database(pg18)
    with mysql_server.connect(name) as connection, connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE t (id INT PRIMARY KEY, mood ENUM('😀', 'ok') CHARACTER SET utf8mb4,"
            " word VARCHAR(9) CHARACTER SET utf8mb4 DEFAULT '🙈')"
        )
        cursor.execute("INSERT INTO t VALUES (1, '😀', '🙈🙉'), (2, 'ok', DEFAULT)")
    stream = Stream(mysql_server.url(name), pg18.url(target))
    stream.run()
    with pg18.connect(target) as connection:
        rows = connection.execute("SELECT mood::text, word FROM t ORDER BY id").fetchall()
        assert rows == [("😀", "🙈🙉"), ("ok", "🙈")]
        defaults = connection.execute(
            "SELECT column_default FROM information_schema.columns WHERE table_name = 't'"
        ).fetchall()
        assert defaults == [(None,)] * 3
    assert {"enum-as-text", "default"} <= {f.code for f in stream.stats().findings}
    assert stream.verify().ok
