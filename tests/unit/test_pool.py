"""The pool of connections of the SQL sinks, on connections that are made up."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from streams_engine.adapters.sql.pool import ConnectionPool, Driver
from streams_engine.errors import AuthenticationFailed, ConnectionFailed


class FakeConnection:
    """Counts what is done to it."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.open = self.answering = True

    def commit(self) -> None:
        self.done.append("commit")

    def rollback(self) -> None:
        self.done.append("rollback")
        if not self.open:
            raise OSError

    def end(self) -> None:
        self.done.append("end")


class Fakes:
    """A pool, and the connections that it opened."""

    def __init__(self, refusal: Exception | None = None) -> None:
        self.opened: list[FakeConnection] = []
        self.aborted: list[FakeConnection] = []
        self.refusal = refusal
        self.during_open: Callable[[], None] = lambda: None
        self.pool = ConnectionPool(
            Driver(
                errors=(OSError,),
                translating=lambda what: contextlib.nullcontext(),
                open=self.open,
                answers=self.answers,
                is_open=lambda connection: connection.open,
                end=FakeConnection.end,
                abort=self.aborted.extend,
                begin=lambda connection: connection.done.append("begin"),
            )
        )

    def open(self) -> FakeConnection:
        self.during_open()
        if self.refusal is not None:
            raise self.refusal
        self.opened.append(FakeConnection())
        return self.opened[-1]

    def answers(self, connection: FakeConnection) -> bool:
        if not connection.open:
            raise ConnectionFailed("The server does not answer any more.")
        return connection.answering


def test_a_connection_that_was_given_back_is_lent_again() -> None:
    fakes = Fakes()
    with fakes.pool.lend() as first:
        pass
    with fakes.pool.lend() as second, fakes.pool.lend() as third:
        assert second is first and third is not first


def test_an_idle_connection_that_the_server_ended_is_replaced() -> None:
    fakes = Fakes()
    with fakes.pool.lend() as first:
        first.answering = False
    with fakes.pool.lend() as second:
        assert second is not first and first.done == ["end"]


def test_a_connection_that_broke_is_not_kept() -> None:
    fakes = Fakes()
    with fakes.pool.lend() as first:
        first.open = False
    with fakes.pool.lend() as second:
        assert second is not first and first.done == ["end"]


def test_a_server_found_dead_ends_the_search_with_its_error() -> None:
    fakes = Fakes()
    with fakes.pool.lend() as first:
        pass
    first.open = False
    with pytest.raises(ConnectionFailed, match="does not answer any more"), fakes.pool.lend():
        pass
    assert first.done == ["end"] and len(fakes.opened) == 1


def test_a_refused_login_reaches_the_borrower_as_it_is() -> None:
    fakes = Fakes(AuthenticationFailed("The password is wrong."))
    with pytest.raises(AuthenticationFailed, match="password"), fakes.pool.lend():
        pass


def test_a_transaction_is_committed_and_rolled_back_where_the_block_fails() -> None:
    fakes = Fakes()
    with fakes.pool.transaction() as connection:
        connection.done.append("work")
    with pytest.raises(ZeroDivisionError), fakes.pool.transaction():
        raise ZeroDivisionError
    assert connection.done == ["begin", "work", "commit", "begin", "rollback"]


def test_a_rollback_that_fails_hides_no_error() -> None:
    fakes = Fakes()
    with pytest.raises(ZeroDivisionError), fakes.pool.transaction() as connection:
        connection.open = False
        raise ZeroDivisionError
    assert connection.done == ["begin", "rollback", "end"]


def test_a_connection_with_a_session_of_its_own_is_never_lent_again() -> None:
    fakes = Fakes()
    special = FakeConnection()
    with fakes.pool.lend_once(lambda: special) as connection:
        assert connection is special
    assert special.done == ["end"]
    with fakes.pool.lend_once() as other:
        pass
    with fakes.pool.lend() as third:
        assert other.done == ["end"] and third is not other


def test_closing_aborts_busy_connections_and_ends_idle_ones() -> None:
    fakes = Fakes()
    with fakes.pool.lend() as busy:
        with fakes.pool.lend() as idle:
            pass
        with fakes.pool.lend_once(FakeConnection) as once:
            fakes.pool.close()
            assert sorted(fakes.aborted, key=id) == sorted([busy, once], key=id)
            assert idle.done == ["end"] and busy.done == []
    assert busy.done == ["end"] and once.done == ["end"]


@pytest.mark.parametrize("borrow", ["lend", "lend_once", "transaction"])
def test_a_closed_pool_lends_nothing(borrow: str) -> None:
    fakes = Fakes()
    with fakes.pool.lend():
        pass
    fakes.pool.close()
    lent: Any = getattr(fakes.pool, borrow)()
    with pytest.raises(ConnectionFailed, match="closed") as raised, lent:
        pass
    assert raised.value.retryable is False and len(fakes.opened) == 1


def test_a_login_during_which_the_pool_is_closed_leaves_no_connection() -> None:
    fakes = Fakes()
    fakes.during_open = fakes.pool.close
    with pytest.raises(ConnectionFailed, match="closed"), fakes.pool.lend():
        pass
    assert fakes.opened[0].done == ["end"]
