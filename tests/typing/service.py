"""A service that uses every face of the library. It is type-checked, not run."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import sqlalchemy

from streams_engine import (
    Alert,
    AsyncEngine,
    AsyncStream,
    ConfigError,
    ConnectionFailed,
    Engine,
    Event,
    Finding,
    Plan,
    QueryResult,
    Severity,
    State,
    Stats,
    Stream,
    StreamOptions,
    StreamsError,
    TableStats,
    VerifyReport,
)
from streams_engine.api.inputs import ConnectionDict, StreamDict
from streams_engine.config import parse_connection
from streams_engine.model import TableId

SOURCE = "mysql://reader@db1/shop"
TARGET: Mapping[str, Any] = {"type": "postgresql", "host": "db2", "username": "me"}

COMMON: StreamOptions = {
    "write_mode": "upsert",
    "limits": {"numberOfEvents": 1000},
    "type_overrides": [{"from": "tinyint(1)", "to": "boolean"}],
    "structure_options": {"foreignKeys": False},
}


def say(stats: Stats) -> None:
    first: TableStats | None = stats.tables[0] if stats.tables else None
    print(stats.rows, stats.phase, None if first is None else first.rows)


def moved(old: State, new: State) -> None:
    print(old, "->", new)


def noted(event: Event) -> None:
    print(event.event, event.message, event.table)


def vault(name: str) -> str:
    return f"the secret {name}"


def copy() -> int:
    """A convert with callbacks, a plan and a verification."""
    stream = Stream(SOURCE, TARGET, tables=["orders"], resolvers={"vault": vault}, **COMMON)
    unsubscribe = stream.on_progress(say)
    stream.on_state(moved)
    stream.on_record(noted)()
    plan: Plan = stream.plan()
    lossy: list[Finding] = [f for f in plan.findings if f.severity is Severity.ERROR]
    try:
        stats = stream.run(fresh=not lossy)
    except ConnectionFailed as error:
        print(error.code, error.remedy, error.retryable)
        raise
    except ConfigError as error:
        raise SystemExit(error.message) from None
    finally:
        unsubscribe()
    report: VerifyReport = stream.verify(on_progress=lambda table, rows: print(table.name, rows))
    again: VerifyReport = stream.verify(
        ["orders"], "sample", sample=0.1, live=None, repair=False, resume=False
    )
    unknown = sum(table.unsettled for table in again.tables if table.equal is None)
    return stats.rows if report.ok else -unknown


def follow() -> StreamsError | None:
    """A cdc that is paused, resumed and stopped."""
    with (
        ThreadPoolExecutor() as pool,
        Stream(
            SOURCE,
            "postgresql://me@db2/shop",
            mode="cdc",
            operations=["insert", "update"],
            memory_budget="256MB",
            executor=pool,
        ) as stream,
    ):
        stream.start()
        if stream.catch_up(timeout=60):
            stream.pause()
            stream.wait(State.PAUSED, timeout=5)
            stream.resume()
        stream.stop(force=False)
    stream.release()
    return stream.error


def documents(path: Path) -> Stream:
    """A stream from a stored document."""
    return Stream.from_config(path, {"conn_1": SOURCE, "conn_2": TARGET}, references="none")


def token() -> str:
    return "asked at each connection"


def ends(engine: sqlalchemy.Engine, frames: dict[str, Any]) -> list[Stream]:
    """What may stand in the place of a URL: typed documents, SQLAlchemy's objects, frames."""
    server: ConnectionDict = {"type": "mysql", "host": "db1", "username": "me", "password": token}
    document: StreamDict = {
        "mode": "convert",
        "source": {"connections": [{"connectionId": "shop"}]},
        "target": {"id": "copy"},
    }
    parsed = parse_connection(server)
    return [
        Stream(server, engine),
        Stream(engine.url, parsed),
        Stream.from_config(document, {"shop": server, "copy": engine}),
        Stream({**frames, "orders": iter([])}, "postgresql://db2/shop"),
    ]


async def say_async(stats: Stats) -> None:
    print(stats.rows)


async def moved_async(old: State, new: State) -> None:
    print(old, "->", new)


async def noted_async(event: Event) -> None:
    print(event.message)


async def alerted_async(alert: Alert) -> None:
    print(alert.message)


async def compared_async(table: TableId, rows: int) -> None:
    print(table.name, rows)


async def follow_async(stopping: asyncio.Event) -> State:
    """A cdc whose callbacks are awaited."""
    async with AsyncStream(SOURCE, "postgresql://me@db2/shop", mode="cdc") as stream:
        stream.on_progress(say_async)
        stream.on_progress(say)
        stream.on_state(moved_async)
        stream.on_record(noted_async)()
        stream.on_alert(alerted_async, lag=30)
        stream.start()
        if await stream.catch_up(60):
            await stream.verify("orders", on_progress=compared_async)
        return await stream.wait_until(stopping)


async def copy_async() -> Stats:
    """The same in asyncio."""
    async with AsyncStream(SOURCE, TARGET, mode="convert", **COMMON) as stream:
        stream.on_progress(say)
        plan: Plan = await stream.plan()
        print(len(plan.tables))
        stream.start()
        async for stats in stream:
            print(stats.phase, stats.state.final)
        state: State = await stream.wait()
        report: VerifyReport = await stream.verify()
        print(state, report.ok)
    return stream.stats()


def control_plane(path: Path) -> None:
    """An engine: connections, configs, streams, queries."""
    engine = Engine(path, resolvers={"vault": vault}, references={"env"})
    try:
        made = engine.connections.create({"name": "shop", "type": "mysql", "host": "db1"})
        names: list[str] = engine.connections.tables(made["id"])
        config = engine.configs.create({"name": "copy", "mode": "convert"})
        run: str = engine.streams.start(config["id"])
        for record in engine.streams.follow_logs(run, level="INFO"):
            print(record["message"], names)
        state: State = engine.streams.wait(run, timeout=60)
        opened: Stream = engine.streams.open(run)
        rows: int = engine.count("shop", "orders", filters=[{"column": "id", "value": 1}])
        result: QueryResult = engine.query("SELECT 1", limit=10)
        print(state, opened.name, rows, result.table().num_rows, engine.sql.format("select 1"))
    finally:
        engine.close()


async def control_plane_async(path: Path) -> dict[str, Any]:
    """The same in asyncio."""
    async with AsyncEngine(path, references="none") as engine:
        made = await engine.connections.create({"name": "shop", "type": "mysql", "host": "db1"})
        names: list[str] = await engine.connections.tables(made["id"])
        found = await engine.configs.list("copy", limit=10)
        run: str = await engine.streams.start(found["items"][0]["id"], fresh=True)
        async for record in engine.streams.follow_logs(run):
            print(record["message"], names)
        plan: Plan = await engine.streams.plan("copy")
        rows: int = await engine.count("shop", "orders")
        result: QueryResult = await engine.query("SELECT 1", timeout=5)
        text: str = await engine.sql.format("select 1")
        print(plan.findings, rows, result.schema, text)
        return await engine.streams.stats(run)


if __name__ == "__main__":
    asyncio.run(copy_async())
