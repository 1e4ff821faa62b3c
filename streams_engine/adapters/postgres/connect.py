"""Connections to PostgreSQL with a pinned session, and its errors as ours.

The server's messages can carry row values (``Key (id)=(5) already exists``) and are never
passed on: a sentence is chosen by SQLSTATE and completed with the names that the
diagnostics carry.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import psycopg

from streams_engine.errors import (
    AuthenticationFailed,
    ConnectionFailed,
    LockTimeout,
    NotFound,
    PermissionDenied,
    RowRejected,
    ServerError,
    StreamsError,
    TargetConflict,
)
from streams_engine.server_text import NOTHING, Masked, server_text

__all__ = ["PostgresConnect", "hang_up", "translate", "translating"]

SESSION: Mapping[str, str] = {
    "timezone": "UTC",
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "xmlbinary": "base64",
    "xmloption": "content",
    "standard_conforming_strings": "on",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "client_min_messages": "warning",
    # A policy that would hide rows is an error: what is read is all, or nothing.
    "row_security": "off",
    # The planner may use other sessions' progress of a sequential scan: chunks want their order.
    "synchronize_seqscans": "off",
    # Compiling the catalog's queries takes a second; running them takes milliseconds.
    "jit": "off",
}
"""What a session never inherits from server, database or role."""

LOCK_TIMEOUT_MS = 10_000
LOGIN_SECONDS = 15
"""How long the server may take to answer, and to log in."""
REQUIRES_AUTH = 160_000
"""The libpq that can refuse methods of authentication (require_auth)."""
SSL_MODES = {"disabled": "disable"}


@dataclass(frozen=True, slots=True)
class PostgresConnect:
    """How to reach a PostgreSQL server; frozen and picklable. PEM texts or paths for TLS."""

    host: str
    port: int
    user: str
    password: str | None = field(repr=False)
    database: str
    ssl_mode: str = "prefer"
    ssl_ca: str | None = None
    ssl_cert: str | None = None
    ssl_key: str | None = field(default=None, repr=False)
    clear_text: bool = False
    """The password may be sent as it is without TLS."""
    heartbeat: float = 30.0
    """Seconds without a sign of life from the other machine after which it is taken for dead."""

    def open(
        self,
        *,
        autocommit: bool = False,
        database: str | None = None,
        search_path: tuple[str, ...] = (),
        gss: bool = True,
    ) -> psycopg.Connection:
        """A connection with every setting pinned. Raises `ConnectionFailed` and its kin.

        ``gss`` False: no GSS encryption is asked for, so that without TLS the socket is plain.
        ``search_path`` empty: only ``pg_catalog``, so that every rendered name is qualified.
        """
        settings = {
            **SESSION,
            "lock_timeout": str(LOCK_TIMEOUT_MS),
            "search_path": ", ".join(_quoted(name) for name in search_path) or '""',
        }
        with translating(
            f"{self.host}:{self.port}/{database or self.database}", Masked(self.password)
        ):
            connection = self._dial(
                dbname=database or self.database, **({} if gss else {"gssencmode": "disable"})
            )
            try:
                pin(connection, settings)
                connection.autocommit = autocommit
            except BaseException:
                connection.close()
                raise
            return connection

    def replication(self, **settings: str) -> psycopg.Connection:
        """A connection that speaks the replication protocol to the database, pinned likewise.

        ``settings`` are further ones. Raises `PermissionDenied` where the role may not.
        """
        pinned = {**SESSION, "lock_timeout": str(LOCK_TIMEOUT_MS), "search_path": "", **settings}
        # It takes simple queries only: settings come with the start of the session.
        options = " ".join(f"-c {k}={_escaped(v)}" for k, v in pinned.items())
        what = f"{self.host}:{self.port}/{self.database}, for replication"
        with translating(what, Masked(self.password)):
            try:
                return self._dial(
                    dbname=self.database,
                    replication="database",
                    options=options,
                    prepare_threshold=None,
                )
            except psycopg.OperationalError as error:
                if "replication" in str(error) and "permission denied" in str(error):
                    raise PermissionDenied(
                        f"{what}: the role {self.user} may not replicate.",
                        remedy=f"ALTER ROLE {_quoted(self.user)} REPLICATION;",
                    ) from None
                raise

    def is_shutting_down(self) -> bool:
        """True where the server refuses everybody because it ends."""
        try:
            self._dial(dbname=self.database).close()
        except psycopg.OperationalError as error:
            return "shutting down" in str(error) or "refused" in str(error)
        return False

    def _dial(self, **more: Any) -> psycopg.Connection:
        """A new session; raises the driver's errors.

        The password is sent in clear text over TLS alone, or by option: where `prefer` may have
        gone without TLS, it is asked for again with it.
        """
        exposed = self.ssl_mode in ("disabled", "prefer") and not self.host.startswith("/")
        if self.clear_text or not exposed or psycopg.pq.version() < REQUIRES_AUTH:
            return self._connected(**more)
        try:
            return self._connected(require_auth="!password", **more)
        except psycopg.OperationalError as error:
            if self.ssl_mode == "disabled" or "method requirement" not in str(error):
                raise
            return self._connected(sslmode="require", **more)

    def _connected(self, **more: Any) -> psycopg.Connection:
        with self._files() as tls:
            return psycopg.connect(
                host=self.host,
                port=self.port,
                user=self.user,
                password=self.password,
                connect_timeout=LOGIN_SECONDS,
                application_name="streams_engine",
                client_encoding="utf8",
                **{
                    "autocommit": True,
                    "sslmode": self._libpq_mode(),
                    **self._signs_of_life(),
                    **tls,
                    **more,
                },
            )

    def _signs_of_life(self) -> dict[str, int]:
        """libpq's settings by which a connection whose other end is gone is noticed
        (https://www.postgresql.org/docs/current/libpq-connect.html)."""
        return {
            "keepalives_idle": max(1, int(self.heartbeat / 3)),
            "keepalives_interval": max(1, int(self.heartbeat / 6)),
            "keepalives_count": 3,
            "tcp_user_timeout": int(self.heartbeat * 1000),
        }

    def _libpq_mode(self) -> str:
        return SSL_MODES.get(self.ssl_mode, self.ssl_mode)

    @contextlib.contextmanager
    def uri(self) -> Iterator[str]:
        """A libpq URI, secret included, for drivers that take nothing else; it can be dialled as
        long as the context, for that is how long certificates given as texts are files."""
        who = quote(self.user, safe="")
        if self.password is not None:
            who += ":" + quote(self.password, safe="")
        unix = self.host.startswith("/")
        host = "" if unix else (f"[{self.host}]" if ":" in self.host else self.host)
        query = f"?sslmode={SSL_MODES.get(self.ssl_mode, self.ssl_mode)}"
        query += "&application_name=streams_engine&client_encoding=utf8&connect_timeout=15"
        if unix:
            query += f"&host={quote(self.host, safe='')}"
        with self._files() as tls:
            query += "".join(f"&{key}={value}" for key, value in self._signs_of_life().items())
            query += "".join(f"&{key}={quote(value, safe='')}" for key, value in tls.items())
            yield f"postgresql://{who}@{host}:{self.port}/{quote(self.database, safe='')}{query}"

    @contextlib.contextmanager
    def _files(self) -> Iterator[dict[str, Any]]:
        """libpq takes certificates as files: PEM texts are lent one for the handshake."""
        given = {"sslrootcert": self.ssl_ca, "sslcert": self.ssl_cert, "sslkey": self.ssl_key}
        found: dict[str, Any] = {}
        with tempfile.TemporaryDirectory() as scratch:
            for key, value in given.items():
                if value is None:
                    continue
                if "-----BEGIN" in value:
                    path = os.path.join(scratch, key)
                    with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "w") as handle:
                        handle.write(value)
                    value = path
                found[key] = value
            yield found


def hang_up(connection: psycopg.Connection) -> None:
    """Cut a connection that another thread may be waiting on: its wait fails at once."""
    with (
        contextlib.suppress(psycopg.Error, OSError),
        socket.socket(fileno=os.dup(connection.pgconn.socket)) as sock,
    ):
        sock.shutdown(socket.SHUT_RDWR)


def pin(connection: psycopg.Connection, settings: Mapping[str, str]) -> None:
    """Set a session's settings in one round trip; newer ones where the server has them."""
    wanted = dict(settings)
    if connection.info.server_version >= 140000:
        wanted["idle_session_timeout"] = "0"
    if connection.info.server_version >= 170000:
        wanted["transaction_timeout"] = "0"
    calls = ", ".join("pg_catalog.set_config(%s, %s, false)" for _ in wanted)
    values = [part for item in wanted.items() for part in item]
    connection.execute(f"SELECT {calls}".encode(), values)


def _escaped(value: str) -> str:
    """A setting in a session's options, which are separated by spaces."""
    return value.replace("\\", "\\\\").replace(" ", "\\ ")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


# Errors

Rule = tuple[type[StreamsError], str, str | None]

BY_STATE: Mapping[str, Rule] = {
    "28P01": (AuthenticationFailed, "the password is wrong", "Check user name and password."),
    "28000": (AuthenticationFailed, "the account is refused", "Check pg_hba.conf and the user."),
    "3D000": (NotFound, "the database does not exist", "Create it, or name another one."),
    "42501": (PermissionDenied, "the account lacks the right", "Grant it, or use another one."),
    "42P01": (
        NotFound,
        "the table does not exist",
        "Start again where it was dropped meanwhile; else check its name and schema.",
    ),
    "55P03": (
        LockTimeout,
        f"a lock was not had within {LOCK_TIMEOUT_MS // 1000} seconds",
        "Another session holds the table: try again when it is done.",
    ),
    "40P01": (ServerError, "a deadlock with another session", None),
    "40001": (ServerError, "a serialization failure", None),
    "53300": (ConnectionFailed, "the server has no connection left", "Lower parallelism."),
    "53100": (ServerError, "the server's disk is full", "Free space on it."),
    "57P01": (ConnectionFailed, "the server shut the connection down", None),
    "57014": (ServerError, "the statement was cancelled", None),
    "42710": (ServerError, "an object of that name exists already", None),
    "42P04": (TargetConflict, "a database of that name exists already", None),
    "42P06": (TargetConflict, "a schema of that name exists already", None),
    "42P07": (ServerError, "a table or index of that name exists already", None),
    "2BP01": (
        TargetConflict,
        "other objects depend on it",
        "Drop those first, or use writeMode truncate_and_load instead.",
    ),
    "25006": (PermissionDenied, "the server is read-only", "Use the primary as target."),
    "23505": (RowRejected, "a row repeats the key of another", "Remove the duplicate."),
    "23503": (RowRejected, "a row refers to one that is not there", "Repair the reference."),
    "23502": (RowRejected, "a NULL in a column that allows none", None),
    "23514": (RowRejected, "a row breaks a check constraint", None),
    "23P01": (RowRejected, "a row breaks an exclusion constraint", None),
    "22001": (RowRejected, "a text is longer than its column", "Widen it with typeOverrides."),
    "22003": (RowRejected, "a number is out of its column's range", "Use a wider type."),
    "22021": (RowRejected, "a text holds bytes that PostgreSQL text cannot (NUL)", None),
    "22P05": (RowRejected, "a text holds a character that PostgreSQL cannot store", None),
    "22P02": (RowRejected, "a text is no value of its column's type", None),
    "22007": (RowRejected, "a text is no valid date or time", None),
    "22008": (RowRejected, "a date or time is out of range", None),
    "54000": (
        ServerError,
        "a limit of PostgreSQL is exceeded (a key too long for an index?)",
        None,
    ),
}
BY_CLASS: Mapping[str, Rule] = {
    "08": (ConnectionFailed, "the connection broke", None),
    "22": (RowRejected, "a value does not fit its column", None),
    "23": (RowRejected, "a row breaks a constraint", None),
    "28": (AuthenticationFailed, "the account is refused", None),
    "57": (ConnectionFailed, "the server ended the connection", None),
}
RETRYABLE = {"40P01", "40001"}
SAFE_MESSAGE = {"42", "0A", "3F", "2B", "55", "58", "53", "54"}
"""Classes whose primary message is about names and syntax, not about rows."""


def translate(error: psycopg.Error, what: str, secrets: Masked = NOTHING) -> StreamsError:
    """One of our errors for a driver's, about ``what``; no message that can carry a value."""
    state = error.sqlstate
    if state is None:
        return _without_state(error, what, secrets)
    rule = BY_STATE.get(state) or BY_CLASS.get(state[:2])
    diag = error.diag
    if diag.source_function == ROW_SECURITY_CHECK:
        return hidden_rows(what, diag.message_primary, state)
    place = [
        f"{kind} {name}"
        for kind, name in (
            ("table", diag.table_name),
            ("column", diag.column_name or _copy_column(diag.context)),
            ("constraint", diag.constraint_name),
        )
        if name
    ]
    where = f" ({', '.join(place)})" if place else ""
    cls, sentence, remedy = rule or (ServerError, "the server reported an error", None)
    if state[:2] in SAFE_MESSAGE and cls not in (LockTimeout,):
        sentence += f": {diag.message_primary}"
    if state == "2BP01":
        sentence += f": {diag.message_detail}".rstrip(".").replace("\n", ", ")
    if cls is RowRejected:
        remedy = remedy or "Repair the row, or set such rows aside with onError: quarantine."
    line = _COPY_LINE.match(diag.context or "")
    return cls(
        f"{what}{where}: {sentence}.",
        remedy=remedy,
        retryable=True if state in RETRYABLE else None,
        sqlstate=state,
        **({"row": int(line[1])} if line else {}),
    )


ROW_SECURITY_CHECK = "check_enable_rls"
"""The server's function (rls.c) that refuses a statement whose rows a policy would filter."""


def hidden_rows(what: str, message: str | None, state: str) -> PermissionDenied:
    """The error for a statement that row-level security forbids this role.

    ``message`` is the server's, which names the table and holds no value.
    """
    return PermissionDenied(
        f"{what}: row-level security hides rows from the role that is connected: "
        f"{message or 'the server refused the statement'}.",
        remedy="ALTER ROLE ... BYPASSRLS; (as a superuser), connect as the table's owner (without "
        "FORCE ROW LEVEL SECURITY), or leave the table out.",
        sqlstate=state,
    )


_COPY_LINE = re.compile(r"COPY .+?, line (\d+)")
"""The context of an error in COPY FROM; in binary format too a line is a row."""


def _copy_column(context: str | None) -> str | None:
    """The column of ``COPY t, line 3, column price: ...``; what follows it may be a value."""
    head, mark, tail = (context or "").partition(", column ")
    return tail.split(":")[0].strip('"') if mark and head.startswith("COPY ") else None


Refusal = tuple[str, type[StreamsError], str, str, bool | None]

CHECK_ACCOUNT = "Check user name and password."
CHECK_SERVER = "Check host and port, and that the server runs."
REFUSALS: tuple[Refusal, ...] = (
    ("password authentication failed", AuthenticationFailed, "the password is wrong",
     CHECK_ACCOUNT, None),
    ("no password supplied", AuthenticationFailed, "the password is missing", CHECK_ACCOUNT, None),
    ("authentication method requirement", AuthenticationFailed,
     "the server asked for the password in clear text",
     "Use TLS (ssl.mode require), or allow it with ssl.allowClearText.", None),
    ("no pg_hba.conf entry", AuthenticationFailed, "the server does not admit this account",
     "Add a line for it to pg_hba.conf, or check ssl.mode.", None),
    ("authentication failed", AuthenticationFailed, "the account is refused", CHECK_ACCOUNT, None),
    ("is not permitted to log in", AuthenticationFailed, "the account is refused",
     "ALTER ROLE ... LOGIN.", None),
    (r'role ".*" does not exist', AuthenticationFailed, "the account is refused", CHECK_ACCOUNT,
     None),
    ("permission denied", PermissionDenied, "the account may not connect",
     "GRANT CONNECT ON DATABASE.", None),
    (r'database ".*" does not exist', NotFound, "the database does not exist",
     "Create it, or name another one.", None),
    ("does not support ssl", ConnectionFailed, "no TLS",
     "Switch TLS on at the server, or choose another ssl.mode.", False),
    ("certificate", ConnectionFailed, "the TLS handshake failed",
     "Check ssl.mode and the certificates.", False),
    ("ssl error", ConnectionFailed, "the TLS handshake failed",
     "Check ssl.mode and the certificates.", None),
    ("timeout expired", ConnectionFailed, f"no answer within {LOGIN_SECONDS} seconds", CHECK_SERVER,
     None),
    ("connection timed out", ConnectionFailed, "no answer in time", CHECK_SERVER, None),
    ("connection refused", ConnectionFailed, "nothing listens there", CHECK_SERVER, None),
    ("could not translate host name", ConnectionFailed, "the host name is unknown", CHECK_SERVER,
     None),
    ("failed to resolve", ConnectionFailed, "the host name is unknown", CHECK_SERVER, None),
)  # fmt: skip
"""What libpq's message has of a refused connection, as patterns in lower case; the first that fits
counts.

There is no SQLSTATE: it says what the server said, after `FATAL:`, and where.
"""
LESS = (ConnectionFailed, "the connection was refused", CHECK_SERVER)
CONNECTIONS = ("too many", "connection slots", "remaining connection")
SAID = re.compile(r"(?:FATAL|ERROR|PANIC): +(.+)|connection to server .+? failed: (.+)")


def _without_state(error: psycopg.Error, what: str, secrets: Masked = NOTHING) -> StreamsError:
    """A refused or broken connection, with the server's own sentence."""
    if not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return ServerError(f"{what}: the driver reported {type(error).__name__}.")
    found = SAID.search(str(error))
    said = server_text((found[1] or found[2]) if found else str(error), secrets)
    lower = said.lower()
    if any(words in lower for words in CONNECTIONS):
        return ConnectionFailed(
            f"{what}: the server has no connection left: {said}.", remedy="Lower parallelism."
        )
    for words, cls, sentence, remedy, retryable in REFUSALS:
        if re.search(words, lower):
            return cls(f"{what}: {sentence}: {said}.", remedy=remedy, retryable=retryable)
    cls, sentence, remedy = LESS
    broken = found is None or "server closed the connection" in lower
    return cls(f"{what}: {'the connection broke' if broken else sentence}: {said}.", remedy=remedy)


@contextlib.contextmanager
def translating(what: str, secrets: Masked = NOTHING) -> Iterator[None]:
    """Turn the driver's errors inside the block into ours, about ``what``.

    ``secrets`` are left out of what the server says.
    """
    try:
        yield
    except psycopg.Error as error:
        raise translate(error, what, secrets) from None
