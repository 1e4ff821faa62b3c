"""Each route through each kind of outage, of source and target: for soak, all routes at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from streams_engine import State
from streams_engine.testing.servers import Server
from tests.support.outages import BACK_SECONDS, ROUTES, SECONDS, Road, fill, hold, road
from tests.support.polling import came, pass_time
from tests.support.relaunch import down, frozen
from tests.support.relay import FROM_SERVER, TO_SERVER, Relay

pytestmark = pytest.mark.soak

SIDES = ("source", "target")
HEARTBEAT = 3.0

Outage = Callable[[Relay], None]
OUTAGES: dict[str, Outage] = {
    "cut": Relay.cut,
    "half-open": Relay.stall,
    "deaf": lambda relay: relay.stall(TO_SERVER),
    "mute": lambda relay: relay.stall(FROM_SERVER),
}


@pytest.fixture
def roads(request: pytest.FixtureRequest, database: Any) -> Iterator[dict[str, Road]]:
    """A road of its own for each route and side."""
    with ExitStack() as stack:
        yield {
            f"{source} -> {target}, {side}": stack.enter_context(
                road(source, target, request, database)
            )
            for source, target in ROUTES
            for side in SIDES
        }


def everywhere(roads: Mapping[str, Road], work: Callable[[Road, str], str]) -> None:
    """Run ``work(road, side)`` on all roads at once. What it returns is printed with the road."""
    faults = {}
    with ThreadPoolExecutor(len(roads)) as pool:
        begun = {
            name: pool.submit(work, way, name.rpartition(", ")[2]) for name, way in roads.items()
        }
        for name, future in begun.items():
            try:
                print(f"{name}: {future.result()}")
            except Exception as error:
                faults[name] = f"{type(error).__name__}: {error}"[:2000]
    assert not faults, "\n".join(f"{name}: {fault}" for name, fault in faults.items())


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seconds", [5.0, 60.0, 300.0])
@pytest.mark.parametrize("kind", OUTAGES)
def test_every_cdc_outlives(roads: dict[str, Road], kind: str, seconds: float) -> None:
    def work(way: Road, side: str) -> str:
        fill(way.source, 0, 10)
        with way.stream(mode="cdc", heartbeat_timeout=HEARTBEAT) as stream:
            stream.start()
            assert stream.catch_up(SECONDS * 3), stream.error
            fill(way.source, 10, 10)
            assert stream.catch_up(SECONDS), stream.error
            OUTAGES[kind](way.relays[side])
            fill(way.source, 20, 10)
            gone = time.monotonic()
            there = came(
                lambda: stream.stats().connection.state == "waiting", seconds + HEARTBEAT + 5
            )
            noticed = time.monotonic() - gone if there else None
            hold(stream, max(0.0, seconds - (time.monotonic() - gone)))
            # A source that only hears nothing still sends its log.
            assert noticed is not None or (kind == "deaf" and side == "source")
            way.relays[side].restore()
            back = time.monotonic()
            assert stream.catch_up(SECONDS), stream.error
            took = time.monotonic() - back
            assert way.equal()
            assert took < BACK_SECONDS, took
            stream.stop()
            assert stream.wait(timeout=SECONDS) is State.STOPPED
        stream.release()
        return f"noticed after {noticed} s, in step {took:.1f} s after the return"

    everywhere(roads, work)


@pytest.fixture
def routes_of(
    server_name: str, request: pytest.FixtureRequest, database: Any
) -> Iterator[dict[str, Road]]:
    """A road for each route that the server is an end of, twice, and no relays on them."""
    with ExitStack() as stack:
        found = {
            f"{source} -> {target}, {mode}": stack.enter_context(
                road(source, target, request, database)
            )
            for source, target in ROUTES
            for mode in ("convert", "cdc")
            if server_name in (source, target)
        }
        for way in found.values():
            way.urls = [way.source.url, way.target.url]
        yield found


SERVERS = ("mysql9", "mariadb", "pg15", "pg18")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seconds", [0.0, 5.0])
@pytest.mark.parametrize("server_name", SERVERS)
def test_every_load_outlives_a_killed_server(
    server_name: str,
    seconds: float,
    routes_of: dict[str, Road],
    request: pytest.FixtureRequest,
) -> None:
    """Some loads are at their beginning then, some at their end."""
    server: Server = request.getfixturevalue(server_name)
    for way in routes_of.values():
        for first in range(0, LOADED, 10_000):
            fill(way.source, first, 10_000)
    begun = threading.Semaphore(0)
    returned = threading.Event()

    def work(way: Road, mode: str) -> str:
        with way.stream(mode=mode) as stream:
            copying = threading.Event()
            stream.on_record(lambda record: record.event == "table" and copying.set())
            stream.start()
            assert copying.wait(SECONDS), stream.error
            begun.release()
            assert returned.wait(SECONDS * 3), stream.error
            if mode == "cdc":
                assert stream.catch_up(SECONDS), stream.error
                stream.stop()
            stream.wait(timeout=SECONDS)
            assert stream.state is (State.STOPPED if mode == "cdc" else State.FINISHED), (
                stream.error
            )
            assert way.equal()
            outages = stream.stats().connection
        if mode == "cdc":
            stream.release()
        return f"{outages}"

    def disturb() -> None:
        for _ in routes_of:  # a start that finds no server fails at once
            assert begun.acquire(timeout=SECONDS)
        with down(server):
            pass_time(seconds)
        returned.set()

    disturbed(disturb, lambda: everywhere(routes_of, work))


LOADED = 60_000


@pytest.mark.timeout(600)
@pytest.mark.parametrize("how", ["killed", "frozen"])
@pytest.mark.parametrize("server_name", SERVERS)
def test_every_cdc_outlives_a_server_that_is(
    server_name: str, how: str, routes_of: dict[str, Road], request: pytest.FixtureRequest
) -> None:
    server: Server = request.getfixturevalue(server_name)
    ready = threading.Semaphore(0)
    returned: list[float] = []
    ended = threading.Event()

    def work(way: Road, _: str) -> str:
        fill(way.source, 0, 10)
        with way.stream(mode="cdc", heartbeat_timeout=HEARTBEAT) as stream:
            stream.start()
            assert stream.catch_up(SECONDS), stream.error
            for row in range(10, 30):
                fill(way.source, row, 1)
            ready.release()
            row = 30
            while not ended.wait(0.1):
                assert stream.state is State.RUNNING, stream.error
                if way.source.server is not server:  # changes are under way whenever it comes
                    fill(way.source, row, 1)
                    row += 1
            fill(way.source, row, 10)
            assert stream.catch_up(SECONDS), stream.error
            took = time.monotonic() - returned[0]
            assert way.equal()
            stream.stop()
            assert stream.wait(timeout=SECONDS) is State.STOPPED
        stream.release()
        assert took < BACK_SECONDS, took
        return f"in step {took:.1f} s after the return"

    def disturb() -> None:
        for _ in routes_of:
            assert ready.acquire(timeout=SECONDS)
        try:
            with down(server) if how == "killed" else frozen(server):
                pass_time(2 * HEARTBEAT + 5)
            returned.append(time.monotonic())
        finally:
            ended.set()

    disturbed(disturb, lambda: everywhere(routes_of, work))


def disturbed(disturb: Callable[[], None], work: Callable[[], None]) -> None:
    """Do both at once."""
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(disturb)
        work()
        other.result()
