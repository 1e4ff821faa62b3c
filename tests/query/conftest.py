"""Tables spread over several sources, and the same ones together in one PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from streams_engine.testing.servers import Server
from tests.support.databases import End
from tests.support.spread import (
    Spread,
)

__all__ = ["Spread"]


@pytest.fixture(scope="module")
def shop(
    mysql9: Server,
    mariadb: Server,
    pg18: Server,
    pg15: Server,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Spread]:
    """Fresh databases on each server, and one that holds all tables; for a whole module."""
    servers = {"pg1": pg18, "pg2": pg15, "my1": mysql9, "my2": mariadb}
    ends = {alias: End(server, server.create_database()) for alias, server in servers.items()}
    one = End(pg18, pg18.create_database())
    yield Spread(ends, one, tmp_path_factory.mktemp("lake"))
    for end in (*ends.values(), one):
        end.server.drop_database(end.database)
