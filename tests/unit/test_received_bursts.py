"""What of a replication stream is worth waking up for."""

from __future__ import annotations

import struct
from array import array

from streams_engine.adapters.postgres.replication.pgoutput import Burst
from streams_engine.adapters.postgres.replication.slot_stream import News, Received


def kept_alive(lsn: int) -> bytes:
    return struct.pack(">cQQB", b"k", lsn, 0, 0)


def data(payload: bytes) -> bytes:
    return struct.pack(">cQQQ", b"w", 0, 0, 0) + payload


def commit(end: int) -> bytes:
    return data(struct.pack(">cBQQq", b"C", 0, end - 8, end, 0))


BEGIN = data(struct.pack(">cQQI", b"B", 10, 0, 1))
INSERT = data(b"I" + b"\0" * 20)


def burst(*messages: bytes) -> Burst:
    start, end, at = array("q"), array("q"), 0
    for message in messages:
        start.append(at)
        at += len(message)
        end.append(at)
    return Burst(b"".join(messages), start, end, 0)


def judged(*bursts: tuple[bytes, ...]) -> list[News]:
    received = Received()
    return [received.judge(burst(*messages)) for messages in bursts]


def test_a_transaction_in_pieces_is_whole_with_its_commit() -> None:
    news = judged((BEGIN,), (INSERT, INSERT), (commit(20),))
    assert news == [News.PART, News.PART, News.WHOLE]


def test_a_keepalive_that_says_no_more_than_the_commit_is_no_news() -> None:
    news = judged((BEGIN, INSERT, commit(20)), (kept_alive(20),), (kept_alive(19),))
    assert news == [News.WHOLE, News.NONE, News.NONE]
    news = judged((INSERT, commit(20), kept_alive(20)), (kept_alive(20),), (kept_alive(21),))
    assert news == [News.WHOLE, News.NONE, News.WHOLE]


def test_a_keepalive_that_says_more_is_news_once() -> None:
    news = judged((commit(20),), (kept_alive(30),), (kept_alive(30),), (kept_alive(31),))
    assert news == [News.WHOLE, News.WHOLE, News.NONE, News.WHOLE]


def test_keepalives_after_anything_else_are_news() -> None:
    aborted, message = data(b"A" + b"\0" * 20), data(b"M" + b"\0" * 20)
    for other in (aborted, message, INSERT):
        news = judged((commit(20),), (other,), (kept_alive(20),), (kept_alive(20),))
        assert news[-2:] == [News.WHOLE, News.WHOLE]
    assert judged((kept_alive(5),), (kept_alive(5),)) == [News.WHOLE, News.WHOLE]
    assert judged((commit(20), aborted, kept_alive(20)), (kept_alive(20),))[-1] is News.WHOLE


def test_what_needs_no_commit_or_can_be_decoded_already_is_whole() -> None:
    for letter in b"MSEcAbPKprTx":
        assert judged((data(bytes([letter]) + b"\0" * 30),)) == [News.WHOLE]
    assert judged((INSERT,) * 9) == [News.WHOLE]
    assert judged((data(b"I" + b"\0" * 9000),)) == [News.WHOLE]
    assert judged((b"w",), (data(b""),)) == [News.WHOLE, News.WHOLE]
