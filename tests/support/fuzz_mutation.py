"""Random damage to recorded bytes, by seed."""

from __future__ import annotations

import random
from zlib import crc32

__all__ = ["damaged", "damaged_events", "damaged_pieces"]

LENGTHS = (
    b"\xff", b"\x00", b"\x7f", b"\x80", b"\xfb", b"\xfc\xff\xff", b"\xfd\xff\xff\xff",
    b"\xfe" + b"\xff" * 8, b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x00\x00\x00\x00",
    b"\xff\xff\xff\x7f", b"\x00\x00\x10\x00", b"\x80\x00\x00\x00",
)  # fmt: skip
"""What a length that lies looks like, in the forms of both protocols."""

EVENT_HEAD, CHECKSUM = 19, 4


def damaged(data: bytes, chosen: random.Random) -> bytes:
    """The bytes with one to three faults; any length."""
    made = bytearray(data)
    for _ in range(chosen.choice((1, 1, 1, 2, 3))):
        at = chosen.randrange(len(made) + 1) if made else 0
        size = chosen.choice((1, 1, 2, 3, 8, 40))
        kind = chosen.random()
        if kind < 0.75:
            _overwrite(made, at, chosen)
        elif kind < 0.82:
            del made[at : at + size]
        elif kind < 0.89:
            made[at:at] = made[max(0, at - size) : at]
        elif kind < 0.96:
            made[at:at] = chosen.randbytes(size)
        else:
            del made[at:]
    return bytes(made)


def _overwrite(made: bytearray, at: int, chosen: random.Random) -> None:
    piece = chosen.choice(LENGTHS) if chosen.random() < 0.6 else chosen.randbytes(1)
    made[at : at + len(piece)] = piece[: max(0, len(made) - at)]


def damaged_pieces(pieces: list[bytes], chosen: random.Random) -> list[bytes]:
    """Messages of which one is damaged, lost, doubled or moved."""
    made = list(pieces)
    at = chosen.randrange(len(made))
    kind = chosen.random()
    if kind < 0.9:
        made[at] = damaged(made[at], chosen)
    elif kind < 0.94:
        del made[at]
    elif kind < 0.97:
        made.insert(at, made[at])
    else:
        made.append(made.pop(at))
    return [piece for piece in made if piece]


def damaged_events(packets: list[bytes], chosen: random.Random) -> list[bytes]:
    """Packets of a binary log of which one event is damaged; its checksum fits again.

    A fault that the checksum shows would never come to the decoder.
    """
    made = list(packets)
    at = chosen.randrange(len(made))
    body = bytearray(made[at])
    for _ in range(chosen.choice((1, 1, 2))):
        low = 1 + (EVENT_HEAD if chosen.random() < 0.9 else 0)
        if len(body) - CHECKSUM > low:
            piece = chosen.choice(LENGTHS) if chosen.random() < 0.5 else chosen.randbytes(1)
            place = chosen.randrange(low, len(body) - CHECKSUM)
            end = min(place + len(piece), len(body) - CHECKSUM)
            body[place:end] = piece[: end - place]
    if chosen.random() < 0.1:
        body = body[: chosen.randrange(1, len(body))]
    if len(body) > CHECKSUM:
        body[-CHECKSUM:] = crc32(body[1:-CHECKSUM]).to_bytes(4, "little")
    made[at] = bytes(body)
    return made
