"""The demo as a user runs it: a process, private servers, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams_engine import State, Stream
from streams_engine.cli.exit_codes import Exit
from streams_engine.demo import shop
from streams_engine.model import Dialect
from streams_engine.testing.servers import Server

COMMAND = [sys.executable, "-m", "streams_engine.cli", "demo", "--rows", "3000"]


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUTF8": "1"},
    )


def directories(out: str) -> Iterator[Path]:
    """Where the servers of a demo were, from what it said."""
    for line in out.splitlines():
        if line.startswith("» Started"):
            yield Path(line.rsplit(" ", 1)[1].rstrip("."))


def assert_clean(out: str) -> None:
    places = list(directories(out))
    assert places, out
    assert not [place for place in places if place.exists()]
    assert out.count("» Stopped") == len(places)


@pytest.mark.parametrize(("option", "server"), [("--postgres", "pg18"), ("--mysql", "mysql9")])
def test_the_shop_moves_is_equal_and_leaves_nothing(
    option: str, server: str, pg18: Server, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(server)  # skips, or fails, where it cannot be had
    demo = start(option)
    out, err = demo.communicate(timeout=200)
    assert (demo.returncode, err) == (0, ""), out
    assert "9 of 9 tables are equal on both sides." in out
    assert f"Moved 9 tables with {sum(shop.sizes(3000).values()):,} rows" in out
    assert "CREATE TABLE" in out and "revenue" in out
    assert_clean(out)


def test_servers_that_are_kept_can_be_used_until_they_are_stopped(pg18: Server) -> None:
    demo = start("--postgres", "--keep", "--quiet")
    assert demo.stdout is not None
    urls = {}
    while len(urls) < 2:
        line = demo.stdout.readline()
        assert line, demo.communicate()
        if line.startswith("export "):
            name, _, url = line.removeprefix("export ").strip().partition("=")
            urls[name] = url.strip("'")
    with Stream(urls["SOURCE"], urls["TARGET"], tables=["products"]) as stream:
        assert stream.run().state is State.FINISHED
    demo.send_signal(signal.SIGINT)
    out, err = demo.communicate(timeout=100)
    assert (demo.returncode, err) == (Exit.FINISHED, ""), out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing(number: signal.Signals, pg18: Server) -> None:
    demo = start("--postgres", "--rows", "3000000")
    assert demo.stdout is not None
    first = ""
    while "» Building" not in first:
        line = demo.stdout.readline()
        assert line, demo.communicate()
        first += line
    demo.send_signal(number)
    out, err = demo.communicate(timeout=100)
    assert demo.returncode == Exit.STOPPED
    assert "Traceback" not in err
    assert_clean(first + out)


@pytest.mark.parametrize("dialect", [Dialect.MYSQL, Dialect.POSTGRES])
def test_the_shop_is_as_large_as_asked(dialect: Dialect) -> None:
    assert sum(shop.sizes(300_000).values()) == pytest.approx(300_000, rel=0.01)
    made = list(shop.statements(dialect, 1000))
    assert len(made) > 30 and not any("$" in statement for statement in made)
