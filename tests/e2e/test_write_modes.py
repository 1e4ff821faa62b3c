"""Write modes, schema policies, structure options, overrides, and existing targets."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest

from streams_engine.testing.servers import Server
from tests.support.databases import End, leftovers, move, refused

SOURCE = [
    "CREATE TABLE parent (id INT PRIMARY KEY, name VARCHAR(20), KEY by_name (name))",
    "CREATE TABLE child (a INT, b VARCHAR(9), parent INT, n INT CHECK (n > 0), PRIMARY KEY (a, b),"
    " UNIQUE KEY one (n), FOREIGN KEY of_parent (parent) REFERENCES parent (id))",
    "INSERT INTO parent VALUES (1, 'one'), (2, 'two')",
    "INSERT INTO child VALUES (1, 'x', 1, 10), (1, 'y', 2, 20), (2, 'x', NULL, NULL)",
]
PARENTS = "SELECT id, name FROM parent ORDER BY 1"
CHILDREN = "SELECT a, b, n FROM child ORDER BY 1, 2"


@pytest.fixture
def source(mysql9: Server, database: Any) -> End:
    """Two tables with keys, a foreign key and a check."""
    end = End(mysql9, database(mysql9))
    end.run(*SOURCE)
    return end


@pytest.fixture
def postgres(pg15: Server, database: Any) -> End:
    """An empty PostgreSQL source."""
    return End(pg15, database(pg15))


@pytest.fixture
def target(pg18: Server, database: Any) -> End:
    """An empty target."""
    return End(pg18, database(pg18))


# writeMode


def test_append_adds_rows(source: End, target: End) -> None:
    target.run("CREATE TABLE parent (id int, name text)", "INSERT INTO parent VALUES (1, 'mine')")
    stats = move(source, target, tables=["parent"], write_mode="append")
    assert target.rows("SELECT id, name FROM parent ORDER BY 1, 2") == [
        (1, "mine"), (1, "one"), (2, "two"),
    ]  # fmt: skip
    assert stats.rows == 2


def test_truncate_and_load_replaces_rows(source: End, target: End) -> None:
    move(source, target)
    target.run("UPDATE parent SET name = 'old'", "INSERT INTO parent VALUES (9, 'old')")
    move(source, target, write_mode="truncate_and_load")
    assert target.rows(PARENTS) == [(1, "one"), (2, "two")]
    assert target.rows("SELECT count(*) FROM child") == [(3,)]


def test_upsert_updates_and_inserts(source: End, target: End) -> None:
    move(source, target)
    target.run("UPDATE parent SET name = 'old'", "INSERT INTO parent VALUES (9, 'mine')")
    source.run("INSERT INTO parent VALUES (3, 'three')", "UPDATE child SET n = 11 WHERE n = 10")
    move(source, target, write_mode="upsert")
    assert target.rows(PARENTS) == [(1, "one"), (2, "two"), (3, "three"), (9, "mine")]
    assert target.rows(CHILDREN) == [(1, "x", 11), (1, "y", 20), (2, "x", None)]


def test_upsert_on_an_empty_target_makes_the_tables(source: End, target: End) -> None:
    move(source, target, write_mode="upsert")
    assert target.rows(PARENTS) == [(1, "one"), (2, "two")]
    assert target.rows(CHILDREN) == [(1, "x", 10), (1, "y", 20), (2, "x", None)]
    assert target.rows(
        "SELECT count(*) FROM pg_constraint WHERE contype IN ('p', 'u', 'f', 'c')"
        " AND conrelid IN ('parent'::regclass, 'child'::regclass)"
    ) == [(5,)]


def test_upsert_of_a_table_that_is_all_key(source: End, target: End) -> None:
    source.run("CREATE TABLE k (a INT, b INT, PRIMARY KEY (a, b))", "INSERT INTO k VALUES (1, 2)")
    target.run("CREATE TABLE k (a int, b int, PRIMARY KEY (b, a))", "INSERT INTO k VALUES (1, 2)")
    source.run("INSERT INTO k VALUES (3, 4)")
    move(source, target, tables=["k"], write_mode="upsert")
    assert target.rows("SELECT * FROM k ORDER BY 1") == [(1, 2), (3, 4)]


def test_upsert_with_duplicates_in_one_load(source: End, target: End) -> None:
    """The source has no such key, so several rows meet one row of the target: the last wins."""
    source.run("CREATE TABLE d (id INT NOT NULL, v INT)", "INSERT INTO d VALUES (1, 1), (2, 2)")
    source.run("INSERT INTO d VALUES (1, 3)")
    target.run("CREATE TABLE d (id int PRIMARY KEY, v int)", "INSERT INTO d VALUES (1, 0)")
    move(source, target, tables=["d"], write_mode="upsert")
    assert target.rows("SELECT * FROM d ORDER BY 1") == [(1, 3), (2, 2)]


def test_upsert_matches_on_a_unique_key_of_solid_columns(source: End, target: End) -> None:
    source.run("CREATE TABLE u (code CHAR(3) NOT NULL UNIQUE, v INT)")
    source.run("INSERT INTO u VALUES ('abc', 1)")
    move(source, target, tables=["u"], write_mode="upsert")
    source.run("UPDATE u SET v = 2")
    move(source, target, tables=["u"], write_mode="upsert")
    assert target.rows("SELECT * FROM u") == [("abc", 2)]


def test_upsert_without_a_key_is_refused(source: End, target: End, caplog: Any) -> None:
    source.run("CREATE TABLE loose (v INT)")
    refused(
        caplog, source, target, "TARGET_CONFLICT", "public.loose", "upsert", write_mode="upsert"
    )
    assert leftovers(target) == []


def test_upsert_keeps_what_others_wrote_beside(source: End, target: End) -> None:
    target.run(
        "CREATE TABLE parent (id int PRIMARY KEY, name text, mine text DEFAULT 'd')",
        "INSERT INTO parent VALUES (1, 'old', 'kept')",
    )
    move(source, target, tables=["parent"], write_mode="upsert")
    assert target.rows("SELECT * FROM parent ORDER BY 1") == [(1, "one", "kept"), (2, "two", "d")]


def test_upsert_quarantines_what_the_stage_lets_through(source: End, target: End) -> None:
    """A check on the target is met by the merge, not by the COPY into the stage."""
    target.run("CREATE TABLE parent (id int PRIMARY KEY, name text CHECK (name <> 'one'))")
    stats = move(source, target, tables=["parent"], write_mode="upsert", on_error="quarantine")
    assert target.rows(PARENTS) == [(2, "two")]
    assert stats.target.failed_counter == 1
    assert target.rows("SELECT source_row->>'id' FROM streams_engine.quarantine") == [("1",)]


def test_fail_if_not_empty_loads_into_empty_tables(source: End, target: End) -> None:
    target.run("CREATE TABLE parent (id int PRIMARY KEY, name text)")
    move(source, target, write_mode="fail_if_not_empty")
    assert target.rows(PARENTS) == [(1, "one"), (2, "two")]


# schemaPolicy, structureOptions, skipData


def test_drop_and_recreate(source: End, target: End) -> None:
    source.run("CREATE TABLE e (id INT PRIMARY KEY, kind ENUM('x', 'y'))")
    move(source, target)
    target.run("ALTER TABLE parent DROP COLUMN name", "INSERT INTO parent VALUES (9)")
    source.run("ALTER TABLE e MODIFY kind ENUM('x', 'y', 'z')", "INSERT INTO e VALUES (1, 'z')")
    move(source, target, schema_policy="drop_and_recreate")
    assert target.rows(PARENTS) == [(1, "one"), (2, "two")]
    assert target.rows("SELECT kind::text FROM e") == [("z",)]


def test_drop_and_recreate_drops_nothing_that_depends(
    source: End, target: End, caplog: Any
) -> None:
    move(source, target)
    target.run("CREATE VIEW v AS SELECT * FROM parent")
    before = leftovers(target)
    refused(
        caplog,
        source,
        target,
        "TARGET_CONFLICT",
        "public.parent",
        "view v",
        schema_policy="drop_and_recreate",
    )
    assert leftovers(target) == before
    assert target.rows(PARENTS) == [(1, "one"), (2, "two")]


def test_skip_data_makes_the_structure_alone(source: End, target: End) -> None:
    stats = move(source, target, skip_data=True)
    assert stats.rows == 0
    assert target.rows("SELECT count(*) FROM parent") == [(0,)]
    assert leftovers(target) == ["public.child", "public.parent"]
    assert _constraints(target) == ["c", "f", "p", "p", "u"]


def _constraints(target: End) -> list[str]:
    kinds = target.rows(
        "SELECT contype::text FROM pg_constraint WHERE contype IN ('p', 'u', 'f', 'c') AND"
        " connamespace = 'public'::regnamespace ORDER BY 1"
    )
    return [row[0] for row in kinds]


@pytest.mark.parametrize(
    ("off", "left", "indexed"),
    [
        ("foreignKeys", ["c", "p", "p", "u"], 1),
        ("checkConstraints", ["f", "p", "p", "u"], 1),
        ("indexes", ["c", "f", "p", "p"], 0),
    ],
)
def test_structure_options_off(
    source: End, target: End, off: str, left: list[str], indexed: int
) -> None:
    move(source, target, structure_options={off: False})
    assert _constraints(target) == left
    found = target.rows("SELECT count(*) FROM pg_indexes WHERE indexname = 'by_name'")
    assert found == [(indexed,)]
    assert target.rows("SELECT count(*) FROM child") == [(3,)]


def test_structure_option_tables_off_makes_none(source: End, target: End, caplog: Any) -> None:
    tables_off = {"tables": False}
    refused(caplog, source, target, "NOT_FOUND", "public.child", structure_options=tables_off)
    assert leftovers(target) == []
    target.run(
        "CREATE TABLE parent (id int PRIMARY KEY, name text)",
        "CREATE TABLE child (a int, b text, parent int, n int)",
    )
    move(source, target, structure_options=tables_off)
    assert target.rows(CHILDREN) == [(1, "x", 10), (1, "y", 20), (2, "x", None)]


# Types, names, places

WIDE = [
    "CREATE TABLE w (id INT PRIMARY KEY, i INT, b BIGINT, d DECIMAL(9,2), f DOUBLE, day DATE,"
    " at DATETIME(3), yes TINYINT(1), t VARCHAR(20), y YEAR, raw VARBINARY(4), u BIGINT UNSIGNED,"
    " j JSON)",
    "INSERT INTO w VALUES (1, -5, 9007199254740993, -12.50, 0.1, '2020-02-29',"
    " '2020-02-29 01:02:03.456', 1, '42', 1999, X'00ff', 18446744073709551615, '{\"k\": 1}'),"
    " (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
]
OVERRIDES: list[tuple[str, str, Any]] = [
    ("i", "numeric(12, 3)", Decimal("-5.000")),
    ("i", "bigint", -5),
    ("i", "smallint", -5),
    ("i", "double precision", -5.0),
    ("i", "text", "-5"),
    ("i", "varchar(3)", "-5"),
    ("b", "numeric", Decimal("9007199254740993")),
    ("b", "text", "9007199254740993"),
    ("d", "numeric(30, 10)", Decimal("-12.5")),
    ("d", "double precision", -12.5),
    ("d", "text", "-12.50"),
    ("d", "money", "-$12.50"),
    ("f", "real", pytest.approx(0.1)),
    ("f", "numeric", Decimal("0.1")),
    ("day", "timestamp", datetime(2020, 2, 29)),
    ("day", "text", "2020-02-29"),
    ("at", "timestamp", datetime(2020, 2, 29, 1, 2, 3, 456000)),
    ("at", "date", date(2020, 2, 29)),
    ("at", "text", "2020-02-29 01:02:03.456"),
    ("yes", "smallint", 1),
    ("yes", "integer", 1),
    ("yes", "boolean", True),
    ("yes", "text", "1"),
    ("t", "integer", 42),
    ("t", "numeric", Decimal(42)),
    ("t", "citext", None),
    ("y", "integer", 1999),
    ("y", "text", "1999"),
    ("raw", "text", None),
    ("u", "numeric", Decimal(18446744073709551615)),
    ("u", "text", "18446744073709551615"),
    ("j", "json", {"k": 1}),
    ("j", "text", '{"k": 1}'),
]


@pytest.mark.parametrize(
    ("column", "wanted", "value"), [case for case in OVERRIDES if case[2] is not None]
)
def test_an_override_by_column(
    source: End, target: End, column: str, wanted: str, value: Any
) -> None:
    source.run(*WIDE)
    override = {"column": f"w.{column}", "type": wanted}
    move(source, target, tables=["w"], type_overrides=[override], allow_lossy=True)
    assert target.rows(f'SELECT "{column}" FROM w ORDER BY id') == [(value,), (None,)]
    assert target.rows(f'SELECT pg_typeof("{column}") = pg_typeof(NULL::{wanted}) FROM w') == [
        (True,), (True,),
    ]  # fmt: skip


@pytest.mark.parametrize("existing", sorted({case[1] for case in OVERRIDES if case[0] == "i"}))
def test_an_integer_into_an_existing_column(source: End, target: End, existing: str) -> None:
    """The rows are encoded for the type that is there."""
    source.run(*WIDE)
    target.run(f"CREATE TABLE w (id numeric, i {existing})")
    source.run("CREATE TABLE narrow AS SELECT id, i FROM w", "DROP TABLE w")
    source.run("RENAME TABLE narrow TO w")
    options: dict[str, Any] = {}
    if existing in ("smallint", "double precision", "numeric(12, 3)"):
        options["type_overrides"] = [{"column": "w.i", "type": existing}]
    if existing == "varchar(3)":
        options["type_overrides"] = [{"column": "w.i", "type": existing}]
    move(source, target, tables=["w"], **options)
    assert [str(v[0])[:2] for v in target.rows("SELECT i FROM w ORDER BY id")] == ["-5", "No"]


def test_an_override_by_type(source: End, target: End) -> None:
    source.run(*WIDE)
    overrides = [
        {"from": "int", "to": "bigint"},
        {"from": "decimal(9,2)", "to": "numeric(20, 4)"},
        {"column": "w.id", "type": "integer"},
    ]
    move(source, target, tables=["w"], type_overrides=overrides)
    assert target.rows(
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
        " WHERE attrelid = 'w'::regclass AND attname IN ('id', 'i', 'd') ORDER BY 1"
    ) == [("d", "numeric(20,4)"), ("i", "bigint"), ("id", "integer")]


def test_a_value_that_an_override_is_too_narrow_for(source: End, target: End, caplog: Any) -> None:
    source.run("CREATE TABLE n (id INT PRIMARY KEY, v INT)", "INSERT INTO n VALUES (1, 77777)")
    override = [{"column": "n.v", "type": "smallint"}]
    refused(
        caplog, source, target, "ROW_REJECTED", "n", "v", secrets=["77777"], tables=["n"],
        type_overrides=override,
    )  # fmt: skip


def test_identifiers_in_lower_case(source: End, target: End) -> None:
    source.run(
        "CREATE TABLE `Big One` (`Id` INT AUTO_INCREMENT PRIMARY KEY, `Name` VARCHAR(9),"
        " KEY `By Name` (`Name`), CHECK (`Name` <> 'x'))",
        "INSERT INTO `Big One` VALUES (7, 'n')",
    )
    move(source, target, identifier_case="lower")
    assert target.rows('SELECT id, name FROM "big one"') == [(7, "n")]
    target.run("INSERT INTO \"big one\" (name) VALUES ('m')")
    assert target.rows('SELECT max(id) FROM "big one"') == [(8,)]
    assert target.rows("SELECT count(*) FROM pg_indexes WHERE indexname = 'by name'") == [(1,)]


def test_a_schema_on_the_target(source: End, target: End) -> None:
    move(source, target, schema="Else where")
    assert target.rows('SELECT count(*) FROM "Else where".child') == [(3,)]
    assert target.rows("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


SCHEMAS = [
    "CREATE SCHEMA one",
    "CREATE SCHEMA two",
    "CREATE TYPE one.mood AS ENUM ('sad', 'ok')",
    "CREATE TABLE one.t (id int PRIMARY KEY, m one.mood)",
    "CREATE TABLE two.t (id int REFERENCES one.t, n text)",
    "CREATE TABLE t (id serial PRIMARY KEY)",
    "INSERT INTO one.t VALUES (1, 'ok')",
    "INSERT INTO two.t VALUES (1, 'x')",
    "INSERT INTO t DEFAULT VALUES",
]


def test_several_schemas_keep_their_names(postgres: End, target: End) -> None:
    postgres.run(*SCHEMAS)
    move(postgres, target)
    assert target.rows("SELECT m::text, n FROM one.t JOIN two.t USING (id)") == [("ok", "x")]
    target.run("INSERT INTO t DEFAULT VALUES")
    assert target.rows("SELECT max(id) FROM t") == [(2,)]


def test_several_schemas_into_one_with_a_clash(postgres: End, target: End, caplog: Any) -> None:
    """Two tables of one name cannot share a schema: refused, or renamed, never mixed."""
    postgres.run(*SCHEMAS)
    refused(caplog, postgres, target, "TARGET_CONFLICT", "one.t", "all.t", schema="all")
    assert leftovers(target) == []


def test_one_table_of_one_schema_into_another(postgres: End, target: End) -> None:
    postgres.run(*SCHEMAS)
    move(postgres, target, tables=["one.t"], schema="new")
    assert target.rows("SELECT id, m::text FROM new.t") == [(1, "ok")]
    assert "schema one" not in leftovers(target)


@pytest.mark.parametrize("size", [10, 1000])
@pytest.mark.parametrize("kind", ["mysql", "postgresql"])
def test_any_bundle_size_moves_every_row(
    source: End, postgres: End, target: End, size: int, kind: str
) -> None:
    fill = "CREATE TABLE m (id INT PRIMARY KEY, v TEXT)"
    if kind == "mysql":
        source.run(
            fill,
            "SET SESSION cte_max_recursion_depth = 5000",
            "INSERT INTO m WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
            " WHERE i < 2503) SELECT i, CONCAT('v', i) FROM n",
        )
    else:
        postgres.run(fill, "INSERT INTO m SELECT i, 'v' || i FROM generate_series(1, 2503) i")
    from_end = source if kind == "mysql" else postgres
    stats = move(from_end, target, tables=["m"], data_bundle_size=size)
    assert stats.rows == stats.source.counter == 2503
    assert target.rows("SELECT count(*), count(DISTINCT v), max(id) FROM m") == [(2503, 2503, 2503)]


# Tables that are already there


@pytest.mark.parametrize(
    ("table", "more"),
    [
        ("id int PRIMARY KEY, name text, extra text", None),
        ("id int PRIMARY KEY, extra int NOT NULL DEFAULT 5, name text", None),
        ("no bigint GENERATED ALWAYS AS IDENTITY, name text, id int", None),
        ("id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text", None),
        ("id bigint GENERATED BY DEFAULT AS IDENTITY, name varchar(30)", None),
        ("id int, name text, big text GENERATED ALWAYS AS (upper(name)) STORED", None),
        ("name varchar(20), id numeric", "CREATE INDEX ON parent (name)"),
    ],
)
@pytest.mark.parametrize("mode", ["fail_if_not_empty", "truncate_and_load", "append"])
def test_a_table_with_more_than_is_needed(
    source: End, target: End, table: str, more: str | None, mode: str
) -> None:
    target.run(f"CREATE TABLE parent ({table})")
    if more:
        target.run(more)
    move(source, target, tables=["parent"], write_mode=mode)
    assert target.rows(PARENTS) == [(1, "one"), (2, "two")]


def test_upsert_into_an_identity_that_is_always_generated(source: End, target: End) -> None:
    target.run("CREATE TABLE parent (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text)")
    target.run("INSERT INTO parent (name) VALUES ('old')")
    move(source, target, tables=["parent"], write_mode="upsert")
    assert target.rows(PARENTS) == [(1, "one"), (2, "two")]


def test_an_existing_trigger_fires(source: End, target: End) -> None:
    target.run(
        "CREATE TABLE parent (id int PRIMARY KEY, name text)",
        "CREATE FUNCTION louder() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN NEW.name := upper(NEW.name); RETURN NEW; END $$",
        "CREATE TRIGGER louder BEFORE INSERT ON parent FOR EACH ROW EXECUTE FUNCTION louder()",
    )
    move(source, target, tables=["parent"])
    assert target.rows(PARENTS) == [(1, "ONE"), (2, "TWO")]


@pytest.mark.parametrize("mode", ["fail_if_not_empty", "truncate_and_load", "append", "upsert"])
def test_a_partitioned_table_takes_the_rows(source: End, target: End, mode: str) -> None:
    target.run(
        "CREATE TABLE parent (id int PRIMARY KEY, name text) PARTITION BY RANGE (id)",
        "CREATE TABLE low PARTITION OF parent FOR VALUES FROM (0) TO (2)",
        "CREATE TABLE high PARTITION OF parent FOR VALUES FROM (2) TO (9)",
    )
    move(source, target, tables=["parent"], write_mode=mode)
    assert target.rows("SELECT id FROM low") == [(1,)]
    assert target.rows("SELECT id FROM high") == [(2,)]


def test_an_existing_foreign_key_whose_parent_comes_later(source: End, target: End) -> None:
    """Existing tables keep their keys, and the order of loading respects none: it must work."""
    target.run(
        "CREATE TABLE parent (id int PRIMARY KEY, name text)",
        "CREATE TABLE child (a int, b text, parent int REFERENCES parent, n int)",
    )
    move(source, target)
    assert target.rows(CHILDREN) == [(1, "x", 10), (1, "y", 20), (2, "x", None)]


# PostgreSQL to PostgreSQL by text


TEXTUAL = [
    "CREATE TYPE pair AS (a int, b text)",
    "CREATE TYPE mood AS ENUM ('sad', 'o''k, \"x\"')",
    "CREATE DOMAIN positive AS int CHECK (VALUE > 0)",
    "CREATE TABLE t (id int PRIMARY KEY, p pair, ps pair[], m mood, ms mood[], r int4range,"
    " rs tstzrange, mr int4multirange, d positive, ds positive[], n numeric[], b bytea,"
    " at timestamptz, i interval, bits varbit, ip inet, j jsonb, v tsvector, text text)",
    r"""INSERT INTO t VALUES (1, ROW(1, E'a,"\\\\b(\n'), ARRAY[ROW(NULL, '')::pair, NULL],
    'o''k, "x"', ARRAY['sad', NULL]::mood[], '[1,5)', '[2020-01-01 00:00+02,)', '{[1,3),[5,7)}', 5,
    '{1,2}', '{1.10,NaN,NULL}', '\x00ff5c', 'infinity', '1 mon -3 days 04:05:06.7',
    B'101', '10.0.0.1/24', '{"k": "\u00e4"}', 'a:1 b:2', E'tab\there \\N \\. back\\')""",
    "INSERT INTO t (id) VALUES (2)",
]


@pytest.mark.parametrize("mode", ["fail_if_not_empty", "upsert"])
def test_types_that_travel_as_text(postgres: End, target: End, mode: str) -> None:
    postgres.run(*TEXTUAL)
    move(postgres, target, write_mode=mode)
    query = "SELECT to_json(t)::text, t::text FROM t ORDER BY id"
    assert target.rows(query) == postgres.rows(query)


def test_text_rows_into_an_existing_table(postgres: End, target: End) -> None:
    postgres.run(*TEXTUAL)
    move(postgres, target, skip_data=True)
    target.run("ALTER TABLE t ADD more int DEFAULT 1")
    move(postgres, target, on_error="quarantine")
    query = "SELECT ps::text, ms::text, n::text, b, at::text, text FROM t ORDER BY id"
    assert target.rows(query) == postgres.rows(query)


def test_hstore_moves_with_its_extension(postgres: End, target: End) -> None:
    found = [
        end.rows("SELECT count(*) FROM pg_available_extensions WHERE name = 'hstore'")[0][0]
        for end in (postgres, target)
    ]
    if not all(found):
        pytest.skip("hstore is not on both servers")
    postgres.run("CREATE EXTENSION hstore", "CREATE TABLE h (id int PRIMARY KEY, v hstore)")
    postgres.run("INSERT INTO h VALUES (1, 'a=>1, \"b c\"=>NULL'), (2, NULL)")
    move(postgres, target)
    assert target.rows("SELECT v::text FROM h ORDER BY id") == postgres.rows(
        "SELECT v::text FROM h ORDER BY id"
    )
