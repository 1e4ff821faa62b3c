"""What a user could get wrong. Each line gives the errors that its comment names, and no other
line gives any. It is type-checked, not run."""

from __future__ import annotations

from pathlib import Path

import streams_engine
from streams_engine import (
    AsyncEngine,
    AsyncStream,
    Engine,
    Event,
    State,
    Stats,
    Stream,
    StreamOptions,
)

SOURCE, TARGET = "mysql://db1/shop", "postgresql://db2/shop"


def names() -> None:
    streams_engine.Steam(SOURCE, TARGET)  # E: attr-defined


def options() -> None:
    Stream(SOURCE)  # E: call-arg
    Stream(SOURCE, 5)  # E: arg-type
    Stream(Path("shop"), TARGET)  # E: arg-type
    Stream(SOURCE, TARGET, "cdc")  # E: call-arg
    Stream(SOURCE, TARGET, mode="replicate")  # E: arg-type
    Stream(SOURCE, TARGET, writemode="upsert")  # E: call-arg
    Stream(SOURCE, TARGET, writeMode="upsert")  # E: call-arg
    Stream(SOURCE, TARGET, write_mode="merge")  # E: arg-type
    Stream(SOURCE, TARGET, parallelism="4")  # E: arg-type
    Stream(SOURCE, TARGET, allow_lossy="yes")  # E: arg-type
    Stream(SOURCE, TARGET, memory_budget=None)  # E: arg-type
    Stream(SOURCE, TARGET, operations=["upsert"])  # E: list-item
    Stream(SOURCE, TARGET, tables=[1])  # E: list-item
    Stream(SOURCE, TARGET, limits={"rows": 5})  # E: typeddict-unknown-key
    Stream(SOURCE, TARGET, limits={"numberOfEvents": "5"})  # E: typeddict-item
    Stream(SOURCE, TARGET, structure_options={"views": True})  # E: typeddict-unknown-key
    Stream(SOURCE, TARGET, type_overrides={"from": "int"})  # E: arg-type
    Stream(SOURCE, TARGET, executor="threads")  # E: arg-type
    Stream(SOURCE, TARGET, resolvers={"vault": "secret"})  # E: dict-item
    Stream(SOURCE, TARGET, references="vault")  # E: arg-type
    AsyncStream(SOURCE, TARGET, mode="replicate")  # E: arg-type
    AsyncStream(SOURCE, TARGET, writemode="upsert")  # E: call-arg
    Stream.from_config(5)  # E: arg-type
    Stream.from_config({}, {"conn_1": 5})  # E: dict-item
    AsyncStream.from_config({}, mode="cdc")  # E: call-arg
    kept: StreamOptions = {"write_mode": "merge"}  # E: typeddict-item
    Stream(SOURCE, TARGET, **kept)


def rows(stats: Stats) -> int:
    return stats.row  # E: attr-defined, no-any-return


def one(state: State) -> None: ...


async def awaited(stats: Stats) -> None: ...


def heard(event: Event) -> None:
    event.message = "another"  # E: misc


def calls(stream: Stream) -> None:
    stream.on_progress(one)  # E: arg-type
    stream.on_progress(awaited)  # E: arg-type
    stream.on_state(one)  # E: arg-type
    stream.on_record(lambda old, new: None)  # E: arg-type, misc
    stream.verify(on_progress=lambda table: None)  # E: arg-type, misc
    stream.verify(resume="yes")  # E: arg-type
    stream.start(True)  # E: call-arg
    stream.run(refresh=True)  # E: call-arg
    stream.wait("PAUSED")  # E: arg-type
    stream.wait(State.DONE)  # E: attr-defined
    stream.catchup()  # E: attr-defined
    stream.state = State.STOPPED  # E: misc
    stream.stats.rows  # E: attr-defined
    stream.plan().tables.append(None)  # E: attr-defined
    stream.error.code  # E: union-attr
    number: int = stream.wait()  # E: assignment
    print(number)


async def coroutines(stream: AsyncStream, engine: AsyncEngine) -> None:
    stream.wait()  # E: unused-coroutine
    stream.plan().tables  # E: attr-defined
    await stream.start()  # E: func-returns-value, misc
    await stream.stats()  # E: misc
    for _ in stream:  # E: attr-defined
        pass
    with stream:  # E: attr-defined
        pass
    engine.connections.list()  # E: unused-coroutine
    engine.connections.list()[0]  # E: index
    await engine.connections.pings("shop")  # E: attr-defined
    await engine.connections.ping()  # E: call-arg
    await engine.streams.start("copy", True)  # E: call-arg
    await engine.streams.follow_logs("run")  # E: misc
    for _ in engine.streams.follow_logs("run"):  # E: attr-defined
        pass
    await engine.count("shop", "orders", limit=5)  # E: call-arg
    engine.close()  # E: unused-coroutine
    text: int = await engine.sql.format("select 1")  # E: assignment
    print(text)


def engines() -> None:
    Engine(5)  # E: arg-type
    Engine(references={"env": 1}.values())  # E: arg-type
    AsyncEngine(reference="none")  # E: call-arg
    engine = Engine(Path("engine.db"))
    engine.connections.create("mysql://db1/shop")  # E: arg-type
    engine.configs.delete_all(confirm="yes")  # E: arg-type
    engine.streams.wait("run", "PAUSED")  # E: arg-type
    engine.data("shop", "orders", limit="5")  # E: arg-type
    engine.query("SELECT 1", timeout="5")  # E: arg-type
    engine.sql.complete("SELECT", "6", "shop")  # E: arg-type
    for record in engine.streams.logs("run")["records"]:  # E: typeddict-item
        print(record)
