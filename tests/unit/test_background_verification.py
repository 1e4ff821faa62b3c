"""A comparison that runs beside a stream: when it begins, is interrupted, and ends."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from streams_engine.errors import StreamsError
from streams_engine.verify.background import BackgroundVerification
from streams_engine.verify.report import VerifyReport

WAIT = 10.0
Outcome = VerifyReport | StreamsError | None


def scheduled(
    look: Callable[[Callable[[], None]], VerifyReport],
    *,
    ready: Callable[[], bool] = lambda: True,
    max_seconds: float = 0.0,
) -> tuple[BackgroundVerification, list[Outcome], threading.Event]:
    told: list[Outcome] = []
    came = threading.Event()

    def tell(outcome: Outcome, _: float) -> None:
        told.append(outcome)
        came.set()

    return BackgroundVerification(0.01, max_seconds, ready, look, tell), told, came


def test_it_is_told_what_each_round_finds() -> None:
    report = VerifyReport(())
    verification, told, came = scheduled(lambda _: report)
    with verification.beside("verify"):
        assert came.wait(WAIT)
    assert set(map(id, told)) == {id(report)}


def test_no_round_begins_while_the_stream_does_not_follow() -> None:
    asked = threading.Event()

    def ready() -> bool:
        asked.set()
        return False

    def look(_: object) -> VerifyReport:
        pytest.fail("it began")

    verification, told, _ = scheduled(look, ready=ready)
    with verification.beside("verify"):
        assert asked.wait(WAIT)
    assert told == []


def test_a_round_whose_time_is_over_is_cut() -> None:
    def look(between: Callable[[], None]) -> VerifyReport:
        while True:
            between()

    verification, told, came = scheduled(look, max_seconds=0.01)
    with verification.beside("verify"):
        assert came.wait(WAIT)
    assert told[0] is None


def test_the_end_of_the_stream_cuts_a_round_and_tells_nothing() -> None:
    begun, cut = threading.Event(), threading.Event()

    def look(between: Callable[[], None]) -> VerifyReport:
        begun.set()
        try:
            while True:
                between()
        finally:
            cut.set()

    verification, told, _ = scheduled(look)
    with verification.beside("verify"):
        assert begun.wait(WAIT)
    assert cut.is_set() and told == []
