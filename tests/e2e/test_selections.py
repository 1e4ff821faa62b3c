"""Selections: columns, filters with hostile values, sorts and limits, on every kind of source."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streams_engine import Stream
from streams_engine.errors import ConfigError, StreamsError
from streams_engine.testing.servers import Server
from tests.support.databases import End
from tests.support.stream_control import SMALL_CHUNKS, big

NONE: Mapping[str, Any] = {}
SERVERS = ["mysql9", "mariadb", "pg15"]
FILES = ["csv", "jsonl", "parquet"]
ROUTES = [("mysql9", "pg18"), ("mysql9", "mariadb"), ("pg15", "mysql9"), ("pg15", "pg18")]

TEXTS: list[str | None] = [
    None,  # ids begin with 1
    "plain",
    'O\'Brien said "x"',
    "back\\slash",
    "100%",
    "a_b",
    "x'; DROP TABLE t; --",
    None,
    "",
    "Plain",
    "100x",
    "axb",
    "ünï 😀",
    "' OR '1'='1",
    "line\nbreak",
    "?%s{}$1:x",
    "\\' OR 1=1 -- ",
]
ROWS = [
    (i, TEXTS[i], i * 1000 - 5000, f"{i * 3 // 2}.{i % 4}5", f"2026-01-{i:02}")
    for i in range(1, len(TEXTS))
]
IDS = [row[0] for row in ROWS]
NOT_NULL = [i for i in IDS if i != 7]


def but(*left_out: int) -> list[int]:
    return [i for i in NOT_NULL if i not in left_out]


CASES: list[tuple[list[tuple[str, str, Any]], list[int]]] = [
    *(([("s", "=", TEXTS[i])], [i]) for i in (2, 3, 4, 6, 8, 12, 13, 14, 15, 16)),
    ([("s", "!=", "O'Brien said \"x\"")], but(2)),
    ([("s", "IN", ["back\\slash", "' OR '1'='1", "nowhere"])], [3, 13]),
    ([("s", "NOT IN", ["100%", "x'; DROP TABLE t; --"])], but(4, 6)),
    ([("s", "LIKE", "100%")], [4, 10]),
    ([("s", "LIKE", "100\\%")], [4]),
    ([("s", "LIKE", "a_b")], [5, 11]),
    ([("s", "LIKE", "%\\\\%")], [3, 16]),
    ([("s", "NOT LIKE", "%'%")], but(2, 6, 13, 16)),
    ([("s", "CONTAINS", "%")], [4, 15]),
    ([("s", "CONTAINS", "_")], [5]),
    ([("s", "CONTAINS", "\\")], [3, 16]),
    ([("s", "CONTAINS", "'")], [2, 6, 13, 16]),
    ([("s", "CONTAINS", "\n")], [14]),
    ([("s", "NOT_CONTAINS", "a")], but(1, 3, 5, 9, 11, 14, 2)),
    ([("s", "STARTS_WITH", "\\'")], [16]),
    ([("s", "STARTS_WITH", "100%")], [4]),
    ([("s", "ENDS_WITH", '"')], [2]),
    ([("s", "ENDS_WITH", "%")], [4]),
    ([("s", "IS NULL", None)], [7]),
    ([("s", "IS NOT NULL", None)], NOT_NULL),
    ([("n", "=", -2000)], [3]),
    ([("n", "<=", -2000)], [1, 2, 3]),
    ([("n", ">=", 10000)], [15, 16]),
    ([("n", "BETWEEN", [-1000, 1000])], [4, 5, 6]),
    ([("n", "BETWEEN", [1000, -1000])], []),
    ([("n", "!=", 0)], [i for i in IDS if i != 5]),
    ([("d", "=", 4.35)], [3]),
    ([("d", "=", "4.35")], [3]),
    ([("d", "<", 3)], [1]),
    ([("day", ">=", "2026-01-15")], [15, 16]),
    ([("day", "BETWEEN", ["2026-01-02", "2026-01-03"])], [2, 3]),
    ([("s", "CONTAINS", "a"), ("n", ">", -1000), ("id", "<", 11)], [5, 9]),
    ([("n", ">", -1000), ("n", "<", -999)], []),
]  # fmt: skip
"""Conditions, and the ids that they choose: the same on every source."""


def document(
    source: Any, target: Any, tables: Any = (), options: Mapping[str, Any] = NONE, **more: Any
) -> dict[str, Any]:
    """A stream's document; ``tables``: names, or (name, selection)."""
    listed = [
        {"name": table} if isinstance(table, str) else {"name": table[0], "selection": table[1]}
        for table in tables
    ]
    ends = [end.url if isinstance(end, End) else str(end) for end in (source, target)]
    return {
        "mode": "convert",
        "source": {"connections": [{"connection": ends[0], "tables": listed}]},
        "target": {"connection": ends[1], "spec": {"db": more}},
        "options": dict(options),
    }


def run(
    source: Any, target: Any, tables: Any, options: Mapping[str, Any] = NONE, **more: Any
) -> Stream:
    stream = Stream.from_config(document(source, target, tables, options, **more))
    stream.run()
    return stream


def filters(*conditions: tuple[str, str, Any]) -> list[dict[str, Any]]:
    return [{"column": c, "operator": o, "value": v} for c, o, v in conditions]


def lines(folder: Path, table: str) -> list[dict[str, Any]]:
    """The rows of a table of JSONL files, in the order in which they lie."""
    return [
        json.loads(line)
        for part in sorted((folder / table).glob("part-*.jsonl"))
        for line in part.read_text("utf-8").split("\n")[:-1]
    ]


def fill(end: End, name: str) -> None:
    """A table of ROWS, compared by bytes."""
    text = "TEXT" if end.server.kind == "postgresql" else "VARCHAR(60) COLLATE utf8mb4_bin"
    end.run(
        f"CREATE TABLE {name} (id INT PRIMARY KEY, s {text}, n BIGINT, d DECIMAL(12,2), day DATE)"
    )
    with end.server.connect(end.database) as connection, connection.cursor() as cursor:
        cursor.executemany(f"INSERT INTO {name} VALUES (%s, %s, %s, %s, %s)", ROWS)
        connection.commit()


def write(folder: Path, name: str, form: str) -> None:
    """A file of ROWS, by means that are not the engine's."""
    names = ["id", "s", "n", "d", "day"]
    path = folder / f"{name}.{form}"
    if form == "parquet":
        columns = [pa.array([row[i] for row in ROWS]) for i in range(5)]
        columns[3] = columns[3].cast(pa.decimal128(12, 2))
        columns[4] = columns[4].cast(pa.date32())
        pq.write_table(pa.table(columns, names), path, row_group_size=5)
    elif form == "jsonl":
        documents = [dict(zip(names, row, strict=True)) for row in ROWS]
        made = [json.dumps(document | {"d": float(document["d"])}) for document in documents]
        path.write_text("\n".join(made) + "\n")
    else:
        quoted = [
            ",".join("" if v is None else '"' + str(v).replace('"', '""') + '"' for v in row)
            for row in [names, *ROWS]
        ]
        path.write_text("\n".join(quoted) + "\n", "utf-8")


@pytest.fixture
def target(pg18: Server, database: Any) -> End:
    """An empty target."""
    return End(pg18, database(pg18))


@pytest.fixture(params=[*SERVERS, *FILES])
def anywhere(request: pytest.FixtureRequest, database: Any, tmp_path: Path) -> Any:
    """``make(*names)`` fills tables of these names in a source of each kind and tells its URL."""

    def make(*names: str) -> str:
        if request.param in FILES:
            (tmp_path / "in").mkdir()
            for name in names:
                write(tmp_path / "in", name, request.param)
            return str(tmp_path / "in")
        end = End(server, database(server))
        for name in names:
            fill(end, name)
        return end.url

    if request.param not in FILES:
        server = request.getfixturevalue(request.param)
    return make


def end_of(request: pytest.FixtureRequest, database: Any, name: str) -> End:
    server = request.getfixturevalue(name)
    return End(server, database(server))


# Filters


def test_every_operator_chooses_the_same_rows_on_every_source(
    anywhere: Any, tmp_path: Path
) -> None:
    names = [f"t{number}" for number in range(len(CASES))]
    source = anywhere(*names)
    tables = [
        (name, {"filters": filters(*conditions)})
        for name, (conditions, _) in zip(names, CASES, strict=True)
    ]
    run(source, f"file://{tmp_path}/out?format=jsonl", tables)
    got = {
        f"{conditions}": sorted(row["id"] for row in lines(tmp_path / "out", name))
        for name, (conditions, _) in zip(names, CASES, strict=True)
    }
    assert got == {f"{conditions}": ids for conditions, ids in CASES}


@pytest.mark.parametrize("kind", SERVERS)
def test_a_filter_reads_and_never_writes(
    request: pytest.FixtureRequest, database: Any, target: End, kind: str
) -> None:
    """Whatever a value says, the source is as it was, and the row that holds it arrives whole."""
    source = end_of(request, database, kind)
    fill(source, "t")
    before = source.rows("SELECT * FROM t ORDER BY id")
    hostile = [text for text in TEXTS if text]
    run(source, target, [("t", {"filters": filters(("s", "IN", hostile))})])
    assert target.rows("SELECT id, s FROM t ORDER BY id") == [
        (i, text) for i, text in enumerate(TEXTS) if text
    ]
    assert source.rows("SELECT * FROM t ORDER BY id") == before


@pytest.mark.parametrize("kind", SERVERS)
def test_large_and_exact_values_in_filters(
    request: pytest.FixtureRequest, database: Any, target: End, kind: str
) -> None:
    source = end_of(request, database, kind)
    moment = "TIMESTAMP" if kind == "pg15" else "DATETIME"
    source.run(
        f"CREATE TABLE t (id BIGINT PRIMARY KEY, d DECIMAL(38,10), at {moment}, b BOOLEAN)",
        "INSERT INTO t VALUES (9007199254740993, 0.1000000001, '2026-01-01 00:00:01', TRUE),"
        " (9007199254740992, 0.1000000002, '2026-01-01 00:00:02', FALSE)",
    )
    conditions = [
        ("id", "=", 9007199254740993),
        ("id", "IN", [9007199254740993]),
        ("id", ">", 9007199254740992),
        ("d", "=", "0.1000000001"),
        ("at", "<", "2026-01-01 00:00:02"),
        ("b", "=", True),
    ]
    for number in range(len(conditions)):
        source.run(f"CREATE TABLE t{number} AS SELECT * FROM t")
    run(source, target, [(f"t{n}", {"filters": filters(c)}) for n, c in enumerate(conditions)])
    for number, condition in enumerate(conditions):
        assert target.rows(f"SELECT id FROM t{number}") == [(9007199254740993,)], condition


def test_a_filter_across_many_chunks(
    request: pytest.FixtureRequest, database: Any, target: End
) -> None:
    for kind in SERVERS:
        source = end_of(request, database, kind)
        big(source, rows=9000)
        [wanted] = source.rows("SELECT COUNT(*), SUM(n) FROM t WHERE n >= 500 AND v LIKE '%7%'")
        chosen = filters(("n", ">=", 500), ("v", "CONTAINS", "7"))
        run(source, target, [("t", {"filters": chosen})], SMALL_CHUNKS, schema=kind)
        assert target.rows(f"SELECT count(*), sum(n) FROM {kind}.t") == [wanted]


# Columns


@pytest.mark.parametrize("kind, into", ROUTES)
def test_some_columns_with_and_without_the_key(
    request: pytest.FixtureRequest, database: Any, kind: str, into: str
) -> None:
    """The chosen columns in the chosen order; the key goes where one of its columns goes."""
    source, target = end_of(request, database, kind), end_of(request, database, into)
    fill(source, "a")
    fill(source, "b")
    chosen = [("a", {"selectedColumns": ["n", "id"]}), ("b", {"selectedColumns": ["s", "n"]})]
    stream = run(source, target, chosen)
    own = "table_schema = " + ("'public'" if into == "pg18" else "DATABASE()")
    assert target.rows(
        f"SELECT table_name, column_name FROM information_schema.columns WHERE {own}"
        " ORDER BY table_name, ordinal_position"
    ) == [("a", "n"), ("a", "id"), ("b", "s"), ("b", "n")]
    assert target.rows(
        f"SELECT table_name, constraint_type FROM information_schema.table_constraints"
        f" WHERE {own} AND constraint_type = 'PRIMARY KEY'"
    ) == [("a", "PRIMARY KEY")]
    assert target.rows("SELECT id, n FROM a ORDER BY id") == [(row[0], row[2]) for row in ROWS]
    assert target.rows("SELECT n, s FROM b ORDER BY n") == [(row[2], row[1]) for row in ROWS]
    told = [f for f in stream.stats().findings if f.code == "selection"]
    assert [f.object.rsplit(".", 1)[-1] for f in told] == ["b"]


@pytest.mark.parametrize("form", FILES)
def test_some_columns_of_files(target: End, tmp_path: Path, form: str) -> None:
    write(tmp_path, "t", form)
    chosen = {"selectedColumns": ["day", "id"], "filters": filters(("s", "STARTS_WITH", "100"))}
    run(tmp_path, target, [("t", chosen)])
    names = "SELECT column_name FROM information_schema.columns WHERE table_name = 't'"
    assert target.rows(names + " ORDER BY ordinal_position") == [("day",), ("id",)]
    kept = [(4, date(2026, 1, 4)), (10, date(2026, 1, 10))]
    if form == "jsonl":  # which has no dates: they are texts there
        kept = [(number, str(day)) for number, day in kept]
    assert target.rows("SELECT id, day FROM t ORDER BY 1") == kept


def test_columns_into_files(mysql9: Server, database: Any, tmp_path: Path) -> None:
    source = End(mysql9, database(mysql9))
    fill(source, "t")
    run(source, f"file://{tmp_path}?format=parquet", [("t", {"selectedColumns": ["s", "id"]})])
    found = pq.read_table(next((tmp_path / "t").glob("*.parquet")))
    assert found.column_names == ["s", "id"]
    assert found.column("s").to_pylist() == [row[1] for row in ROWS]


# Sorts and limits


def test_sorts_and_limit_on_every_source(anywhere: Any, tmp_path: Path) -> None:
    source = anywhere("a", "b", "c", "d")
    by = [{"column": "day", "direction": "desc"}]
    tables = [
        ("a", {"sorts": by, "limit": 3}),
        ("b", {"selectedColumns": ["id"], "sorts": by}),
        ("c", {"filters": filters(("n", "<", 0)), "sorts": [{"column": "n"}], "limit": 100}),
        ("d", {"sorts": by, "limit": 0}),
    ]
    run(source, f"file://{tmp_path}/out?format=jsonl", tables)
    found = {name: [row["id"] for row in lines(tmp_path / "out", name)] for name in "abcd"}
    assert found == {"a": [16, 15, 14], "b": IDS[::-1], "c": [1, 2, 3, 4], "d": []}
    assert set(lines(tmp_path / "out", "b")[0]) == {"id"}


@pytest.mark.parametrize("kind", SERVERS)
def test_a_number_that_becomes_text_sorts_as_the_number(
    kind: str, request: pytest.FixtureRequest, database: Any, target: End
) -> None:
    source = end_of(request, database, kind)
    source.run("CREATE TABLE a (id bigint PRIMARY KEY)", "INSERT INTO a VALUES (9), (10), (100)")
    chosen = [("a", {"sorts": [{"column": "id", "direction": "desc"}], "limit": 2})]
    asked = document(source, target, chosen)
    asked["options"] = {"typeOverrides": [{"column": "a.id", "to": "text"}]}
    asked["target"]["spec"]["db"]["schema"] = "public"
    Stream.from_config(asked).run()
    assert target.rows("SELECT id FROM public.a") == [("100",), ("10",)]


def test_a_limit_with_a_filter_is_exact(
    request: pytest.FixtureRequest, database: Any, target: End
) -> None:
    for kind in SERVERS:
        source = end_of(request, database, kind)
        big(source, "a", rows=9000)
        source.run("CREATE TABLE b AS SELECT * FROM a")
        [(there,)] = source.rows("SELECT COUNT(*) FROM a WHERE n < 500")
        assert 777 < there < 9000
        chosen = [
            (name, {"filters": filters(("n", "<", 500)), "limit": limit})
            for name, limit in (("a", 777), ("b", 100_000))
        ]
        stream = run(source, target, chosen, SMALL_CHUNKS, schema=kind)
        assert stream.stats().rows == 777 + there
        for name, wanted in (("a", 777), ("b", there)):
            assert target.rows(f"SELECT count(*), max(n) < 500 FROM {kind}.{name}") == [
                (wanted, True)
            ]


def test_the_smaller_of_two_limits_counts(mysql9: Server, database: Any, target: End) -> None:
    source = End(mysql9, database(mysql9))
    big(source, rows=3000)
    config = document(source, target, [("t", {"limit": 700})])
    stream = Stream.from_config(config | {"limits": {"numberOfEvents": 300}})
    stream.run()
    assert stream.state == "EVENT_LIMIT_REACHED"
    assert target.rows("SELECT count(*) FROM t") == [(300,)]
    again = Stream.from_config(config)
    again.run()
    assert target.rows("SELECT count(*) FROM t") == [(700,)]


def test_another_selection_does_not_go_on_from_a_checkpoint(
    mysql9: Server, database: Any, target: End
) -> None:
    source = End(mysql9, database(mysql9))
    big(source, rows=3000)
    config = document(source, target, [("t", {"filters": filters(("n", "<", 500))})])
    Stream.from_config(config | {"limits": {"numberOfEvents": 300}}).run()
    other = document(source, target, [("t", {"filters": filters(("n", "<", 600))})])
    with pytest.raises(StreamsError, match="selection") as caught:
        Stream.from_config(other).run()
    assert caught.value.code == "CHECKPOINT_MISMATCH"
    assert target.rows("SELECT count(*) FROM t") == [(300,)]


# What is refused


UNKNOWN: list[tuple[dict[str, Any], str]] = [
    ({"selectedColumns": ["id", "nope"]}, "selectedColumns[1]"),
    ({"filters": filters(("id", "=", 1), ("nope", "=", 1))}, "filters[1].column"),
    ({"sorts": [{"column": "nope"}]}, "sorts[0].column"),
    ({"selectedColumns": ["ID"]}, "selectedColumns[0]"),
]


@pytest.mark.parametrize("kind", ["pg15", "csv"])
def test_an_unknown_column_is_named_with_its_path(
    request: pytest.FixtureRequest, database: Any, target: End, tmp_path: Path, kind: str
) -> None:
    source: Any = tmp_path
    if kind != "csv":
        source = end_of(request, database, kind)
    for name in ("a", "b"):
        write(tmp_path, name, kind) if kind == "csv" else fill(source, name)
    for selection, where in UNKNOWN:
        path = f"$.source.connections[0].tables[1].selection.{where}"
        with pytest.raises(ConfigError) as caught:
            run(source, target, ["a", ("b", selection)])
        assert caught.value.path == path
        assert path in str(caught.value) and "day" in str(caught.value.remedy)
    assert target.rows("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


@pytest.mark.parametrize("kind", ["mysql9", "mariadb"])
def test_an_unknown_column_of_mysql(
    request: pytest.FixtureRequest, database: Any, target: End, kind: str
) -> None:
    source = end_of(request, database, kind)
    fill(source, "t")
    with pytest.raises(ConfigError) as caught:
        run(source, target, [("t", {"filters": filters(("nope", "=", 1))})])
    assert caught.value.path == "$.source.connections[0].tables[0].selection.filters[0].column"


@pytest.mark.parametrize(
    "selection, where",
    [
        ({"filters": filters(("id", "==", 1))}, "filters[0].operator"),
        ({"filters": filters(("id", "= 1 OR 1 =", 1))}, "filters[0].operator"),
        ({"filters": filters(("id", "BETWEEN", [1]))}, "filters[0].value"),
        ({"filters": filters(("id", "BETWEEN", 1))}, "filters[0].value"),
        ({"filters": filters(("id", "IN", []))}, "filters[0].value"),
        ({"filters": filters(("id", "IN", 1))}, "filters[0].value"),
        ({"filters": filters(("id", "IN", [None]))}, "filters[0].value"),
        ({"filters": filters(("id", "=", None))}, "filters[0].value"),
        ({"filters": filters(("id", "=", [1]))}, "filters[0].value"),
        ({"filters": [{"operator": "="}]}, "filters[0].column"),
        ({"sorts": [{"column": "id", "direction": "up"}]}, "sorts[0].direction"),
        ({"limit": -1}, "limit"),
        ({"limit": "10"}, "limit"),
        ({"columns": ["id"]}, "columns"),
    ],
)
def test_a_wrong_selection_is_refused_with_its_path(
    tmp_path: Path, selection: Any, where: str
) -> None:
    """Before anything is asked: there is no such server."""
    with pytest.raises(ConfigError) as caught:
        run("postgresql://nobody@127.0.0.1:1/none", tmp_path / "out", [("b", selection)])
    assert f"$.source.connections[0].tables[0].selection.{where}" in str(caught.value)
    assert not (tmp_path / "out" / "b").exists()


def test_a_column_selected_twice_is_refused(
    mysql9: Server, database: Any, target: End, tmp_path: Path
) -> None:
    source = End(mysql9, database(mysql9))
    fill(source, "t")
    for into in (target, tmp_path):
        with pytest.raises(ConfigError, match=r"selectedColumns"):
            run(source, into, [("t", {"selectedColumns": ["id", "s", "id"]})])


@pytest.mark.parametrize("kind", [*SERVERS, "csv"])
def test_a_value_of_another_type_is_refused_or_chooses_nothing(
    request: pytest.FixtureRequest, database: Any, target: End, tmp_path: Path, kind: str
) -> None:
    """Never all rows, and never a word of the value that could be a secret."""
    source: Any = tmp_path
    if kind == "csv":
        write(tmp_path, "t", kind)
    else:
        source = end_of(request, database, kind)
        fill(source, "t")
    try:
        run(source, target, [("t", {"filters": filters(("day", "=", "s3cret"))})])
    except StreamsError as error:
        assert error.code in {"INVALID_CONFIG", "SERVER_ERROR"}
        assert "day" in str(error) or "t" in str(error)
        assert "s3cret" not in f"{error} {error.to_dict()}"
    if target.rows("SELECT to_regclass('t')") != [(None,)]:
        assert target.rows("SELECT count(*) FROM t") == [(0,)]


# What hangs on columns that are not selected

MYSQL_PARTS = [
    "CREATE TABLE parent (id INT PRIMARY KEY, region INT NOT NULL, name VARCHAR(20),"
    " KEY by_region (region), UNIQUE KEY by_name (name))",
    "CREATE TABLE child (region INT, nr INT, parent INT, a INT, twice INT AS (a * 2) STORED,"
    " more INT AS (a + 1) VIRTUAL, b INT, CHECK (b > a), PRIMARY KEY (region, nr),"
    " KEY both_of (a, b), KEY one (b), FOREIGN KEY of_parent (parent) REFERENCES parent (id))",
    "INSERT INTO parent VALUES (1, 10, 'one'), (2, 20, 'two')",
    "INSERT INTO child (region, nr, parent, a, b) VALUES (1, 1, 1, 5, 6), (1, 2, 2, 7, 8)",
]
POSTGRES_PARTS = [
    "CREATE TABLE parent (id INT PRIMARY KEY, region INT NOT NULL, name VARCHAR(20) UNIQUE)",
    "CREATE INDEX by_region ON parent (region)",
    "CREATE TABLE child (region INT, nr INT, parent INT REFERENCES parent (id), a INT,"
    " twice INT GENERATED ALWAYS AS (a * 2) STORED, more INT GENERATED ALWAYS AS (a + 1) STORED,"
    " b INT, CHECK (b > a), PRIMARY KEY (region, nr))",
    "CREATE INDEX both_of ON child (a, b)",
    "CREATE INDEX one ON child (b)",
    *MYSQL_PARTS[2:],
]


def parts_of(request: pytest.FixtureRequest, database: Any, kind: str) -> End:
    source = end_of(request, database, kind)
    source.run(*(POSTGRES_PARTS if kind == "pg15" else MYSQL_PARTS))
    return source


@pytest.mark.parametrize("kind, into", ROUTES)
def test_indexes_keys_and_checks_go_with_their_columns(
    request: pytest.FixtureRequest, database: Any, kind: str, into: str
) -> None:
    source, target = parts_of(request, database, kind), end_of(request, database, into)
    chosen = ["region", "parent", "b"]
    run(source, target, ["parent", ("child", {"selectedColumns": chosen})])
    assert target.rows("SELECT region, parent, b FROM child ORDER BY b") == [(1, 1, 6), (1, 2, 8)]
    if into == "pg18":
        indexed = target.rows("SELECT indexname FROM pg_indexes WHERE tablename = 'child'")
        assert [name for (name,) in indexed if name != "of_parent"] == ["one"]
    own = "table_name = 'child' AND table_schema = " + (
        "'public'" if into == "pg18" else "DATABASE()"
    )
    assert target.rows(
        f"SELECT constraint_type FROM information_schema.table_constraints WHERE {own}"
        " AND constraint_name NOT LIKE '%not_null'"
    ) == [("FOREIGN KEY",)]


@pytest.mark.parametrize("kind, into", ROUTES[:3:2])
def test_a_foreign_key_goes_with_its_column(
    request: pytest.FixtureRequest, database: Any, kind: str, into: str
) -> None:
    source, target = parts_of(request, database, kind), end_of(request, database, into)
    run(source, target, ["parent", ("child", {"selectedColumns": ["region", "nr", "b"]})])
    assert target.rows("SELECT region, nr, b FROM child ORDER BY nr") == [(1, 1, 6), (1, 2, 8)]
    assert target.rows("SELECT count(*) FROM parent") == [(2,)]


@pytest.mark.parametrize("kind, into", ROUTES)
def test_a_foreign_key_to_a_column_that_is_not_selected(
    request: pytest.FixtureRequest, database: Any, kind: str, into: str
) -> None:
    """The child keeps its column and loses the key, which nothing could be checked against."""
    source, target = parts_of(request, database, kind), end_of(request, database, into)
    chosen = [("parent", {"selectedColumns": ["name"]}), ("child", {"selectedColumns": ["parent"]})]
    run(source, target, chosen)
    assert target.rows("SELECT parent FROM child ORDER BY 1") == [(1,), (2,)]
    assert target.rows("SELECT name FROM parent ORDER BY 1") == [("one",), ("two",)]


@pytest.mark.parametrize("kind", SERVERS)
def test_a_foreign_key_to_rows_that_are_filtered_out_is_told(
    request: pytest.FixtureRequest, database: Any, target: End, kind: str
) -> None:
    """Rows without their parents: a coded error or a finding that names the key, never silence."""
    source = parts_of(request, database, kind)
    chosen = [("parent", {"filters": filters(("id", "=", 1))}), "child"]
    stream = Stream.from_config(document(source, target, chosen))
    told = ""
    try:
        stream.run()
    except StreamsError as error:
        assert error.code != "INTERNAL_ERROR"
        told = str(error)
    told += " ".join(f"{f.object} {f.message}" for f in stream.stats().findings)
    assert "child" in told
    assert target.rows("SELECT count(*) FROM parent") == [(1,)]
    assert target.rows("SELECT count(*) FROM child") == [(2,)]


@pytest.mark.parametrize("kind, into", ROUTES)
def test_a_generated_column_with_what_it_is_made_of(
    request: pytest.FixtureRequest, database: Any, kind: str, into: str
) -> None:
    source, target = parts_of(request, database, kind), end_of(request, database, into)
    run(source, target, [("child", {"selectedColumns": ["nr", "a", "twice", "more"]})])
    assert target.rows("SELECT nr, twice, more FROM child ORDER BY nr") == [(1, 10, 6), (2, 14, 8)]


@pytest.mark.parametrize("kind, into", ROUTES)
def test_a_generated_column_without_what_it_is_made_of(
    request: pytest.FixtureRequest, database: Any, kind: str, into: str
) -> None:
    """Its values arrive, in a column that is no longer generated."""
    source, target = parts_of(request, database, kind), end_of(request, database, into)
    run(source, target, [("child", {"selectedColumns": ["nr", "twice", "more"]})])
    assert target.rows("SELECT nr, twice, more FROM child ORDER BY nr") == [(1, 10, 6), (2, 14, 8)]


def test_an_index_whose_condition_needs_a_column_that_is_not_selected(
    pg15: Server, database: Any, target: End
) -> None:
    source = End(pg15, database(pg15))
    source.run(
        "CREATE TABLE t (id int PRIMARY KEY, a int, gone boolean, kind text)",
        "CREATE INDEX partial ON t (a) WHERE NOT gone",
        "CREATE INDEX covering ON t (a) INCLUDE (gone)",
        "CREATE INDEX expressive ON t (lower(kind))",
        "CREATE INDEX good ON t (a) WHERE a > 0",
        "INSERT INTO t VALUES (1, 2, false, 'x')",
    )
    run(source, target, [("t", {"selectedColumns": ["id", "a"]})])
    assert target.rows("SELECT * FROM t") == [(1, 2)]
    assert target.rows("SELECT indexname FROM pg_indexes WHERE tablename = 't' ORDER BY 1") == [
        ("good",), ("t_pkey",),
    ]  # fmt: skip


@pytest.mark.parametrize("kind, into", ROUTES)
def test_a_counting_column_with_and_without_its_key(
    request: pytest.FixtureRequest, database: Any, kind: str, into: str
) -> None:
    source, target = end_of(request, database, kind), end_of(request, database, into)
    counting = "SERIAL" if kind == "pg15" else "INT AUTO_INCREMENT"
    key = "PRIMARY KEY (id, region)"
    for name in "abc":
        source.run(
            f"CREATE TABLE {name} (id {counting}, region INT NOT NULL, x INT, {key})",
            f"INSERT INTO {name} (region, x) VALUES (1, 10), (2, 20)",
        )
    run(source, target, [
        ("a", {"selectedColumns": ["region", "x"]}),
        ("b", {"selectedColumns": ["id", "x"]}),
        ("c", {"selectedColumns": ["id", "region"]}),
    ])  # fmt: skip
    assert target.rows("SELECT region, x FROM a ORDER BY 1") == [(1, 10), (2, 20)]
    assert target.rows("SELECT id, x FROM b ORDER BY 1") == [(1, 10), (2, 20)]
    target.run("INSERT INTO c (region) VALUES (3)")
    assert target.rows("SELECT id, region FROM c ORDER BY 1") == [(1, 1), (2, 2), (3, 3)]


def test_some_columns_of_a_partitioned_table(pg15: Server, database: Any, target: End) -> None:
    source = End(pg15, database(pg15))
    source.run(
        "CREATE TABLE t (id int, day date, a int, PRIMARY KEY (id, day)) PARTITION BY RANGE (day)",
        "CREATE TABLE t1 PARTITION OF t FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')",
        "CREATE TABLE t2 PARTITION OF t DEFAULT",
        "INSERT INTO t VALUES (1, '2026-01-05', 1), (2, '2026-03-05', 2)",
    )
    run(source, target, [("t", {"selectedColumns": ["id", "a"]})])
    assert target.rows("SELECT id, a FROM t ORDER BY 1") == [(1, 1), (2, 2)]


# Comparing afterwards


@pytest.mark.parametrize("kind", SERVERS)
def test_verify_compares_what_was_selected(
    request: pytest.FixtureRequest, database: Any, target: End, kind: str
) -> None:
    source = end_of(request, database, kind)
    fill(source, "a")
    fill(source, "b")
    stream = run(source, target, [
        ("a", {"selectedColumns": ["id", "s"], "filters": filters(("s", "CONTAINS", "'"))}),
        ("b", {"sorts": [{"column": "id", "direction": "desc"}], "limit": 5}),
    ])  # fmt: skip
    report = stream.verify()
    assert report.ok, report
    assert {t.table.rsplit(".", 1)[-1]: t.target_rows for t in report.tables} == {"a": 4, "b": 5}
    target.run("UPDATE a SET s = 'other' WHERE id = 2")
    verdicts = stream.verify().tables
    assert {t.table.rsplit(".", 1)[-1]: t.equal for t in verdicts} == {"a": False, "b": True}


def test_verify_says_what_it_cannot_compare(target: End, tmp_path: Path) -> None:
    write(tmp_path, "t", "csv")
    stream = run(tmp_path, target, [("t", {"filters": filters(("id", "<", 4))})])
    [verdict] = stream.verify().tables
    assert not verdict.equal and "selection of rows of files" in str(verdict.note)


@pytest.mark.parametrize("kind", ["pg18", "mysql9"])
def test_checkpoints_that_lie_in_a_source_are_not_its_tables(
    kind: str, request: pytest.FixtureRequest, pg15: Server, database: Any
) -> None:
    server = request.getfixturevalue(kind)
    first, both, last = (End(one, database(one)) for one in (pg15, server, pg15))
    first.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1), (2)")
    limited = Stream(first.url, both.url, limits={"numberOfEvents": 1})
    assert limited.run().state == "EVENT_LIMIT_REACHED"
    plan = Stream(both.url, last.url).plan()
    assert [table.source.name for table in plan.tables] == ["t"]
