"""A part of an asyncio service: replication that starts and stops with it, and its status.

The functions are what a web framework would call: `start` and `stop` at its start-up and
shutdown, `status` and `pause` in its handlers.

    python service.py engine.db "$(cat source.json)" "$(cat target.json)"

Both files are connection documents: {"name": "shop", "type": "mysql", "host": "127.0.0.1", ...}.
"""

import asyncio
import json
import signal
import sys
from typing import Any

from streams_engine import AsyncEngine, AsyncStream


class Replication:
    """One stream config that this service keeps running."""

    def __init__(self, path: str) -> None:
        self.engine = AsyncEngine(path)
        self.stream = ""

    async def start(self, source: dict[str, Any], target: dict[str, Any]) -> None:
        """Store what is not stored yet, and go on from the checkpoint."""
        ids = {one["name"]: one["id"] async for one in self.engine.connections.all()}
        for document in (source, target):
            if document["name"] not in ids:
                made = await self.engine.connections.create(document)
                ids[document["name"]] = made["id"]
        found = await self.engine.configs.list("replication")
        if found["items"]:
            config = found["items"][0]
        else:
            config = await self.engine.configs.create(
                {
                    "name": "replication",
                    "mode": "cdc",
                    "source": {"connections": [{"connectionId": ids[source["name"]]}]},
                    "target": {"id": ids[target["name"]]},
                }
            )
        self.stream = await self.engine.streams.start(config["id"])

    async def status(self) -> dict[str, Any]:
        """What a health check answers."""
        stats = await self.engine.streams.stats(self.stream)
        return {"status": stats["status"], "lag": stats.get("changes", {}).get("lagSeconds")}

    async def pause(self) -> None:
        """What an operator asks for."""
        await self.engine.streams.pause(self.stream)

    async def wait_until(self, ended: asyncio.Event) -> None:
        """Wait for the service's end; raise the error of a stream that failed before it."""
        waits = {
            asyncio.create_task(ended.wait()),
            asyncio.create_task(self.engine.streams.wait(self.stream)),
        }
        _, left = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for one in left:
            one.cancel()
        run = await self.engine.streams.get(self.stream)
        if run["error"]:
            raise RuntimeError(run["error"]["message"])

    async def stop(self) -> None:
        """Ends the stream at a transaction's end; the next start goes on there."""
        await self.engine.close()


async def copy_once(source: str, target: str) -> int:
    """A request that copies a database by itself, its progress awaited."""
    async with AsyncStream(source, target, write_mode="truncate_and_load") as stream:
        stream.start()
        async for stats in stream:
            print(f"{stats.phase}: {stats.rows:,} rows")
    if stream.error is not None:
        raise stream.error
    return stream.stats().rows


async def main(path: str, source: str, target: str) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    service = Replication(path)
    await service.start(json.loads(source), json.loads(target))
    try:
        if not await service.engine.streams.catch_up(service.stream, 60):
            print("not in step yet", flush=True)
        print("ready", await service.status(), flush=True)
        await service.wait_until(ended)
    finally:
        await service.stop()
    print("stopped", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
