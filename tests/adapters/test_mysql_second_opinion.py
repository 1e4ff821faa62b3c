"""mysql-replication reads the same log: another decoder, written by others, has the same values.

Where the two differ the server decides; `WRONG` names each such case. See ADR 25.
"""

from __future__ import annotations

import datetime as dt
import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pymysqlreplication import BinLogStreamReader
from pymysqlreplication.row_event import WriteRowsEvent

from streams_engine.testing.servers import Server
from tests.support.mysql_log import Place, inserted
from tests.support.mysql_values import grouped, natural, possible, session

WRONG = {
    ("binary", "padding"): "cuts the zero bytes that the column is padded with",
    ("json", "opaque"): "loses the bytes of an opaque value",
    ("set", "empty"): "gives None for the empty set",
    ("text", "charset"): "gives bytes for character sets that Python does not have by that name",
    ("time", "negative"): "adds the fraction of a negative time instead of subtracting it",
}
"""What mysql-replication gets wrong; other tests compare ours with the server's own text."""


def known(kind: str, ours: Any, theirs: Any) -> bool:
    """True where a difference is one of `WRONG`."""
    tests = {
        ("binary", "padding"): lambda: theirs.ljust(len(ours), b"\0") == ours,
        ("json", "opaque"): lambda: "base64:" in ours and theirs == "",
        ("set", "empty"): lambda: ours == set() and theirs is None,
        ("text", "charset"): lambda: isinstance(ours, str) and isinstance(theirs, bytes),
        ("time", "negative"): lambda: ours < dt.timedelta() and bool(ours.microseconds),
    }
    assert tests.keys() == WRONG.keys()
    return any(applies() for (named, _), applies in tests.items() if named == kind)


def kind_of(declared: str) -> str:
    word = declared.replace("(", " ").split()[0].lower()
    return "text" if word in ("char", "varchar", "text", "tinytext", "longtext") else word


def ours_as_theirs(kind: str, value: Any) -> Any:
    """Our value in the form in which mysql-replication gives one."""
    if value is None:
        return None
    if kind == "set":
        return set(filter(None, value.split(",")))
    if kind == "timestamp":
        return value.replace(tzinfo=None)
    return value


def theirs_as_ours(kind: str, value: Any) -> Any:
    """Their value in the form in which ours stands."""
    if kind == "bit" and value is not None:
        return int(value, 2)
    return text_of(value) if kind == "json" else value


def text_of(value: Any) -> Any:
    """A JSON value whose texts are bytes with texts; dates and times as MySQL writes them."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, dict):
        return {text_of(key): text_of(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [text_of(inner) for inner in value]
    return value.strftime("%H:%M:%S.%f") if isinstance(value, dt.time) else value


def same(kind: str, ours: Any, theirs: Any) -> bool:
    if kind == "json" and isinstance(ours, str):
        return bool(json.loads(ours) == theirs)
    return bool(ours == theirs)


def second_opinion(place: Place, file: str, position: int, table: str) -> list[Any]:
    """The values of the one row that was inserted into a table since a place in the log."""
    server = place.server
    with closing(
        BinLogStreamReader(
            connection_settings={
                "host": server.host,
                "port": server.port,
                "user": server.user,
                "password": server.password or "",
            },
            server_id=4_000_001,
            log_file=file,
            log_pos=position,
            resume_stream=True,
            only_events=[WriteRowsEvent],
            only_schemas=[place.database],
            only_tables=[table],
        )
    ) as reader:
        (row,) = [row for event in reader for row in event.rows]
    return list(row["values"].values())


@pytest.mark.filterwarnings("ignore:'db' is deprecated:DeprecationWarning")
def test_another_decoder_has_the_same_values(
    mysql9: Server, database: Any, shared_data: Path
) -> None:
    place = Place(mysql9, database(mysql9))
    lines = (shared_data / "type_cases.jsonl").read_text().splitlines()
    cases = [c for c in map(json.loads, lines) if c["db"] == "mysql" and "sql_mode" not in c]
    tables = grouped(possible(place, cases))
    names = {c["id"]: str(c["id"]).replace("-", "_") for cs in tables.values() for c in cs}
    for name, members in tables.items():
        columns = ", ".join(f"{names[c['id']]} {c['type']}" for c in members)
        place.run(f"CREATE TABLE {name} (id INT PRIMARY KEY, {columns})")
    tracked, begun = place.begin(natural)
    file, position = place.ask("SHOW BINARY LOG STATUS")[0][:2]
    for name, members in tables.items():
        values = ", ".join(str(c["literal_sql"]) for c in members)
        place.run(f"INSERT INTO {name} VALUES (1, {values})", session=session(members[0]))
    sets = place.sets(tracked, begun)
    different, excused = [], set()
    for name, members in tables.items():
        mine = inserted(sets, name)
        theirs = second_opinion(place, file, position, name)[1:]
        for case, other in zip(members, theirs, strict=True):
            kind = kind_of(case["type"])
            value = ours_as_theirs(kind, mine[names[case["id"]]].to_pylist()[0])
            other = theirs_as_ours(kind, other)
            if same(kind, value, other):
                continue
            if known(kind, value, other):
                excused.add(kind)
            else:
                different.append(f"{case['type']} {case['literal_sql']}: {value!r}, {other!r}")
    assert not different
    assert excused == {kind for kind, _ in WRONG}, "one of them is right by now"
