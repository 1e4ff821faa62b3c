"""The display: pure rendering, asserted on what a recording console of fixed width shows."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from rich.console import Console

from streams_engine import units
from streams_engine.cli.progress import (
    ChangeRates,
    following,
    progress,
    seconds_left,
    shortened,
    totals,
)
from streams_engine.cli.reports import report, summary
from streams_engine.cli.views import LiveView
from streams_engine.lifecycle import State
from streams_engine.model import Finding, Severity
from streams_engine.stats import ChangeStats, ConnectionStats, Stats, TableStats
from tests.support.fake_stream import FINDINGS, LEFT, make_stats


def text_of(renderable: object, width: int = 100) -> list[str]:
    console = Console(width=width, file=io.StringIO(), record=True, legacy_windows=False)
    console.print(renderable)
    return [line.rstrip() for line in console.export_text().splitlines()]


def table(number: int, phase: str, rows: int = 50, estimate: int | None = 100) -> TableStats:
    return TableStats(f"shop.t{number}", rows, 0, rows * 100, estimate, phase, 2.0)


def many(done: int, copying: int, waiting: int) -> Stats:
    phases = ["done"] * done + ["copying"] * copying + ["waiting"] * waiting
    rows = {"done": 1000, "copying": 50, "waiting": 0}
    return make_stats(
        State.RUNNING, *(table(n, phase, rows[phase]) for n, phase in enumerate(phases))
    )


def test_a_table_shows_rows_rate_size_bar_and_time_left() -> None:
    lines = text_of(progress(make_stats(State.RUNNING, table(1, "copying"))))
    assert lines[0].startswith("RUNNING  copying  2.0 s")
    row = next(line for line in lines if "shop.t1" in line)
    for piece in ("━", "50", "25/s", "5.00 kB", "2.0 s", "copying"):
        assert piece in row
    assert "all tables" in lines[-1]


@pytest.mark.parametrize("height", [8, 12, 24, 60])
@pytest.mark.parametrize("width", [30, 60, 100])
@pytest.mark.parametrize("counts", [(0, 3, 0), (30, 4, 30), (0, 50, 0), (200, 0, 0), (1, 0, 90)])
def test_it_never_needs_more_lines_than_there_are(
    counts: tuple[int, int, int], width: int, height: int
) -> None:
    lines = text_of(progress(many(*counts), width=width, height=height), width)
    assert len(lines) <= height
    assert all(len(line) <= width for line in lines)


def test_finished_tables_become_a_count_where_room_is_short() -> None:
    text = "\n".join(text_of(progress(many(30, 4, 30), height=16)))
    assert "30 finished (30,000 rows)" in text
    assert "24 more waiting" in text
    assert all(f"shop.t{n} " in text for n in (30, 31, 32, 33)), "those at work are all shown"
    assert "shop.t1 " not in text


def test_all_tables_stay_in_place_where_they_fit() -> None:
    text = "\n".join(text_of(progress(many(3, 2, 3), height=24)))
    assert all(f"shop.t{n} " in text for n in range(8)) and "finished" not in text


def test_a_long_name_does_not_push_the_numbers_out() -> None:
    wide = TableStats("shop." + "x" * 200, 50, 0, 5000, 100, "copying", 2.0)
    row = next(line for line in text_of(progress(make_stats(State.RUNNING, wide))) if "xx" in line)
    assert "…" in row and "25/s" in row


LONG = "shop_of_the_whole_company.customers_and_their_addresses_in_{}"
"""Of 60 letters."""


@pytest.mark.parametrize("width", [60, 80, 140, 200])
def test_numbers_stay_whole_beside_long_names(width: int) -> None:
    names = [LONG.format(year) for year in (2024, 2025, 2026)]
    tables = [
        TableStats(name, 123_456_789, 0, 98_765_432_100, 400_000_000, "copying", 100.0)
        for name in names
    ]
    lines = text_of(progress(make_stats(State.RUNNING, *tables), width=width, height=24), width)
    assert all(len(line) <= width for line in lines)
    for year in ("2024", "2025", "2026"):
        row = next(line for line in lines if f"{year} " in line)
        for number in ("123,456,789", "1,234,568/s"):
            assert number in row.split(), (width, row)
        assert ("…" in row) == (width < 120), "names are shortened in the middle"
        assert ("━" in row) == (width >= 120), "bars go first"


@pytest.mark.parametrize(
    ("name", "width", "shown"),
    [
        ("orders", 6, "orders"),
        ("customers", 6, "cus…rs"),
        ("customers", 5, "cu…rs"),
        ("customers", 1, "…"),
    ],
)
def test_a_name_is_shortened_in_the_middle(name: str, width: int, shown: str) -> None:
    assert shortened(name, width) == shown


def followed(number: int, *counts: int) -> TableStats:
    return TableStats(
        f"shop.t{number}", 1000, 0, 5000, 1000, "following", 9.0,
        **dict(zip(("inserted", "updated", "deleted"), counts, strict=False)),
    )  # fmt: skip


def test_following_shows_what_changed_and_nothing_else() -> None:
    quiet = [followed(n) for n in range(3, 50)]
    tables = [followed(1, 5, 1_234_567), followed(2, 0, 1, 3), *quiet]
    stats = make_stats(
        State.RUNNING, *tables, phase="following", changes=ChangeStats(7, lag_seconds=0.25)
    )
    lines = text_of(following(stats, {"shop.t2": 12.4, "shop.t1": 0.0}, width=80, height=24), 80)
    assert "7 transactions, lag 0.2 s" in lines[0] and lines[0].startswith("RUNNING  following")
    assert lines[1].split() == ["table", "inserts", "updates", "deletes", "rows/s"]
    assert [line.split() for line in lines[2:5]] == [
        ["shop.t2", "0", "1", "3", "12"],
        ["shop.t1", "5", "1,234,567", "0", "0"],
        ["all", "tables", "5", "1,234,568", "3", "12"],
    ]
    assert lines[5].strip() == "47 tables without changes" and len(lines) == 6
    assert not any("━" in line or "/s " in line.split("rows/s")[-1] for line in lines)


@pytest.mark.parametrize("height", [7, 12, 24])
@pytest.mark.parametrize("width", [40, 80, 200])
def test_following_never_needs_more_lines_than_there_are(width: int, height: int) -> None:
    tables = [replace(followed(n, n + 1, 10**9), table=LONG.format(n)) for n in range(100)]
    stats = make_stats(State.RUNNING, *tables, phase="following", changes=ChangeStats())
    lines = text_of(following(stats, {}, width=width, height=height), width)
    assert len(lines) <= height and all(len(line) <= width for line in lines)
    assert any("more tables changed" in line for line in lines)
    if width >= 80:
        assert all("1,000,000,000" in line for line in lines if "shop_of" in line)


def test_before_the_first_change_nothing_is_listed() -> None:
    stats = make_stats(State.RUNNING, followed(1), phase="following", changes=ChangeStats())
    assert text_of(following(stats, {}))[1:] == [" 1 table without changes"]


def test_the_rate_is_that_of_the_last_interval() -> None:
    rates, at = ChangeRates(seconds=2.0), make_stats(State.RUNNING, followed(1, 100))
    assert rates.look(at, 0.0) == {}
    assert rates.look(make_stats(State.RUNNING, followed(1, 300)), 2.0) == {"shop.t1": 100.0}
    assert rates.look(make_stats(State.RUNNING, followed(1, 300)), 4.0) == {"shop.t1": 0.0}
    assert rates.look(make_stats(State.RUNNING, followed(1, 310)), 5.0)["shop.t1"] < 10


def test_bars_do_not_look_like_errors() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100, color_system="truecolor")
    console.print(progress(make_stats(State.RUNNING, table(1, "copying"), table(2, "done"))))
    assert "━" in screen.getvalue() and "249;38;114" not in screen.getvalue(), "rich's own is red"


def test_time_left_is_only_claimed_where_it_is_known() -> None:
    assert seconds_left(table(1, "copying")) == 2.0
    assert seconds_left(table(1, "copying", estimate=None)) is None
    assert seconds_left(table(1, "copying", rows=200)) is None, "the estimate was too low"
    assert seconds_left(table(1, "copying", rows=0)) is None
    assert seconds_left(table(1, "indexing")) is None
    unknown = make_stats(State.RUNNING, table(1, "copying"), table(2, "copying", estimate=None))
    assert totals(unknown).estimated_rows is None
    counted = make_stats(State.RUNNING, table(1, "done", 700), table(2, "copying", 50))
    assert totals(counted).estimated_rows == 800, "a copied table is counted, not estimated"


def test_nothing_is_there_yet() -> None:
    assert text_of(progress(make_stats(State.RUNNING, phase="checking", duration_ns=0)))


def test_names_are_text_and_never_markup() -> None:
    odd = TableStats("shop.[bold]x[/nope]", 1, 0, 1, 1, "done", 1.0)
    for view in (progress, summary):
        assert "[bold]x[/nope]" in "\n".join(text_of(view(make_stats(State.RUNNING, odd))))


def test_the_summary_lists_tables_durations_and_the_outcome() -> None:
    lines = text_of(summary(make_stats(State.FINISHED, table(1, "done"), table(2, "done", 70))))
    assert [line.split()[0] for line in lines[1:4]] == ["shop.t2", "shop.t1", "all"]
    assert "quarantined" not in lines[0]
    assert lines[-1] == "FINISHED: 120 rows, 12.0 kB in 2.0 s (60/s)"


def test_the_summary_names_what_was_set_aside() -> None:
    rejected = TableStats("shop.t", 5, 2, 10, 7, "done", 1.0)
    lines = text_of(summary(make_stats(State.FINISHED, rejected)))
    assert "quarantined" in lines[0] and lines[1].split()[:3] == ["shop.t", "5", "2"]
    stats = make_stats(State.FINISHED, rejected)
    stats = replace(stats, target=replace(stats.target, failed_counter=2))
    assert text_of(summary(stats))[-1].startswith("FINISHED with 2 quarantined: ")


def test_the_report_groups_warnings_and_names_what_is_left_behind() -> None:
    more = tuple(
        Finding(severity, "no-key", f"t{n}", "No key.", remedy="Add one.")
        for severity in (Severity.WARNING, Severity.ERROR)
        for n in range(8)
    )
    lines = text_of(report(FINDINGS + more, LEFT))
    assert lines[0] == "error no-key (8)", "the gravest come first"
    assert lines[1:4] == [
        "  No key.",
        f"    {', '.join(f't{n}' for n in range(8))}",
        "  → Add one.",
    ]
    assert lines.count("    and 3 more") == 1 and lines.count("  → Add one.") == 2, "of errors all"
    assert "    shop.products.words, shop.notes.words" in lines
    assert lines[-1] == "not moved: view (2) shop.revenue, shop.best"


def test_the_live_display_is_wiped_and_the_summary_stays() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100, height=20)
    with LiveView(console) as view:
        view.tick(make_stats(State.RUNNING, table(1, "copying")))
        view.note("A note.")
        view.finish(make_stats(State.FINISHED, table(1, "done", 100)))
    shown = screen.getvalue()
    assert "A note." in shown and shown.rindex("\x1b[2K") < shown.rindex("FINISHED")


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (units.count(1234567), "1,234,567"),
        (units.size(0), "0 B"),
        (units.size(999), "999 B"),
        (units.size(1000), "1.00 kB"),
        (units.size(99_950), "100 kB"),
        (units.size(999_600), "1.00 MB"),
        (units.size(12_345_678), "12.3 MB"),
        (units.rate(100, 0), "-"),
        (units.rate(123_456, 2), "61,728/s"),
        (units.duration(0.04), "0.0 s"),
        (units.duration(9.96), "10 s"),
        (units.duration(59.6), "1:00"),
        (units.duration(3723), "1:02:03"),
    ],
)
def test_numbers_as_people_read_them(made: str, text: str) -> None:
    assert made == text


def test_what_is_waited_for_has_a_line_of_its_own() -> None:
    waits = ConnectionStats(
        "waiting", datetime.now(UTC), "loading shop.t: a lock", "LOCK_TIMEOUT", 3
    )
    stats = make_stats(State.RUNNING, connection=waits)
    lines = text_of(progress(stats, width=100, height=8), 100)
    assert any("waiting for" in line and "LOCK_TIMEOUT: loading shop.t" in line for line in lines)
    assert len(lines) <= 8
