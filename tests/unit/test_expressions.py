"""MySQL's expressions on PostgreSQL: carried where they mean the same, else left out."""

from __future__ import annotations

import pyarrow as pa
import pytest

from streams_engine.model import Column, Dialect, Expression, NativeType
from streams_engine.schema.mapping.expressions_to_postgres import translate, translate_default
from streams_engine.schema.types.postgres import postgres_type

KINDS = {"n": "varchar", "i": "int", "j": "bigint", "d": "decimal", "t": "varchar", "u": "text",
         "e": "enum", "b": "bit", "s": "set", "day": "date"}  # fmt: skip
COLUMNS = {
    name: Column(
        name,
        NativeType(Dialect.MYSQL, kind, kind),
        pa.null(),
        collation={"n": "utf8mb4_0900_bin"}.get(name, "utf8mb4_0900_ai_ci"),
    )
    for name, kind in KINDS.items()
}
NAMES = {name: name.upper() for name in COLUMNS}


def carried(sql: str, result: str | None = None) -> str | None:
    native = NativeType(Dialect.MYSQL, result, result) if result else None
    expression = Expression(sql, Dialect.MYSQL)
    found = translate(expression, COLUMNS, NAMES, native, conditions=result is None)
    assert found is None or found.dialect is Dialect.POSTGRES
    return found and found.sql


def default(sql: str, target: str) -> str | None:
    found = translate_default(Expression(sql, Dialect.MYSQL), postgres_type(target))
    return found and found.sql


@pytest.mark.parametrize(
    ("sql", "wanted"),
    [
        ("(`i` > 0)", '("I" > 0)'),
        (
            "(`i` + `j`) * 2 > 1",
            'CAST((CAST("I" AS DECIMAL) + CAST("J" AS DECIMAL)) AS DECIMAL) * 2 > 1',
        ),
        ("(`n` = _utf8mb4'a''b')", "(\"N\" = 'a''b')"),
        ("(`n` = _utf8mb4'a\\'b')", "(\"N\" = 'a''b')"),
        ("(`day` >= '2020-01-31')", "(\"DAY\" >= '2020-01-31')"),
        ("(`i` between 1 and 5)", '("I" BETWEEN 1 AND 5)'),
        ("(`i` is not null)", '(NOT "I" IS NULL)'),
    ],
)
def test_what_means_the_same_is_carried(sql: str, wanted: str) -> None:
    assert carried(sql) == wanted


@pytest.mark.parametrize(
    "sql",
    ["`t` > 'a'", "`t` = 'a'", "`n` > 'a'", "`day` > '2020-01-31 10:00'", "`day` = 'x'",
     "`day` is null", "`i`", "`i` = '5'", "`n` = 'a\\\\'", "`i` + 1e0 > 2", "1 = 1; drop table x",
     "`t` like 'a%'", "length(`t`)", "`b` = 1", "`s` = 'x'", "`i` div 2", "`i` / 2",
     "`i` % 2", "rand()", "now()", "`i` & 1", "`t` regexp 'a'", "json_extract(`u`, '$.a')",
     "`unknown` = 1", "concat(`i`, 'a')", "if(", "date_format(`day`, '%Y')", "`i` <=> 1",
     "`i` xor 1"],
)  # fmt: skip
def test_what_may_differ_is_left_out(sql: str) -> None:
    assert carried(sql) is None


@pytest.mark.parametrize(
    ("sql", "result"),
    [
        ("`i` > 0", "int"),
        ("if(`i`, 1, 0)", "int"),
        ("if(`t` = 'abc', 1, 0)", "int"),
        ("nullif(`t`, 'X')", "varchar"),
        ("coalesce(`t`, 0)", "varchar"),
        ("`i`", "varchar"),
        ("case `t` when 'a' then 1 end", "int"),
        ("if(`t` in ('a', 'b'), 1, 0)", "int"),
        ("if(`e` = 'a', 1, 0)", "int"),
        ("greatest(`t`, `u`)", "text"),
        ("`t` + 1", "int"),
        ("upper(`t`)", "varchar"),
        ("replace(`t`, 'a', 'b')", "varchar"),
        ("concat_ws(`t`, `u`, `u`)", "varchar"),
        ("if(`day` > '2020-01-01', 1, 0)", "int"),
    ],
)
def test_generated_values_that_may_differ_are_left_out(sql: str, result: str) -> None:
    assert carried(sql, result) is None


@pytest.mark.parametrize(
    ("sql", "result", "wanted"),
    [
        ("(`d` * `i`)", "decimal", '("D" * CAST("I" AS DECIMAL))'),
        ("if((`i` > 0),1,NULL)", "int", 'CASE WHEN ("I" > 0) THEN 1 ELSE NULL END'),
        ("concat(`t`,' ',`u`)", "varchar", "(\"T\" || ' ' || \"U\")"),
        ("coalesce(`t`,'')", "text", "COALESCE(\"T\", '')"),
        ("(case when (`i` is null) then 0 else 1 end)", "int",
         '(CASE WHEN ("I" IS NULL) THEN 0 ELSE 1 END)'),
    ],
)  # fmt: skip
def test_generated_values_that_agree_are_carried(sql: str, result: str, wanted: str) -> None:
    assert carried(sql, result) == wanted


@pytest.mark.parametrize(
    ("sql", "target", "wanted"),
    [
        ("0", "int", "0"),
        ("-1.50", "numeric(5,2)", "-1.50"),
        ("'5'", "int", "5"),
        ("'it''s'", "text", "'it''s'"),
        ("NULL", "text", None),
        ("CURRENT_TIMESTAMP", "timestamp", "CURRENT_TIMESTAMP"),
        ("current_timestamp(6)", "timestamptz", "CURRENT_TIMESTAMP(6)"),
        ("now()", "text", None),
        ("'0000-00-00'", "date", None),
        ("'2020-00-15'", "date", None),
        ("'2020-01-15'", "date", "'2020-01-15'"),
        ("'2020-01-15 00:00:00'", "timestamptz", "'2020-01-15 00:00:00+00'"),
        ("b'101'", "bit(5)", "B'00101'"),
        ("b'1'", "bool", "true"),
        ("0", "bool", "false"),
        ("2", "bool", None),
        ("'a,b'", "text[]", '\'{"a","b"}\''),
        ("''", "text[]", "'{}'"),
        ("'a'", "bytea", "'\\x61'::bytea"),
        ("uuid()", "uuid", "gen_random_uuid()"),
        ("uuid_to_bin(uuid())", "bytea", "uuid_send(gen_random_uuid())"),
        ("uuid_to_bin(uuid(), 1)", "bytea", None),
        ("replace(uuid(), '-', '')", "text", None),
        ("json_array()", "jsonb", "'[]'"),
        ("(1 + 2)", "int", "((1 + 2))"),
        ("rand()", "float8", None),
        ("no sql at all (", "text", None),
    ],
)
def test_defaults(sql: str, target: str, wanted: str | None) -> None:
    assert default(sql, target) == wanted
