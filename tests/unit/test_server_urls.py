"""URLs of servers as SQLAlchemy writes them, as text and as its objects."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import URL
from sqlalchemy.ext.asyncio import create_async_engine

from streams_engine.config import DatabaseConnection, parse_connection
from streams_engine.config.secret import Secret
from streams_engine.config.server_urls import DRIVERS, REFUSED
from streams_engine.errors import ConfigError


def parsed(given: Any) -> DatabaseConnection:
    connection = parse_connection(given)
    assert isinstance(connection, DatabaseConnection)
    return connection


@pytest.mark.parametrize("kind", DRIVERS)
def test_every_driver_of_a_dialect_is_that_dialect(kind: str) -> None:
    plain = parsed(f"{kind}://u:p%40ss@h:77/shop")
    assert plain.password == Secret("p@ss")
    for driver in DRIVERS[kind]:
        assert parsed(f"{kind}+{driver}://u:p%40ss@h:77/shop") == plain
        assert parsed(f"{kind.upper()}+{driver}://u:p%40ss@h:77/shop") == plain
        assert parsed(URL.create(f"{kind}+{driver}", "u", "p@ss", "h", 77, "shop")) == plain


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("mysql+nosuch://u:secret@h/d", "unknown driver 'nosuch' in mysql\\+nosuch"),
        ("mysql+psycopg://u:secret@h/d", "unknown driver 'psycopg'"),
        ("postgresql+pyodbc://u:secret@h/d", "unknown driver 'pyodbc'"),
        ("mariadb+://u:secret@h/d", "unknown driver ''"),
    ],
)
def test_an_unknown_driver_is_refused(url: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        parse_connection(url)
    assert "secret" not in str(caught.value) and "Of SQLAlchemy's are known" in str(caught.value)


def test_another_database_of_sqlalchemy_is_refused() -> None:
    for url in (URL.create("sqlite", database="x.db"), sqlalchemy.create_engine("sqlite://")):
        with pytest.raises(ConfigError, match="'sqlite' is no server that is served here"):
            parse_connection(url)


def test_an_engine_is_its_url() -> None:
    plain = parsed("postgresql://u:p@h/d")
    assert parsed(sqlalchemy.create_engine("postgresql+psycopg://u:p@h/d")) == plain
    assert parsed(sqlalchemy.make_url("postgresql+asyncpg://u:p@h/d")) == plain


def test_an_engine_for_asyncio_is_its_url() -> None:
    engine = create_async_engine("postgresql+psycopg://u:p@h/d")
    assert parsed(engine) == parsed("postgresql://u:p@h/d")


def test_a_password_of_an_object_is_no_reference() -> None:
    given = parsed(URL.create("mysql", "u", "env:HOME", "h"))
    assert given.password is not None and given.password.reveal() == "env:HOME"


def test_an_object_as_password_is_asked_each_time() -> None:
    class Token:
        count = 0

        def __str__(self) -> str:
            self.count += 1
            return f"token {self.count}"

    given = parsed(URL.create("mysql", "u", Token(), "h"))  # type: ignore[arg-type]
    assert given.password is not None and "token" not in repr(given)
    assert [given.password.reveal(), given.password.reveal()] == ["token 1", "token 2"]


def test_an_engine_that_names_no_server_is_refused() -> None:
    engine = sqlalchemy.create_engine("postgresql+psycopg://", creator=lambda: None)
    with pytest.raises(ConfigError, match="names no server") as caught:
        parse_connection(engine)
    assert "creator=" in str(caught.value.remedy)
    assert parsed(URL.create("postgresql", query={"host": "/tmp"})).unix_socket == "/tmp"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mysql+pymysql://h/d?charset=utf8mb4", {"mode": "prefer"}),
        ("mysql+pymysql://h/d?ssl_ca=ca", {"mode": "verify-full", "ca": "ca"}),
        ("mysql+pymysql://h/d?ssl_ca=ca&ssl_check_hostname=true", {"mode": "verify-full"}),
        ("mysql+pymysql://h/d?ssl_ca=ca&ssl_check_hostname=false", {"mode": "verify-ca"}),
        ("mysql+pymysql://h/d?ssl_cert=c&ssl_key=k", {"mode": "require", "client_key": "k"}),
        ("mysql+mysqldb://h/d?ssl_mode=VERIFY_IDENTITY&ssl_ca=ca", {"mode": "verify-full"}),
        ("mysql+mysqldb://h/d?ssl_mode=REQUIRED", {"mode": "require"}),
        ("mysql+mysqlconnector://h/d?ssl_disabled=True", {"mode": "disabled"}),
        ("mysql+mysqlconnector://h/d?ssl_disabled=False", {"mode": "prefer"}),
        ("postgresql+psycopg://h/d?sslmode=verify-full&sslrootcert=ca", {"ca": "ca"}),
        ("postgresql+asyncpg://h/d?ssl=require", {"mode": "require"}),
        ("postgresql+psycopg2://h/d?client_encoding=UTF8", {"mode": "prefer"}),
        ("mysql://h/d?sslca=ca", {"mode": "prefer", "ca": "ca"}),
    ],
)
def test_parameters_that_mean_something_are_carried(url: str, expected: dict[str, str]) -> None:
    for given in (url, sqlalchemy.make_url(url)):
        tls = parsed(given).ssl
        assert {key: getattr(tls, key) for key in expected} == expected


@pytest.mark.parametrize(
    ("query", "told"),
    [
        *((f"{name}=x", f"the URL parameter {name} is a driver's") for name in REFUSED),
        ("charset=latin1", "speaks utf8mb4 with its servers, not 'latin1'"),
        ("client_encoding=SQL_ASCII", "not 'SQL_ASCII'"),
        ("ssl_check_hostname=false", "has a meaning with ssl_ca"),
        ("ssl_ca=a&ssl_check_hostname=maybe", "ssl_check_hostname is true or false"),
        ("ssl_ca=a&ssl_mode=REQUIRED&ssl_check_hostname=1", "without a mode"),
        ("ssl_disabled=1&ssl_mode=REQUIRED", "ssl_disabled and REQUIRED contradict"),
        ("ssl_ca=a&sslca=b", "sslca and ssl_ca mean the same, and differ"),
        ("ssl_mode=perhaps", "unknown sslmode 'perhaps'"),
        ("nosuch=1", "unknown URL parameter nosuch"),
        ("schema=s", "mysql has databases, but no schemas"),
    ],
)
def test_other_parameters_are_refused_by_name(query: str, told: str) -> None:
    url = f"mysql+pymysql://u:secret@h/d?{query}"
    for given in (url, sqlalchemy.make_url(url)):
        with pytest.raises(ConfigError, match=told) as caught:
            parse_connection(given)
        assert "secret" not in str(caught.value)


def test_a_parameter_given_twice_is_refused() -> None:
    url = "postgresql+psycopg://h/d?host=a&host=b"
    for given in (url, sqlalchemy.make_url(url)):
        with pytest.raises(ConfigError, match="the URL parameter host is given twice"):
            parse_connection(given)
