"""Expressions of generated columns, defaults, checks and indexes from one server to another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from streams_engine import Stream
from streams_engine.schema.mapping import expressions_to_mysql
from streams_engine.schema.mapping.expressions_to_postgres import RULES
from streams_engine.testing.servers import Server
from tests.support.databases import End, move

BASE = {
    "i": "int", "s": "smallint", "big": "bigint", "ub": "bigint unsigned", "d": "decimal(10,3)",
    "t": "varchar(30)", "c": "{char}(10)", "x": "longtext", "tb": "varchar(30) {exact}",
    "t2": "varchar(30) {exact}", "cb": "{char}(10) {exact}", "en": "enum('a','b','C')",
    "da": "date", "dt": "datetime", "fl": "double",
}  # fmt: skip
"""The columns that the samples of the rules speak of."""
WORDS = {
    "mysql": {"exact": "COLLATE utf8mb4_0900_bin", "char": "char", "usual": "utf8mb4_0900_ai_ci"},
    # MariaDB does not compute with CHAR, which PAD_CHAR_TO_FULL_LENGTH changes.
    "mariadb": {
        "exact": "COLLATE utf8mb4_nopad_bin",
        "char": "varchar",
        "usual": "utf8mb4_general_ci",
    },
}
SAMPLES = [sample for rule in RULES for sample in rule.samples]
VALUES = [(kind, text) for kind, text in SAMPLES if kind is not None]
CONDITIONS = [text for kind, text in SAMPLES if kind is None]

# No row is one that the source itself refuses: numbers stay so small that nothing overflows.
words = st.one_of(
    st.sampled_from(["", " ", "a", "A", "abc", "ABC", "é", "É", "ä ö", " a ", "a  ", "ß", "x-y",
                     "e\u0301", "𐐷", "日本", "%", "_", "'", '"', "0", "\t", "\u00a0a", "a\n"]),
    st.text(st.characters(blacklist_categories=("Cs", "Cn"), blacklist_characters="\0"),
            max_size=6),
)  # fmt: skip
short = words.map(lambda text: text[:8].rstrip(" "))
NUMBERS = {"i": 2**31 - 1, "s": 999, "big": 10**11, "d": None}
COLUMNS: dict[str, Any] = {
    "i": st.integers(-(2**20), 2**20), "s": st.integers(-999, 999),
    "big": st.integers(-(10**11), 10**11), "ub": st.integers(0, 2**63 - 1),
    "d": st.decimals(-9999, 9999, places=3), "t": words, "c": short, "x": words, "tb": words,
    "t2": words, "cb": short, "en": st.sampled_from(["a", "b", "C"]),
    "da": st.dates(), "dt": st.datetimes().map(lambda moment: moment.replace(microsecond=0)),
    "fl": st.floats(-1e9, 1e9, allow_nan=False).map(lambda number: number + 0.0),
}  # fmt: skip
few = {
    "i": [0, 1, -1, 7], "s": [0, 1, 7], "d": [Decimal(0), Decimal("0.500"), Decimal("-2.500"),
    Decimal("2.500"), Decimal("1.500")], "tb": ["", "abc", "ABC", "abc "], "cb": ["a", "A", ""],
    "fl": [0.0, 0.1, 0.5, float("0.10000000149011612")],
}  # fmt: skip
row = st.tuples(
    *(
        st.one_of(st.none(), st.sampled_from(few.get(name, [None])), strategy)
        for name, strategy in COLUMNS.items()
    )
)
ABSENT = (None,) * len(COLUMNS)
BLANK = (0, 0, 0, 0, Decimal(0), "", "", "", "", "", "", "a", None, None, 0.0)


def base_columns(source: End) -> str:
    words = WORDS[source.server.kind]
    return ", ".join(f"{name} {kind.format(**words)}" for name, kind in BASE.items())


def made(source: End) -> str:
    computed = ", ".join(f"g{n} {kind} AS ({text}) STORED" for n, (kind, text) in enumerate(VALUES))
    return (
        f"CREATE TABLE r (id int PRIMARY KEY, {base_columns(source)}, {computed})"
        f" DEFAULT CHARSET utf8mb4 COLLATE {WORDS[source.server.kind]['usual']}"
    )


def conditions(source: End) -> str:
    checks = ", ".join(f"CONSTRAINT c{n} CHECK ({text})" for n, text in enumerate(CONDITIONS))
    return (
        f"CREATE TABLE c (id int PRIMARY KEY, {base_columns(source)}, {checks})"
        " DEFAULT CHARSET utf8mb4"
    )


@pytest.fixture(params=["mysql9", "mariadb"])
def source(request: pytest.FixtureRequest, database: Any) -> End:
    server: Server = request.getfixturevalue(request.param)
    return End(server, database(server))


@pytest.fixture
def target(pg15: Server, database: Any) -> End:
    return End(pg15, database(pg15))


@pytest.fixture
def pair(source: End, target: End) -> Iterator[tuple[End, End]]:
    """Both servers with the tables of the samples, as a run makes them."""
    source.run(made(source), conditions(source))
    found = move(source, target, tables=["r", "c"]).findings
    said = [f for f in found if f.code in ("generated-as-plain", "check", "left-out")]
    assert not said
    yield source, target


def test_each_rule_is_tried_in_a_value_or_a_condition() -> None:
    """A rule without a sample would come untried."""
    assert all(rule.samples for rule in RULES)
    nodes = [node for rule in RULES for node in rule.nodes]
    assert len(nodes) == len(set(nodes))


def test_each_rule_gives_the_same_on_both_servers(pair: tuple[End, End]) -> None:
    """Over rows with NULL, '', 0, accents and blanks."""
    source, target = pair
    names = list(COLUMNS)
    listed = ", ".join(["id", *names])
    places = ", ".join(["%s"] * (len(names) + 1))
    generated = target.rows(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'r'::regclass AND attgenerated = 's'"
    )
    assert len(generated) == len(VALUES)  # each sample was carried over
    checks = dict(
        target.rows(
            "SELECT conname, replace(pg_get_expr(conbin, conrelid), 'c_en', 'r_en')"
            " FROM pg_constraint WHERE conrelid = 'c'::regclass AND contype = 'c'"
        )
    )
    asked = [
        ", ".join(f"({text})" for text in texts)
        for texts in (CONDITIONS, [checks[f"c{n}"] for n in range(len(CONDITIONS))])
    ]
    values = ", ".join(f"g{n}" for n in range(len(VALUES)))
    with (
        closing(source.server.connect(source.database)) as mysql,
        closing(target.server.connect(target.database)) as postgres,
    ):

        @settings(
            max_examples=60, deadline=None, phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck), database=None,
        )  # fmt: skip
        @example([ABSENT, BLANK])
        @given(st.lists(row, min_size=3, max_size=25))
        def both(rows: list[tuple[Any, ...]]) -> None:
            found = []
            for connection, condition in ((mysql, asked[0]), (postgres, asked[1])):
                cursor = connection.cursor()
                cursor.execute("DELETE FROM r")
                cursor.executemany(
                    f"INSERT INTO r ({listed}) VALUES ({places})",
                    [(n, *values) for n, values in enumerate(rows)],
                )
                cursor.execute(f"SELECT id, {values}, {condition} FROM r ORDER BY id")
                found.append([tuple(map(plain, each)) for each in cursor.fetchall()])
            labels = ["id", *(text for _, text in VALUES), *CONDITIONS]
            for ours, theirs in zip(*found, strict=True):
                for label, one, other in zip(labels, ours, theirs, strict=True):
                    assert one == other, (label, one, other, rows[ours[0]])

        both()


def plain(value: Any) -> Any:
    return int(value) if isinstance(value, bool) else value


WRONG = [
    ("varchar(30)", "concat_ws(t, c, x)"), ("varchar(30)", "upper(t)"), ("int", "length(t)"),
    ("int", "t = 'abc'"), ("varchar(30)", "trim(both 'ab' from t)"), ("decimal(14,4)", "i / s"),
    ("int", "i div s"), ("varchar(30)", "nullif(t, 'ABC')"), ("varchar(30)", "greatest(t, x)"),
    ("int", "if(da is null, 1, 0)"), ("varchar(30)", "concat(d, t)"), ("double", "fl * 2"),
    ("varchar(40)", "concat(t, '\\\\')"), ("int", "i > 0"), ("varchar(9)", "left(t, 2)"),
    ("int", "if(t > 'a', 1, 0)"), ("int", "round(d)"), ("int", "i xor s"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text"), WRONG)
def test_what_no_rule_vouches_for_is_a_plain_column_with_its_values(
    source: End, target: End, kind: str, text: str
) -> None:
    source.run(
        f"CREATE TABLE r (id int PRIMARY KEY, {base_columns(source)}, g {kind} AS ({text}) STORED)",
        "INSERT INTO r (id, i, s, t, c, x, d) VALUES (1, 7, 2, 'abc', 'ABC', ' x', 2.5),"
        " (2, NULL, NULL, NULL, NULL, NULL, NULL), (3, 0, 1, '', '', '', 0)",
    )
    stream = Stream(source.url, target.url, tables=["r"])
    found = [f for f in stream.run().findings if f.code == "generated-as-plain"]
    assert [f.object.split(".")[-1] for f in found] == ["g"]
    query = "SELECT id, g FROM r ORDER BY id"
    assert target.rows(query) == source.rows(query)
    assert stream.verify().ok


POSTGRES = {
    "i": "int", "s": "smallint", "big": "bigint", "d": "numeric(10,3)", "t": "text",
    "v": "varchar(30)", "c": "char(10)", "en": "mood", "da": "date", "ts": "timestamp",
    "b": "bool", "r": "real", "f8": "double precision",
}  # fmt: skip
FORTH = [sample for rule in expressions_to_mysql.RULES for sample in rule.samples]
clear = words.map(lambda text: text.replace("\\", ""))
forth = {
    "i": st.integers(-(2**20), 2**20), "s": st.integers(-999, 999),
    "big": st.integers(-(10**11), 10**11), "d": st.decimals(-9999, 9999, places=3), "t": clear,
    "v": clear, "c": short, "en": st.sampled_from(["a", "b", "C"]),
    "da": st.dates(), "ts": st.datetimes().map(lambda moment: moment.replace(microsecond=0)),
    "b": st.booleans(), "r": st.floats(-1e9, 1e9, allow_nan=False, width=32),
    "f8": st.floats(-1e9, 1e9, allow_nan=False),
}  # fmt: skip
forth_few = {
    **few, "t": ["", "abc", "ABC", "abc ", "a"], "v": ["abc", "É", ""], "c": ["ab", "a", ""],
    "r": [0.0, 0.5, float("0.10000000149011612")], "f8": [0.0, 0.1, 0.5, 1.5],
}  # fmt: skip
forth_row = st.tuples(
    *(
        st.one_of(st.none(), st.sampled_from(forth_few.get(name, [None])), strategy)
        for name, strategy in forth.items()
    )
)


@pytest.mark.parametrize("kind", ["mysql9", "mariadb"])
def test_each_rule_of_checks_gives_the_same_on_mysql(
    request: pytest.FixtureRequest, pg15: Server, database: Any, kind: str
) -> None:
    source, server = End(pg15, database(pg15)), request.getfixturevalue(kind)
    target = End(server, database(server))
    columns = ", ".join(f"{name} {text}" for name, text in POSTGRES.items())
    checks = ", ".join(f"CONSTRAINT c{n} CHECK ({text})" for n, text in enumerate(FORTH))
    source.run(
        "CREATE TYPE mood AS ENUM ('a', 'b', 'C')",
        f"CREATE TABLE c (id int PRIMARY KEY, {columns}, {checks})",
        f"CREATE TABLE r (id int PRIMARY KEY, {columns})",
    )
    stream = Stream(source.url, target.url)
    plan = stream.plan()
    assert not [f for f in plan.findings if f.code == "check"]
    found = stream.run().findings
    assert not [f for f in found if f.code == "left-out"]
    made = [s.sql for s in plan.statements if " CHECK (" in s.sql]
    named = {sql.split(" CHECK (")[0].split("`")[-2]: sql.split(" CHECK (", 1)[1] for sql in made}
    theirs = ", ".join(f"({named[f'c{n}'][:-1]})" for n in range(len(FORTH)))
    ours = ", ".join(f"({text})" for text in FORTH)
    assert len(made) == len(FORTH)
    listed = ", ".join(["id", *POSTGRES])
    places = ", ".join(["%s"] * (len(POSTGRES) + 1))
    with (
        closing(target.server.connect(target.database)) as mysql,
        closing(source.server.connect(source.database)) as postgres,
    ):

        @settings(
            max_examples=60, deadline=None, phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck), database=None,
        )  # fmt: skip
        @example([(None,) * len(POSTGRES)] * 3)
        @given(st.lists(forth_row, min_size=3, max_size=25))
        def both(rows: list[tuple[Any, ...]]) -> None:
            found = []
            for connection, condition in ((postgres, ours), (mysql, theirs)):
                cursor = connection.cursor()
                cursor.execute("DELETE FROM r")
                cursor.executemany(
                    f"INSERT INTO r ({listed}) VALUES ({places})",
                    [(n, *values) for n, values in enumerate(rows)],
                )
                cursor.execute(f"SELECT {condition.replace('%', '%%')} FROM r ORDER BY id", ())
                found.append([tuple(map(plain, each)) for each in cursor.fetchall()])
            for values, one, other in zip(rows, *found, strict=True):
                for label, left, right in zip(FORTH, one, other, strict=True):
                    assert left == right, (label, left, right, values)

        both()


@pytest.mark.parametrize(
    "check",
    ["t > 'a'", "t LIKE 'a%'", "d::int > 3", "lower(t) = 'a'", "ts::date > '2020-01-01'",
     "t ~ '^a'", "c < 'b'", "en < 'b'", "round(d) > 1", "t = 'a '", "t = E'a\\\\b'", "i / s > 0",
     "i % 2 = 0", "r * 2 > 1", "length(t) IS DISTINCT FROM 3", "en::text > 'a'", "b IS TRUE"],
)  # fmt: skip
def test_a_check_that_no_rule_vouches_for_is_left_out(
    pg15: Server, mysql9: Server, database: Any, check: str
) -> None:
    source, target = End(pg15, database(pg15)), End(mysql9, database(mysql9))
    columns = ", ".join(f"{name} {text}" for name, text in POSTGRES.items())
    source.run(
        "CREATE TYPE mood AS ENUM ('a', 'b', 'C')",
        f"CREATE TABLE c (id int PRIMARY KEY, {columns}, CONSTRAINT odd CHECK ({check}))",
    )
    found = [f for f in Stream(source.url, target.url).plan().findings if f.code == "check"]
    assert [f.object.rsplit(".", 1)[-1] for f in found] == ["odd"]
