"""The table of moves, over every pair of states."""

from __future__ import annotations

import itertools

import pytest

from streams_engine.errors import StateConflict
from streams_engine.lifecycle import FINAL, State, check_move

ALLOWED = {
    "READY": "RUNNING STOPPED",
    "RUNNING": "PAUSED STOPPED FINISHED FAILED TIME_LIMIT_REACHED EVENT_LIMIT_REACHED",
    "PAUSED": "RUNNING STOPPED FAILED",
}


@pytest.mark.parametrize(("old", "new"), list(itertools.product(State, State)))
def test_every_pair(old: State, new: State) -> None:
    if new in ALLOWED.get(old, "").split():
        assert check_move(old, new) is new
    else:
        with pytest.raises(StateConflict) as caught:
            check_move(old, new)
        assert caught.value.details == {"current": old.value, "wanted": new.value}


def test_the_last_five_are_final() -> None:
    assert {state for state in State if state.value not in ALLOWED} == FINAL
    assert all(state.final == (state in FINAL) for state in State)


def test_a_state_is_its_name() -> None:
    assert State.RUNNING == "RUNNING"
