"""Which form a pair of columns is compared in, and what the normalisers hold for equal."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams_engine.model import Dialect, NativeType, TypeKind
from streams_engine.schema.forms import NORMALISERS, Form, form_for, nulls_zero_dates


def my(name: str) -> NativeType:
    return NativeType(Dialect.MYSQL, name, name)


def pg(name: str) -> NativeType:
    if name == "enum":
        return NativeType(Dialect.POSTGRES, "mood", "mood", kind=TypeKind.ENUM)
    kind = TypeKind.ARRAY if name.startswith("_") else TypeKind.BASE
    return NativeType(Dialect.POSTGRES, name, name, kind=kind)


PUBLISHED = {
    ("tinyint", "int2"): Form.INTEGER,
    ("tinyint", "bool"): Form.BOOLEAN,
    ("mediumint", "int4"): Form.INTEGER,
    ("int", "int8"): Form.INTEGER,
    ("bigint", "numeric"): Form.DECIMAL,
    ("decimal", "numeric"): Form.DECIMAL,
    ("float", "float4"): Form.FLOAT,
    ("double", "float8"): Form.FLOAT,
    ("char", "varchar"): Form.TEXT,
    ("longtext", "text"): Form.TEXT,
    ("binary", "bytea"): Form.BYTES,
    ("longblob", "bytea"): Form.BYTES,
    ("date", "date"): Form.MOMENT,
    ("datetime", "timestamp"): Form.MOMENT,
    ("timestamp", "timestamptz"): Form.MOMENT,
    ("time", "time"): Form.MOMENT,
    ("year", "int2"): Form.INTEGER,
    ("json", "jsonb"): Form.JSON,
    ("bit", "bool"): Form.BOOLEAN,
    ("bit", "bit"): Form.BITS,
    ("enum", "enum"): Form.TEXT,
    ("set", "_text"): Form.LABELS,
    ("multipolygon", "bytea"): Form.BYTES,
    ("vector", "bytea"): Form.BYTES,
    ("uuid", "uuid"): Form.TEXT,
    ("inet6", "inet"): Form.TEXT,
}

OVERRIDDEN = {
    ("bigint", "int8"): Form.INTEGER,
    ("tinyint", "int2"): Form.INTEGER,
    ("date", "text"): Form.MOMENT,
    ("time", "interval"): Form.MOMENT,
    ("set", "text"): Form.TEXT,
    ("json", "text"): Form.JSON,
    ("longtext", "jsonb"): Form.JSON,
    ("binary", "uuid"): Form.BYTES,
    ("bigint", "float8"): Form.DECIMAL,
    ("bit", "int8"): Form.INTEGER,
    ("int", "text"): Form.TEXT,
}


@pytest.mark.parametrize(("names", "form"), [*PUBLISHED.items(), *OVERRIDDEN.items()])
def test_form_is_the_same_in_both_directions(names: tuple[str, str], form: Form) -> None:
    one, two = my(names[0]), pg(names[1])
    assert form_for(one, two) is form
    assert form_for(two, one) is form


def test_one_dialect_compares_the_servers_own_text() -> None:
    assert form_for(pg("numeric"), pg("numeric")) is Form.NATIVE
    # MySQL and MariaDB are one dialect, and print JSON each in its own way.
    assert form_for(my("json"), my("json")) is Form.JSON
    assert form_for(pg("int4"), pg("int8")) is Form.INTEGER
    assert form_for(my("json"), my("longtext")) is Form.JSON


def test_domain_is_compared_as_its_base() -> None:
    domain = NativeType(Dialect.POSTGRES, "year", "year", kind=TypeKind.DOMAIN, element=pg("int4"))
    assert form_for(my("year"), domain) is Form.INTEGER


def test_zero_dates_are_null_only_where_the_copy_made_them_so() -> None:
    assert nulls_zero_dates(my("date"), pg("date"), "null")
    assert not nulls_zero_dates(my("date"), pg("date"), "error")
    assert not nulls_zero_dates(my("date"), pg("text"), "null")
    assert not nulls_zero_dates(my("date"), my("date"), "null")
    assert not nulls_zero_dates(my("time"), pg("time"), "null")


@pytest.mark.parametrize(
    ("form", "one", "two"),
    [
        (Form.DECIMAL, "1.500", "1.5"),
        (Form.DECIMAL, "-0.00", "0"),
        (Form.DECIMAL, "00042", "42"),
        (Form.DECIMAL, "1e+20", "100000000000000000000"),
        (Form.DECIMAL, "NaN", "NaN"),
        (Form.FLOAT, "1e20", "1e+20"),
        (Form.FLOAT, "123.456", "1.23456e2"),
        (Form.MOMENT, "2020-01-02 03:04:05.500000", "2020-01-02 03:04:05.5+00"),
        (Form.MOMENT, "03:04:05.000", "03:04:05"),
        (Form.MOMENT, "2020-01-02", "2020-01-02 00:00:00"),
        (Form.BITS, "101", "00101"),
        (Form.BITS, "0", "000"),
        (Form.JSON, '{"a": 1.0, "b": [1e2]}', '{"b":[100],"a":1}'),
        (Form.JSON, "-0.0", "0"),
    ],
)
def test_equal_values(form: Form, one: str, two: str) -> None:
    assert NORMALISERS[form](one) == NORMALISERS[form](two)


@pytest.mark.parametrize(
    ("form", "one", "two"),
    [
        (Form.DECIMAL, "0." + "0" * 29 + "1", "0." + "0" * 29 + "2"),
        (Form.DECIMAL, "1", "-1"),
        (Form.DECIMAL, "10", "1"),
        (Form.FLOAT, "0.1", "0.10000000000000002"),
        (Form.FLOAT, "0", "-0"),
        (Form.MOMENT, "2020-01-02 03:04:05.000001", "2020-01-02 03:04:05"),
        (Form.MOMENT, "2020-01-10", "2020-01-1"),
        (Form.JSON, '"1"', "1"),
        (Form.JSON, '{"#": "1"}', "1"),
        (Form.JSON, "null", '"null"'),
        (Form.JSON, "1" * 40, "1" * 39 + "2"),
        (Form.JSON, "true", "1"),
        (Form.JSON, "[1, 2]", "[2, 1]"),
    ],
)
def test_different_values(form: Form, one: str, two: str) -> None:
    assert NORMALISERS[form](one) != NORMALISERS[form](two)


@given(st.decimals(allow_nan=False, allow_infinity=False), st.integers(0, 9))
def test_decimal_is_one_text_a_number(number: Decimal, zeros: int) -> None:
    normalise = NORMALISERS[Form.DECIMAL]
    scaled = f"{number:f}" if abs(number.adjusted()) < 300 else str(number)
    if "." in scaled and "E" not in scaled:
        scaled += "0" * zeros
    assert normalise(scaled) == normalise(str(number))
    assert Decimal(normalise(str(number))) == number


def test_json_never_fails() -> None:
    deep = "[" * 100_000 + "]" * 100_000
    for text in ("no json", "", deep, "1e999999999999"):
        assert NORMALISERS[Form.JSON](text) == NORMALISERS[Form.JSON](text)
