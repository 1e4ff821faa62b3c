"""Small helpers of the tests that move a few tables of their own making."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import pytest

from streams_engine import Stream
from streams_engine.errors import StreamsError
from streams_engine.stats import Stats
from streams_engine.testing.servers import Server

__all__ = ["SECRET_ROW", "End", "account", "leftovers", "move", "refused", "rows", "run"]

SECRET_ROW = "s3cret-row-value"
"""Put this into rows that are refused: `refused` looks for it wherever it must not be."""

LEFTOVERS = """
SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'c', 'f') AND {own}
UNION ALL SELECT 'type ' || n.nspname || '.' || t.typname FROM pg_type t
JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.typtype IN ('e', 'd') AND {own}
UNION ALL SELECT 'schema ' || n.nspname FROM pg_namespace n WHERE n.nspname <> 'public' AND {own}
ORDER BY 1
""".replace("{own}", r"n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'")


class End:
    """A database of a private server."""

    def __init__(self, server: Server, database: str, url: str | None = None) -> None:
        self.server = server
        self.database = database
        self.url = url or server.url(database)

    def run(self, *statements: str) -> None:
        """Run statements with the administrator's rights."""
        run(self.server, self.database, *statements)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What a query gives."""
        return rows(self.server, self.database, query)


def run(server: Server, database: str | None, *statements: str) -> None:
    """Run statements on a connection of their own."""
    with closing(server.connect(database)) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def rows(server: Server, database: str | None, query: str) -> list[tuple[Any, ...]]:
    """What a query gives."""
    with closing(server.connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        return [tuple(row) for row in cursor.fetchall()]


def leftovers(end: End) -> list[str]:
    """Every table, sequence, view, type and schema of a PostgreSQL database that is not its own."""
    return [row[0] for row in end.rows(LEFTOVERS)]


def move(source: End | str, target: End | str, **options: Any) -> Stats:
    """One convert from beginning to end."""
    urls = [end if isinstance(end, str) else end.url for end in (source, target)]
    return Stream(*urls, **options).run()


def refused(
    caplog: pytest.LogCaptureFixture,
    source: End | str,
    target: End | str,
    code: str,
    *names: str,
    secrets: Sequence[str] = (),
    **options: Any,
) -> StreamsError:
    """The error of a convert that must fail with ``code``, naming ``names`` and telling no secret.

    A password of either URL, the marked row value and ``secrets`` may be in no text at all.
    """
    urls = [end if isinstance(end, str) else end.url for end in (source, target)]
    with caplog.at_level(logging.DEBUG), pytest.raises(StreamsError) as caught:
        Stream(*urls, **options).run()
    error = caught.value
    told = f"{error} {error!r} {error.to_dict()} {caplog.text}"
    passwords = [url.split("://")[1].split("@")[0].partition(":")[2] for url in urls if "@" in url]
    for secret in (*secrets, *passwords, SECRET_ROW):
        assert not secret or secret not in told
    assert error.code == code, error
    assert error.to_dict()["code"] == code
    for name in names:
        assert name in str(error), (name, str(error))
    assert error.remedy, error
    return error


@contextmanager
def account(server: Server, name: str, password: str, *grants: str) -> Iterator[str]:
    """A login with these rights alone, dropped afterwards."""
    mysql = server.kind != "postgresql"
    who = f"'{name}'@'%'" if mysql else name
    made = f"IDENTIFIED BY '{password}'" if mysql else f"LOGIN PASSWORD '{password}'"
    run(server, None, f"CREATE {'USER' if mysql else 'ROLE'} {who} {made}")
    try:
        run(server, None, *(grant.replace("{who}", who) for grant in grants))
        yield f"{server.kind}://{name}:{password}@{server.host}:{server.port}/"
    finally:
        run(server, None, f"DROP {'USER' if mysql else 'ROLE'} {who}")
