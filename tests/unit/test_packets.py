"""Packets found many at once are those that a walk from one to the next finds."""

from __future__ import annotations

import random

import pytest

from streams_engine.adapters.mysql.snapshot import result_set
from streams_engine.adapters.mysql.snapshot.result_set import MAX_PACKET, leap
from streams_engine.arrow.buffers import PAD


def rows(random_: random.Random, count: int, sizes: tuple[int, int], zeros: float) -> bytes:
    """Packets of rows; their values may look like headers."""
    made = bytearray()
    for number in range(count):
        body = bytearray(1 + random_.randint(*sizes))
        for i in range(1, len(body)):
            body[i] = 0 if random_.random() < zeros else random_.choice((1, 3, 5, number & 255))
        made += len(body).to_bytes(3, "little") + bytes([number & 255]) + body
    return bytes(made)


def walked(data: bytes) -> list[int]:
    """The headers of whole rows, one after the other."""
    found, at = [], 0
    while at + 4 <= len(data):
        length = int.from_bytes(data[at : at + 3], "little")
        if at + 4 + length > len(data) or data[at + 4] or length == MAX_PACKET:
            break
        found.append(at)
        at += 4 + length
    return found


@pytest.mark.parametrize("seed", range(40))
def test_every_packet_found_is_one_of_the_walk(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result_set, "LEAST_ROWS", 1)
    random_ = random.Random(seed)
    low = random_.randint(0, 20)
    sizes = (low, low + random_.choice((0, 3, 60, 400)))
    data = rows(random_, random_.randint(1, 3000), sizes, random_.choice((0.0, 0.3, 0.9, 1.0)))
    data = data[: len(data) - random_.randint(0, 9)]
    end = random_.choice((b"", b"\x05\x00\x00\x07\xfe\x00\x00\x02\x00", b"\xff" * 40))
    wanted = walked(data + end)
    found = leap(bytearray(data + end + b"\x00" * PAD), 0, len(data + end)).tolist()
    assert found == wanted[: len(found)]


def leapt(buffer: bytearray, position: int, fill: int) -> list[int]:
    """The headers found by one leap after the other."""
    found: list[int] = []
    while len(more := leap(buffer, position, fill)):
        found += more.tolist()
        at = found[-1]
        position = at + 4 + int.from_bytes(buffer[at : at + 3], "little")
    return found


def test_leaps_find_every_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result_set, "LEAST_ROWS", 1)
    data = rows(random.Random(1), 20_000, (30, 90), 0.3)
    wanted = walked(data)
    buffer = bytearray(data + b"\x00" * PAD)
    assert leapt(buffer, 0, len(data)) == wanted
    assert leapt(buffer, wanted[100], len(data)) == wanted[100:]


def test_few_rows_are_left_to_the_walk() -> None:
    data = rows(random.Random(1), 20, (30, 90), 0.3)
    assert not len(leap(bytearray(data + b"\x00" * PAD), 0, len(data)))
    assert not len(leap(bytearray(PAD), 0, 0))


def test_nothing_is_found_beyond_what_was_received(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result_set, "LEAST_ROWS", 1)
    data = rows(random.Random(2), 5000, (30, 90), 0.3)
    stale = bytearray(data + b"\x00" * PAD)
    for fill in (len(data) - 1, len(data) - 60, len(data) // 2):
        assert leapt(stale, 0, fill) == walked(data[:fill])
