"""Which columns that are there hold every value of those that are wanted."""

from __future__ import annotations

import pytest

from streams_engine.model import Dialect, NativeType
from streams_engine.schema.types.compatibility import can_hold


def mysql(text: str, name: str, *args: int) -> NativeType:
    return NativeType(Dialect.MYSQL, text, name, args)


@pytest.mark.parametrize(
    ("wanted", "there", "fits"),
    [
        (mysql("bigint(20)", "bigint", 20), mysql("bigint", "bigint"), True),
        (mysql("int(11)", "int", 11), mysql("int(3)", "int", 3), True),
        (mysql("year(4)", "year", 4), mysql("year", "year"), True),
        (mysql("bigint", "bigint"), mysql("int", "int"), False),
        (mysql("varchar(20)", "varchar", 20), mysql("varchar(10)", "varchar", 10), False),
        (mysql("datetime(6)", "datetime", 6), mysql("datetime", "datetime"), False),
    ],
)
def test_a_width_of_display_is_no_width(wanted: NativeType, there: NativeType, fits: bool) -> None:
    assert can_hold(wanted, there) is fits
