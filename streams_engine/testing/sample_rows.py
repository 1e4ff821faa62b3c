"""The rows that the conformance suites move, and how two readings of one value compare.

A *family* is a kind of value with its Arrow type and a few hard values. A source under test
holds `TABLES`; a sink under test is given the families that it says it takes.
"""

from __future__ import annotations

import datetime as dt
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pyarrow as pa

__all__ = [
    "EVENTS",
    "FAMILIES",
    "NOTHING",
    "PEOPLE",
    "SECRET",
    "TABLES",
    "Family",
    "SampleTable",
    "canonical",
    "counted",
    "together",
]

Row = Mapping[str, Any]

SECRET = "s3cr3t-value"
"""A text within each bad row: no message may show it."""

UTC = dt.UTC


@dataclass(frozen=True, slots=True)
class Family:
    """A kind of value: the Arrow type that batches carry, and values that are hard to keep."""

    name: str
    arrow: pa.DataType
    values: tuple[Any, ...]


HARD_TEXTS = (
    "",
    " ",
    "plain",
    'it\'s "quoted" `back`',
    "a,b;c\td|e",
    "two\nlines\r\nand\rmore",
    "\\N",
    "\\.",
    "NULL",
    "back\\slash\\",
    "100% _sure_",
    "grüße, 名前, 😀👩‍👩‍👧",
    "trailing space ",
    "'; DROP TABLE people; --",
)

_FAMILIES = (
    Family("bool", pa.bool_(), (True, False)),
    Family("int64", pa.int64(), (0, -1, 2**63 - 1, -(2**63))),
    Family("uint64", pa.uint64(), (0, 2**53 + 1, 2**64 - 1)),
    Family("float32", pa.float32(), (0.0, 0.5, -1.5, 16777216.0)),
    Family("float64", pa.float64(), (0.0, 0.1, -2.5, 1e300, 1 / 3, 5e-320)),
    Family("float64 special", pa.float64(), (float("nan"), float("inf"), float("-inf"), -0.0)),
    Family(
        "decimal",
        pa.decimal128(18, 4),
        (Decimal(0), Decimal("-0.0001"), Decimal("12.5"), Decimal("99999999999999.9999")),
    ),
    Family(
        "wide decimal",
        pa.decimal256(60, 20),
        (Decimal("9" * 40 + "." + "9" * 20), Decimal("-1e-20"), Decimal(0)),
    ),
    Family("text", pa.string(), HARD_TEXTS),
    Family("bytes", pa.binary(), (b"", b"\x00\xff\\N\n", bytes(range(256)), b"text")),
    Family("date", pa.date32(), (dt.date(1970, 1, 1), dt.date(1000, 1, 1), dt.date(9999, 12, 31))),
    Family(
        "timestamp",
        pa.timestamp("us"),
        (
            dt.datetime(1970, 1, 1),
            dt.datetime(1000, 1, 1, 0, 0, 0, 1),
            dt.datetime(2024, 2, 29, 23, 59, 59, 999999),
        ),
    ),
    Family(
        "timestamptz",
        pa.timestamp("us", "UTC"),
        (
            dt.datetime(1971, 1, 1, tzinfo=UTC),
            dt.datetime(2024, 3, 31, 1, 30, 0, 5, tzinfo=UTC),
            dt.datetime(2024, 10, 27, 0, 30, tzinfo=UTC),
        ),
    ),
    Family("time", pa.time64("us"), (dt.time(0), dt.time(23, 59, 59, 999999), dt.time(12, 30))),
    Family(
        "duration",
        pa.duration("us"),
        (dt.timedelta(0), dt.timedelta(hours=23, microseconds=1), dt.timedelta(minutes=90)),
    ),
    Family("texts", pa.list_(pa.string()), ([], ["a", None, ""], ['{"x, y"}', "\\", "NULL"])),
)

FAMILIES: Mapping[str, Family] = {family.name: family for family in _FAMILIES}
"""Every family by name."""


@dataclass(frozen=True, slots=True)
class SampleTable:
    """A table that a source under test holds: columns by name with their families, and rows."""

    name: str
    columns: Mapping[str, str]
    rows: tuple[Row, ...]
    more: Row
    """One row that is not among ``rows``: what a test inserts while a view is open."""
    key: tuple[str, ...] = ()
    required: frozenset[str] = frozenset()
    """The columns that hold no NULL."""

    def arrow_schema(self) -> pa.Schema:
        """Return the table's natural Arrow schema."""
        return pa.schema(
            [
                pa.field(name, FAMILIES[family].arrow, nullable=name not in self.required)
                for name, family in self.columns.items()
            ]
        )


TWO_YEARS = 63_072_000_000_000
"""In microseconds."""
KINDS = ("alpha", "beta", "gamma_50%", "gamma x50y", "back\\slash", "it's", None)


def _maybe(chance: random.Random, value: Any) -> Any:
    return None if chance.random() < 0.1 else value


def _person(number: int, key: int, chance: random.Random) -> Row:
    note = f"{number} " + "".join(chance.choices("abcdefgh ijkl", k=chance.randint(1300, 1600)))
    texts = (*HARD_TEXTS, *(f"name {n}" for n in range(20)))
    return {
        "id": key,
        "batch": number % 10,
        "Full Name": _maybe(chance, chance.choice(texts)),
        "kind": chance.choice(KINDS),
        "price": _maybe(chance, Decimal(chance.randint(-10_000, 10_000)) / 100),
        "born": _maybe(chance, dt.date(1950, 1, 1) + dt.timedelta(days=chance.randint(0, 25_000))),
        "seen": _maybe(
            chance,
            dt.datetime(2019, 1, 1) + dt.timedelta(microseconds=chance.randint(0, TWO_YEARS)),
        ),
        "active": _maybe(chance, chance.random() < 0.5),
        "score": _maybe(chance, chance.random()),
        "note": note,
        "data": _maybe(chance, chance.randbytes(chance.randint(0, 12))),
    }


def _people(count: int) -> SampleTable:
    chance = random.Random(7)
    keys = sorted({1, 2, 3, 7, *chance.sample(range(-300, 6000), count)})
    return SampleTable(
        "people",
        {
            "id": "int64",
            "batch": "int64",
            "Full Name": "text",
            "kind": "text",
            "price": "decimal",
            "born": "date",
            "seen": "timestamp",
            "active": "bool",
            "score": "float64",
            "note": "text",
            "data": "bytes",
        },
        tuple(_person(number, key, chance) for number, key in enumerate(keys)),
        more=_person(1, 7000, chance),
        key=("id",),
        required=frozenset({"id", "batch", "note"}),
    )


def _events(count: int) -> SampleTable:
    """Create a table without a key, with rows that repeat."""
    rows = [
        {
            "n": number % (count // 2),
            "text": HARD_TEXTS[number % (count // 2) % len(HARD_TEXTS)],
            "at": dt.datetime(2024, 1, 1) + dt.timedelta(seconds=number % (count // 2)),
        }
        for number in range(count)
    ]
    columns = {"n": "int64", "text": "text", "at": "timestamp"}
    more = {"n": -1, "text": "more", "at": dt.datetime(2025, 1, 1)}
    return SampleTable("events", columns, tuple(rows), more, required=frozenset({"n"}))


PEOPLE = _people(800)
"""A table with a key that has gaps, NULLs in most columns, and hard texts."""
EVENTS = _events(500)
"""A table without a key, each row twice."""
NOTHING = SampleTable("nothing", EVENTS.columns, (), EVENTS.more, required=EVENTS.required)
"""A table without rows."""
TABLES: Mapping[str, SampleTable] = {table.name: table for table in (PEOPLE, EVENTS, NOTHING)}


# Comparing


def _instant(value: Any) -> dt.datetime:
    moment = dt.datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment if moment.tzinfo is None else moment.astimezone(UTC)


def _span(value: Any) -> dt.timedelta:
    if isinstance(value, str):
        value = dt.time.fromisoformat(value)
    if isinstance(value, dt.time):
        return dt.timedelta(
            hours=value.hour,
            minutes=value.minute,
            seconds=value.second,
            microseconds=value.microsecond,
        )
    assert isinstance(value, dt.timedelta)
    return value


def _truth(value: Any) -> bool:
    known = {True: True, False: False, "t": True, "f": False, "true": True, "false": False}
    return known[value]


def _number(value: Any) -> str:
    text = format(Decimal(str(value)), "f")
    plain = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if plain in ("-0", "") else plain


SHAPES: Mapping[str, Callable[[Any], Any]] = {
    "bool": _truth,
    "int64": int,
    "uint64": int,
    "float32": lambda value: repr(float(value)),
    "float64": lambda value: repr(float(value)),
    "float64 special": lambda value: repr(float(value)),
    "decimal": _number,
    "wide decimal": _number,
    "bytes": bytes,
    "date": lambda value: dt.date.fromisoformat(value) if isinstance(value, str) else value,
    "timestamp": _instant,
    "timestamptz": _instant,
    "time": _span,
    "duration": _span,
    "texts": tuple,
}


def canonical(family: str, value: Any) -> Any:
    """Return a value in the one form in which values of its family compare exactly, whatever Python
    or Arrow type carries it (a decimal may be a text, a boolean 0 or 1)."""
    if value is None:
        return None
    return SHAPES.get(family, _as_it_is)(value)


def _as_it_is(value: Any) -> Any:
    return value


def counted(rows: Iterable[Row], columns: Mapping[str, str]) -> Counter[tuple[Any, ...]]:
    """Count how often each row occurs, by the canonical values of ``columns``."""
    return Counter(
        tuple(canonical(family, row[name]) for name, family in columns.items()) for row in rows
    )


# Threads


def together(*calls: Callable[[], Any], seconds: float = 60) -> list[Any]:
    """Run calls at once, each in a thread; their results, or the first error.

    AssertionError where one is not through after ``seconds``: it waits for something that
    nobody frees.
    """
    results: list[Any] = [None] * len(calls)
    errors: list[BaseException] = []

    def run(place: int) -> None:
        try:
            results[place] = calls[place]()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds)
    if errors:
        raise errors[0]
    assert not any(thread.is_alive() for thread in threads), f"not through after {seconds} s"
    return results
