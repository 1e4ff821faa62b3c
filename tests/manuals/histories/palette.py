"""Types with awkward values, taken from the catalogue: what a route carries of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from tests.manuals.catalogue import ENTRIES
from tests.manuals.entries import CARRIED, Entry
from tests.manuals.ledger import Ledger
from tests.manuals.routes import Route

__all__ = ["KEYS", "PLAIN", "WIDER", "Kind", "holds", "is_open", "kinds"]

_TABLE = re.compile(r"\s*CREATE TABLE T \(id int PRIMARY KEY, v (.+)\)$", re.S)
_ROWS = re.compile(r"INSERT INTO T VALUES (.*?), \(\d+, NULL\);", re.S)
_BARE = re.compile(r"text|blob|json|geometry|point|polygon|linestring|collection|multi|vector|lob")


@dataclass(frozen=True)
class Kind:
    """A type as a server spells it, and values of it that are awkward."""

    name: str
    values: tuple[str, ...]

    @property
    def constant(self) -> str | None:
        """A value that may be a default on every server, or None."""
        if _BARE.search(self.name.lower()) or "(" in self.values[0]:
            return None
        return self.values[0]


@cache
def kinds(route: Route) -> tuple[Kind, ...]:
    """The types that a route carries, in the order of the catalogue."""
    prefix = "pg_of_" if route.postgres else "my_type_"
    found = []
    for entry in ENTRIES.values():
        if entry.id.startswith(prefix) and holds(entry, route):
            table, rows = _TABLE.match(entry.work), _ROWS.match(entry.after)
            if table and rows:
                values = re.split(r"(?:\), )?\(\d+, ", rows[1].removesuffix(")"))
                found.append(Kind(table[1], tuple(value for value in values if value)))
    return tuple(found)


def holds(entry: Entry, route: Route) -> bool:
    """Whether an entry is carried on a route without a word, and not known to fail there."""
    return not is_open(entry, route) and all(
        entry.verdict_on(route.source, route.target, bare=route.bare, load=load) == CARRIED
        for load in (False, True)
    )


def is_open(entry: Entry, route: Route) -> bool:
    """Whether a promise of the entry is known not to hold on the route, or on MySQL's."""
    target = "mysql9" if route.target == "mariadb" else route.target
    names = {route.name} | ({f"mysql9-{target}"} if route.source == "mariadb" else set())
    return any(any(_lines().get(entry.id, {}).get(name, {}).values()) for name in names)


@cache
def _lines() -> dict[str, dict[str, dict[str, str]]]:
    return Ledger.load().lines


KEYS = {
    "mysql": {
        "int": ("-1", "2147483647"), "varchar(20)": ("''", "'ä'", "'ab'"),
        "varbinary(16)": ("0x00", "0x6100"), "date": ("'1000-01-01'", "'2020-02-29'"),
    },
    "postgresql": {
        "int": ("-1", "2147483647"), "text": ("''", "'ä'", "'ab '"), "bytea": (r"'\\x00'", "''"),
        "date": ("'0001-01-01'", "'2020-02-29'"),
    },
}  # fmt: skip
"""Types of a second column of a key, with values."""

PLAIN = {
    "mysql": {
        "tinyint": ("-128", "7"), "smallint": ("-32768",), "int": ("0", "2147483647"),
        "bigint": ("-9223372036854775808", "5"), "float": ("0.1", "-3.4e38"), "double": ("0.1",),
        "varchar(20)": ("''", "'7'", "'it''s; \\\\'"), "varchar(300)": ("repeat('ü', 300)",),
        "mediumtext": ("repeat('ä', 30000)", "''"), "date": ("'2020-02-29'", "'1000-01-01'"),
        "datetime(3)": ("'9999-12-31 23:59:59.999'",), "decimal(9,2)": ("-0.01", "9999999.99"),
        "decimal(14,4)": ("0.1234",), "bit(10)": ("b'1000000001'",), "bit(20)": ("b'1'",),
        "enum('x','y')": ("'x'", "'y'"), "enum('x','xx','y')": ("'xx'",),
        "set('x','y')": ("'x,y'", "''"), "set('y','x','z')": ("'y,z'",),
        "varchar(20) CHARACTER SET latin1": ("'é'",),
    },
    "postgresql": {
        "smallint": ("-32768", "7"), "int": ("0", "2147483647"), "bigint": ("5",),
        "real": ("0.1", "-3.4e38"), "double precision": ("0.1",), "numeric": ("1.50", "-7"),
        "varchar(20)": ("''", "'7'", "E'it''s; \\\\'"), "varchar(300)": ("repeat('ü', 300)",),
        "text": ("repeat('ä', 30000)", "''"), "varchar": ("'v'",), "date": ("'2020-02-29'",),
        "timestamp": ("'9999-12-31 23:59:59.999'",), "numeric(9,2)": ("-0.01", "9999999.99"),
        "numeric(14,4)": ("0.1234",), "json": ("'{\"a\" : 1}'",), "jsonb": ("'[1.50]'",),
    },
}  # fmt: skip
"""Types that can be indexed, have a default and become another one, with values."""

WIDER = {
    "mysql": (
        ("tinyint", "smallint"), ("tinyint", "int"), ("int", "bigint"), ("float", "double"),
        ("varchar(20)", "varchar(300)"), ("varchar(20)", "mediumtext"), ("date", "datetime(3)"),
        ("decimal(9,2)", "decimal(14,4)"), ("int", "varchar(20)"), ("bit(10)", "bit(20)"),
        ("enum('x','y')", "enum('x','xx','y')"), ("set('x','y')", "set('y','x','z')"),
        ("varchar(300)", "varchar(20)"), ("bigint", "int"), ("decimal(14,4)", "decimal(9,2)"),
        ("datetime(3)", "date"), ("varchar(20)", "varchar(20) CHARACTER SET latin1"),
    ),
    "postgresql": (
        ("smallint", "int"), ("int", "bigint"), ("real", "double precision"), ("int", "numeric"),
        ("varchar(20)", "text"), ("varchar(20)", "varchar(300)"), ("date", "timestamp"),
        ("numeric(9,2)", "numeric(14,4)"), ("int", "text"), ("json", "jsonb"), ("text", "varchar"),
        ("bigint", "int"), ("timestamp", "date"), ("numeric(14,4)", "numeric(9,2)"),
    ),
}  # fmt: skip
"""Types and what they are changed to, some of them narrower."""
