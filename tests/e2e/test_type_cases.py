"""Every type case of the shared file, moved: what the target prints is what the source prints.

A column a case, twenty to a table, one run a route. The comparison is written here
and shares nothing with the engine. Values that PostgreSQL cannot hold follow the documented
policy: a zero date is NULL and counted, also in a column that was NOT NULL; a TIME outside a day
and the error value of an ENUM are refused by name. Nothing else may change.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

from streams_engine.errors import StreamsError
from streams_engine.testing.servers import Server
from tests.support.databases import End, move
from tests.support.type_cases import (
    PINNED,
    PRINTED,
    Case,
    Held,
    cases,
    column,
    definition,
    fill,
    grouped,
    held_values,
    is_zero_date,
    prepare_postgres,
    probe,
)


def single(text: str) -> bytes:
    return struct.pack(">f", float(text))


def double(text: str) -> bytes:
    return struct.pack(">d", float(text))


def moment(text: str) -> str:
    """Trailing zeros of the fraction away, and the +00 that PostgreSQL prints for an instant."""
    text = text.removesuffix("+00")
    return text.rstrip("0").rstrip(".") if "." in text else text


def document(text: str) -> Any:
    """JSON with exact numbers; a boolean stays apart from a number."""
    found = json.loads(text, parse_float=Decimal, parse_int=Decimal)
    return json.loads(json.dumps(found, default=lambda number: {"#": str(number.normalize())}))


def bits(source: str, target: str) -> bool:
    if target in ("true", "false"):
        return int(source, 2) == (target == "true")
    return source.zfill(len(target)) == target


def number(source: str, target: str) -> bool:
    if target in ("true", "false"):
        return int(source) == (target == "true")
    return Decimal(source) == Decimal(target)


def labels(source: str, target: str) -> bool:
    return (source.split(",") if source else []) == json.loads(target)


def same_by(key: Callable[[str], Any]) -> Callable[[str, str], bool]:
    return lambda source, target: key(source) == key(target)


SAME: Mapping[str, Callable[[str, str], bool]] = {
    **dict.fromkeys(("tinyint", "smallint", "mediumint", "int", "bigint", "year"), number),
    "decimal": lambda source, target: Decimal(source).as_tuple() == Decimal(target).as_tuple(),
    "float": same_by(single),
    "double": same_by(double),
    "bit": bits,
    "set": labels,
    "json": same_by(document),
    **dict.fromkeys(("date", "datetime", "timestamp", "time"), same_by(moment)),
    **{name: same_by(str.lower) for name, how in PRINTED.items() if how == "HEX(v)"},
}
"""By MySQL's type; every other one must be printed alike."""


def agrees(held: Held, target: str | None) -> bool:
    if held.text is None or target is None:
        return held.text is target
    return SAME.get(held.type, lambda source, printed: source == printed)(held.text, target)


def must_be_refused(held: Held) -> bool:
    """What PostgreSQL's type cannot hold, and what does not become NULL."""
    if held.text is None:
        return False
    return held.type == "enum" and held.text == ""


def target_text(held: Held, name: str) -> str:
    if held.type in ("binary", "varbinary", "geometry", "point") or "blob" in held.type:
        return f"encode({name}, 'hex')"
    if held.type == "set":
        return f"array_to_json({name})::text"
    return f"host({name})" if held.type.startswith("inet") else f"{name}::text"


def printed(end: End, tables: Mapping[str, Mapping[str, str]]) -> dict[str, str | None]:
    """What PostgreSQL prints: {column: text} for {table: {column: expression}}."""
    found: dict[str, str | None] = {}
    with closing(end.server.connect(end.database)) as connection:
        connection.execute(PINNED)
        for name, columns in tables.items():
            query = f"SELECT {', '.join(columns.values())} FROM public.{name}"
            row = connection.execute(query).fetchone()
            assert row is not None, f"{name} is empty"
            found.update(zip(columns, row, strict=True))
    return found


def test_mysql_to_postgres(
    mysql_server: Server,
    pg18: Server,
    database: Any,
    shared_data: Path,
    counted: Callable[[str], None],
) -> None:
    wanted = cases(shared_data, "mysql", *(["mariadb"] if mysql_server.kind == "mariadb" else []))
    source = End(mysql_server, database(mysql_server))
    target = End(pg18, database(pg18))
    impossible = probe(mysql_server, source.database, wanted)
    wanted = [case for case in wanted if case["id"] not in impossible]
    probing = End(mysql_server, database(mysql_server))
    everything = grouped(wanted)
    fill(mysql_server, probing.database, everything)
    held = held_values(probing, everything)
    refused = [case for case in wanted if must_be_refused(held[case["id"]])]
    moved = grouped([case for case in wanted if case not in refused])
    alone = {f"r{i}": [case] for i, case in enumerate(refused)}
    fill(mysql_server, source.database, {**moved, **alone})

    stats = move(source, target, tables=list(moved))

    found = printed(
        target,
        {
            name: {column(c): target_text(held[c["id"]], column(c)) for c in members}
            for name, members in moved.items()
        },
    )
    wrong: dict[str, Any] = {}
    nulled: list[str] = []
    for case in (case for members in moved.values() for case in members):
        mine, theirs = held[case["id"]], found[column(case)]
        nulled += [column(case)] * is_zero_date(mine)
        if not (theirs is None if is_zero_date(mine) else agrees(mine, theirs)):
            wrong[case["id"]] = (case["type"], mine, theirs)
    wrong |= refusals(source, target, alone)
    counted(
        f"{mysql_server.kind} -> PostgreSQL: {len(wanted) - len(wrong)} of {len(wanted)} held, "
        f"{len(nulled)} of them zero dates as NULL, {len(refused)} refused; "
        f"{len(impossible)} this server does not take: {sorted(impossible)}"
    )
    assert not wrong
    assert len(impossible) <= 4, impossible
    counted = [f.object.split(".")[-1] for f in stats.findings if f.code == "zero-dates"]
    assert sorted(counted) == sorted(nulled)


def refusals(source: End, target: End, alone: Mapping[str, list[Case]]) -> dict[str, Any]:
    """Those of the tables that are not refused by name, one row each."""
    wrong: dict[str, Any] = {}
    for name, (case,) in alone.items():
        try:
            move(source, target, tables=[name])
            wrong[case["id"]] = (case["type"], "was not refused")
        except StreamsError as error:
            where = str(error)
            if error.code != "ROW_REJECTED" or name not in where or column(case) not in where:
                wrong[case["id"]] = (case["type"], error.code, where)
    return wrong


def test_postgres_to_postgres(
    pg_server: Server,
    pg18: Server,
    database: Any,
    shared_data: Path,
    counted: Callable[[str], None],
) -> None:
    wanted = cases(shared_data, "postgres")
    source = End(pg_server, database(pg_server))
    target = End(pg18, database(pg18))
    impossible = prepare_postgres(source, wanted)
    # A server built without libxml, or without an extension, cannot be the target of such a value.
    impossible |= prepare_postgres(End(pg18, database(pg18)), wanted)
    wanted = [case for case in wanted if case["id"] not in impossible]
    tables = grouped(wanted)
    with closing(source.server.connect(source.database)) as connection:
        connection.execute(PINNED)
        for name, members in tables.items():
            for statement in definition(name, members):
                connection.execute(statement)

    move(source, target, tables=list(tables))

    shown = {
        name: {column(c): f"{column(c)}::text" for c in members} for name, members in tables.items()
    }
    before, after = printed(source, shown), printed(target, shown)
    wrong = {
        case["id"]: (case["type"], before[column(case)], after[column(case)])
        for case in wanted
        if before[column(case)] != after[column(case)]
    }
    counted(
        f"{pg_server.version} -> {pg18.version}: {len(wanted) - len(wrong)} of "
        f"{len(wanted)} held; {len(impossible)} not on both servers: {sorted(impossible)}"
    )
    assert not wrong
    assert len(impossible) <= 8, impossible
