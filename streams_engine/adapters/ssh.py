"""SSH tunnel to a server (extra ``ssh``: asyncssh).

A port of the loopback interface accepts connections; each becomes a channel of one SSH session,
which is opened again if it is lost, so that a stream can reconnect.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from streams_engine.adapters.sql.server_message import Masked, server_text
from streams_engine.config import Connection, DatabaseConnection, Resolver
from streams_engine.config.connection import Ssh
from streams_engine.config.secret import Secret
from streams_engine.errors import AuthenticationFailed, ConfigError, ConnectionFailed, require

__all__ = ["reachable"]

LOGIN_SECONDS = 15
ALIVE_SECONDS = 15
"""How often the session is asked whether it lives; three answers may fail."""
BLOCK = 1 << 16


@contextlib.contextmanager
def reachable(connection: Connection, resolvers: Mapping[str, Resolver]) -> Iterator[Connection]:
    """Yield the connection in a form that can be opened: itself, or through a tunnel until the
    block ends.

    Raises `ConnectionFailed`, `AuthenticationFailed`, `ConfigError`.
    """
    if not isinstance(connection, DatabaseConnection) or connection.ssh is None:
        yield connection
        return
    if connection.ssl.mode == "verify-full":
        raise ConfigError(
            "$.ssl.mode: through an SSH tunnel the server's name cannot be verified.",
            path="$.ssl.mode",
            remedy="Use verify-ca: SSH itself verifies the host.",
        )
    tunnel = _Tunnel(connection.ssh, connection.host, connection.port, resolvers)
    try:
        yield replace(connection, host="127.0.0.1", port=tunnel.open(), ssh=None)
    finally:
        tunnel.close()


class _Tunnel:
    """One listening port and one SSH session, on an event loop of their own thread."""

    def __init__(self, ssh: Ssh, host: str, port: int, resolvers: Mapping[str, Resolver]) -> None:
        self._what = f"SSH to {ssh.host}:{ssh.port}"
        self._asyncssh = _library()
        self._far = (host, port)
        self._settings = _settings(ssh, resolvers, self._asyncssh)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="streams-engine-ssh", daemon=True
        )
        self._session: Any = None
        self._server: asyncio.Server | None = None
        self._login: asyncio.Lock | None = None

    def open(self) -> int:
        """Log in and listen; the local port."""
        self._thread.start()
        return self._do(self._open)

    def close(self) -> None:
        """Close the tunnel. Idempotent."""
        if self._thread.is_alive():
            self._do(self._close)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def _do(self, work: Callable[[], Coroutine[Any, Any, int]]) -> int:
        return asyncio.run_coroutine_threadsafe(work(), self._loop).result()

    async def _open(self) -> int:
        self._login = asyncio.Lock()
        await self._logged_in()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def _close(self) -> int:
        if self._server is not None:
            self._server.close()
        if self._session is not None:
            self._session.abort()
        own = asyncio.current_task()
        others = [task for task in asyncio.all_tasks() if task is not own]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        return 0

    async def _logged_in(self) -> Any:
        """Return the SSH session, opening a new one if none lives."""
        async with require(self._login, "the lock of the tunnel, which was not opened"):
            if self._session is None or self._session.is_closed():
                self._session = await self._connect()
            return self._session

    async def _connect(self) -> Any:
        ssh = self._asyncssh
        try:
            return await ssh.connect(
                **self._settings,
                login_timeout=LOGIN_SECONDS,
                connect_timeout=LOGIN_SECONDS,
                keepalive_interval=ALIVE_SECONDS,
                config=None,
                agent_path=None,
            )
        except ssh.PermissionDenied as error:
            raise AuthenticationFailed(
                f"{self._what}: the SSH server refused the account: {self._said(error)}.",
                remedy="Check ssh.username and its password or privateKey.",
            ) from None
        except ssh.HostKeyNotVerifiable:
            raise ConnectionFailed(
                f"{self._what}: the host key is not in known_hosts.",
                remedy="Add it to known_hosts, or set ssh.knownHosts.",
                retryable=False,
            ) from None
        except (OSError, ssh.Error, TimeoutError) as error:
            raise ConnectionFailed(
                f"{self._what}: {self._reason(error)}.",
                remedy="Check ssh.host and ssh.port, and that the server runs.",
            ) from None

    def _said(self, error: BaseException) -> str:
        text = getattr(error, "reason", None) or str(error) or type(error).__name__
        secrets = Masked(self._settings.get("password"))
        return server_text(str(text), secrets)

    def _reason(self, error: BaseException) -> str:
        """Return why the session could not be opened."""
        if isinstance(error, TimeoutError) or "timeout" in str(error).lower():
            return f"no answer within {LOGIN_SECONDS} seconds"
        if isinstance(error, socket.gaierror):
            return "the host name is unknown"
        if isinstance(error, ConnectionRefusedError):
            return "the connection was refused"
        return f"no session could be opened: {self._said(error)}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward the bytes of one connection in both directions until either end closes."""
        try:
            session = await self._logged_in()
            far_reader, far_writer = await session.open_connection(*self._far)
        except (ConnectionFailed, self._asyncssh.Error, OSError):
            writer.transport.abort()
            return
        ways = [
            asyncio.ensure_future(_carry(reader, far_writer)),
            asyncio.ensure_future(_carry(far_reader, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            far_writer.close()
            writer.close()


async def _carry(reader: Any, writer: Any) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(BLOCK):
            writer.write(data)
            await writer.drain()


def _library() -> Any:
    try:
        import asyncssh
    except ImportError:
        raise ConfigError(
            "$.ssh: the package asyncssh is not installed.",
            path="$.ssh",
            remedy="pip install 'streams-engine[ssh]'",
        ) from None
    return asyncssh


def _settings(ssh: Ssh, resolvers: Mapping[str, Resolver], asyncssh: Any) -> dict[str, Any]:
    """Return asyncssh's arguments (https://asyncssh.readthedocs.io/en/stable/api.html)."""
    arguments: dict[str, Any] = {
        "host": ssh.host,
        "port": ssh.port,
        "username": ssh.username,
        "password": None,
        "client_keys": None,
    }
    if ssh.password is not None:
        arguments["password"] = ssh.password.reveal(resolvers)
    if ssh.private_key is not None:
        arguments["client_keys"] = [_key(ssh.private_key, ssh, resolvers, asyncssh)]
    if ssh.known_hosts is not None:
        path = os.path.expanduser(ssh.known_hosts)
        arguments["known_hosts"] = (
            path if os.path.exists(path) else asyncssh.import_known_hosts(ssh.known_hosts)
        )
    return arguments


def _key(secret: Secret, ssh: Ssh, resolvers: Mapping[str, Resolver], asyncssh: Any) -> Any:
    key = _imported(secret.reveal(resolvers), ssh, resolvers, asyncssh)
    if key is None:
        raise ConfigError(
            "$.ssh.privateKey: not a readable private key.",
            path="$.ssh.privateKey",
            remedy="Give a PEM or OpenSSH key as text or path, and ssh.passphrase if it has one.",
        )
    return key


def _imported(text: str, ssh: Ssh, resolvers: Mapping[str, Resolver], asyncssh: Any) -> Any:
    """Import the private key, or return None.

    It raises no error, because a traceback's local variables would contain the key's text.
    """
    phrase = None if ssh.passphrase is None else ssh.passphrase.reveal(resolvers)
    try:
        if "-----BEGIN" not in text:
            text = Path(text).expanduser().read_text()
        return asyncssh.import_private_key(text, phrase)
    except (OSError, ValueError):  # asyncssh's own are ValueErrors
        return None
