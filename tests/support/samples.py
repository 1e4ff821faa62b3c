"""Loads the third-party sample databases into a private server, with plain drivers."""

from __future__ import annotations

import functools
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import psycopg
import pymysql
from psycopg import sql


class Server(Protocol):
    """What is used of a private server of `streams_engine.testing.servers`."""

    @property
    def kind(self) -> str: ...
    @property
    def flavour_name(self) -> str: ...
    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def user(self) -> str: ...
    @property
    def password(self) -> str: ...
    def url(self, database: str) -> str: ...


FILES = {
    ("sakila", "mysql"): ("sakila-schema.sql", "sakila-data.sql"),
    ("sakila", "postgresql"): (
        "postgres-sakila-schema.sql",
        "postgres-sakila-insert-data-using-copy.sql",
    ),
    ("chinook", "mysql"): ("Chinook_MySql.sql",),
    ("chinook", "postgresql"): ("Chinook_PostgreSql.sql",),
    ("northwind", "mysql"): ("northwind.sql", "northwind-data.sql"),
    ("northwind", "postgresql"): ("northwind.sql",),
    ("employees_small", "mysql"): ("employee.sql", "object.sql"),
}

_CHINOOK = {"track": 3503, "playlist_track": 8715, "invoice_line": 2240, "invoice": 412}
_SAKILA = {
    "actor": 200, "address": 603, "category": 16, "city": 600, "country": 109, "customer": 599,
    "film": 1000, "film_actor": 5462, "film_category": 1000, "inventory": 4581, "language": 6,
    "payment": 16049, "rental": 16044, "staff": 2, "store": 2,
}  # fmt: skip

ROWS: dict[tuple[str, str], dict[str, int]] = {
    ("sakila", "mysql"): _SAKILA | {"film_text": 1000},
    ("sakila", "postgresql"): _SAKILA,
    ("chinook", "mysql"): {
        "".join(word.title() for word in name.split("_")): rows for name, rows in _CHINOOK.items()
    },
    ("chinook", "postgresql"): _CHINOOK,
    ("northwind", "mysql"): {},
    ("northwind", "postgresql"): {"orders": 830, "order_details": 2155, "customers": 91},
    ("employees_small", "mysql"): {"salary": 9488},
}
"""The row counts that the data folder's README states."""


def dialect(server: Server) -> str:
    """``mysql`` (MariaDB too) or ``postgresql``."""
    return "postgresql" if server.kind.lower().startswith(("p", "embedded")) else "mysql"


def mysql_connection(server: Server, database: str | None = None) -> Any:
    """A pymysql connection with the session pinned: UTC, utf8mb4, no statistics cache."""
    connection = pymysql.connect(
        host=server.host,
        port=server.port,
        user=server.user,
        password=server.password or "",
        database=database,
        charset="utf8mb4",
        ssl_disabled=True,  # a context of trusted authorities costs 30 ms a connection
        autocommit=True,
    )
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION time_zone = '+00:00', SESSION group_concat_max_len = 1000000")
        if "MariaDB" not in connection.get_server_info():
            cursor.execute("SET SESSION information_schema_stats_expiry = 0")
    return connection


def pg_connection(server: Server, database: str) -> psycopg.Connection[tuple[Any, ...]]:
    """A psycopg connection with every setting that changes a text rendering pinned."""
    connection = psycopg.connect(
        host=server.host,
        port=server.port,
        user=server.user,
        password=server.password or None,
        dbname=database,
        autocommit=True,
    )
    connection.execute(PINNED)
    return connection


PINNED = b"""
SET client_encoding = 'UTF8';
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET intervalstyle = 'postgres';
SET extra_float_digits = 1;
SET bytea_output = 'hex';
SET search_path = ''
"""


def create(server: Server, prefix: str) -> str:
    """A fresh, empty database; its name."""
    name = f"{prefix}_{secrets.token_hex(4)}"
    if dialect(server) == "mysql":
        with mysql_connection(server) as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
    else:
        with pg_connection(server, "postgres") as pg:
            pg.execute(
                sql.SQL(
                    "CREATE DATABASE {} TEMPLATE template0 STRATEGY file_copy ENCODING 'UTF8'"
                ).format(sql.Identifier(name))
            )
    return name


def drop(server: Server, name: str) -> None:
    """Drops a database that `create` made, with whoever is still connected."""
    if dialect(server) == "mysql":
        with mysql_connection(server) as connection, connection.cursor() as cursor:
            cursor.execute("DROP DATABASE IF EXISTS `" + name.replace("`", "``") + "`")
    else:
        with pg_connection(server, "postgres") as pg:
            pg.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            )


def load(server: Server, sample: str, data: Path) -> str:
    """Loads a sample into a fresh database and returns that database's name."""
    kind = dialect(server)
    name = create(server, sample)
    try:
        for file in FILES[sample, kind]:
            path = data / sample / kind / file
            if kind == "mysql":
                run_mysql(server, name, path)
            else:
                run_postgres(server, name, path.read_text("utf-8"))
    except BaseException:
        drop(server, name)
        raise
    return name


_TOKEN = re.compile(
    r"""'(?:[^'\\]|\\.|'')*' | "(?:[^"\\]|\\.|"")*" | `(?:[^`]|``)*`
      | \#[^\n]* | --(?=\s|$)[^\n]* | /\*.*?\*/""",
    re.VERBOSE | re.DOTALL,
)
_PLAIN = re.compile(r"\s+|\w+|[(),=.]+")
_COMMAND = re.compile(r"(delimiter|source)[ \t]+([^\s;]+|;\S*)[^\n]*", re.IGNORECASE)


def split_mysql(script: str) -> Iterator[str]:
    """The statements of a script as the mysql client sees them.

    Comments go (those that carry code, ``/*!``, stay), DELIMITER is obeyed, and
    ``source FILE`` comes out as a statement of its own.
    """
    delimiter, at = ";", 0
    parts: list[str] = []
    while at < len(script):
        if not parts and (command := _COMMAND.match(script, at)):
            at = command.end()
            if command[1].lower() == "delimiter":
                delimiter = command[2]
            else:
                yield f"source {command[2]}"
        elif script.startswith(delimiter, at):
            if parts:
                yield "".join(parts).strip()
            parts, at = [], at + len(delimiter)
        elif token := _TOKEN.match(script, at):
            text = token[0]
            at = token.end()
            if text[0] not in "#-" and (not text.startswith("/*") or text.startswith("/*!")):
                parts.append(_literal(text) if text[0] == "'" else text)
            elif parts:
                parts.append(" ")
        else:
            plain = _PLAIN.match(script, at)
            text = plain[0] if plain else script[at]
            at += len(text)
            if parts or not text.isspace():
                parts.append(text)
    if parts:
        yield "".join(parts).strip()


@functools.cache
def _statements(path: Path) -> tuple[str, ...]:
    """The statements of a file; a run loads the same few again and again."""
    return tuple(split_mysql(path.read_text("utf-8", "surrogateescape")))


def _literal(text: str) -> str:
    """A string that is no UTF-8 (a picture) as a hexadecimal literal; any other as it is."""
    data = text.encode("utf-8", "surrogateescape")
    if text == data.decode("utf-8", "replace"):
        return text
    escaped = {b"0": b"\0", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"Z": b"\x1a"}
    plain = re.sub(
        rb"\\(.)|''", lambda m: escaped.get(m[1], m[1]) if m[1] else b"'", data[1:-1], flags=re.S
    )
    return f"X'{plain.hex()}'"


_DATABASE = re.compile(r"(DROP|CREATE)\s+(?:DATABASE|SCHEMA)\b|(USE)\s+|(FLUSH)\b", re.IGNORECASE)


def run_mysql(server: Server, database: str, path: Path) -> None:
    """Runs a script, its own database replaced by ``database``.

    CREATE DATABASE becomes ALTER DATABASE where it says a character set; USE, DROP
    DATABASE, FLUSH (it would rotate the binlog of a shared server) and the timing
    report ``show_elapsed.sql`` are left out, as is a qualification by the old name. MyISAM
    becomes InnoDB: with GTIDs a trigger may not write both kinds.
    """
    own = path.parent.parent.name.removesuffix("_small")
    with mysql_connection(server, database) as connection, connection.cursor() as cursor:
        cursor.execute("SET SESSION foreign_key_checks = 0, SESSION unique_checks = 0")
        for statement in _statements(path):
            if statement.startswith("source "):
                if "show_elapsed" not in statement:
                    run_mysql(server, database, path.parent / statement.split()[1])
                continue
            if _DATABASE.match(statement):
                charset = re.search(r"CHARACTER SET (\w+)", statement)
                if charset:
                    cursor.execute(f"ALTER DATABASE `{database}` CHARACTER SET {charset[1]}")
                continue
            if not statement.upper().startswith("INSERT"):
                statement = statement.replace("ENGINE=MyISAM", "ENGINE=InnoDB")
                statement = re.sub(rf"(`{own}`|\b{own})\.", "", statement)
            cursor.execute(statement)
            while cursor.nextset():
                pass


_PG_LEFT_OUT = re.compile(
    r"^(\\c\b.*|(?:DROP|CREATE)\s+DATABASE\b.*;|ALTER .* OWNER TO .*;|(?:GRANT|REVOKE) .*;)[ \t]*$",
    re.MULTILINE,
)
_PG_COPY = re.compile(r"^(COPY [^\n]*FROM stdin);\n(.*?)^\\\.$", re.MULTILINE | re.DOTALL | re.I)


def run_postgres(server: Server, database: str, script: str) -> None:
    """Runs a script of psql: COPY FROM stdin blocks are fed, ``\\c``, owners and grants left out.

    Between COPY blocks the text goes to the server whole, so nothing is split by hand.
    """
    with pg_connection(server, database) as connection:
        connection.execute("SET search_path = public")
        at = 0
        for block in _PG_COPY.finditer(script):
            _execute(connection, script[at : block.start()])
            with connection.cursor().copy(block[1].encode()) as copy:
                copy.write(block[2].encode())
            at = block.end()
        _execute(connection, script[at:])
        connection.execute("ANALYZE")


def _execute(connection: psycopg.Connection[tuple[Any, ...]], text: str) -> None:
    connection.execute(_PG_LEFT_OUT.sub("", text).encode())
