"""Defaults that take numbers of a sequence of MariaDB, which is not moved."""

from __future__ import annotations

import pytest

from streams_engine.schema.mapping.mysql_to_mysql import SEQUENCE_CALL


@pytest.mark.parametrize(
    ("sql", "calls"),
    [
        ("nextval(`q`)", True),
        ("(NEXT VALUE FOR q)", True),
        ("(previous  value for `d`.`q`)", True),
        ("(1 + `q`.nextval)", True),
        ("nextval_of_mine", False),
        ("(`next` + 1)", False),
    ],
)
def test_a_default_that_calls_a_sequence_is_known(sql: str, calls: bool) -> None:
    assert bool(SEQUENCE_CALL.search(sql)) == calls
