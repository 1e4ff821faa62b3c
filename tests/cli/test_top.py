"""`streams-engine top`: what it shows in narrow and wide terminals, and what its keys do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from streams_engine.cli.plots import plot
from streams_engine.errors import StateConflict

pytest.importorskip("textual")

from textual.widgets import DataTable, Static

from streams_engine.cli.top import StreamHistory, Top


def stats(name: str, status: str, rows: int, **more: Any) -> dict[str, Any]:
    """A stats document."""
    stat = {"counter": rows, "failedCounter": 2, "sumDataSize": rows * 100, "reportingInterval": 3,
            "status": status}  # fmt: skip
    return {
        "streamID": f"stream_{name:0>27}", "name": name, "status": status, "phase": "copying",
        "nodes": [{"type": "source", "stat": stat}, {"type": "target", "stat": stat}],
        "tables": [
            {"name": f"shop.table_{n}", "rows": rows // 2, "failed": 0, "bytes": rows * 50,
             "estimatedRows": 90_000, "phase": "copying", "seconds": 1.0}
            for n in range(2)
        ],
        "error": None, "connection": {"state": "connected"},
        **more,
    }  # fmt: skip


class FakeStreams:
    """Streams whose counters grow at each look."""

    def __init__(self) -> None:
        self.looks = 0
        self.asked: list[tuple[str, str]] = []

    def _documents(self) -> list[dict[str, Any]]:
        changes = {"lagSeconds": self.looks % 7 / 10, "lagBytes": 0, "transactions": self.looks}
        error = {"code": "CONNECTION_FAILED", "message": "No answer.", "remedy": "Look at it."}
        return [
            stats("shop-copy_AbCdE", "RUNNING", self.looks * self.looks * 100),
            stats("follow_XyZ12", "RUNNING", self.looks * 1000, phase="following", changes=changes),
            stats("nightly_00000", "FAILED", 5, error=error),
        ]

    def list(self, **_: Any) -> dict[str, Any]:
        self.looks += 1
        items = [{"id": one["streamID"], "ended": "x" if one["error"] else None}
                 for one in self._documents()]  # fmt: skip
        return {"items": items[::-1]}

    def stats(self, stream: str) -> dict[str, Any]:
        return next(one for one in self._documents() if one["streamID"] == stream)

    def pause(self, stream: str) -> None:
        self.asked.append(("pause", stream))

    def stop(self, stream: str) -> None:
        raise StateConflict("It has ended.", remedy="Start it again.")


class FakeEngine:
    def __init__(self) -> None:
        self.streams = FakeStreams()


def play(width: int, script: Callable[[Any, Any], Awaitable[None]]) -> FakeStreams:
    """Show the screen in a terminal of that width, with 30 looks behind it."""
    engine = FakeEngine()
    seconds = iter(range(10_000))
    app = Top(engine, every=3600.0, clock=lambda: float(next(seconds)))  # type: ignore[arg-type]

    async def run() -> None:
        async with app.run_test(size=(width, 30)) as pilot:
            for _ in range(30):
                app.look()
            await pilot.pause()
            await script(app, pilot)

    asyncio.run(run())
    return engine.streams


def heads(app: Any, table: str) -> list[str]:
    return [str(column.label) for column in app.query_one(table, DataTable).columns.values()]


@pytest.mark.parametrize(
    ("width", "streams", "tables"),
    [
        (80, ["stream", "state", "phase", "rows", "rows/s", "lag"],
         ["table", "phase", "rows", "of about", "size"]),
        (200, ["stream", "state", "phase", "rows", "rows/s", "lag", "quarantined", "sent", "id"],
         ["table", "phase", "rows", "of about", "size", "quarantined"]),
    ],
)  # fmt: skip
def test_the_screen_shows_what_fits(
    width: int, streams: list[str], tables: list[str], tmp_path: Path
) -> None:
    async def script(app: Any, pilot: Any) -> None:
        assert heads(app, "#streams") == streams
        assert heads(app, "#tables") == tables
        shown = app.query_one("#streams", DataTable)
        assert shown.virtual_size.width <= width, "no column is cut"
        assert str(app.query_one("#head", Static).content).endswith("2 running, 1 failed")
        rate = str(app.query_one("#rate", Static).content)
        assert rate.startswith("rows/s 1,000, peak 1,000")
        assert max(map(len, rate.splitlines())) <= width
        assert app.query_one("#lag", Static).display
        app.save_screenshot(f"top_{width}.svg", str(tmp_path))

    play(width, script)
    assert "follow_XyZ12" in (tmp_path / f"top_{width}.svg").read_text()


@pytest.mark.parametrize("width", [80, 120, 200])
def test_long_names_push_no_number_out(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    long = "shop_of_the_whole_company.customers_and_their_addresses_2026"
    documents = FakeStreams._documents

    def named(self: FakeStreams) -> list[dict[str, Any]]:
        found = documents(self)
        for number, table in enumerate(t for one in found for t in one["tables"]):
            table |= {"name": f"{long}_{number}", "rows": 123_456_789, "estimatedRows": 400_000_000}
        return found

    monkeypatch.setattr(FakeStreams, "_documents", named)

    async def script(app: Any, pilot: Any) -> None:
        table = app.query_one("#tables", DataTable)
        assert table.virtual_size.width <= width
        shown = str(table.get_row_at(0)[0])
        assert "_2026_" in shown and ("…" in shown) == (width < 150)

    play(width, script)


def test_keys_steer_the_chosen_stream() -> None:
    async def script(app: Any, pilot: Any) -> None:
        await pilot.press("down", "p")
        await pilot.pause()
        assert str(app.query_one("#rate", Static).content).startswith("rows/s 6,100")
        assert not app.query_one("#lag", Static).display, "a convert has no lag"
        await pilot.press("down")
        await pilot.pause()
        assert "CONNECTION_FAILED: No answer." in str(app.query_one("#waits", Static).content)
        await pilot.press("s")
        await pilot.pause()
        assert [note.message for note in app._notifications][-1].startswith("It has ended.")
        await pilot.press("q")

    asked = play(80, script).asked
    assert [(command, stream[-15:]) for command, stream in asked] == [("pause", "shop-copy_AbCdE")]


def test_a_rate_stands_until_the_next_report() -> None:
    history = StreamHistory()
    for now, rows in enumerate([0, 0, 300, 300, 300, 900]):
        history.saw(stats("a", "RUNNING", rows), float(now))
    assert list(history.rates)[2:] == [150.0, 150.0, 150.0, 200.0]
    history.saw(stats("a", "FINISHED", 900), 7.0)
    assert history.rate == 0.0


def test_a_plot_reaches_from_zero_to_the_peak() -> None:
    lines = str(plot("rows/s", [0, 4, None, 8], "{:.0f}".format, width=6, height=2)).splitlines()
    assert lines == ["rows/s", "     █", "   █ █"]
    assert str(plot("lag", [], str, width=9, height=1)).splitlines()[0] == "lag -"
