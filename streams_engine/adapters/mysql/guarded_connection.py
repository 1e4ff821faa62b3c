"""PyMySQL's connection, guarded against the server.

The server must not decide whether TLS is used, whether a password is sent in clear text, or which
file of this machine it gets.
"""

from __future__ import annotations

from typing import Any

from pymysql.connections import Connection
from pymysql.constants import CLIENT, COMMAND, CR
from pymysql.err import OperationalError

from streams_engine.adapters.sql.watchdog import UNANSWERED, Watch, watch_of
from streams_engine.arrow.buffers import RAW, well_formed
from streams_engine.contracts import StatementListener

__all__ = ["DRIVER_RAW", "GuardedConnection"]

DRIVER_RAW = (*RAW, AssertionError, AttributeError, TypeError)
"""What PyMySQL raises over packets that are not what it expects: it asserts, and takes one kind
of packet for another."""

CLEAR_TEXT = frozenset({b"mysql_clear_password", b"dialog"})
"""Authentication plugins that send the password as it is."""


STATEMENTS = frozenset({COMMAND.COM_QUERY, COMMAND.COM_STMT_PREPARE})
"""Commands that carry a statement."""


def _nothing() -> None:
    pass


class GuardedConnection(Connection):
    """Refuse downgrades of TLS and requests for files, from the first byte of the session on.

    PyMySQL's raw errors over a server's bytes are `ProtocolViolation`. LOAD DATA LOCAL is answered
    by whoever issued it (`loading`), never by the driver.
    """

    def __init__(
        self,
        *,
        tls_required: bool = False,
        clear_text: bool = False,
        files: bool = False,
        login_seconds: float | None = None,
        client_flag: int = 0,
        defer_connect: bool = False,
        **settings: Any,
    ) -> None:
        """Connect, refusing what the server must not ask for.

        ``files``: LOAD DATA LOCAL will be used. ``clear_text``: the password may be sent in clear
        text without TLS. ``login_seconds`` limits each answer until `wait_for` sets another limit.
        """
        self._tls_required = tls_required
        self._clear_text = clear_text
        self.watch: Watch | None = None
        self.on_statement: StatementListener | None = None
        super().__init__(
            **settings,
            client_flag=client_flag | (CLIENT.LOCAL_FILES if files else 0),
            local_infile=False,
            read_timeout=login_seconds,
            defer_connect=True,
        )
        self._ssl_required = tls_required
        if not defer_connect:
            self.connect()

    def wait_for(self, seconds: float | None) -> None:
        """Wait so long for each answer from now on; None: for ever."""
        self._read_timeout = self._current_timeout = seconds
        self._sock.settimeout(seconds)

    def connect(self, sock: Any = None) -> None:
        """Connect and log in."""
        with well_formed("logging in to MySQL", DRIVER_RAW):
            super().connect(sock)

    def _get_server_information(self) -> None:
        """Read the greeting. Versions before PyMySQL 1.5 would continue without TLS if it offers
        none."""
        super()._get_server_information()
        if self.server_capabilities & CLIENT.SSL:
            return
        if self._tls_required:
            raise OperationalError(CR.CR_SSL_CONNECTION_ERROR, "the server does not support TLS")
        self.ssl = False
        self.client_flag &= ~CLIENT.SSL

    def _process_auth(self, plugin_name: bytes, auth_packet: Any, *more: Any) -> Any:
        if plugin_name in CLEAR_TEXT and not (self._secure or self._clear_text):
            raise OperationalError(
                CR.CR_AUTH_PLUGIN_ERR, "the server asked for the password in clear text"
            )
        return super()._process_auth(plugin_name, auth_packet, *more)

    def _execute_command(self, command: int, sql: Any) -> Any:
        if self.on_statement is not None and command in STATEMENTS:
            plain = sql if isinstance(sql, str) else bytes(sql).decode("utf-8", "replace")
            self.on_statement(plain, "mysql")
        return super()._execute_command(command, sql)

    def abandon_result(self) -> None:
        """Leave the rest of an unbuffered result unread, for the session is over. PyMySQL would
        read it when the result is collected, and print that it cannot. Reading a row still
        raises."""
        if (result := getattr(self, "_result", None)) is not None:
            result._finish_unbuffered_query = _nothing

    def _force_close(self) -> None:
        self.abandon_result()
        super()._force_close()

    __del__ = _force_close

    def _read_bytes(self, num_bytes: int) -> Any:
        if self._sock is None:
            raise OperationalError(CR.CR_SERVER_LOST, "the connection is closed")
        with watch_of(self):
            try:
                return super()._read_bytes(num_bytes)
            except OperationalError as error:
                raise self._broken(error) from None

    def _write_bytes(self, data: Any) -> None:
        with watch_of(self):
            try:
                super()._write_bytes(data)
            except OperationalError as error:
                raise self._broken(error) from None

    def _broken(self, error: OperationalError) -> OperationalError:
        """Return the error, or that nothing was answered any more."""
        if self.watch is None or not self.watch.dead:
            return error
        return OperationalError(CR.CR_SERVER_LOST, UNANSWERED)

    def _read_packet(self, *arguments: Any, **options: Any) -> Any:
        with well_formed("a packet of MySQL", DRIVER_RAW):
            return super()._read_packet(*arguments, **options)

    def _read_query_result(self, *arguments: Any, **options: Any) -> Any:
        try:
            with well_formed("a result of MySQL", DRIVER_RAW):
                return super()._read_query_result(*arguments, **options)
        except RuntimeError:  # PyMySQL's answer to a request for a file
            self._force_close()
            raise OperationalError(
                CR.CR_MALFORMED_PACKET, "the server asked for a file that no LOAD DATA LOCAL names"
            ) from None
