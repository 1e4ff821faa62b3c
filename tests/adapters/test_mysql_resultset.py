"""The binary protocol in columns: every value equal to what the server prints as text."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pymysql
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams_engine.adapters.mysql.catalog.reader import read_catalog
from streams_engine.adapters.mysql.connection import MysqlConnect
from streams_engine.adapters.mysql.snapshot import result_set
from streams_engine.adapters.mysql.snapshot.result_set import stream
from streams_engine.adapters.mysql.snapshot.select import select
from streams_engine.contracts import Scope
from streams_engine.errors import RowRejected
from streams_engine.model import Chunk, Column, Extract, TableId
from streams_engine.schema.types.mysql import INVALID_DATE, INVALID_TIMESTAMP
from streams_engine.testing.servers import Server, running
from tests.support.certificates import certificate

Reading = tuple[MysqlConnect, Any]
MOMENTS = {"date", "datetime", "timestamp"}


def reach(server: Server, database: str) -> MysqlConnect:
    return MysqlConnect(
        server.kind, server.host, server.port, server.user, server.password, database
    )


@pytest.fixture
def reading(mysql_server: Server, database: Any) -> Iterator[Reading]:
    connect = reach(mysql_server, database(mysql_server))
    with contextlib.closing(connect.open()) as connection:
        yield connect, connection


def run(connection: Any, *statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def ask(connection: Any, query: str) -> list[tuple[Any, ...]]:
    """Rows as the server's text protocol has them, nothing decoded but UTF-8."""
    decoders, connection.decoders = connection.decoders, {}
    try:
        with connection.cursor() as cursor:
            cursor.execute(query)
            return list(cursor.fetchall())
    finally:
        connection.decoders = decoders


def table_of(connect: MysqlConnect, connection: Any, name: str) -> tuple[TableId, list[Column]]:
    catalog = read_catalog(connection, Scope(connect.database, (name,)))
    return catalog.tables[0].id, list(catalog.tables[0].columns)


def read(connection: Any, table: TableId, columns: list[Column]) -> pa.Table:
    extract = Extract(table, tuple(columns))
    schema = extract.arrow_schema()
    blocks = list(stream(connection, select(extract, Chunk(table)), schema, str(table)))
    return pa.Table.from_batches(blocks, schema=schema)


def raw(array: pa.ChunkedArray, as_type: pa.DataType) -> list[int | None]:
    """The storage integers, which Python's dates cannot all hold."""
    plain: list[int | None] = pa.chunked_array(
        [c.view(as_type) for c in array.chunks], as_type
    ).to_pylist()
    return plain


# What the server is asked for to compare with, by type; else its plain text.
PRINTED = {
    **dict.fromkeys(("bit", "year"), "{} + 0"),
    **dict.fromkeys(("tinyint", "smallint", "mediumint", "int", "bigint", "decimal"), "{} + 0"),
    "float": "{} * 1E0",
}


def printed(column: Column) -> str:
    name = f"`{column.name}`"
    if pa.types.is_binary(column.arrow):
        return f"HEX({name})"
    return PRINTED.get(column.type.name, "{}").format(name)


def rendered(column: Column, values: pa.ChunkedArray) -> list[Any]:
    """Our values as the server would print them; what is no date as "invalid"."""
    kind = column.arrow
    if pa.types.is_binary(kind):
        return [None if v is None else v.hex().upper() for v in values.to_pylist()]
    if pa.types.is_floating(kind):
        return [None if v is None else struct.pack("<d", v) for v in values.to_pylist()]
    if pa.types.is_decimal(kind):
        return [None if v is None else f"{v:f}" for v in values.to_pylist()]
    digits = column.type.args[0] if column.type.args else 0
    if pa.types.is_duration(kind):
        return [None if v is None else clock(v, digits) for v in raw(values, pa.int64())]
    if column.type.name in MOMENTS and not pa.types.is_string(kind):
        day = pa.types.is_date(kind)
        plain = raw(values, pa.int32() if day else pa.int64())
        bad = INVALID_DATE if day else INVALID_TIMESTAMP
        texts = [None if v is None or v == bad else v for v in plain]
        good = pa.array(texts, pa.int32() if day else pa.int64()).cast(
            pa.date32() if day else pa.timestamp("us")
        )
        shown = [moment(v, digits, day) if v is not None else None for v in good.to_pylist()]
        return ["invalid" if p == bad else s for p, s in zip(plain, shown, strict=True)]
    return [None if v is None else str(v) for v in values.to_pylist()]


def clock(micro: int, digits: int) -> str:
    seconds, rest = divmod(abs(micro), 1_000_000)
    text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    sign = "-" if micro < 0 else ""
    return sign + text + (f".{rest:06}"[: digits + 1] if digits else "")


def moment(value: Any, digits: int, day: bool) -> str:
    if day:
        return str(value.isoformat())
    text = value.strftime("%H:%M:%S")
    fraction = f".{value.microsecond:06}"[: digits + 1] if digits else ""
    return f"{value.date().isoformat()} {text}{fraction}"


def is_day(text: str) -> bool:
    """Python's calendar decides."""
    import datetime

    try:
        datetime.date.fromisoformat(text[:10])
    except ValueError:
        return False
    return True


def server_text(column: Column, value: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, bytes):
        value = value.decode()
    if pa.types.is_floating(column.arrow):
        return struct.pack("<d", float(value))
    moment_kind = column.type.name in MOMENTS and not pa.types.is_string(column.arrow)
    return "invalid" if moment_kind and not is_day(value) else value


def check(connect: MysqlConnect, connection: Any, name: str) -> list[str]:
    """Compare a whole table, column by column; what differs, in words."""
    table, columns = table_of(connect, connection, name)
    found = read(connection, table, columns)
    differing = []
    for column in columns:
        ours = rendered(column, found[column.name])
        rows = ask(connection, f"SELECT {printed(column)} FROM `{name}`")
        theirs = [server_text(column, row[0]) for row in rows]
        if ours != theirs:
            differing.append(f"{column.type}: {ours[:3]} is not {theirs[:3]}")
    return differing


LOOSE = "SET SESSION sql_mode = 'ALLOW_INVALID_DATES'"


def test_every_type_case_is_what_the_server_prints(reading: Reading, shared_data: Path) -> None:
    connect, connection = reading
    lines = (shared_data / "type_cases.jsonl").read_text().splitlines()
    cases = [case for case in map(json.loads, lines) if case["db"] == "mysql"]
    held, differing = 0, []
    for case in cases:
        run(connection, "DROP TABLE IF EXISTS c", LOOSE)
        try:
            run(connection, *filter(None, [case.get("setup_sql")]))
            run(connection, f"CREATE TABLE c (v {case['type']}) CHARACTER SET utf8mb4")
            run(connection, f"INSERT INTO c VALUES ({case['literal_sql']})")
        except pymysql.MySQLError:
            continue  # not a type or a value of this server
        held += 1
        differing += [f"{case['id']} {d}" for d in check(connect, connection, "c")]
    assert differing == []
    print(f"{held} of {len(cases)} cases held")
    assert held > 150


def test_every_type_case_can_be_read_as_text(reading: Reading) -> None:
    """Where text is asked for, it is what the server prints, zero dates included."""
    connect, connection = reading
    run(
        connection,
        LOOSE,
        "CREATE TABLE c (d DATE, m DATETIME(3), s TIMESTAMP(6) NULL, t TIME(2), y YEAR,"
        " b BIT(64), n DECIMAL(65,30), u BIGINT UNSIGNED, x DOUBLE)",
        "INSERT INTO c VALUES ('0000-00-00', '2020-00-15 01:02:03.4', '0000-00-00', '-838:59:59',"
        " 0, b'1', -1.5, 18446744073709551615, 0.1),"
        " ('2021-02-31', '9999-12-31 23:59:59.999', '2038-01-19 03:14:07.999999', '838:59:59',"
        " 2155, 0xFFFFFFFFFFFFFFFF, 12345678901234567890123456789012345.5, 0, -1e300),"
        " (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
    )
    table, columns = table_of(connect, connection, "c")
    texts = [replace(column, arrow=pa.string()) for column in columns]
    found = read(connection, table, texts)
    for column in columns:
        shown = f"`{column.name}` + 0" if column.type.name == "bit" else f"`{column.name}`"
        theirs = [row[0] for row in ask(connection, f"SELECT {shown} FROM c")]
        assert found[column.name].to_pylist() == theirs, column.type


def test_bytes_as_text_are_checked_never_nulled(reading: Reading) -> None:
    connect, connection = reading
    run(connection, "CREATE TABLE c (b VARBINARY(9))", "INSERT INTO c VALUES ('ü')")
    table, columns = table_of(connect, connection, "c")
    texts = [replace(column, arrow=pa.string()) for column in columns]
    assert read(connection, table, texts)["b"].to_pylist() == ["ü"]
    run(connection, "INSERT INTO c VALUES (0xFF80)")
    with pytest.raises(RowRejected, match=r"\.c, column b") as caught:
        read(connection, table, texts)
    assert "\\x" not in str(caught.value) and "FF80" not in str(caught.value).upper()
    assert read(connection, table, columns)["b"].to_pylist() == ["ü".encode(), b"\xff\x80"]


STRINGS = st.text(st.characters(exclude_categories=["Cs"]), max_size=400)
RANDOM: dict[str, st.SearchStrategy[Any]] = {
    "TINYINT": st.integers(-128, 127),
    "TINYINT UNSIGNED": st.integers(0, 255),
    "SMALLINT": st.integers(-(1 << 15), (1 << 15) - 1),
    "SMALLINT UNSIGNED": st.integers(0, (1 << 16) - 1),
    "MEDIUMINT": st.integers(-(1 << 23), (1 << 23) - 1),
    "MEDIUMINT UNSIGNED": st.integers(0, (1 << 24) - 1),
    "INT": st.integers(-(1 << 31), (1 << 31) - 1),
    "INT UNSIGNED": st.integers(0, (1 << 32) - 1),
    "BIGINT": st.integers(-(1 << 63), (1 << 63) - 1),
    "BIGINT UNSIGNED": st.integers(0, (1 << 64) - 1),
    "DECIMAL(12,2)": st.decimals(-(10**9), 10**9, places=2),
    "DECIMAL(65,30)": st.decimals(-(10**34), 10**34, places=30),
    "FLOAT": st.floats(width=32, allow_nan=False, allow_infinity=False),
    "DOUBLE": st.floats(allow_nan=False, allow_infinity=False),
    "BIT(13)": st.integers(0, (1 << 13) - 1),
    "BIT(64)": st.integers(0, (1 << 64) - 1),
    "YEAR": st.one_of(st.just(0), st.integers(1901, 2155)),
    "DATE": st.dates(),
    "DATETIME": st.datetimes().map(lambda v: v.replace(microsecond=0)),
    "DATETIME(6)": st.datetimes(),
    "TIME(6)": st.integers(-3020399 * 10**6, 3020399 * 10**6).map(lambda v: clock(v, 6)),
    "VARCHAR(400)": STRINGS,
    "LONGTEXT": st.one_of(STRINGS, st.integers(240, 260).map(lambda n: "ß" * n)),
    "LONGBLOB": st.binary(max_size=300),
    "BINARY(7)": st.binary(max_size=7),
    "JSON": st.dictionaries(st.text("abc", max_size=3), st.integers() | st.none()).map(json.dumps),
}


@pytest.mark.parametrize("kind", ["mysql9", "mariadb"])
def test_random_values(kind: str, request: pytest.FixtureRequest, database: Any) -> None:
    """Rows of every type at once, so that each field's place depends on those before it."""
    server: Server = request.getfixturevalue(kind)
    connect = reach(server, database(server))
    names = [f"c{i}" for i in range(len(RANDOM))]
    definitions = ", ".join(f"{n} {t}" for n, t in zip(names, RANDOM, strict=True))
    rows = st.lists(st.tuples(*(st.none() | s for s in RANDOM.values())), min_size=1, max_size=20)
    with contextlib.closing(connect.open()) as connection:
        run(connection, f"CREATE TABLE r ({definitions}) CHARACTER SET utf8mb4")

        @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
        @given(rows)
        def holds(values: list[tuple[Any, ...]]) -> None:
            run(connection, "DELETE FROM r")
            marks = ", ".join(["%s"] * len(names))
            with connection.cursor() as cursor:
                cursor.executemany(f"INSERT INTO r VALUES ({marks})", values)
            assert check(connect, connection, "r") == []

        holds()


def test_values_beyond_a_packet(reading: Reading) -> None:
    """17 and 40 MB, and lengths around the 16 MB at which packets are continued."""
    connect, connection = reading
    packet = 0xFFFFFF
    # The row's payload: header, NULL bitmap, INT, length of four bytes, the value.
    before = 1 + 1 + 4 + 4
    sizes = [17 << 20, 40 << 20, *(packet * n - before + d for n in (1, 2) for d in (-1, 0, 1)), 3]
    run(connection, "CREATE TABLE c (id INT PRIMARY KEY, v LONGBLOB)")
    with contextlib.closing(connect.open()) as one, one.cursor() as cursor:
        cursor.execute("SELECT @@global.max_allowed_packet")
        (usual,) = cursor.fetchone()
        cursor.execute("SET GLOBAL max_allowed_packet = 1073741824")
        try:
            with contextlib.closing(connect.open()) as writer:
                for i, size in enumerate(sizes):
                    run(writer, f"INSERT INTO c VALUES ({i}, REPEAT(CHAR(65 + {i}), {size}))")
        finally:  # other files use the server too
            cursor.execute(f"SET GLOBAL max_allowed_packet = {usual}")
    with contextlib.closing(connect.open()) as reader:
        table, columns = table_of(connect, reader, "c")
        extract = Extract(table, tuple(columns))
        query = select(extract, Chunk(table, key=("id",)))
        seen = 0
        for block in stream(reader, query, extract.arrow_schema(), "c"):
            assert block.nbytes < 130 << 20
            for value in block["v"]:
                held = value.as_py()
                assert len(held) == sizes[seen] and held == bytes([65 + seen]) * len(held)
                seen += 1
        assert seen == len(sizes)


def test_blocks_of_large_rows_stay_small(reading: Reading) -> None:
    connect, connection = reading
    run(
        connection,
        "CREATE TABLE c (id INT PRIMARY KEY AUTO_INCREMENT, v LONGBLOB)",
        "INSERT INTO c (v) VALUES (REPEAT('x', 1000000))",
        *["INSERT INTO c (v) SELECT v FROM c"] * 6,
    )
    table, columns = table_of(connect, connection, "c")
    extract = Extract(table, tuple(columns))
    query = select(extract, Chunk(table))
    blocks = [b.nbytes for b in stream(connection, query, extract.arrow_schema(), "c")]
    assert max(blocks) < result_set.BLOCK_BYTES * 1.3 and sum(blocks) > 60_000_000


def test_rows_that_end_at_every_edge_of_a_read(
    reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks of a few bytes: each packet is cut at some place."""
    connect, connection = reading
    run(
        connection,
        "CREATE TABLE c (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(2000))",
        *(f"INSERT INTO c (v) VALUES (REPEAT('{n % 10}', {n * 7}))" for n in range(80)),
    )
    for size in (16, 61, 509, 4099):
        monkeypatch.setattr(result_set, "BLOCK_BYTES", size)
        assert check(connect, connection, "c") == []


@pytest.mark.parametrize("columns", [1, 5, 6, 7, 14, 15, 1000])
def test_null_bits_of_many_columns(reading: Reading, columns: int) -> None:
    connect, connection = reading
    names = [f"c{i}" for i in range(columns)]
    run(connection, f"CREATE TABLE c ({', '.join(f'{n} INT' for n in names)})")
    for turn in range(3):
        values = ["NULL" if (i + turn) % 3 else str(i) for i in range(columns)]
        run(connection, f"INSERT INTO c VALUES ({', '.join(values)})")
    assert check(connect, connection, "c") == []


def test_an_empty_result(reading: Reading) -> None:
    connect, connection = reading
    run(connection, "CREATE TABLE c (id INT, v TEXT)")
    assert check(connect, connection, "c") == []
    assert ask(connection, "SELECT 1") == [("1",)]


def large(connection: Any, rows: int = 1 << 18) -> None:
    run(
        connection,
        "CREATE TABLE c (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(200))",
        "INSERT INTO c (v) VALUES (REPEAT('x', 180))",
    )
    while rows > 1:
        rows //= 2
        run(connection, "INSERT INTO c (v) SELECT v FROM c")


def begun(connect: MysqlConnect, connection: Any, **extra: Any) -> Iterator[pa.RecordBatch]:
    table, columns = table_of(connect, connection, "c")
    extract = Extract(table, tuple(columns))
    query = select(extract, Chunk(table, key=("id",)))
    return stream(connection, query, extract.arrow_schema(), "c", **extra)


def test_kill_query_in_mid_result(reading: Reading) -> None:
    """The server's error comes between rows; the connection is good for the next query."""
    connect, connection = reading
    large(connection)
    blocks = begun(connect, connection)
    next(blocks)
    with contextlib.closing(connect.open()) as other:
        run(other, f"KILL QUERY {connection.thread_id()}")
    with pytest.raises(pymysql.MySQLError) as caught:
        list(blocks)
    assert caught.value.args[0] in (1317, 1927)
    assert ask(connection, "SELECT COUNT(*) FROM c") == [(str(1 << 18),)]


@pytest.mark.parametrize("how", ["kill", "cut"])
def test_a_connection_lost_in_mid_result(reading: Reading, how: str) -> None:
    connect, connection = reading
    large(connection)
    blocks = begun(connect, connection)
    next(blocks)
    if how == "kill":
        with contextlib.closing(connect.open()) as other:
            run(other, f"KILL {connection.thread_id()}")
    else:
        connection._sock.shutdown(socket.SHUT_RDWR)
    with pytest.raises((pymysql.MySQLError, OSError)) as caught:
        list(blocks)
    assert caught.value.args[0] in (1317, 1927, 1053, 2006, 2013, 104)


def test_an_error_before_the_first_row(reading: Reading) -> None:
    _, connection = reading
    schema = pa.schema([("a", pa.int64())])
    with pytest.raises(pymysql.MySQLError):
        list(stream(connection, "SELECT a FROM nowhere", schema, "nowhere"))
    assert ask(connection, "SELECT 1") == [("1",)]


def test_a_stream_that_is_left_early(reading: Reading) -> None:
    """Its connection serves the next query, in the same transaction."""
    connect, connection = reading
    large(connection)
    before = ask(connection, "SHOW STATUS LIKE 'Prepared_stmt_count'")
    for _ in range(3):
        blocks = begun(connect, connection)
        next(blocks)
        blocks.close()  # type: ignore[attr-defined]
        assert ask(connection, "SELECT COUNT(*) FROM c") == [(str(1 << 18),)]
    assert ask(connection, "SHOW STATUS LIKE 'Prepared_stmt_count'") == before


def lend(directory: Path) -> tuple[Path, Path]:
    """A certificate for localhost that signs itself, and its key, as files for a server."""
    pem, secret = directory / "cert.pem", directory / "key.pem"
    for path, text in zip((pem, secret), certificate(), strict=True):
        path.write_text(text)
        path.chmod(0o644)
    directory.chmod(0o755)
    return pem, secret


@pytest.mark.parametrize("kind", ["mysql9", "mariadb"])
def test_tls(kind: str, request: pytest.FixtureRequest, tmp_path_factory: Any) -> None:
    """The same rows through TLS; the CA as a path and as a text; another CA is refused."""
    request.getfixturevalue(kind)  # skips where it cannot be had
    directory = Path("/tmp") / f"se-tls-{kind}-{threading.get_native_id()}"
    directory.mkdir()
    try:
        pem, secret = lend(directory)
        with running(kind, {"ssl_ca": str(pem), "ssl_cert": str(pem), "ssl_key": str(secret)}) as s:
            name = s.create_database()
            plain = replace(reach(s, name), host="localhost")
            for connect in (
                replace(plain, ssl_mode="require"),
                replace(plain, ssl_mode="verify-ca", ssl_ca=str(pem)),
                replace(plain, ssl_mode="verify-full", ssl_ca=pem.read_text()),
            ):
                with contextlib.closing(connect.open()) as connection:
                    assert ask(connection, "SHOW STATUS LIKE 'Ssl_cipher'")[0][1]
                    run(connection, "DROP TABLE IF EXISTS c")
                    large(connection, 1 << 15)
                    assert check(connect, connection, "c") == []
    finally:
        for path in directory.iterdir():
            path.unlink()
        directory.rmdir()
