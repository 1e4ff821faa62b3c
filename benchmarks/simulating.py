"""How long a copy takes with more workers than were measured, as far as the servers go along."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

__all__ = ["ChunkCost", "Limits", "copy_seconds", "stops_paying"]

WORTH = 0.2
"""Twice the workers that save less than this share of the time no longer pay."""


@dataclass(frozen=True, slots=True)
class ChunkCost:
    """What one chunk takes while no other is copied."""

    seconds: float
    source_cpu: float
    """Seconds of the source server's processors."""
    target_cpu: float
    target_bytes: float
    """What the target writes to its log and files."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the servers have."""

    source_cores: int
    target_cores: int
    target_bytes: float
    """Bytes that the target's disks take in a second."""


def copy_seconds(chunks: Sequence[ChunkCost], workers: int, limits: Limits) -> float:
    """Seconds until all chunks are copied, each worker taking the next one when it has none.

    A fluid model: chunks under way go on at their own speed until together they ask more of a
    server than it has; then all of them slow down alike.
    """
    waiting = iter(chunks)
    under_way = [[chunk, chunk.seconds] for chunk in _some(waiting, workers)]
    now = 0.0
    while under_way:
        speed = _speed([chunk for chunk, _ in under_way], limits)
        step = min(left for _, left in under_way)
        now += step / speed
        for one in under_way:
            one[1] -= step
        under_way = [one for one in under_way if one[1] > 1e-9]
        under_way += [[chunk, chunk.seconds] for chunk in _some(waiting, workers - len(under_way))]
    return now


def _some(chunks: Iterator[ChunkCost], count: int) -> Iterator[ChunkCost]:
    for _, chunk in zip(range(count), chunks, strict=False):
        yield chunk


def _speed(chunks: Sequence[ChunkCost], limits: Limits) -> float:
    """The share of its own speed that every chunk has."""
    asked = (
        (limits.source_cores, sum(chunk.source_cpu / chunk.seconds for chunk in chunks)),
        (limits.target_cores, sum(chunk.target_cpu / chunk.seconds for chunk in chunks)),
        (limits.target_bytes, sum(chunk.target_bytes / chunk.seconds for chunk in chunks)),
    )
    return min((1.0, *(have / wanted for have, wanted in asked if wanted)))


def stops_paying(seconds: Sequence[tuple[int, float]]) -> int:
    """The number of workers whose doubling saves too little; ``seconds`` by ascending number."""
    for (workers, before), (_, after) in pairwise(seconds):
        if after > before * (1 - WORTH):
            return workers
    return seconds[-1][0]
