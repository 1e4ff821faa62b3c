"""What a user could get wrong. Each line gives the errors that its comment names, mypy's and then
pyright's (without their `report`), and no other line gives any. It is type-checked, not run."""

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
from streams_engine.api.inputs import ServerConnectionDict, StreamDict

SOURCE, TARGET = "mysql://db1/shop", "postgresql://db2/shop"


def names() -> None:
    streams_engine.Steam(SOURCE, TARGET)  # E: attr-defined; AttributeAccessIssue


def options() -> None:
    Stream(SOURCE)  # E: call-arg; CallIssue
    Stream(SOURCE, 5)  # E: arg-type; ArgumentType
    Stream(Path("shop"), TARGET)  # E: arg-type; ArgumentType
    Stream(SOURCE, TARGET, "cdc")  # E: call-arg; CallIssue
    Stream(SOURCE, TARGET, mode="replicate")  # E: arg-type; ArgumentType
    Stream(SOURCE, TARGET, writemode="upsert")  # E: call-arg; CallIssue
    Stream(SOURCE, TARGET, writeMode="upsert")  # E: call-arg; CallIssue
    Stream(SOURCE, TARGET, write_mode="merge")  # E: arg-type; ArgumentType
    Stream(SOURCE, TARGET, parallelism="4")  # E: arg-type; ArgumentType
    Stream(SOURCE, TARGET, allow_lossy="yes")  # E: arg-type; ArgumentType
    Stream(SOURCE, TARGET, memory_budget=None)  # E: arg-type; ArgumentType
    Stream(SOURCE, TARGET, operations=["upsert"])  # E: list-item; ArgumentType
    Stream(SOURCE, TARGET, tables=[1])  # E: list-item; ArgumentType
    Stream(SOURCE, TARGET, limits={"rows": 5})  # E: typeddict-unknown-key; ArgumentType
    Stream(SOURCE, TARGET, limits={"numberOfEvents": "5"})  # E: typeddict-item; ArgumentType
    Stream(SOURCE, TARGET, structure_options={"x": 1})  # E: typeddict-unknown-key; ArgumentType
    Stream(SOURCE, TARGET, type_overrides={"from": "int"})  # E: arg-type; ArgumentType
    Stream(SOURCE, TARGET, executor="threads")  # E: arg-type; ArgumentType
    Stream(SOURCE, TARGET, resolvers={"vault": "secret"})  # E: dict-item; ArgumentType
    Stream(SOURCE, TARGET, references="vault")  # E: arg-type; ArgumentType
    AsyncStream(SOURCE, TARGET, mode="replicate")  # E: arg-type; ArgumentType
    AsyncStream(SOURCE, TARGET, writemode="upsert")  # E: call-arg; CallIssue
    Stream.from_config(5)  # E: arg-type; ArgumentType
    Stream.from_config({}, {"conn_1": 5})  # E: dict-item; ArgumentType
    AsyncStream.from_config({}, mode="cdc")  # E: call-arg; CallIssue
    kept: StreamOptions = {"write_mode": "merge"}  # E: typeddict-item; AssignmentType
    Stream(SOURCE, TARGET, **kept)


def documents() -> None:
    given: ServerConnectionDict = {"type": "", "password": 5}  # E: typeddict-item; AssignmentType
    whole: StreamDict = {"mode": "copy"}  # E: typeddict-item; AssignmentType
    print(given, whole)


def rows(stats: Stats) -> int:
    return stats.row  # E: attr-defined, no-any-return; AttributeAccessIssue


def one(state: State) -> None: ...


async def awaited(stats: Stats) -> None: ...


def heard(event: Event) -> None:
    event.message = "another"  # E: misc; AttributeAccessIssue


def calls(stream: Stream) -> None:
    stream.on_progress(one)  # E: arg-type; ArgumentType
    stream.on_progress(awaited)  # E: arg-type; ArgumentType
    stream.on_state(one)  # E: arg-type; ArgumentType
    stream.on_record(lambda old, new: None)  # E: arg-type, misc; ArgumentType
    stream.verify(on_progress=lambda table: None)  # E: arg-type, misc; ArgumentType
    stream.verify(resume="yes")  # E: arg-type; ArgumentType
    stream.start(True)  # E: call-arg; CallIssue
    stream.run(refresh=True)  # E: call-arg; CallIssue
    stream.wait("PAUSED")  # E: arg-type; ArgumentType
    stream.wait(State.DONE)  # E: attr-defined; AttributeAccessIssue
    stream.catchup()  # E: attr-defined; AttributeAccessIssue
    stream.state = State.STOPPED  # E: misc; AttributeAccessIssue
    stream.stats.rows  # E: attr-defined; AttributeAccessIssue
    stream.plan().tables.append(None)  # E: attr-defined; AttributeAccessIssue
    stream.error.code  # E: union-attr; OptionalMemberAccess
    number: int = stream.wait()  # E: assignment; AssignmentType
    print(number)


async def coroutines(stream: AsyncStream, engine: AsyncEngine) -> None:
    stream.on_progress(one)  # E: arg-type; ArgumentType
    stream.on_state(awaited)  # E: arg-type; ArgumentType
    stream.on_alert(awaited, lag=1)  # E: arg-type; ArgumentType
    stream.wait()  # E: unused-coroutine; UnusedCoroutine
    stream.plan().tables  # E: attr-defined; AttributeAccessIssue
    await stream.start()  # E: func-returns-value, misc; GeneralTypeIssues
    await stream.stats()  # E: misc; GeneralTypeIssues
    for _ in stream:  # E: attr-defined; GeneralTypeIssues
        pass
    with stream:  # E: attr-defined; GeneralTypeIssues
        pass
    engine.connections.list()  # E: unused-coroutine; UnusedCoroutine
    engine.connections.list()[0]  # E: index; IndexIssue
    await engine.connections.pings("shop")  # E: attr-defined; AttributeAccessIssue
    await engine.connections.ping()  # E: call-arg; CallIssue
    await engine.streams.start("copy", True)  # E: call-arg; CallIssue
    await engine.streams.follow_logs("run")  # E: misc; GeneralTypeIssues
    for _ in engine.streams.follow_logs("run"):  # E: attr-defined; GeneralTypeIssues
        pass
    await engine.count("shop", "orders", limit=5)  # E: call-arg; CallIssue
    engine.close()  # E: unused-coroutine; UnusedCoroutine
    text: int = await engine.sql.format("select 1")  # E: assignment; AssignmentType
    print(text)


def engines() -> None:
    Engine(5)  # E: arg-type; ArgumentType
    Engine(references={"env": 1}.values())  # E: arg-type; ArgumentType
    AsyncEngine(reference="none")  # E: call-arg; CallIssue
    engine = Engine(Path("engine.db"))
    engine.connections.create("mysql://db1/shop")  # E: arg-type; ArgumentType
    engine.configs.delete_all(confirm="yes")  # E: arg-type; ArgumentType
    engine.streams.wait("run", "PAUSED")  # E: arg-type; ArgumentType
    engine.data("shop", "orders", limit="5")  # E: arg-type; ArgumentType
    engine.query("SELECT 1", timeout="5")  # E: arg-type; ArgumentType
    engine.sql.complete("SELECT", "6", "shop")  # E: arg-type; ArgumentType
    for record in engine.streams.logs("run")["records"]:  # E: typeddict-item; GeneralTypeIssues
        print(record)
