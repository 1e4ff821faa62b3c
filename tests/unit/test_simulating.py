"""The fluid model of a copy with more workers than were measured."""

from __future__ import annotations

import pytest

from benchmarks.simulating import ChunkCost, Limits, copy_seconds, stops_paying

ENDLESS = Limits(1000, 1000, 1e15)
CHUNKS = [ChunkCost(2.0, 0.5, 1.0, 1e6)] * 16


@pytest.mark.parametrize("workers", [1, 2, 4, 8, 16, 32])
def test_workers_share_the_chunks_where_servers_have_all_they_want(workers: int) -> None:
    assert copy_seconds(CHUNKS, workers, ENDLESS) == pytest.approx(max(2.0, 32 / workers))


def test_the_last_chunk_is_waited_for() -> None:
    chunks = [ChunkCost(1.0, 0, 0, 0), ChunkCost(1.0, 0, 0, 0), ChunkCost(5.0, 0, 0, 0)]
    assert copy_seconds(chunks, 2, ENDLESS) == pytest.approx(6.0)


@pytest.mark.parametrize(
    ("limits", "least"),
    [
        (Limits(2, 1000, 1e15), 16 * 0.5 / 2),
        (Limits(1000, 2, 1e15), 16 * 1.0 / 2),
        (Limits(1000, 1000, 2e6), 16 * 1e6 / 2e6),
    ],
)
def test_a_server_s_limit_is_never_passed(limits: Limits, least: float) -> None:
    for workers in (1, 2, 4, 8, 16):
        seconds = copy_seconds(CHUNKS, workers, limits)
        assert seconds >= least - 1e-9
        assert seconds >= copy_seconds(CHUNKS, workers, ENDLESS) - 1e-9
    assert copy_seconds(CHUNKS, 16, limits) == pytest.approx(max(least, 2.0))


def test_it_stops_paying_where_a_doubling_saves_too_little() -> None:
    assert stops_paying([(2, 100.0), (4, 51.0), (8, 45.0), (16, 44.0)]) == 4
    assert stops_paying([(2, 100.0), (4, 50.0)]) == 4
