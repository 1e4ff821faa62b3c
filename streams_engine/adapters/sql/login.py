"""The settings that every SQL server is logged in to with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeAlias

from streams_engine.config import DatabaseConnection, Resolver
from streams_engine.config.secret import Secret
from streams_engine.contracts import SinkRequest, SourceRequest

__all__ = ["Password", "database_of", "login", "password_now"]

Password: TypeAlias = str | Callable[[], str] | None
"""A callable is asked at each connection: what it gives may change."""


class _Unshown(str):
    """A password, which local variables do not show."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "***"


def password_now(password: Password) -> str | None:
    """Return the password of a connection that is opened now. Raises as `Secret.reveal`."""
    now = password() if callable(password) else password
    return None if now is None else _Unshown(now)


def login(connection: DatabaseConnection, resolvers: Mapping[str, Resolver]) -> dict[str, Any]:
    """Return port, account and TLS settings, references to certificates resolved; that to the
    password is resolved at each connection. Raises `ConfigError`."""
    ssl, password = connection.ssl, connection.password
    return {
        "port": connection.port,
        "user": connection.username,
        "password": None if password is None else partial(password.reveal, resolvers),
        "ssl_mode": ssl.mode,
        "ssl_ca": _pem(ssl.ca, resolvers),
        "ssl_cert": _pem(ssl.client_cert, resolvers),
        "ssl_key": _pem(ssl.client_key, resolvers),
        "clear_text": ssl.allow_clear_text,
    }


def database_of(request: SourceRequest | SinkRequest) -> str | None:
    """Return the database that is meant: the document's own, else the connection's."""
    place = request.document if isinstance(request, SourceRequest) else request.spec.db
    chosen: str | None = place.database or request.connection.database
    return chosen


def _pem(given: str | None, resolvers: Mapping[str, Resolver]) -> str | None:
    """Return a certificate or key as given, or resolve its reference."""
    return None if given is None else Secret(given).reveal(resolvers)
