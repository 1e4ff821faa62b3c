"""The generated schema, hostile names, types and values and all, moves whole."""

from __future__ import annotations

import pytest

from tests.support.generated_mysql import fill_mysql
from tests.support.generated_postgres import fill_postgres, has_extension
from tests.support.sample_moves import differences, moved, server


@pytest.mark.parametrize("target", ["pg15", "pg18"])
@pytest.mark.parametrize("source", ["mysql9", "mariadb"])
def test_generated_mysql_moves_whole(
    request: pytest.FixtureRequest, source: str, target: str
) -> None:
    ends = server(request, source), server(request, target)
    with moved(*ends, fill_mysql) as (there, here):
        assert differences(there, here) == []


@pytest.mark.parametrize("source", ["pg15", "pg18"])
def test_generated_postgres_moves_whole(request: pytest.FixtureRequest, source: str) -> None:
    ends = server(request, source), server(request, "pg18")
    gist = all(has_extension(end, "btree_gist") for end in ends)
    with moved(*ends, lambda to: fill_postgres(to, btree_gist=gist)) as (there, here):
        assert differences(there, here) == []
