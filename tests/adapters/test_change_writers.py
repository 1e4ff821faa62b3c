"""Net changes on real targets equal the changes one by one; fencing; divergence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams_engine.adapters.mysql.connection import MysqlConnect
from streams_engine.adapters.mysql.sink.sink import MysqlSink
from streams_engine.adapters.postgres.connection import PostgresConnect
from streams_engine.adapters.postgres.sink.sink import PostgresSink
from streams_engine.contracts import ApplyResult, ChangeSink, Statement
from streams_engine.errors import FencedOff, LockTimeout, RowRejected
from streams_engine.model import (
    Column,
    Dialect,
    NativeType,
    NetChanges,
    ObjectKind,
    ObjectRef,
    Op,
    RowChanges,
    TableId,
    Truncation,
)
from streams_engine.pipeline.changes.netting import net
from streams_engine.testing.servers import Server

NAMES = ("id", "part", "label", "amount")
KEY = ("id", "part")
Row = tuple[Any, ...]


class Place:
    """A fresh database with a sink and a connection that looks on."""

    def __init__(self, server: Server, database: str) -> None:
        self.mysql = server.kind != "postgresql"
        self.database = database
        self.sql = server.connect(database)
        where = (server.host, server.port, server.user, server.password, database)
        self.sink: ChangeSink = (
            MysqlSink(MysqlConnect("mysql", *where, lock_seconds=1))
            if self.mysql
            else PostgresSink(PostgresConnect(*where, lock_seconds=1))
        )

    def run(self, query: str) -> list[Row]:
        if self.mysql:
            with self.sql.cursor() as cursor:
                cursor.execute(query)
                return list(cursor.fetchall())
        found = self.sql.execute(query)
        return list(found.fetchall()) if found.description else []

    def table(self, name: str, definition: str) -> TableId:
        self.run(f"DROP TABLE IF EXISTS {name}")
        collation = " COLLATE utf8mb4_bin" if self.mysql else ""
        self.run(f"CREATE TABLE {name} ({definition.replace('TEXT', 'varchar(20)' + collation)})")
        return TableId(self.database if self.mysql else "public", name)

    def columns(self) -> tuple[Column, ...]:
        if self.mysql:
            text = NativeType(Dialect.MYSQL, "varchar(20)", "varchar", (20,))
            number = NativeType(Dialect.MYSQL, "int", "int")
        else:
            text = NativeType(Dialect.POSTGRES, "character varying(20)", "varchar", (20,))
            number = NativeType(Dialect.POSTGRES, "integer", "int4")
        return (
            Column("id", number, pa.int32(), nullable=False),
            Column("part", text, pa.string(), nullable=False),
            Column("label", text, pa.string()),
            Column("amount", number, pa.int32()),
        )

    def rows(self, name: str) -> list[Row]:
        return sorted(self.run(f"SELECT {', '.join(NAMES)} FROM {name}"), key=str)


@pytest.fixture(params=["pg15", "pg18", "mysql9", "mariadb"])
def place(request: pytest.FixtureRequest, database: Callable[[Server], str]) -> Iterator[Place]:
    server: Server = request.getfixturevalue(request.param)
    made = Place(server, database(server))
    with closing(made.sql):
        yield made
        made.sink.close()  # type: ignore[attr-defined]


TYPES = {"id": pa.int32(), "part": pa.string(), "label": pa.string(), "amount": pa.int32()}


def batch(rows: list[Row | None], names: tuple[str, ...] = NAMES) -> pa.RecordBatch:
    filled = [row or (None,) * len(names) for row in rows]
    arrays = [pa.array([row[i] for row in filled], TYPES[n]) for i, n in enumerate(names)]
    return pa.RecordBatch.from_arrays(arrays, names=list(names))


History = list[tuple[Op, Row | None, Row | None, frozenset[str]]]


def as_changes(
    table: TableId, columns: tuple[Column, ...], log: History, old: tuple[str, ...]
) -> RowChanges:
    places = [NAMES.index(name) for name in old]
    return RowChanges(
        table,
        columns,
        old,
        np.array([op for op, *_ in log], np.uint8),
        np.arange(len(log)),
        batch([
            None if new is None
            else tuple(None if n in absent else v for n, v in zip(NAMES, new, strict=True))
            for _, _, new, absent in log
        ]),
        batch([None if was is None else tuple(was[p] for p in places) for _, was, _, _ in log],
              old),
        {n: np.array([n in absent for *_, absent in log]) for n in ("label", "amount")},
    )  # fmt: skip


def histories(*, keyed: bool) -> st.SearchStrategy[tuple[list[Row], History, list[Row]]]:
    """(rows at first, the log, rows at last)."""

    @st.composite
    def build(draw: st.DrawFn) -> tuple[list[Row], History, list[Row]]:
        ids = st.tuples(st.integers(1, 12), st.sampled_from(["a", "B", "\\'"]))
        label, amount = st.sampled_from([None, "", "x\ty"]), st.sampled_from([None, 0, -7])
        state: list[Row] = []

        def new_row(old: Row | None = None) -> Row | None:
            key = draw(ids)
            if keyed and any(row[:2] == key for row in state if row is not old):
                return None
            return (*key, draw(label), draw(amount))

        for _ in range(draw(st.integers(0, 8))):
            if (row := new_row()) is not None:
                state.append(row)
        first = list(state)
        log: History = []
        for _ in range(draw(st.integers(1, 40))):
            what = draw(st.sampled_from(list(Op)))
            if what is Op.INSERT or not state:
                if (row := new_row()) is not None:
                    state.append(row)
                    log.append((Op.INSERT, None, row, frozenset()))
                continue
            old = state[draw(st.integers(0, len(state) - 1))]
            if what is Op.DELETE:
                state.remove(old)
                log.append((Op.DELETE, old, None, frozenset()))
                continue
            row = new_row(old)
            if row is None:
                continue
            absent = frozenset(draw(st.sets(st.sampled_from(("label", "amount"))))) if keyed else ()
            row = tuple(o if n in absent else v for n, o, v in zip(NAMES, old, row, strict=True))
            state.remove(old)
            state.append(row)
            log.append((Op.UPDATE, old, row, frozenset(absent)))
        return first, log, state

    return build()


def fill(place: Place, table: TableId, rows: list[Row]) -> None:
    key = KEY if rows else ()
    with place.sink.change_writer("fill", "log") as writer:
        writer.apply([Truncation((table,))])
        if rows:
            writer.apply([NetChanges(table, place.columns(), key, inserts=batch(rows))])
        writer.commit({"n": 0})


def change(writer: Any, steps: list[Any], number: int, *, at_once: bool) -> ApplyResult:
    """Apply and commit in one of the two ways; what cannot go at once goes the ordinary way."""
    if at_once:
        applied: ApplyResult | None = writer.apply_and_commit(steps, {"at": number})
        if applied is not None:
            return applied
    applied = writer.apply(steps)
    writer.commit({"at": number})
    assert applied is not None
    return applied


BOTH_WAYS = pytest.mark.parametrize(
    ("rows", "at_once"), [(2, False), (2, True), (60, False)], ids=["few", "at once", "many"]
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    drawn=histories(keyed=True),
    size=st.one_of(st.integers(1, 5), st.integers(1, 40)),
    at_once=st.booleans(),
)
def test_changes_by_key(
    place: Place, drawn: tuple[list[Row], History, list[Row]], size: int, at_once: bool
) -> None:
    """In sets of any size, and in both ways of applying one."""
    first, log, last = drawn
    if not place.run(EXISTS[place.mysql]):
        place.table("keyed", "id int, part TEXT, label TEXT, amount int, PRIMARY KEY (id, part)")
    table = TableId(place.database if place.mysql else "public", "keyed")
    fill(place, table, first)
    columns = place.columns()
    with place.sink.change_writer("stream", "log") as writer:
        for start in range(0, len(log), size):
            steps = net([as_changes(table, columns, log[start : start + size], KEY)], KEY)
            assert not change(writer, steps, start, at_once=at_once).unmatched
    assert place.rows("keyed") == sorted(last, key=str)


EXISTS = {
    True: "SELECT 1 FROM information_schema.tables WHERE table_schema = DATABASE()"
    " AND table_name IN ('keyed', 'bag')",
    False: "SELECT 1 FROM pg_tables WHERE tablename IN ('keyed', 'bag')",
}


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(drawn=histories(keyed=False), size=st.integers(1, 40))
def test_a102_keyless_exactly_one_of_equal_rows_goes(
    place: Place, drawn: tuple[list[Row], History, list[Row]], size: int
) -> None:
    first, log, last = drawn
    if not place.run(EXISTS[place.mysql]):
        place.table("bag", "id int, part TEXT, label TEXT, amount int")
    table = TableId(place.database if place.mysql else "public", "bag")
    fill(place, table, first)
    columns = place.columns()
    with place.sink.change_writer("stream", "log") as writer:
        for start in range(0, len(log), size):
            applied = writer.apply(
                net([as_changes(table, columns, log[start : start + size], NAMES)], ())
            )
            assert not applied.unmatched
            writer.commit({"at": start})
    assert Counter(place.rows("bag")) == Counter(last)


@BOTH_WAYS
def test_an_insert_beside_numbers_that_nobody_may_update(
    place: Place, rows: int, at_once: bool
) -> None:
    """A column GENERATED ALWAYS AS IDENTITY beside the key: ON CONFLICT may not set it."""
    if place.mysql:
        pytest.skip("MySQL has no such columns")
    table = place.table(
        "numbered",
        "id int, part TEXT, label TEXT, amount int GENERATED ALWAYS AS IDENTITY,"
        " own int DEFAULT 5, PRIMARY KEY (id, part)",
    )
    wanted = [(i, "p", f"v{i}", i * 10) for i in range(rows)]
    log: History = [(Op.INSERT, None, row, frozenset()) for row in wanted]
    for _ in range(2):  # the second time each row replaces itself
        with place.sink.change_writer("stream", "log") as writer:
            steps = net([as_changes(table, place.columns(), log, KEY)], KEY)
            change(writer, steps, 1, at_once=at_once)
        assert place.rows("numbered") == sorted(wanted, key=str)
        place.run("UPDATE numbered SET own = id + 100, label = 'other' WHERE id > 0")
        place.run("DELETE FROM numbered WHERE id = 0")
    assert place.run("SELECT count(*) FROM numbered WHERE own <> id + 100") == [(0,)]


@BOTH_WAYS
def test_a34_unique_values_swapped_in_one_transaction(
    place: Place, rows: int, at_once: bool
) -> None:
    table = place.table(
        "swapped",
        "id int, part TEXT, label TEXT, amount int, own int DEFAULT 5, PRIMARY KEY (id, part),"
        " UNIQUE (label)",
    )
    start = [(i, "p", f"v{i}", i) for i in range(rows)]
    fill(place, table, start)
    place.run(f"UPDATE swapped SET own = id + 100 WHERE id < {rows}")
    if not place.mysql:
        assert place.sql.autocommit
    turned = [(i, "p", f"v{(i + 1) % rows}", i) for i in range(rows)]
    log: History = [
        (Op.UPDATE, old, new, frozenset({"amount"})) for old, new in zip(start, turned, strict=True)
    ]
    with place.sink.change_writer("stream", "log") as writer:
        columns = place.columns()
        steps = net([as_changes(table, columns, log, KEY)], KEY)
        assert not change(writer, steps, 1, at_once=at_once).unmatched
    assert place.rows("swapped") == sorted(turned, key=str)
    assert {row[0] for row in place.run("SELECT own - id FROM swapped")} == {100}


@BOTH_WAYS
def test_an_update_or_delete_of_a_row_that_is_not_there_is_counted(
    place: Place, rows: int, at_once: bool
) -> None:
    table = place.table("gone", "id int, part TEXT, label TEXT, amount int, PRIMARY KEY (id, part)")
    there = [(i, "p", "x", i) for i in range(rows)]
    absent = [(i, "q", "x", i) for i in range(rows)]
    fill(place, table, there)
    log: History = [(Op.UPDATE, row, row, frozenset()) for row in (*there, *absent)]
    log += [(Op.DELETE, (*row[:1], "r", None, None), None, frozenset()) for row in there]
    with place.sink.change_writer("stream", "log") as writer:
        columns = place.columns()
        steps = net([as_changes(table, columns, log, KEY)], KEY)
        applied = change(writer, steps, 1, at_once=at_once)
    assert applied.unmatched == {table: 2 * rows}
    assert applied.rows == {table: rows}
    assert place.rows("gone") == sorted(there, key=str)


@pytest.mark.parametrize("kind", ["smallint", "int", "bigint"])
def test_many_rows_go_by_one_whole_number(place: Place, kind: str) -> None:
    """Least and greatest numbers too; those that are not there are counted."""
    width = {"smallint": 2, "int": 4, "bigint": 8}[kind]
    most = 2 ** (8 * width - 1)
    table = place.table("whole", f"id {kind} PRIMARY KEY")
    there = [-most, -1, 0, *range(1, 200), most - 1]
    dialect = Dialect.MYSQL if place.mysql else Dialect.POSTGRES
    native = NativeType(dialect, kind, kind if place.mysql else f"int{width}")
    arrow = {2: pa.int16(), 4: pa.int32(), 8: pa.int64()}[width]
    columns = (Column("id", native, arrow, nullable=False),)

    def rows(numbers: list[int]) -> pa.RecordBatch:
        return pa.RecordBatch.from_arrays([pa.array(numbers, arrow)], names=["id"])

    gone = [n for n in there if n % 2 == 0 or n == most - 1]
    absent = list(range(1000, 1030))
    with place.sink.change_writer("stream", "log") as writer:
        writer.apply([NetChanges(table, columns, ("id",), inserts=rows(there))])
        applied = writer.apply([NetChanges(table, columns, ("id",), deletes=rows(gone + absent))])
        writer.commit({"at": 1})
    assert applied.rows == {table: len(gone)} and applied.unmatched == {table: len(absent)}
    left = [row[0] for row in place.run("SELECT id FROM whole ORDER BY id")]
    assert left == sorted({*there} - {*gone})


@BOTH_WAYS
def test_an_insert_of_a_row_that_is_there_takes_its_place(
    place: Place, rows: int, at_once: bool
) -> None:
    table = place.table("again", "id int, part TEXT, label TEXT, amount int,"
                        " PRIMARY KEY (id, part), UNIQUE (amount)")  # fmt: skip
    fill(place, table, [(i, "p", "old", i) for i in range(rows)])
    wanted = [(i, "p", "new", i) for i in range(rows)]
    with place.sink.change_writer("stream", "log") as writer:
        step = NetChanges(table, place.columns(), KEY, inserts=batch(wanted))
        change(writer, [step], 1, at_once=at_once)
    assert place.rows("again") == sorted(wanted, key=str)


def test_a33_another_rows_unique_value_is_refused_and_destroys_nothing(place: Place) -> None:
    table = place.table("second", "id int, part TEXT, label TEXT, amount int,"
                        " PRIMARY KEY (id, part), UNIQUE (amount)")  # fmt: skip
    fill(place, table, [(1, "p", "old", 7)])
    with (
        place.sink.change_writer("stream", "log") as writer,
        pytest.raises(RowRejected, match="second"),
    ):
        writer.apply([NetChanges(table, place.columns(), KEY, inserts=batch([(2, "p", "n", 7)]))])
    assert place.rows("second") == [(1, "p", "old", 7)]


def test_the_position_is_kept_with_the_rows(place: Place) -> None:
    table = place.table("kept", "id int, part TEXT, label TEXT, amount int, PRIMARY KEY (id, part)")
    change = [NetChanges(table, place.columns(), KEY, inserts=batch([(1, "p", None, None)]))]
    with place.sink.change_writer("stream", "log") as writer:
        assert writer.document is None
        writer.apply(change)
        writer.commit({"at": 1}, {"more": {"x": [1]}})
        writer.apply([Truncation((table,))])
    assert place.rows("kept") == [(1, "p", None, None)]
    assert place.sink.load_state("stream")["more"] == {"x": [1]}  # type: ignore[attr-defined]
    with place.sink.change_writer("stream", "log") as writer:
        assert writer.document == {"at": 1}


def test_a24_a_second_writer_fences_the_first_one_off(place: Place) -> None:
    table = place.table("once", "id int, part TEXT, label TEXT, amount int, PRIMARY KEY (id, part)")

    def change(number: int) -> list[NetChanges | Truncation]:
        rows = batch([(number, "p", None, None)])
        return [NetChanges(table, place.columns(), KEY, inserts=rows)]

    with place.sink.change_writer("stream", "log") as first:
        first.apply(change(1))
        first.commit({"at": 1})
        with place.sink.change_writer("stream", "log") as second:
            assert second.document == {"at": 1}
            first.apply(change(2))
            with pytest.raises(FencedOff, match="stream"):
                first.commit({"at": 2})
            second.apply(change(3))
            second.commit({"at": 3})
    assert [row[0] for row in place.rows("once")] == [1, 3]


def test_foreign_keys_rest_while_changes_are_applied(place: Place) -> None:
    place.run("DROP TABLE IF EXISTS child")
    parent = place.table("parent", "id int PRIMARY KEY, part TEXT, label TEXT, amount int")
    child = place.table(
        "child",
        "id int PRIMARY KEY, part TEXT, label TEXT, amount int,"
        " FOREIGN KEY (amount) REFERENCES parent (id) ON DELETE CASCADE",
    )
    fill(place, parent, [(1, "p", None, None)])
    fill(place, child, [(1, "c", None, 1)])
    with place.sink.change_writer("stream", "log") as writer:
        rows = batch([(9, "c", None, 8)])
        writer.apply([NetChanges(child, place.columns(), ("id",), inserts=rows)])
        gone = batch([(1,)], ("id",))
        writer.apply([NetChanges(parent, place.columns(), ("id",), deletes=gone)])
        parents = batch([(8, "p", None, None)])
        writer.apply([NetChanges(parent, place.columns(), ("id",), inserts=parents)])
        writer.commit({"at": 1})
    assert [row[0] for row in place.rows("child")] == [1, 9], "no cascade is applied twice"


def test_cascades_that_the_log_does_not_carry_are_done(place: Place) -> None:
    place.run("DROP TABLE IF EXISTS child")
    parent = place.table("parent", "id int PRIMARY KEY, part TEXT, label TEXT, amount int")
    child = place.table(
        "child",
        "id int PRIMARY KEY, part TEXT, label TEXT, amount int,"
        " FOREIGN KEY (amount) REFERENCES parent (id) ON DELETE CASCADE",
    )
    fill(place, parent, [(1, "p", None, None)])
    fill(place, child, [(1, "c", None, 1)])
    with place.sink.change_writer("stream", "log") as writer:
        gone = batch([(1,)], ("id",))
        writer.apply([NetChanges(parent, place.columns(), ("id",), deletes=gone, cascades=True)])
        writer.commit({"at": 1})
    assert place.rows("child") == []


def test_what_a_lock_held_up_is_not_left_out(place: Place) -> None:
    """The next try may succeed: an optional index is not lost to another session's lock."""
    table = place.table("held", "id int PRIMARY KEY, part TEXT, label TEXT, amount int")
    statement = Statement(
        f"CREATE INDEX by_amount ON {table} (amount)",
        ObjectRef(ObjectKind.INDEX, "by_amount", table),
        table,
        optional=True,
    )
    place.run("BEGIN")
    place.run("SELECT * FROM held" if place.mysql else "LOCK TABLE held")
    with place.sink.change_writer("stream", "log") as writer, pytest.raises(LockTimeout):
        writer.execute([statement])
    place.run("COMMIT")
    with place.sink.change_writer("stream", "log") as writer:
        assert writer.execute([statement]) == []
        writer.commit({"at": 1})
