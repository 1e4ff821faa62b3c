"""Pause, stop and limits, without a server."""

from __future__ import annotations

import threading

import pytest

from streams_engine.errors import StateConflict
from streams_engine.lifecycle import State
from streams_engine.pipeline.control import Control

SECONDS = 60


def worker(control: Control, steps: list[str], until: threading.Event) -> None:
    with control.working():
        while not until.is_set() and control.hold():
            steps.append("step")


def test_a_pause_settles_once_every_worker_holds_and_resume_goes_on() -> None:
    control, until, steps = Control(), threading.Event(), []
    control.move(State.RUNNING)
    threads = [threading.Thread(target=worker, args=(control, steps, until)) for _ in range(3)]
    for thread in threads:
        thread.start()
    control.request_pause()
    assert control.wait(frozenset({State.PAUSED}), SECONDS) is State.PAUSED
    seen = len(steps)
    control.resume()
    assert control.wait(frozenset({State.RUNNING}), SECONDS) is State.RUNNING
    until.set()
    for thread in threads:
        thread.join(SECONDS)
    assert len(steps) >= seen


def test_a_stop_wakes_the_paused() -> None:
    control = Control()
    control.move(State.RUNNING)
    thread = threading.Thread(target=worker, args=(control, [], threading.Event()))
    thread.start()
    control.request_pause()
    control.wait(frozenset({State.PAUSED}), SECONDS)
    control.request_stop()
    thread.join(SECONDS)
    assert not thread.is_alive() and control.end_state() is State.STOPPED


def test_rows_are_granted_up_to_the_limit_and_come_back() -> None:
    control = Control(max_rows=10)
    assert [control.reserve(7), control.reserve(7), control.reserve(1)] == [7, 3, 0]
    assert control.out_of_rows and control.end_state() is State.EVENT_LIMIT_REACHED
    control.release_rows(2)
    assert not control.out_of_rows and control.reserve(5) == 2


def test_illegal_requests_change_nothing() -> None:
    control = Control()
    with pytest.raises(StateConflict):
        control.request_pause()
    with pytest.raises(StateConflict):
        control.move(State.FINISHED)
    control.request_stop()
    assert control.state is State.STOPPED
    control.request_stop()
    assert control.state is State.STOPPED


def test_waiting_has_an_end() -> None:
    with pytest.raises(TimeoutError, match="READY"):
        Control().wait(frozenset({State.PAUSED}), 0.01)
