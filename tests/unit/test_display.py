"""What a notebook and `print` show: short, whole, and escaped."""

from __future__ import annotations

import sys
import time
from html.parser import HTMLParser

import pyarrow as pa
import pytest

from streams_engine import Engine, Stream
from streams_engine.display import html_table
from streams_engine.errors import ConfigError
from streams_engine.lifecycle import State
from streams_engine.model import Finding, Severity, SkippedObject, TableId
from streams_engine.pipeline.snapshot.plan import ColumnPlan, Plan, TablePlan
from streams_engine.query.cancellation import Cancellation
from streams_engine.query.result import QueryResult
from streams_engine.stats import Counters
from streams_engine.verify.report import Difference, TableVerdict, VerifyReport

EVIL = "<script>alert(1)</script>&"
FINDING = Finding(Severity.WARNING, "zero-dates", f"shop.{EVIL}", "2 rows.", "Repair them.")
PLAN = Plan(
    (
        TablePlan(
            TableId("shop", EVIL),
            TableId("public", "orders"),
            (ColumnPlan("total", "bigint unsigned", "uint64", "numeric(20)", ("wider",)),),
            60_000,
            2_500_000,
        ),
    ),
    (),
    (FINDING,),
    (SkippedObject("view", "shop.revenue"),),
)
REPORT = VerifyReport(
    (
        TableVerdict("shop.a", 1000, 1000, True),
        TableVerdict("shop.b", 10, 9, False, 1, (Difference((EVIL,), "missing"),)),
    )
)


class Tags(HTMLParser):
    """Collects the tags of a text, which have to be closed in their order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open.append(tag)
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def stats(rows: int = 0) -> object:
    counters = Counters()
    counters.found([FINDING])
    counters.expect(TableId("shop", EVIL), rows)
    given = {"config_id": "c", "stream_id": "s", "intervals": (3, 3), "error": None}
    return counters.freeze(name="n", state=State.FINISHED, **given)


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        (PLAN, ["public.orders", "zero-dates", "shop.revenue", "60,000"]),
        (FINDING, ["zero-dates", "2 rows.", "Repair them."]),
        (REPORT, ["shop.b", "missing", "1 of 2 tables are equal"]),
        (stats(5), ["FINISHED", "zero-dates"]),
    ],
    ids=["plan", "finding", "report", "stats"],
)
def test_html_is_whole_and_escaped(shown: object, words: list[str]) -> None:
    text = shown._repr_html_()  # type: ignore[attr-defined]
    assert "script" not in Tags(text).seen and "<script" not in text
    assert all(word in text for word in words), text


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (
            PLAN,
            "Plan: 1 table, about 60,000 rows, 2.50 MB, 0 statements, 1 warning; not moved: 1 view",
        ),
        (FINDING, f"warning zero-dates: shop.{EVIL}: 2 rows. Repair them."),
        (REPORT, "1 of 2 tables are equal; different: shop.b"),
    ],
    ids=["plan", "finding", "report"],
)
def test_text_is_one_line(shown: object, text: str) -> None:
    assert str(shown) == text


def test_the_stats_are_one_line() -> None:
    assert str(stats()) == "n: FINISHED, 0 rows, 0 B in 0.0 s"


def test_an_engine_and_a_stream_show_what_they_are() -> None:
    with Engine() as engine:
        engine.connections.create(
            {"name": "in", "type": "files", "spec": {"files": {"basePath": "/in"}}}
        )
        assert "<td" in engine.connections._repr_html_()
        for part in (engine.connections, engine.configs, engine.streams, engine):
            Tags(part._repr_html_())
    stream = Stream("in", "null://")
    Tags(stream._repr_html_())
    assert "READY" in stream._repr_html_()


def test_a_long_table_is_cut() -> None:
    text = html_table(["n"], [[n] for n in range(1000)])
    assert text.count("<tr>") == 201 and "and 800 more" in text


def test_a_result_shows_what_was_read_and_reads_nothing_for_it() -> None:
    schema = pa.schema([("n", pa.int64()), ("t", pa.string())])
    rows = pa.record_batch([pa.array(range(50)), pa.array([EVIL] * 50)], schema=schema)
    result = QueryResult(
        schema, iter([rows]), Cancellation(None), lambda: None, list, time.monotonic()
    )
    assert "int64" in result._repr_html_()
    assert result.table().num_rows == 50
    shown = result._repr_html_()
    assert shown.count("<tr>") == 21 and "50 rows, complete" in shown
    Tags(shown)


@pytest.mark.parametrize("package", ["pandas", "polars"])
def test_a_package_that_is_missing_is_named(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    result = QueryResult(
        pa.schema([]),
        iter([]),
        Cancellation(None),
        lambda: None,
        list,
        time.monotonic(),
    )
    with pytest.raises(ConfigError, match=f"{package} is not installed") as refused:
        getattr(result, f"to_{package}")()
    assert refused.value.remedy == f"pip install {package}"
