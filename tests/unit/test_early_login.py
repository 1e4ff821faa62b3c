"""A connection that logs in while another one is asked."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from streams_engine.adapters.postgres.early_login import EarlyLogin
from streams_engine.errors import ConnectionFailed


class Logins:
    """Gives a connection at each login; the first ``failing`` ones are refused."""

    def __init__(self, failing: int = 0) -> None:
        self.failing = failing
        self.threads: list[threading.Thread] = []
        self.closed: list[int] = []

    def __call__(self) -> Any:
        self.threads.append(threading.current_thread())
        number = len(self.threads)
        if number <= self.failing:
            raise ConnectionFailed(f"refused {number}")
        connection = type("Connection", (), {"close": lambda _: self.closed.append(number)})
        return connection()


def test_a_login_is_made_once_on_another_thread_and_left_to_who_takes_it() -> None:
    logins = Logins()
    with EarlyLogin(logins) as login:
        login.take()
    assert len(logins.threads) == 1
    assert logins.threads[0] is not threading.current_thread()
    assert not logins.closed


def test_what_nobody_takes_is_closed() -> None:
    logins = Logins()
    with pytest.raises(KeyError), EarlyLogin(logins):
        raise KeyError
    assert logins.closed == [1]


def test_a_refused_login_is_tried_again_when_it_is_needed() -> None:
    logins = Logins(failing=1)
    with EarlyLogin(logins) as login:
        login.take()
    assert len(logins.threads) == 2
    assert logins.threads[1] is threading.current_thread()


def test_a_login_that_is_refused_twice_raises_and_one_that_is_not_needed_does_not() -> None:
    with EarlyLogin(Logins(failing=2)) as login, pytest.raises(ConnectionFailed, match="refused 2"):
        login.take()
    with EarlyLogin(Logins(failing=1)):
        pass
