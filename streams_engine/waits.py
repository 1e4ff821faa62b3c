"""Await a call that may block for as long as a stream runs."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import ParamSpec, TypeVar

__all__ = ["awaited"]

P = ParamSpec("P")
T = TypeVar("T")


async def awaited(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a blocking call on a thread of its own, and return what it returns.

    asyncio's own threads (`asyncio.to_thread`) are few, and the loop resolves names on them: a
    handful of waits would hold up everything else, and the loop waits for them before it ends. This
    thread is left behind when the task is cancelled or the loop ends.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()
    context = contextvars.copy_context()

    def settle(result: T | None, error: BaseException | None) -> None:
        if outcome.done():  # nobody waits any more
            return
        if error is None:
            outcome.set_result(result)  # type: ignore[arg-type]
        else:
            outcome.set_exception(error)

    def work() -> None:
        result, error = None, None
        try:
            result = context.run(call, *args, **kwargs)
        except BaseException as raised:
            error = raised
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=work, name="streams-engine-wait", daemon=True).start()
    return await outcome
