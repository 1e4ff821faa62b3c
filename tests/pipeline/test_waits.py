"""Whoever waits for a stream in asyncio holds up nothing else."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

from streams_engine import AsyncStream, State
from tests.support.memory_run import MemoryRun, ends, filled

MANY = 40
"""More than asyncio has threads of its own."""
SECONDS = 60

LEFT = """
import asyncio
from streams_engine import AsyncStream, State
from tests.support.memory_run import MemoryRun, ends, filled

async def main():
    source, sink, options = ends(filled(MemoryRun()), mode="cdc")
    stream = AsyncStream(source, sink, **options)
    stream.start()
    await stream.wait(State.RUNNING)
    asyncio.create_task(stream.wait())
    await asyncio.sleep(0)

asyncio.run(main())
print("ended")
"""


def following() -> AsyncStream:
    source, sink, options = ends(filled(MemoryRun()), mode="cdc")
    return AsyncStream(source, sink, **options)


def test_many_waits_leave_the_loop_its_threads() -> None:
    async def main() -> list[State]:
        stream = following()
        stream.start()
        waits = [asyncio.ensure_future(stream.wait()) for _ in range(MANY)]
        await asyncio.sleep(0)
        for _ in range(MANY):
            await asyncio.wait_for(asyncio.to_thread(int), SECONDS)
        stream.stop()
        return await asyncio.wait_for(asyncio.gather(*waits), SECONDS)

    assert set(asyncio.run(main())) == {State.STOPPED}


def test_a_wait_tells_what_was_raised() -> None:
    async def main() -> Any:
        stream = following()
        async with stream:
            stream.start()
            try:
                await stream.wait(timeout=0.01)
            except TimeoutError as error:
                return error
        return None

    assert asyncio.run(main()) is not None


def test_a_loop_ends_although_a_wait_was_left_behind() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", LEFT], capture_output=True, text=True, timeout=SECONDS, check=True
    )
    assert ended.stdout == "ended\n"
