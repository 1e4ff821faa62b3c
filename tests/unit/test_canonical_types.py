"""Which form a pair of columns is compared in, and what the normalisers hold for equal."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams_engine.model import Dialect, NativeType, TypeKind
from streams_engine.schema.types.canonical import (
    NORMALISERS,
    CanonicalType,
    canonical_type_for,
    nulls_zero_dates,
)


def my(name: str) -> NativeType:
    return NativeType(Dialect.MYSQL, name, name)


def pg(name: str) -> NativeType:
    if name == "enum":
        return NativeType(Dialect.POSTGRES, "mood", "mood", kind=TypeKind.ENUM)
    kind = TypeKind.ARRAY if name.startswith("_") else TypeKind.BASE
    return NativeType(Dialect.POSTGRES, name, name, kind=kind)


PUBLISHED = {
    ("tinyint", "int2"): CanonicalType.INTEGER,
    ("tinyint", "bool"): CanonicalType.BOOLEAN,
    ("mediumint", "int4"): CanonicalType.INTEGER,
    ("int", "int8"): CanonicalType.INTEGER,
    ("bigint", "numeric"): CanonicalType.DECIMAL,
    ("decimal", "numeric"): CanonicalType.DECIMAL,
    ("float", "float4"): CanonicalType.FLOAT,
    ("double", "float8"): CanonicalType.FLOAT,
    ("char", "varchar"): CanonicalType.TEXT,
    ("longtext", "text"): CanonicalType.TEXT,
    ("binary", "bytea"): CanonicalType.BYTES,
    ("longblob", "bytea"): CanonicalType.BYTES,
    ("date", "date"): CanonicalType.MOMENT,
    ("datetime", "timestamp"): CanonicalType.MOMENT,
    ("timestamp", "timestamptz"): CanonicalType.MOMENT,
    ("time", "time"): CanonicalType.MOMENT,
    ("year", "int2"): CanonicalType.INTEGER,
    ("json", "jsonb"): CanonicalType.JSON,
    ("bit", "bool"): CanonicalType.BOOLEAN,
    ("bit", "bit"): CanonicalType.BITS,
    ("enum", "enum"): CanonicalType.TEXT,
    ("set", "_text"): CanonicalType.LABELS,
    ("multipolygon", "bytea"): CanonicalType.BYTES,
    ("vector", "bytea"): CanonicalType.BYTES,
    ("uuid", "uuid"): CanonicalType.TEXT,
    ("inet6", "inet"): CanonicalType.TEXT,
}

OVERRIDDEN = {
    ("bigint", "int8"): CanonicalType.INTEGER,
    ("tinyint", "int2"): CanonicalType.INTEGER,
    ("date", "text"): CanonicalType.MOMENT,
    ("time", "interval"): CanonicalType.MOMENT,
    ("set", "text"): CanonicalType.TEXT,
    ("json", "text"): CanonicalType.JSON,
    ("longtext", "jsonb"): CanonicalType.JSON,
    ("binary", "uuid"): CanonicalType.BYTES,
    ("bigint", "float8"): CanonicalType.DECIMAL,
    ("bit", "int8"): CanonicalType.INTEGER,
    ("int", "text"): CanonicalType.TEXT,
}


@pytest.mark.parametrize(("names", "form"), [*PUBLISHED.items(), *OVERRIDDEN.items()])
def test_form_is_the_same_in_both_directions(names: tuple[str, str], form: CanonicalType) -> None:
    one, two = my(names[0]), pg(names[1])
    assert canonical_type_for(one, two) is form
    assert canonical_type_for(two, one) is form


def test_one_dialect_compares_the_servers_own_text() -> None:
    assert canonical_type_for(pg("numeric"), pg("numeric")) is CanonicalType.NATIVE
    # MySQL and MariaDB are one dialect, and print JSON each in its own way.
    assert canonical_type_for(my("json"), my("json")) is CanonicalType.JSON
    assert canonical_type_for(pg("int4"), pg("int8")) is CanonicalType.INTEGER
    assert canonical_type_for(my("json"), my("longtext")) is CanonicalType.JSON


def test_domain_is_compared_as_its_base() -> None:
    domain = NativeType(Dialect.POSTGRES, "year", "year", kind=TypeKind.DOMAIN, element=pg("int4"))
    assert canonical_type_for(my("year"), domain) is CanonicalType.INTEGER


def test_zero_dates_are_null_only_where_the_copy_made_them_so() -> None:
    assert nulls_zero_dates(my("date"), pg("date"), "null")
    assert not nulls_zero_dates(my("date"), pg("date"), "error")
    assert not nulls_zero_dates(my("date"), pg("text"), "null")
    assert not nulls_zero_dates(my("date"), my("date"), "null")
    assert not nulls_zero_dates(my("time"), pg("time"), "null")


@pytest.mark.parametrize(
    ("form", "one", "two"),
    [
        (CanonicalType.DECIMAL, "1.500", "1.5"),
        (CanonicalType.DECIMAL, "-0.00", "0"),
        (CanonicalType.DECIMAL, "00042", "42"),
        (CanonicalType.DECIMAL, "1e+20", "100000000000000000000"),
        (CanonicalType.DECIMAL, "NaN", "NaN"),
        (CanonicalType.FLOAT, "1e20", "1e+20"),
        (CanonicalType.FLOAT, "123.456", "1.23456e2"),
        (CanonicalType.MOMENT, "2020-01-02 03:04:05.500000", "2020-01-02 03:04:05.5+00"),
        (CanonicalType.MOMENT, "03:04:05.000", "03:04:05"),
        (CanonicalType.MOMENT, "0044-03-15 01:02:03.500 BC", "0044-03-15 01:02:03.5+00 BC"),
        (CanonicalType.MOMENT, "0044-03-15 00:00:00 BC", "0044-03-15 BC"),
        (CanonicalType.MOMENT, "2020-01-02", "2020-01-02 00:00:00"),
        (CanonicalType.BITS, "101", "00101"),
        (CanonicalType.BITS, "0", "000"),
        (CanonicalType.JSON, '{"a": 1.0, "b": [1e2]}', '{"b":[100],"a":1}'),
        (CanonicalType.JSON, "-0.0", "0"),
    ],
)
def test_equal_values(form: CanonicalType, one: str, two: str) -> None:
    assert NORMALISERS[form](one) == NORMALISERS[form](two)


@pytest.mark.parametrize(
    ("form", "one", "two"),
    [
        (CanonicalType.DECIMAL, "0." + "0" * 29 + "1", "0." + "0" * 29 + "2"),
        (CanonicalType.DECIMAL, "1", "-1"),
        (CanonicalType.DECIMAL, "10", "1"),
        (CanonicalType.FLOAT, "0.1", "0.10000000000000002"),
        (CanonicalType.FLOAT, "0", "-0"),
        (CanonicalType.MOMENT, "2020-01-02 03:04:05.000001", "2020-01-02 03:04:05"),
        (CanonicalType.MOMENT, "2020-01-10", "2020-01-1"),
        (CanonicalType.MOMENT, "0044-03-15", "0044-03-15 BC"),
        (CanonicalType.JSON, '"1"', "1"),
        (CanonicalType.JSON, '{"#": "1"}', "1"),
        (CanonicalType.JSON, "null", '"null"'),
        (CanonicalType.JSON, "1" * 40, "1" * 39 + "2"),
        (CanonicalType.JSON, "true", "1"),
        (CanonicalType.JSON, "[1, 2]", "[2, 1]"),
    ],
)
def test_different_values(form: CanonicalType, one: str, two: str) -> None:
    assert NORMALISERS[form](one) != NORMALISERS[form](two)


@given(st.decimals(allow_nan=False, allow_infinity=False), st.integers(0, 9))
def test_decimal_is_one_text_a_number(number: Decimal, zeros: int) -> None:
    normalise = NORMALISERS[CanonicalType.DECIMAL]
    scaled = f"{number:f}" if abs(number.adjusted()) < 300 else str(number)
    if "." in scaled and "E" not in scaled:
        scaled += "0" * zeros
    assert normalise(scaled) == normalise(str(number))
    assert Decimal(normalise(str(number))) == number


def test_json_never_fails() -> None:
    deep = "[" * 100_000 + "]" * 100_000
    for text in ("no json", "", deep, "1e999999999999"):
        assert NORMALISERS[CanonicalType.JSON](text) == NORMALISERS[CanonicalType.JSON](text)
