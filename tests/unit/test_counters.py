"""Counters of a stream whose sources are followed by threads of their own."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import pytest

from streams_engine.errors import ConnectionFailed
from streams_engine.lifecycle import State
from streams_engine.stats import ChangeStats, Counters

TIMES, THREADS = 3000, 4


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads that are interrupted as often as can be."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("restless")
def test_no_count_is_lost_where_several_sources_count_at_once() -> None:
    counters = Counters()
    counters.follow()

    def work(alias: str) -> None:
        for _ in range(TIMES):
            counters.committed(2, None)
            counters.diverged(3)
            for _attempt in range(2):
                counters.reconnecting(alias, ConnectionFailed("gone"), 0.0)
            counters.connected(alias)
            counters.behind(5, 7)

    threads = [threading.Thread(target=work, args=(str(n),)) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stats = counters.freeze(
        name="s",
        config_id="c",
        stream_id="s",
        state=State.RUNNING,
        intervals=(1, 1),
        error=None,
    )
    times = TIMES * THREADS
    assert stats.changes == ChangeStats(
        transactions=2 * times, unmet=3 * times, reconnects=times, lag_bytes=5, retained_bytes=7
    )
