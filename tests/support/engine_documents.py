"""Connection documents of private servers, as an `Engine` stores them."""

from __future__ import annotations

from typing import Any

from tests.support.databases import End


def document(end: End, **more: Any) -> dict[str, Any]:
    server = end.server
    return {
        "name": end.database, "type": server.kind, "host": server.host, "port": server.port,
        "username": server.user, "password": server.password, "database": end.database, **more,
    }  # fmt: skip
