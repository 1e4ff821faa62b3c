"""pglogical of Debian's PostgreSQL 15, catching up between two servers of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

from benchmarks.cdc.logs import SPOT, Writing, base, change
from benchmarks.cdc.targets import LONGEST_SECONDS, LOOK_SECONDS, sums
from benchmarks.jobs import Unavailable
from benchmarks.measuring import Failed, Measured
from streams_engine.testing.provision import ProvisionError, provision
from streams_engine.testing.servers import Server, ServerStartError, start

__all__ = ["Pglogical"]

SUBSCRIPTION = "bench"
SETTINGS = {
    "shared_preload_libraries": "pglogical",
    "track_commit_timestamp": "on",
    # The server trusts no other plugin than its own.
    "output_plugin_libraries": "pgoutput, pglogical_output",
}


@dataclass
class Pglogical:
    """Two servers with the extension, started when first asked for; a context manager."""

    _stack: ExitStack = field(default_factory=ExitStack)
    _servers: list[Server] = field(default_factory=list)

    def __enter__(self) -> Pglogical:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def catch_up(self, rows: int, *, one: bool) -> Measured:
        """From the enabling of a subscription until the last row is seen on the target.

        Raises `Unavailable`, and `Failed` where the target is not equal to the source.
        """
        source, target = self._both()
        with Writing(source) as writing, Writing(target) as copy:
            for side in (writing, copy):
                base(side)
                self._node(side)
            with self._subscribed(writing, copy):
                copy.run(f"SELECT pglogical.alter_subscription_disable('{SUBSCRIPTION}', true)")
                change(writing, rows, single=one)
                with closing(target.connect(copy.database)) as watching:
                    begun = time.perf_counter()
                    copy.run(f"SELECT pglogical.alter_subscription_enable('{SUBSCRIPTION}', true)")
                    self._await(watching, f"SELECT 1 FROM mixed WHERE id = {SPOT}")
                    seconds = time.perf_counter() - begun
            found, wanted = sums(target, copy.database), sums(source, writing.database)
        if found != wanted:
            raise Failed(f"the target holds {found}, the source {wanted} (count, sums)")
        return Measured(seconds, 0.0, rows + 1)

    def _both(self) -> tuple[Server, Server]:
        while len(self._servers) < 2:
            try:
                tree = provision("pglogical")
                server = start("pg15", SETTINGS, binaries=tree)
            except (ProvisionError, ServerStartError, OSError) as error:
                raise Unavailable(f"pglogical cannot be had: {error}") from None
            self._servers.append(self._stack.enter_context(server))
        source, target = self._servers
        return source, target

    def _node(self, side: Writing) -> None:
        side.run(
            "CREATE EXTENSION IF NOT EXISTS pglogical",
            "SELECT pglogical.create_node(node_name := 'n' || current_database(),"
            f" dsn := '{side.server.url(side.database)}')",
        )

    @contextmanager
    def _subscribed(self, writing: Writing, copy: Writing) -> Iterator[None]:
        writing.run("SELECT pglogical.replication_set_add_table('default', 'mixed')")
        copy.run(
            f"SELECT pglogical.create_subscription(subscription_name := '{SUBSCRIPTION}',"
            f" provider_dsn := '{writing.server.url(writing.database)}',"
            " synchronize_structure := false, synchronize_data := false)"
        )
        try:
            with closing(copy.server.connect(copy.database)) as watching:
                self._await(
                    watching,
                    "SELECT 1 FROM pglogical.show_subscription_status()"
                    " WHERE status = 'replicating'",
                )
            yield
        finally:
            copy.run(f"SELECT pglogical.drop_subscription('{SUBSCRIPTION}', true)")

    def _await(self, watching: Any, query: str) -> None:
        begun = time.perf_counter()
        while watching.execute(query).fetchone() is None:
            if time.perf_counter() - begun > LONGEST_SECONDS:
                raise Failed(f"the subscription had not caught up after {LONGEST_SECONDS} s")
            time.sleep(LOOK_SECONDS)
