"""Connections to PostgreSQL with a pinned session, and its errors as ours.

The server's messages can carry row values (``Key (id)=(5) already exists``) and are never
passed on: a sentence is chosen by SQLSTATE and completed with the names that the
diagnostics carry.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import socket
import tempfile
import threading
import weakref
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg import sql

from streams_engine.adapters.sql.login import Password, password_now
from streams_engine.adapters.sql.server_message import NOTHING, Masked, server_text
from streams_engine.adapters.sql.watchdog import (
    UNANSWERED,
    Abort,
    NoAnswer,
    Watch,
    expiring,
    watch_of,
)
from streams_engine.contracts import StatementListener
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

__all__ = ["PostgresConnect", "hang_up", "pipelined", "translate", "translating"]

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

LOCK_SECONDS = 10.0
CANCEL_SECONDS = 2.0
"""How long a server may take to hear of a cancel."""
REQUIRES_AUTH = 160_000
"""The libpq that can refuse methods of authentication (require_auth)."""
SSL_MODES = {"disabled": "disable"}


SESSIONS = b"""
SELECT pid, state IS NULL OR NOT (
    state LIKE 'idle%'
    OR (wait_event_type = 'Client' AND wait_event IN ('ClientRead', 'ClientWrite')))
FROM pg_catalog.pg_stat_activity WHERE usename = current_user
"""
"""Server processes, and whether each is at work: neither idle nor waiting for its client
(https://www.postgresql.org/docs/current/monitoring-stats.html)."""

SAID_BY_SERVER = re.compile(r"failed: \w+:  ")
"""A server's report in libpq's error, in any language: the severity, a colon and two spaces."""


class ToldCursor(psycopg.Cursor[Any]):
    """A cursor that tells of each statement before it sends it."""

    def execute(self, query: Any, *arguments: Any, **options: Any) -> Any:
        """Tell, and execute."""
        tell_statement(self.connection, query)
        return super().execute(query, *arguments, **options)

    def executemany(self, query: Any, *arguments: Any, **options: Any) -> None:
        """Tell once, and execute for each row."""
        tell_statement(self.connection, query)
        super().executemany(query, *arguments, **options)

    @contextlib.contextmanager
    def copy(self, statement: Any, *arguments: Any, **options: Any) -> Iterator[Any]:
        """Tell, and copy."""
        tell_statement(self.connection, statement)
        with super().copy(statement, *arguments, **options) as copy:
            yield copy


def tell_statement(connection: psycopg.Connection, query: Any) -> None:
    """Call the listener of a connection, if it has one, with a statement."""
    listener = getattr(connection, "on_statement", None)
    if listener is None:
        return
    if isinstance(query, sql.Composable):
        query = query.as_string(connection)
    plain = query if isinstance(query, str) else bytes(query).decode("utf-8", "replace")
    listener(plain, "postgresql")


class WatchedConnection(psycopg.Connection):
    """A connection whose waits the watchdog sees."""

    watch: Watch | None = None
    on_statement: StatementListener | None = None

    def wait(self, *arguments: Any, **options: Any) -> Any:
        """Wait for the server. Raises `psycopg.OperationalError` if it does not answer any more."""
        with watch_of(self):
            try:
                return super().wait(*arguments, **options)
            except psycopg.OperationalError:
                if self.watch is not None and self.watch.dead:
                    raise psycopg.OperationalError(UNANSWERED) from None
                raise


@dataclass(frozen=True, slots=True)
class PostgresConnect:
    """Settings to connect to a PostgreSQL server; frozen and picklable. PEM texts or paths for
    TLS."""

    host: str
    port: int
    user: str
    password: Password = field(repr=False, compare=False)
    database: str
    ssl_mode: str = "prefer"
    ssl_ca: str | None = None
    ssl_cert: str | None = None
    ssl_key: str | None = field(default=None, repr=False)
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
        autocommit: bool = False,
        database: str | None = None,
        search_path: tuple[str, ...] = (),
        gss: bool = True,
    ) -> psycopg.Connection:
        """Open a connection with every setting pinned. Raises `ConnectionFailed` or a subclass.

        ``gss`` False: do not ask for GSS encryption, so that the socket is plain without TLS.
        ``search_path`` empty: only ``pg_catalog``, so that every rendered name is qualified.
        """
        settings = {
            **SESSION,
            "lock_timeout": self.lock_timeout,
            "search_path": ", ".join(_quoted(name) for name in search_path) or '""',
        }
        what = f"{self.host}:{self.port}/{database or self.database}"
        password = password_now(self.password)
        with translating(what, Masked(password)):
            connection = self._watched(
                self._dial(
                    password,
                    dbname=database or self.database,
                    **({} if gss else {"gssencmode": "disable"}),
                )
            )
            try:
                with answering(connection, self._login_seconds, what):
                    pin(connection, settings)
                    connection.autocommit = autocommit
            except BaseException:
                connection.close()
                raise
            return connection

    @contextlib.contextmanager
    def ask(self) -> Iterator[psycopg.Connection]:
        """Open a connection for queries that a server answers at once; it counts as dead after
        `heartbeat` seconds without an answer."""
        what = f"{self.host}:{self.port}/{self.database}"
        with (
            contextlib.closing(self.open(autocommit=True)) as connection,
            answering(connection, self.heartbeat, what),
        ):
            yield connection

    def replication(self, *, gss: bool = True, **settings: str) -> psycopg.Connection:
        """Open a connection that speaks the replication protocol, with the same settings pinned.

        ``settings`` are added to them; ``gss`` as for `open`. Raises `PermissionDenied` if the role
        lacks REPLICATION.
        """
        pinned = {**SESSION, "lock_timeout": self.lock_timeout, "search_path": "", **settings}
        # It takes simple queries only: settings come with the start of the session.
        options = " ".join(f"-c {k}={_escaped(v)}" for k, v in pinned.items())
        what = f"{self.host}:{self.port}/{self.database}, for replication"
        password = password_now(self.password)
        with translating(what, Masked(password)):
            try:
                return self._watched(
                    self._dial(
                        password,
                        dbname=self.database,
                        replication="database",
                        options=options,
                        prepare_threshold=None,
                        **({} if gss else {"gssencmode": "disable"}),
                    )
                )
            except psycopg.OperationalError as error:
                if "replication" in str(error) and "permission denied" in str(error):
                    raise PermissionDenied(
                        f"{what}: the role {self.user} lacks the REPLICATION privilege.",
                        remedy=f"ALTER ROLE {_quoted(self.user)} REPLICATION;",
                    ) from None
                raise

    def is_shutting_down(self) -> bool:
        """Return True if the server refuses connections because it shuts down."""
        password = password_now(self.password)
        try:
            self._dial(password, dbname=self.database).close()
        except psycopg.OperationalError as error:
            return "shutting down" in str(error) or "refused" in str(error)
        return False

    def cancel(self, process: int) -> None:
        """Cancel the statement of a server process. Raises psycopg's errors if the request
        fails."""
        limit, password = CANCEL_SECONDS, password_now(self.password)
        connection = self._dial(password, dbname=self.database, connect_timeout=math.ceil(limit))
        with contextlib.closing(connection), expiring(limit, lambda: hang_up(connection)):
            connection.execute("SELECT pg_catalog.pg_cancel_backend(%s)", (process,))

    def working_sessions(self, seconds: float) -> Collection[int] | None:
        """Return the processes of this role that are at work. See `watchdog.Server`."""
        password = password_now(self.password)
        try:
            connection = self._dial(
                password, dbname=self.database, connect_timeout=math.ceil(seconds)
            )
        except psycopg.OperationalError as error:
            if SAID_BY_SERVER.search(str(error)):
                raise
            raise NoAnswer from None
        with contextlib.closing(connection), expiring(seconds, lambda: hang_up(connection)):
            try:
                sessions: dict[int, bool] = dict(connection.execute(SESSIONS).fetchall())
            except psycopg.OperationalError as error:
                if error.sqlstate is None:
                    raise NoAnswer from None
                raise
            own = connection.info.backend_pid
        return None if own not in sessions else {s for s, works in sessions.items() if works}

    def _watched(self, connection: WatchedConnection) -> WatchedConnection:
        """Let the watchdog watch a connection."""
        reference = weakref.ref(connection)
        if self.on_statement is not None:
            connection.on_statement = self.on_statement
            connection.cursor_factory = ToldCursor
        connection.watch = Watch(
            self,
            connection.info.backend_pid,
            lambda: reference().pgconn.socket,  # type: ignore[union-attr]
            lambda: hang_up(reference()),
        )
        self.abort.add(connection.watch)
        return connection

    def _dial(self, password: str | None, **more: Any) -> WatchedConnection:
        """Open a new session; raises the driver's errors.

        The password is sent in clear text only over TLS, or by option: if `prefer` may have
        connected without TLS, the login is tried again with it.
        """
        exposed = self.ssl_mode in ("disabled", "prefer") and not self.host.startswith("/")
        if self.clear_text or not exposed or psycopg.pq.version() < REQUIRES_AUTH:
            return self._connected(password, **more)
        try:
            return self._connected(password, require_auth="!password", **more)
        except psycopg.OperationalError as error:
            if self.ssl_mode == "disabled" or "method requirement" not in str(error):
                raise
            return self._connected(password, sslmode="require", **more)

    def _connected(self, password: str | None, **more: Any) -> WatchedConnection:
        with self._files() as tls:
            settings = {
                "host": self.host,
                "port": self.port,
                "user": self.user,
                "password": password,
                "application_name": "streams_engine",
                "client_encoding": "utf8",
                "autocommit": True,
                "connect_timeout": math.ceil(self._login_seconds),
                "sslmode": self._libpq_mode(),
                **self._signs_of_life(),
                **tls,
                **more,
            }
            return self.abort.login(
                lambda: WatchedConnection.connect(**settings), lambda late: late.close()
            )

    @property
    def lock_timeout(self) -> str:
        """The server's setting."""
        return f"{self.lock_seconds * 1000:.0f}"

    @property
    def _login_seconds(self) -> float:
        """Seconds that a login may take; libpq waits at least two, and for ever if none are
        given."""
        return self.abort.login_seconds(self.heartbeat)

    def _signs_of_life(self) -> dict[str, int]:
        """Return libpq's keepalive settings, which notice that the other end is gone
        (https://www.postgresql.org/docs/current/libpq-connect.html).

        They leave out tcp_user_timeout, which would end a connection whose other end is only busy.
        """
        return {
            "keepalives_idle": max(1, int(self.heartbeat / 3)),
            "keepalives_interval": max(1, int(self.heartbeat / 6)),
            "keepalives_count": 3,
        }

    def _libpq_mode(self) -> str:
        return SSL_MODES.get(self.ssl_mode, self.ssl_mode)

    @contextlib.contextmanager
    def uri(self, **more: str) -> Iterator[str]:
        """Yield a libpq URI, with the password, for drivers that accept nothing else.

        It is valid until the block ends, because certificates given as texts are written to
        temporary files. ``more``: further settings of libpq.
        """
        who, password = quote(self.user, safe=""), password_now(self.password)
        if password is not None:
            who += ":" + quote(password, safe="")
        unix = self.host.startswith("/")
        host = "" if unix else (f"[{self.host}]" if ":" in self.host else self.host)
        query = f"?sslmode={SSL_MODES.get(self.ssl_mode, self.ssl_mode)}"
        query += "&application_name=streams_engine&client_encoding=utf8"
        query += f"&connect_timeout={math.ceil(self._login_seconds)}"
        if unix:
            query += f"&host={quote(self.host, safe='')}"
        with self._files() as tls:
            query += "".join(f"&{key}={value}" for key, value in self._signs_of_life().items())
            given = {**tls, **more}
            query += "".join(f"&{key}={quote(value, safe='')}" for key, value in given.items())
            yield f"postgresql://{who}@{host}:{self.port}/{quote(self.database, safe='')}{query}"

    @contextlib.contextmanager
    def _files(self) -> Iterator[dict[str, str]]:
        """Yield the TLS files that libpq needs, writing PEM texts to temporary files."""
        given = {"sslrootcert": self.ssl_ca, "sslcert": self.ssl_cert, "sslkey": self.ssl_key}
        files = {key: value for key, value in given.items() if value is not None}
        texts = [key for key, value in files.items() if "-----BEGIN" in value]
        with tempfile.TemporaryDirectory() if texts else contextlib.nullcontext("") as scratch:
            for key in texts:
                path = os.path.join(scratch, key)
                with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "w") as handle:
                    handle.write(files[key])
                files[key] = path
            yield files


@contextlib.contextmanager
def answering(connection: psycopg.Connection, seconds: float, what: str) -> Iterator[None]:
    """Cut the connection if the block takes longer; the error is then that there was no answer.

    libpq itself waits for ever in an open session.
    """
    late = threading.Event()

    def cut() -> None:
        late.set()
        hang_up(connection)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.name = "streams-engine-answer"
    timer.start()
    try:
        yield
    except (psycopg.Error, ConnectionFailed):
        if not late.is_set():
            raise
        raise ConnectionFailed(
            f"{what}: no answer within {seconds:.0f} seconds.", remedy=CHECK_SERVER
        ) from None
    finally:
        timer.cancel()
        timer.join()  # not to cut a connection of others that has the number by then


@contextlib.contextmanager
def pipelined(connection: psycopg.Connection) -> Iterator[None]:
    """Send the statements inside without waiting for their answers. Raises the first error.

    What follows a failed statement is taken here: left in the pipeline, the driver logs a warning
    about it beside the error.
    """
    failure = None
    with connection.pipeline() as pipeline:
        try:
            yield
        except psycopg.Error as error:
            failure = error
            while not _settled(pipeline):
                pass
    if failure is not None:
        raise failure


def _settled(pipeline: psycopg.Pipeline) -> bool:
    """Take answers up to the next that failed. Return whether none is left, or none will come."""
    try:
        pipeline.sync()
    except psycopg.errors.PipelineAborted:
        return False
    except psycopg.Error:
        return True
    return True


def hang_up(connection: Any) -> None:
    """Cut a connection that another thread may be waiting on: its wait fails at once."""
    with (
        contextlib.suppress(psycopg.Error, OSError, AttributeError),  # closed, or gone
        socket.socket(fileno=os.dup(connection.pgconn.socket)) as sock,
    ):
        sock.shutdown(socket.SHUT_RDWR)


def pin(connection: psycopg.Connection, settings: Mapping[str, str]) -> None:
    """Pin a session's settings in one round trip; newer ones if the server has them."""
    wanted = dict(settings)
    if connection.info.server_version >= 140000:
        wanted["idle_session_timeout"] = "0"
    if connection.info.server_version >= 170000:
        wanted["transaction_timeout"] = "0"
    calls = ", ".join("pg_catalog.set_config(%s, %s, false)" for _ in wanted)
    values = [part for item in wanted.items() for part in item]
    connection.execute(f"SELECT {calls}".encode(), values)


def _escaped(value: str) -> str:
    """Escape a setting in a session's options, which are separated by spaces."""
    return value.replace("\\", "\\\\").replace(" ", "\\ ")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


# Errors

Rule = tuple[type[StreamsError], str, str | None]

BY_STATE: Mapping[str, Rule] = {
    "28P01": (AuthenticationFailed, "the password is wrong", "Check user name and password."),
    "28000": (
        AuthenticationFailed,
        "the server refused the account",
        "Check pg_hba.conf and the user.",
    ),
    "3D000": (NotFound, "the database does not exist", "Create it, or name another one."),
    "42501": (
        PermissionDenied,
        "the account lacks the privilege",
        "Grant it, or use another account.",
    ),
    "42P01": (
        NotFound,
        "the table does not exist",
        "Start again if it was dropped meanwhile; otherwise check its name and schema.",
    ),
    "55P03": (
        LockTimeout,
        "another session held a lock for longer than options.lockTimeout",
        "End the session that holds it (pg_locks and pg_stat_activity show it), or the prepared "
        "transaction (pg_prepared_xacts).",
    ),
    "40P01": (ServerError, "a deadlock with another session", None),
    "40001": (ServerError, "a serialization failure", None),
    "53300": (ConnectionFailed, "the server has no free connection", "Lower parallelism."),
    "53100": (ServerError, "the server's disk is full", "Free space on it."),
    "57P01": (ConnectionFailed, "the server shut the connection down", None),
    "57014": (ServerError, "the statement was cancelled", None),
    "42710": (ServerError, "an object of that name exists already", None),
    "42P04": (TargetConflict, "a database of that name exists already", None),
    "42P06": (TargetConflict, "a schema of that name exists already", None),
    "42P07": (ServerError, "a table or index of that name exists already", None),
    "0A000": (
        TargetConflict,
        "the server was built without a feature that this needs, or does not have it yet",
        "Use a server that has it, or another type for the column (options.typeOverrides).",
    ),
    "2BP01": (
        TargetConflict,
        "other objects depend on it",
        "Drop those first, or use writeMode truncate_and_load instead.",
    ),
    "25006": (PermissionDenied, "the server is read-only", "Use the primary server as target."),
    "23505": (RowRejected, "a row has the key of another row", "Remove the duplicate."),
    "23503": (RowRejected, "a row refers to a row that does not exist", "Repair the reference."),
    "23502": (RowRejected, "a column that does not allow NULL got a NULL", None),
    "23514": (RowRejected, "a row violates a check constraint", None),
    "23P01": (RowRejected, "a row violates an exclusion constraint", None),
    "22001": (RowRejected, "a text is longer than its column", "Widen it with typeOverrides."),
    "22003": (RowRejected, "a number is out of its column's range", "Use a wider type."),
    "22021": (
        RowRejected,
        "a text contains a NUL character, which PostgreSQL does not store",
        None,
    ),
    "22P05": (RowRejected, "a text contains a character that PostgreSQL cannot store", None),
    "22P02": (RowRejected, "a text is not a valid value of its column's type", None),
    "22007": (RowRejected, "a text is not a valid date or time", None),
    "22008": (RowRejected, "a date or time is out of range", None),
    "54000": (
        ServerError,
        "a limit of PostgreSQL is exceeded (an index key that is too long?)",
        None,
    ),
}
BY_CLASS: Mapping[str, Rule] = {
    "08": (ConnectionFailed, "the connection broke", None),
    "22": (RowRejected, "a value does not fit its column", None),
    "23": (RowRejected, "a row violates a constraint", None),
    "28": (AuthenticationFailed, "the server refused the account", None),
    "57": (ConnectionFailed, "the server ended the connection", None),
}
RETRYABLE = {"40P01", "40001"}
SAFE_MESSAGE = {"42", "0A", "3F", "2B", "55", "58", "53", "54"}
"""Classes whose primary message is about names and syntax, not about rows."""


def translate(error: psycopg.Error, what: str, secrets: Masked = NOTHING) -> StreamsError:
    """Translate a driver's error about ``what`` to one of ours, without messages that may contain
    values."""
    state = error.sqlstate
    if state is None:
        return _without_state(error, what, secrets)
    rule = BY_STATE.get(state) or BY_CLASS.get(state[:2])
    diag = error.diag
    context = _copy_context(diag.context)
    if diag.source_function == ROW_SECURITY_CHECK:
        return hidden_rows(what, diag.message_primary, state)
    place = [
        f"{kind} {name}"
        for kind, name in (
            ("table", diag.table_name),
            ("column", diag.column_name or _copy_column(context)),
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
        remedy = remedy or "Correct the row, or quarantine such rows with onError: quarantine."
    line = _COPY_LINE.match(context)
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
    """Return the error for a statement that row-level security forbids this role.

    ``message`` is the server's; it names the table and contains no value.
    """
    return PermissionDenied(
        f"{what}: row-level security hides rows from the connected role: "
        f"{message or 'the server refused the statement'}.",
        remedy="ALTER ROLE ... BYPASSRLS; (as a superuser), connect as the table's owner (without "
        "FORCE ROW LEVEL SECURITY), or leave the table out.",
        sqlstate=state,
    )


_COPY_LINE = re.compile(r"COPY .+?, line (\d+)")
"""The context of an error in COPY FROM; in binary format too a line is a row."""


def _copy_context(context: str | None) -> str:
    """Return the context from the COPY on: before it a JSON parser names its own line."""
    text = context or ""
    return text.partition("\n")[2] if text.startswith("JSON data, line ") else text


def _copy_column(context: str) -> str | None:
    """Return the column of ``COPY t, line 3, column price: ...``; what follows it may be a
    value."""
    head, mark, tail = context.partition(", column ")
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
    ("no pg_hba.conf entry", AuthenticationFailed,
     "the server does not allow this account to connect",
     "Add a line for it to pg_hba.conf, or check ssl.mode.", None),
    ("authentication failed", AuthenticationFailed, "the server refused the account", CHECK_ACCOUNT,
     None),
    ("is not permitted to log in", AuthenticationFailed, "the server refused the account",
     "ALTER ROLE ... LOGIN.", None),
    (r'role ".*" does not exist', AuthenticationFailed, "the server refused the account",
     CHECK_ACCOUNT, None),
    ("permission denied", PermissionDenied, "the account lacks the CONNECT privilege",
     "GRANT CONNECT ON DATABASE.", None),
    (r'database ".*" does not exist', NotFound, "the database does not exist",
     "Create it, or name another one.", None),
    ("does not support ssl", ConnectionFailed, "the TLS connection failed",
     "Switch TLS on at the server, or choose another ssl.mode.", False),
    ("invalid response to ssl negotiation", ConnectionFailed,
     "what answered is no PostgreSQL server",
     "Check the port: PostgreSQL's is 5432, that of MySQL and MariaDB 3306.", False),
    ("certificate", ConnectionFailed, "the TLS handshake failed",
     "Check ssl.mode and the certificates.", False),
    ("ssl error", ConnectionFailed, "the TLS handshake failed",
     "Check ssl.mode and the certificates.", None),
    ("timeout expired", ConnectionFailed,
     "no answer within the login timeout (options.heartbeatTimeout, 15 seconds at most)",
     CHECK_SERVER, None),
    ("connection timed out", ConnectionFailed, "no answer in time", CHECK_SERVER, None),
    ("connection refused", ConnectionFailed, "the connection was refused", CHECK_SERVER, None),
    ("could not translate host name", ConnectionFailed, "the host name is unknown", CHECK_SERVER,
     None),
    ("failed to resolve", ConnectionFailed, "the host name is unknown", CHECK_SERVER, None),
)  # fmt: skip
"""What libpq's message has of a refused connection, as patterns in lower case; the first that fits
counts.

There is no SQLSTATE: it says what the server said, after `FATAL:`, and where.
"""
LESS = (ConnectionFailed, "the server refused the connection", CHECK_SERVER)
CONNECTIONS = ("too many", "connection slots", "remaining connection")
SAID = re.compile(r"(?:FATAL|ERROR|PANIC): +(.+)|connection to server .+? failed: (.+)")


def _without_state(error: psycopg.Error, what: str, secrets: Masked = NOTHING) -> StreamsError:
    """Return the error for a refused or broken connection, with the server's own sentence."""
    if not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return ServerError(f"{what}: the driver reported {type(error).__name__}.")
    match = SAID.search(str(error))
    said = server_text((match[1] or match[2]) if match else str(error), secrets)
    lower = said.lower()
    if any(words in lower for words in CONNECTIONS):
        return ConnectionFailed(
            f"{what}: the server has no free connection: {said}.", remedy="Lower parallelism."
        )
    for words, cls, sentence, remedy, retryable in REFUSALS:
        if re.search(words, lower):
            return cls(f"{what}: {sentence}: {said}.", remedy=remedy, retryable=retryable)
    cls, sentence, remedy = LESS
    broken = match is None or "server closed the connection" in lower
    return cls(f"{what}: {'the connection broke' if broken else sentence}: {said}.", remedy=remedy)


@contextlib.contextmanager
def translating(what: str, secrets: Masked = NOTHING) -> Iterator[None]:
    """Translate the driver's errors inside the block to ours, about ``what``.

    ``secrets`` are removed from the server's messages.
    """
    try:
        yield
    except psycopg.Error as error:
        raise translate(error, what, secrets) from None
