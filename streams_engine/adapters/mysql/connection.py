"""Connections to MySQL and MariaDB with a pinned session, and translation of their errors.

The server's messages can contain row values (``Duplicate entry '5' for key``). Such a message is
never passed on: a sentence is chosen by error number.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import tempfile
import weakref
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pymysql
from pymysql.constants import CLIENT, CR

from streams_engine.adapters.mysql.guarded_connection import DRIVER_RAW, GuardedConnection
from streams_engine.adapters.sql.login import Password, password_now
from streams_engine.adapters.sql.server_message import Masked, server_text
from streams_engine.adapters.sql.watchdog import (
    LOGIN_SECONDS,
    UNANSWERED,
    Abort,
    NoAnswer,
    Watch,
    expiring,
)
from streams_engine.contracts import StatementListener
from streams_engine.errors import (
    AuthenticationFailed,
    ConfigError,
    ConnectionFailed,
    LockTimeout,
    NotFound,
    PermissionDenied,
    ServerError,
    StreamsError,
    TargetConflict,
)

__all__ = [
    "DRIVER_RAW",
    "GuardedConnection",
    "MysqlConnect",
    "shut_down",
    "translate",
    "translating",
]

DAY = 86_400
LOCK_SECONDS = 10
CLIENT_ERRORS = 2000
"""From here on an error is the driver's own, not one that a server sent."""
TLS_REQUIRED = frozenset({"require", "verify-ca", "verify-full"})
LOOPBACK = {"localhost", "127.0.0.1", "::1"}

SESSION: Mapping[str, str] = {
    "time_zone": "'+00:00'",
    # Strict, and without modes that change how texts and numbers are read or written.
    "sql_mode": "'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION'",
    "wait_timeout": str(7 * DAY),
    "net_write_timeout": str(DAY),
    "net_read_timeout": str(DAY),
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


@dataclass(frozen=True, slots=True)
class MysqlConnect:
    """Settings to connect to a MySQL or MariaDB server; frozen and picklable. PEM texts or paths
    for TLS."""

    kind: str
    host: str
    port: int
    user: str
    password: Password = field(repr=False, compare=False)
    database: str | None = None
    ssl_mode: str = "prefer"
    ssl_ca: str | None = None
    ssl_cert: str | None = None
    ssl_key: str | None = field(default=None, repr=False)
    unix_socket: str | None = None
    clear_text: bool = False
    """The password may be sent as it is without TLS."""
    heartbeat: float = 30.0
    """Seconds without a sign of life from the other machine after which it is taken for dead."""
    lock_seconds: float = LOCK_SECONDS
    """How long a statement waits for a lock that another session holds."""
    abort: Abort = field(default_factory=Abort, compare=False, repr=False)
    on_statement: StatementListener | None = field(default=None, compare=False, repr=False)

    def open(
        self,
        *,
        database: str | None = None,
        local_infile: bool = False,
        found_rows: bool = False,
        several: bool = False,
        answer_seconds: float | None = None,
        login_seconds: float | None = None,
    ) -> Any:
        """Open a connection in autocommit mode with every setting pinned.

        ``database``: the one to use; empty for none. ``local_infile``: LOAD DATA LOCAL will be
        used. ``found_rows``: an UPDATE counts the rows that it matches, not those that it changes.
        ``several``: one call may hold several statements.
        ``answer_seconds``: how long an answer may take; None (a reader under back-pressure,
        building an index) for ever. Raises `ConnectionFailed` or a subclass.
        """
        database = self.database if database is None else database or None
        with translating(self._shown(database)):
            connection = self._dial(
                database,
                local_infile,
                (CLIENT.FOUND_ROWS if found_rows else 0)
                | (CLIENT.MULTI_STATEMENTS if several else 0),
                login_seconds or self._login_seconds,
                password_now(self.password),
            )
            try:
                if self.unix_socket is None:
                    _keep_alive(connection._sock, self.heartbeat)
                connection.watch = _watched(self, connection)
                connection.on_statement = self.on_statement
                patience = str(max(1, round(self.lock_seconds)))
                settings = {
                    **SESSION,
                    **BY_FLAVOUR[is_mariadb(connection)],
                    "lock_wait_timeout": patience,
                    "innodb_lock_wait_timeout": patience,
                }
                with connection.cursor() as cursor:
                    cursor.execute("SET NAMES utf8mb4")
                    cursor.execute(
                        "SET SESSION "
                        + ", ".join(f"{key} = {value}" for key, value in settings.items())
                    )
                connection.wait_for(answer_seconds)
            except BaseException:
                connection.close()
                raise
            return connection

    def ask(self) -> Any:
        """Open a connection, to no database, for queries that a server answers at once; it counts
        as dead after `heartbeat` seconds of silence."""
        return self.open(database="", answer_seconds=self.heartbeat)

    @property
    def _login_seconds(self) -> float:
        return self.abort.login_seconds(self.heartbeat)

    def _shown(self, database: str | None) -> str:
        return f"{self.host}:{self.port}/{database or ''}".rstrip("/")

    def working_sessions(self, seconds: float) -> Collection[int] | None:
        """Return the ids of this account's connections that are at work. See `watchdog.Server`."""
        password = password_now(self.password)
        try:
            connection = self._dial("", False, 0, seconds, password)
        except ConnectionFailed as error:
            if int(error.details.get("errno", CLIENT_ERRORS)) >= CLIENT_ERRORS:
                raise NoAnswer from None
            raise
        with contextlib.closing(connection), expiring(seconds, lambda: shut_down(connection)):
            try:
                with connection.cursor() as cursor:
                    cursor.execute("SHOW PROCESSLIST")
                    sessions = {row[0]: row[4] for row in cursor.fetchall()}
            except (pymysql.OperationalError, OSError):
                raise NoAnswer from None
        if connection.thread_id() not in sessions:
            return None
        return {session for session, command in sessions.items() if command != "Sleep"}

    def _dial(
        self,
        database: str | None,
        local_infile: bool,
        flags: int,
        login_seconds: float,
        password: str | None,
    ) -> Any:
        """Open a new session. Raises `ConnectionFailed` or a subclass, with the server's
        message."""
        tls = self._tls()
        try:
            login = partial(
                GuardedConnection,
                host=self.host,
                port=self.port,
                unix_socket=self.unix_socket,
                user=self.user,
                password=password or "",
                database=database,
                charset="utf8mb4",
                connect_timeout=login_seconds,
                login_seconds=login_seconds,
                autocommit=True,
                files=local_infile,
                client_flag=flags,
                program_name="streams_engine",
                tls_required=self.ssl_mode in TLS_REQUIRED,
                clear_text=self.clear_text,
                **tls,
            )
            return self.abort.login(login, lambda late: late.close())
        except (pymysql.MySQLError, OSError) as error:
            secrets = Masked(password, self.ssl_key)
            raise refused_connection(error, self._shown(database), secrets, login_seconds) from None

    def _tls(self) -> dict[str, Any]:
        """Return PyMySQL's arguments for the TLS mode.

        With ``prefer`` TLS is used if the server supports it and is another machine; on loopback
        nobody can listen. RSA protects the password on a plain socket. ``require`` with a CA is
        ``verify-ca``, as in libpq.
        """
        local = self.unix_socket is not None or self.host in LOOPBACK
        if self.ssl_mode == "disabled" or (self.ssl_mode == "prefer" and local):
            return {"ssl_disabled": True}
        context = ssl.create_default_context()
        # The certificates that servers make for themselves lack extensions that it demands.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.check_hostname = self.ssl_mode == "verify-full"
        verifying = self.ssl_mode in ("verify-ca", "verify-full") or (
            self.ssl_mode == "require" and self.ssl_ca is not None
        )
        context.verify_mode = ssl.CERT_REQUIRED if verifying else ssl.CERT_NONE
        with contextlib.ExitStack() as stack, _readable(self._shown(None)):
            if self.ssl_ca:
                context.load_verify_locations(cafile=stack.enter_context(as_file(self.ssl_ca)))
            if self.ssl_cert:
                certificate = stack.enter_context(as_file(self.ssl_cert))
                key = stack.enter_context(as_file(self.ssl_key)) if self.ssl_key else None
                context.load_cert_chain(certificate, key)
        return {"ssl": context}


def _watched(connect: MysqlConnect, connection: Any) -> Watch:
    """Let the watchdog watch a connection."""
    reference = weakref.ref(connection)
    watch = Watch(
        connect,
        connection.thread_id(),
        lambda: int(reference()._sock.fileno()),  # type: ignore[union-attr]
        lambda: shut_down(reference()),
    )
    connect.abort.add(watch)
    return watch


def shut_down(connection: Any) -> None:
    """Cut a connection that another thread may be waiting on: its wait fails at once."""
    with contextlib.suppress(OSError, AttributeError):  # closed, or gone
        connection.abandon_result()
        connection._sock.shutdown(socket.SHUT_RDWR)


def _keep_alive(sock: Any, seconds: float) -> None:
    """Let the kernel notice that the other end of a connection is gone (man 7 tcp).

    TCP_USER_TIMEOUT is left out: it would end a connection whose other end is only busy.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in {
        "TCP_KEEPIDLE": max(1, int(seconds / 3)),
        "TCP_KEEPINTVL": max(1, int(seconds / 6)),
        "TCP_KEEPCNT": 3,
    }.items():
        if (number := getattr(socket, option, None)) is not None:  # Linux has all of them
            sock.setsockopt(socket.IPPROTO_TCP, number, value)


@contextlib.contextmanager
def _readable(what: str) -> Iterator[None]:
    """Raise `ConfigError` if a certificate or key cannot be used."""
    try:
        yield
    except OSError as error:  # ssl.SSLError is one
        reason = getattr(error, "reason", None) or error.strerror or type(error).__name__
        raise ConfigError(
            f"{what}: a certificate or key of $.ssl cannot be used: {reason}.",
            path="$.ssl",
            remedy="Give ca, client_cert and client_key as PEM texts, or as paths of PEM files.",
        ) from None


@contextlib.contextmanager
def as_file(pem: str) -> Iterator[str]:
    """Yield the path of a certificate that is given as a PEM text or as a path."""
    if "-----BEGIN" not in pem:
        yield pem
        return
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as handle:
        handle.write(pem)
        handle.flush()
        yield handle.name


def is_mariadb(connection: Any) -> bool:
    """Return True if the server is MariaDB, whatever the connection document calls it."""
    return "mariadb" in str(connection.get_server_info()).lower()


# Errors

Rule = tuple[type[StreamsError], str, str | None]

BY_NUMBER: Mapping[int, Rule] = {
    1044: (PermissionDenied, "the account may not use the database", "GRANT SELECT on it."),
    1045: (AuthenticationFailed, "the user name or the password is wrong", "Check both."),
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
    1205: (
        LockTimeout,
        "another session held a lock for longer than options.lockTimeout",
        (
            "End the session that holds it; sys.innodb_lock_waits, "
            "performance_schema.metadata_locks and SHOW PROCESSLIST show it."
        ),
    ),
    1213: (ServerError, "a deadlock with another session", None),
    1007: (TargetConflict, "a database of that name exists already", None),
    1050: (TargetConflict, "a table of that name exists already", "Drop or rename it."),
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
    1062: (TargetConflict, "two rows have the same key", None),
    1114: (ServerError, "the table or the disk is full", None),
    1273: (ServerError, "the server does not know the collation", None),
    1452: (TargetConflict, "a row refers to a row that does not exist", None),
    1822: (TargetConflict, "the referenced columns have no index", None),
    3750: (
        TargetConflict,
        "the server demands a primary key (sql_require_primary_key)",
        "Add one on the source, or turn the setting off.",
    ),
    3780: (
        TargetConflict,
        "the columns of a foreign key have other types than the referenced columns",
        None,
    ),
    3819: (TargetConflict, "a row violates a check constraint", None),
    4025: (TargetConflict, "a row violates a check constraint", None),
    1040: (ConnectionFailed, "the server has no free connection", "Lower parallelism."),
    1053: (ConnectionFailed, "the server is shutting down", None),
    1077: (ConnectionFailed, "the server is shutting down", None),
    1317: (ServerError, "the query was interrupted", None),
    1927: (ConnectionFailed, "the connection was killed", None),
    1412: (
        ServerError,
        "the table's definition changed under the snapshot",
        "Run again while no DDL runs.",
    ),
    1064: (ServerError, "the server reported a syntax error", None),
    2003: (
        ConnectionFailed,
        "the connection was refused, or the host is unknown",
        "Check host and port, and that the server runs.",
    ),
    2006: (ConnectionFailed, "the server has gone away", None),
    2013: (ConnectionFailed, "the connection broke", None),
    2026: (ConnectionFailed, "the TLS handshake failed", "Check ssl.mode and certificates."),
}
RETRYABLE = {1205, 1213}


OF_NAMES = {1052, 1054, 1055, 1060, 1305}
"""Errors about columns and functions of a statement: their message has names, and no values."""


def translate(error: BaseException, what: str) -> StreamsError:
    """Translate a driver's error about ``what`` to one of ours, without messages that may contain
    values."""
    number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    if isinstance(error, OSError) or (number in (0,) and isinstance(error, pymysql.InterfaceError)):
        return ConnectionFailed(
            f"{what}: the connection broke.", remedy="Check that the server runs."
        )
    cls, sentence, remedy = BY_NUMBER.get(
        number, (ServerError, f"the server reported error {number}", None)
    )
    if number in OF_NAMES:
        sentence += f": {server_text(str(error.args[-1]))}"
    if number == CR.CR_SERVER_LOST and error.args[-1] == UNANSWERED:
        sentence, remedy = UNANSWERED, "Check the network, and that the server runs."
    return cls(
        f"{what}: {sentence}.",
        remedy=remedy,
        retryable=True if number in RETRYABLE else None,
        errno=number,
    )


REFUSALS: Mapping[int, Rule] = {
    CR.CR_SSL_CONNECTION_ERROR: (
        ConnectionFailed,
        "the TLS connection failed",
        "Switch TLS on at the server, or choose another ssl.mode.",
    ),
    CR.CR_AUTH_PLUGIN_ERR: (
        AuthenticationFailed,
        "the server did not complete the login",
        "Use TLS (ssl.mode require), or allow it with ssl.allowClearText.",
    ),
    1129: (ConnectionFailed, "the server has blocked this host", "FLUSH HOSTS on it."),
    1130: (
        AuthenticationFailed,
        "the server does not allow this host to connect",
        "Grant it there.",
    ),
    1203: (ConnectionFailed, "the account has too many connections", "Lower parallelism."),
    1226: (ConnectionFailed, "the account has too many connections", "Lower parallelism."),
    1251: (
        AuthenticationFailed,
        "the server refused the login",
        "Use another authentication plugin.",
    ),
    1524: (
        AuthenticationFailed,
        "the server refused the login",
        "Use another authentication plugin.",
    ),
    1820: (AuthenticationFailed, "the password has expired", "ALTER USER ... IDENTIFIED BY."),
    1862: (AuthenticationFailed, "the password has expired", "ALTER USER ... IDENTIFIED BY."),
    3118: (AuthenticationFailed, "the account is locked", "ALTER USER ... ACCOUNT UNLOCK."),
    3159: (ConnectionFailed, "the server demands TLS", "Choose ssl.mode require."),
    4151: (AuthenticationFailed, "the account is locked", "ALTER USER ... ACCOUNT UNLOCK."),
}
"""What a connection in the making is refused for, beside `BY_NUMBER`."""
FOR_GOOD = {CR.CR_SSL_CONNECTION_ERROR, 3159}
"""Refusals that no waiting changes."""


def refused_connection(
    error: BaseException, what: str, secrets: Masked, seconds: float = LOGIN_SECONDS
) -> StreamsError:
    """Return the error for a connection that could not be opened, with the server's own
    sentence."""
    number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    cause = getattr(error, "original_exception", None) or error
    if isinstance(cause, OSError):
        return _unreachable(cause, what, seconds)
    said = server_text(str(error.args[-1]) if len(error.args) > 1 else "", secrets)
    if number == CR.CR_SERVER_LOST and "timed out" in said:
        return _unreachable(TimeoutError(), what, seconds)
    rule = REFUSALS.get(number) or BY_NUMBER.get(number)
    cls, sentence, remedy = rule or (ConnectionFailed, "the server refused the connection", None)
    return cls(
        f"{what}: {sentence}: {said}." if said else f"{what}: {sentence}.",
        remedy=remedy,
        retryable=False if number in FOR_GOOD else None,
        errno=number,
    )


def _unreachable(cause: OSError, what: str, seconds: float) -> ConnectionFailed:
    """Return the error for a socket, or TLS on it, that could not be opened."""
    if isinstance(cause, ssl.SSLError):
        reason = getattr(cause, "verify_message", None) or cause.reason or type(cause).__name__
        return ConnectionFailed(
            f"{what}: the TLS handshake failed: {server_text(str(reason))}.",
            remedy="Check ssl.mode and the certificates.",
            retryable=False if isinstance(cause, ssl.SSLCertVerificationError) else None,
        )
    if isinstance(cause, TimeoutError):
        sentence = f"no answer within {seconds:.0f} seconds (options.heartbeatTimeout, 15 at most)"
    elif isinstance(cause, socket.gaierror):
        sentence = "the host name is unknown"
    elif isinstance(cause, ConnectionRefusedError):
        sentence = "the connection was refused"
    else:
        sentence = f"no connection: {cause.strerror or type(cause).__name__}"
    return ConnectionFailed(
        f"{what}: {sentence}.", remedy="Check host and port, and that the server runs."
    )


@contextlib.contextmanager
def translating(what: str) -> Iterator[None]:
    """Translate the driver's errors inside the block to ours, about ``what``."""
    try:
        yield
    except (pymysql.MySQLError, OSError) as error:
        raise translate(error, what) from None
