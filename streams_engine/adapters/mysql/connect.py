"""Connections to MySQL and MariaDB with a pinned session, and their errors as ours.

The server's messages can carry row values (``Duplicate entry '5' for key``) and are never
passed on where they might: a sentence is chosen by error number.
"""

from __future__ import annotations

import contextlib
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pymysql
from pymysql.constants import CLIENT

from streams_engine.bounds import RAW, well_formed
from streams_engine.errors import (
    AuthenticationFailed,
    ConnectionFailed,
    LockTimeout,
    NotFound,
    PermissionDenied,
    ServerError,
    StreamsError,
    TargetConflict,
)

__all__ = ["DRIVER_RAW", "GuardedConnection", "MysqlConnect", "translate", "translating"]

DAY = 86_400
LOCK_SECONDS = 10
LOOPBACK = {"localhost", "127.0.0.1", "::1"}

SESSION: Mapping[str, str] = {
    "time_zone": "'+00:00'",
    # Strict, and without modes that change how texts and numbers are read or written.
    "sql_mode": "'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION'",
    "wait_timeout": str(7 * DAY),
    "net_write_timeout": str(DAY),
    "net_read_timeout": str(DAY),
    "lock_wait_timeout": str(LOCK_SECONDS),
    "innodb_lock_wait_timeout": str(LOCK_SECONDS),
    "group_concat_max_len": "4294967295",
    # A limit that an administrator set for interactive use would cut a table short.
    "sql_select_limit": "18446744073709551615",
    "sql_big_selects": "1",
}
"""What a session never inherits. A reader under back-pressure would be cut off by
net_write_timeout's 60 seconds."""

BY_FLAVOUR: Mapping[bool, Mapping[str, str]] = {
    True: {"max_statement_time": "0", "system_versioning_asof": "DEFAULT"},
    False: {"max_execution_time": "0", "information_schema_stats_expiry": "0"},
}
"""By ``is MariaDB``."""


DRIVER_RAW = (*RAW, AssertionError, AttributeError, TypeError)
"""What PyMySQL raises over packets that are not what it expects: it asserts, and takes one kind
of packet for another."""


class GuardedConnection(pymysql.connections.Connection):
    """A connection of PyMySQL's whose raw errors over a server's bytes are `ProtocolViolation`."""

    def connect(self, sock: Any = None) -> None:
        """Connect and log in."""
        with well_formed("logging in to MySQL", DRIVER_RAW):
            super().connect(sock)

    def _read_packet(self, *arguments: Any, **options: Any) -> Any:
        with well_formed("a packet of MySQL", DRIVER_RAW):
            return super()._read_packet(*arguments, **options)

    def _read_query_result(self, *arguments: Any, **options: Any) -> Any:
        with well_formed("a result of MySQL", DRIVER_RAW):
            return super()._read_query_result(*arguments, **options)


@dataclass(frozen=True, slots=True)
class MysqlConnect:
    """How to reach a MySQL or MariaDB server; frozen and picklable. PEM texts or paths for TLS."""

    kind: str
    host: str
    port: int
    user: str
    password: str | None = field(repr=False)
    database: str | None = None
    ssl_mode: str = "prefer"
    ssl_ca: str | None = None
    ssl_cert: str | None = None
    ssl_key: str | None = field(default=None, repr=False)
    unix_socket: str | None = None

    def open(
        self,
        *,
        database: str | None = None,
        local_infile: bool = False,
        found_rows: bool = False,
    ) -> Any:
        """A connection in autocommit mode with every setting pinned.

        To ``database`` if given, to none if that is empty. ``local_infile``: the server may
        be sent LOAD DATA LOCAL. ``found_rows``: an UPDATE counts the rows that it finds, not
        those that it changes. Raises `ConnectionFailed` and its kin.
        """
        database = self.database if database is None else database or None
        with translating(f"{self.host}:{self.port}/{database or ''}".rstrip("/")):
            connection = GuardedConnection(
                host=self.host,
                port=self.port,
                unix_socket=self.unix_socket,
                user=self.user,
                password=self.password or "",
                database=database,
                charset="utf8mb4",
                connect_timeout=15,
                autocommit=True,
                local_infile=local_infile,
                client_flag=CLIENT.FOUND_ROWS if found_rows else 0,
                program_name="streams_engine",
                **self._tls(),
            )
            try:
                settings = {**SESSION, **BY_FLAVOUR[is_mariadb(connection)]}
                with connection.cursor() as cursor:
                    cursor.execute("SET NAMES utf8mb4")
                    cursor.execute(
                        "SET SESSION "
                        + ", ".join(f"{key} = {value}" for key, value in settings.items())
                    )
            except BaseException:
                connection.close()
                raise
            return connection

    def _tls(self) -> dict[str, Any]:
        """PyMySQL's arguments for the TLS mode.

        With ``prefer`` it is used where the server offers it and is another machine: on
        loopback there is nobody to hide from. RSA protects the password on a plain socket.
        """
        local = self.unix_socket is not None or self.host in LOOPBACK
        if self.ssl_mode == "disabled" or (self.ssl_mode == "prefer" and local):
            return {"ssl_disabled": True}
        if self.ssl_mode == "prefer" and not self.ssl_ca:
            return {}
        context = ssl.create_default_context()
        # The certificates that servers make for themselves lack extensions that it demands.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.check_hostname = self.ssl_mode == "verify-full"
        verifying = self.ssl_mode in ("verify-ca", "verify-full")
        context.verify_mode = ssl.CERT_REQUIRED if verifying else ssl.CERT_NONE
        with contextlib.ExitStack() as stack:
            if self.ssl_ca:
                context.load_verify_locations(cafile=stack.enter_context(as_file(self.ssl_ca)))
            if self.ssl_cert:
                certificate = stack.enter_context(as_file(self.ssl_cert))
                key = stack.enter_context(as_file(self.ssl_key)) if self.ssl_key else None
                context.load_cert_chain(certificate, key)
        return {"ssl": context}


@contextlib.contextmanager
def as_file(pem: str) -> Iterator[str]:
    """The path of a certificate that is given as a PEM text or as a path."""
    if "-----BEGIN" not in pem:
        yield pem
        return
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as handle:
        handle.write(pem)
        handle.flush()
        yield handle.name


def is_mariadb(connection: Any) -> bool:
    """The real flavour, whatever the connection document calls it."""
    return "mariadb" in str(connection.get_server_info()).lower()


# Errors

Rule = tuple[type[StreamsError], str, str | None]

BY_NUMBER: Mapping[int, Rule] = {
    1044: (PermissionDenied, "the account may not use the database", "GRANT SELECT on it."),
    1045: (AuthenticationFailed, "user name or password is wrong", "Check both."),
    1698: (
        AuthenticationFailed,
        "the account cannot log in with a password",
        "Use an account that has one.",
    ),
    1049: (NotFound, "the database does not exist", "Create it, or name another one."),
    1146: (NotFound, "a table does not exist", None),
    1142: (PermissionDenied, "the account lacks a right on a table", "GRANT SELECT on it."),
    1143: (PermissionDenied, "the account lacks a right on a column", "GRANT SELECT on it."),
    1227: (PermissionDenied, "the account lacks a global right", "Grant it."),
    1205: (LockTimeout, f"a lock was not had within {LOCK_SECONDS} seconds", None),
    1213: (ServerError, "a deadlock with another session", None),
    1007: (TargetConflict, "a database of that name is there already", None),
    1050: (TargetConflict, "a table of that name is there already", "Drop or rename it."),
    1118: (
        TargetConflict,
        "a row would be larger than the server allows",
        "Choose longtext for some VARCHAR columns with typeOverrides.",
    ),
    1071: (
        TargetConflict,
        "a key would be longer than the server allows",
        "Choose shorter types for its columns with typeOverrides.",
    ),
    1062: (TargetConflict, "two rows have the same key there", None),
    1114: (ServerError, "the table or the disk is full", None),
    1273: (ServerError, "the server does not know a collation", None),
    1452: (TargetConflict, "a row refers to one that is not there", None),
    1822: (TargetConflict, "the referenced columns have no index", None),
    3750: (
        TargetConflict,
        "the server demands a primary key (sql_require_primary_key)",
        "Add one on the source, or turn the setting off.",
    ),
    3780: (TargetConflict, "a foreign key's columns have other types than those referenced", None),
    3819: (TargetConflict, "a row violates it", None),
    4025: (TargetConflict, "a row violates it", None),
    1040: (ConnectionFailed, "the server has no connection left", "Lower parallelism."),
    1053: (ConnectionFailed, "the server is shutting down", None),
    1077: (ConnectionFailed, "the server is shutting down", None),
    1317: (ServerError, "the query was interrupted", None),
    1927: (ConnectionFailed, "the connection was killed", None),
    1412: (
        ServerError,
        "the table's definition changed under the snapshot",
        "Run again while no DDL runs.",
    ),
    1064: (ServerError, "the server did not accept the statement's syntax", None),
    2003: (
        ConnectionFailed,
        "nothing listens there, or the host is unknown",
        "Check host and port, and that the server runs.",
    ),
    2006: (ConnectionFailed, "the server has gone away", None),
    2013: (ConnectionFailed, "the connection broke", None),
    2026: (ConnectionFailed, "the TLS handshake failed", "Check ssl.mode and certificates."),
}
RETRYABLE = {1205, 1213}


def translate(error: BaseException, what: str) -> StreamsError:
    """One of our errors for a driver's, about ``what``; no message that can carry a value."""
    number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    if isinstance(error, OSError) or (number in (0,) and isinstance(error, pymysql.InterfaceError)):
        return ConnectionFailed(
            f"{what}: the connection broke.", remedy="Check that the server runs."
        )
    cls, sentence, remedy = BY_NUMBER.get(
        number, (ServerError, f"the server reported error {number}", None)
    )
    return cls(
        f"{what}: {sentence}.",
        remedy=remedy,
        retryable=True if number in RETRYABLE else None,
        errno=number,
    )


@contextlib.contextmanager
def translating(what: str) -> Iterator[None]:
    """Turn the driver's errors inside the block into ours, about ``what``."""
    try:
        yield
    except (pymysql.MySQLError, OSError) as error:
        raise translate(error, what) from None
