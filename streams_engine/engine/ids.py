"""Ids of stored things: a kind and a KSUID, which sorts by the second of its making."""

from __future__ import annotations

import secrets
import string
import time

__all__ = ["new_id"]

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
LETTERS = 27
EPOCH = 1_400_000_000
"""The second that a KSUID's 32 bits count from, and its 128 random bits after them
(https://github.com/segmentio/ksuid#how-do-ksuids-work)."""
RANDOM_BITS = 128


def new_id(kind: str) -> str:
    """Create an id: ``kind_`` and 27 characters, such as ``conn_2sZyDMeIbdaXnN9OL7vYzzAiZU5``."""
    value = (int(time.time()) - EPOCH) << RANDOM_BITS | secrets.randbits(RANDOM_BITS)
    letters = ""
    for _ in range(LETTERS):
        value, digit = divmod(value, len(ALPHABET))
        letters = ALPHABET[digit] + letters
    return f"{kind}_{letters}"
