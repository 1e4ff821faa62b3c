"""The decoder of pgoutput without a server: messages made by hand."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from streams_engine.adapters.postgres.replication.pgoutput import (
    Messages,
    Relation,
    RelationColumn,
    lsn_text,
    lsn_value,
    parse_commit,
    parse_message,
    parse_relation,
    parse_truncate,
)
from streams_engine.adapters.postgres.replication.row_decoder import decode, plan_for
from streams_engine.adapters.postgres.replication.slots import default_name, page_start
from streams_engine.adapters.postgres.replication.spill import OpenTransactions, TransactionSpill
from streams_engine.adapters.postgres.replication.value_decoder import json_of
from streams_engine.errors import ProtocolViolation, RowRejected, SchemaChangeRefused
from streams_engine.model import (
    Column,
    Dialect,
    Extract,
    NativeType,
    RowChanges,
    TableId,
    TableSchema,
    TableSubscription,
)
from streams_engine.schema.types.postgres import WIRE

TABLE = TableId("public", "t")
OID = 77


def computes_nothing(*_: object) -> list[str | None]:
    """No column of these tables is generated."""
    raise AssertionError


def native(name: str) -> NativeType:
    return NativeType(Dialect.POSTGRES, name, name)


def tuples(*values: str | None) -> bytes:
    """None is NULL, ``...`` an unchanged value."""
    out = struct.pack(">H", len(values))
    for value in values:
        if value is None:
            out += b"n"
        elif value == "...":
            out += b"u"
        else:
            out += b"t" + struct.pack(">I", len(value.encode())) + value.encode()
    return out


def row(letter: str, *parts: tuple[str, bytes]) -> tuple[str, bytes]:
    return letter, struct.pack(">I", OID) + b"".join(m.encode() + t for m, t in parts)


def decoded(
    columns: dict[str, tuple[str, pa.DataType]],
    identity: tuple[str, ...],
    *rows: tuple[str, bytes],
) -> RowChanges:
    schema = TableSchema(
        TABLE,
        Dialect.POSTGRES,
        tuple(Column(name, native(kind), arrow) for name, (kind, arrow) in columns.items()),
    )
    tracked = TableSubscription(schema, Extract(TABLE, schema.columns), identity)
    relation = Relation(
        OID, "public", "t", "d", tuple(RelationColumn(n, 0, -1, n in identity) for n in columns)
    )
    messages = Messages.made(rows)
    plan = plan_for(relation, tracked, lambda texts, _: texts, computes_nothing)
    return decode(plan, messages, np.arange(len(messages)))


TEXTS: dict[str, tuple[str, pa.DataType]] = {
    "a": ("int4", pa.string()),
    "b": ("text", pa.string()),
}


def test_kinds_are_decoded_together() -> None:
    batch = decoded(
        TEXTS,
        ("a",),
        row("I", ("N", tuples("1", "x"))),
        row("U", ("N", tuples("1", "y"))),
        row("U", ("K", tuples("1", None)), ("N", tuples("2", "..."))),
        row("D", ("K", tuples("2", None))),
        row("I", ("N", tuples("3", ""))),
    )
    assert batch.op.tolist() == [0, 1, 1, 2, 0]
    assert batch.after.to_pylist() == [
        {"a": "1", "b": "x"},
        {"a": "1", "b": "y"},
        {"a": "2", "b": None},
        {"a": None, "b": None},
        {"a": "3", "b": ""},
    ]
    assert batch.before is not None
    assert batch.before.column("a").to_pylist() == [None, "1", "1", "2", None]
    assert batch.missing["b"].tolist() == [False, False, True, False, False]
    assert list(batch.missing) == ["b"]


def test_identities_that_stay_need_no_old_values() -> None:
    """B44: of REPLICA IDENTITY FULL as well, whose unchanged values come from the old row."""
    batch = decoded(
        TEXTS,
        ("a",),
        row("U", ("O", tuples("1", "long")), ("N", tuples("1", "..."))),
        row("U", ("O", tuples("2", None)), ("N", tuples("2", "z"))),
    )
    assert batch.before is None and not batch.missing
    assert batch.after.column("b").to_pylist() == ["long", "z"]


def test_a_column_that_the_log_lacks_is_missing_where_there_is_a_row() -> None:
    schema = TableSchema(
        TABLE,
        Dialect.POSTGRES,
        (Column("a", native("int4"), pa.int32()), Column("b", native("int4"), pa.int32())),
    )
    tracked = TableSubscription(schema, Extract(TABLE, schema.columns), ("a",))
    relation = Relation(OID, "public", "t", "d", (RelationColumn("a", 23, -1, True),))
    rows = Messages.made([row("I", ("N", tuples("5"))), row("D", ("K", tuples("5")))])
    plan = plan_for(relation, tracked, lambda texts, _: texts, computes_nothing)
    batch = decode(plan, rows, np.arange(2))
    assert batch.missing["b"].tolist() == [True, False]
    assert batch.after.column("a").to_pylist() == [5, None]


@pytest.mark.parametrize("pieces", [1, 2, 5000])
def test_many_rows_of_many_lengths(pieces: int) -> None:
    values = [("é" * (i % 30), str(i)) for i in range(pieces)]
    batch = decoded(TEXTS, ("a",), *(row("I", ("N", tuples(n, t))) for t, n in values))
    assert batch.after.column("b").to_pylist() == [t for t, _ in values]
    assert batch.after.column("a").to_pylist() == [n for _, n in values]


def test_a_row_of_another_width_is_refused() -> None:
    with pytest.raises(ProtocolViolation, match="3 columns, and its table has 2"):
        decoded(TEXTS, ("a",), row("I", ("N", tuples("1", "2", "3"))))


def test_B44_an_identity_that_was_changed_is_noticed() -> None:
    schema = TableSchema(TABLE, Dialect.POSTGRES, (Column("a", native("int4"), pa.int32()),))
    tracked = TableSubscription(schema, Extract(TABLE, schema.columns), ("a",))
    columns = (RelationColumn("a", 23, -1, False), RelationColumn("b", 23, -1, True))
    plan = plan_for(
        Relation(OID, "public", "t", "i", columns),
        tracked,
        lambda texts, _: texts,
        computes_nothing,
    )
    rows = Messages.made([row("D", ("K", tuples(None, "5")))])
    with pytest.raises(SchemaChangeRefused, match="lacks the old values of a"):
        decode(plan, rows, np.arange(1))


def test_a_value_that_is_none_of_the_type_is_a_bad_row_without_the_value() -> None:
    columns = {"a": ("numeric", pa.decimal128(5, 2))}
    with pytest.raises(RowRejected) as raised:
        decoded(columns, (), row("I", ("N", tuples("secret"))))
    assert "secret" not in str(raised.value) and "column a" in str(raised.value)


@pytest.mark.parametrize(
    ("kind", "text", "width", "number"),
    [
        ("date", "2000-01-01", "i", 0),
        ("date", "1999-12-31", "i", -1),
        ("date", "4714-11-24 BC", "i", -2451545),
        ("date", "5874897-12-31", "i", 2145031948),
        ("date", "infinity", "i", 2**31 - 1),
        ("date", "-infinity", "i", -(2**31)),
        ("timestamp", "2000-01-01 00:00:00.000001", "q", 1),
        ("timestamp", "infinity", "q", 2**63 - 1),
        ("timestamptz", "1999-12-31 23:59:59.9+00", "q", -100_000),
        ("timestamptz", "-infinity", "q", -(2**63)),
        ("time", "24:00:00", "q", 86_400_000_000),
        ("time", "00:00:00.5", "q", 500_000),
    ],
)
def test_wire_forms(kind: str, text: str, width: str, number: int) -> None:
    batch = decoded(
        {"a": (kind, WIRE)}, (), row("I", ("N", tuples(text))), row("I", ("N", tuples(None)))
    )
    assert batch.after.column("a").to_pylist() == [struct.pack(f">{width}", number), None]


@pytest.mark.parametrize(
    ("element", "text", "shown"),
    [
        ("int4", "{}", "[]"),
        ("int4", "{1,NULL,3}", "[1, null, 3]"),
        ("int4", "[2:3][0:0]={{5},{6}}", "[[5], [6]]"),
        ("float8", "{1e+20,-0,NaN,1e-07}", '[100000000000000000000, 0, "NaN", 0.0000001]'),
        ("text", '{NULL,"NULL","a\\\\b\\"c",d e}', '[null, "NULL", "a\\\\b\\"c", "d e"]'),
        ("text", '{"\x01\t"}', '["\\u0001\\t"]'),
        ("bool", "{t,f}", "[true, false]"),
    ],
)
def test_arrays_as_json(element: str, text: str, shown: str) -> None:
    array = NativeType(Dialect.POSTGRES, f"{element}[]", f"_{element}", element=native(element))
    assert json_of(text, array) == shown


def test_single_messages() -> None:
    relation = (
        struct.pack(">I", OID) + b"public\0t\0f" + struct.pack(">H", 1) + b"\1a\0"
        + struct.pack(">Ii", 23, -1)
    )  # fmt: skip
    column = RelationColumn("a", 23, -1, True)
    assert parse_relation(relation) == Relation(OID, "public", "t", "f", (column,))
    assert parse_truncate(struct.pack(">IBII", 2, 3, 5, 6)) == ((5, 6), True)
    assert parse_commit(struct.pack(">BQQq", 0, 1, 2, 500_000)) == (1, 2, 946_684_800.5)
    assert parse_message(b"\1" + bytes(8) + b"p\0" + struct.pack(">I", 2) + b"hi") == ("p", b"hi")
    assert lsn_text(lsn_value("1A/2B3C")) == "1A/2B3C"


def test_page_headers_are_no_log() -> None:
    assert page_start("0/2000028") == "0/2000000"
    assert page_start("0/2002018") == "0/2002000"
    assert page_start("0/2000100") == "0/2000100"


def test_the_end_of_a_record_soon_after_a_page_header_is_no_header() -> None:
    assert page_start("0/520E020") == "0/520E020"
    assert page_start("0/520E028") == "0/520E028"


@pytest.mark.parametrize(
    "stream", ["orders", "Orders", "a" * 80, "ünï côdé", "a-b", "a_b", "1 2", "x" * 60]
)
def test_default_names_are_a_slots(stream: str) -> None:
    name = default_name(stream)
    assert 0 < len(name.encode()) <= 63 and set(name) <= set(
        "abcdefghijklmnopqrstuvwxyz_0123456789"
    )


def test_default_names_differ() -> None:
    names = ["a-b", "a_b", "A_B", "a b", "x" * 70, "x" * 71]
    assert len({default_name(name) for name in names}) == len(names)


# Transactions in progress


def streamed(transaction: int, letter: str, body: bytes) -> tuple[str, bytes]:
    return letter, struct.pack(">I", transaction) + body


def commit_of(transaction: int) -> bytes:
    return struct.pack(">IBQQq", transaction, 0, 100, 108, 0)


def letters(messages: Any) -> str:
    return "".join(chr(kind) for kind in messages.kind if kind)


@pytest.mark.parametrize("cut", range(12))
def test_B47_blocks_are_put_aside_and_come_back_at_the_commit(cut: int) -> None:
    one = row("I", ("N", tuples("1", "x")))[1]
    log = [
        ("S", struct.pack(">IB", 5, 1)),
        streamed(5, "R", b"relation"),
        streamed(5, "I", one),
        streamed(6, "I", one),
        ("E", b""),
        ("B", bytes(20)),
        ("C", bytes(25)),
        ("A", struct.pack(">II", 5, 6)),
        ("S", struct.pack(">IB", 5, 0)),
        streamed(5, "I", one),
        ("E", b""),
        ("c", commit_of(5)),
    ]
    blocks = OpenTransactions()
    outside = [blocks.without(Messages.made(part)) for part in (log[:cut], log[cut:]) if part]
    assert "".join(map(letters, outside)) == "BCc"
    back = Messages.joined(list(blocks.committed(commit_of(5))))
    assert letters(back) == "BRIiIC"
    rows = np.flatnonzero(back.kind == ord("I"))[[0, -1]]
    assert [back.content(int(i)) for i in rows] == [one, one]
    assert not blocks._spools


def test_B48_an_aborted_transaction_is_forgotten() -> None:
    blocks = OpenTransactions()
    blocks.without(
        Messages.made(
            [
                ("S", struct.pack(">IB", 5, 1)),
                streamed(5, "I", bytes(10)),
                ("E", b""),
                ("A", struct.pack(">II", 5, 5)),
            ]
        )
    )
    assert not blocks._spools


def test_a_spool_that_outgrows_the_memory_is_on_disk() -> None:
    spool = TransactionSpill()
    big = Messages.made([("I", bytes(3 << 20))])
    for number in range(3):
        spool.add(big, np.array([number]))
    spool.abort(1)
    assert spool._file._rolled  # type: ignore[attr-defined]
    assert [letters(m) for m in spool.read()] == ["I", "i", "I"]
