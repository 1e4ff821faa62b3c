"""`verify` beside random writes at some 500 transactions a second: no false difference, and every
planted one."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pymysql
import pytest

from streams_engine.testing.servers import Server
from tests.support.cdc import OWN_SLOTS, following, is_postgres
from tests.support.databases import End

RATE = 500
WRITERS = 2
ROWS = 3000
"""Rows at the beginning; those above `STILL` are left alone, for faults to be planted there."""
STILL = 2000
DEADLOCK = 1213
RUNS = 17
"""On each of three routes: 51."""
ROUTES = [("mysql9", "pg18"), ("pg18", "mysql9"), ("pg15", "pg18")]


class Writers:
    """Sessions that commit random transactions, each so many a second."""

    def __init__(self, source: End, seed: int) -> None:
        self._source, self._seed = source, seed
        self._done = threading.Event()
        self.committed = 0
        self.faults: list[Exception] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._write, args=(n,)) for n in range(WRITERS)]
        self.began = time.monotonic()
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._done.set()
            for thread in threads:
                thread.join()
            self.seconds = time.monotonic() - self.began

    def _write(self, number: int) -> None:
        chance = random.Random(self._seed * 100 + number)
        try:
            with closing(self._source.server.connect(self._source.database)) as connection:
                cursor = connection.cursor()
                due = time.monotonic()
                while not self._done.is_set():
                    statements = _transaction(chance, number)
                    try:
                        for statement in ("BEGIN", *statements, "COMMIT"):
                            cursor.execute(statement)
                        self.committed += 1
                    except pymysql.OperationalError as error:
                        if error.args[0] != DEADLOCK:  # MySQL locks gaps of others' keys
                            raise
                    due += WRITERS / RATE
                    self._done.wait(max(0.0, due - time.monotonic()))
        except Exception as error:
            self.faults.append(error)


def _transaction(chance: random.Random, writer: int) -> list[str]:
    """Return statements on the writer's own share of the keys: nobody waits for a lock."""
    made = []
    for _ in range(chance.randint(1, 3)):
        key = chance.randrange(STILL // WRITERS) * WRITERS + writer
        match chance.randrange(4):
            case 0:
                made.append(f"DELETE FROM t WHERE id = {key}")
            case 1:
                made.append(f"DELETE FROM t WHERE id = {key}")
                made.append(f"INSERT INTO t VALUES ({key}, 'n{chance.random()}', 1)")
            case _:
                made.append(f"UPDATE t SET v = 'u{chance.random()}', n = n + 1 WHERE id = {key}")
    return made


@pytest.mark.parametrize(
    ("source_name", "target_name", "seed"),
    [
        pytest.param(*route, seed, marks=pytest.mark.soak, id=f"{'-'.join(route)}-{seed}")
        for route in ROUTES
        for seed in range(RUNS)
    ],
)
def test_a_stream_under_load_is_compared_without_false_differences(
    source_name: str,
    target_name: str,
    seed: int,
    request: pytest.FixtureRequest,
    database: Any,
    counted: Callable[[str], None],
) -> None:
    servers: list[Server] = [request.getfixturevalue(name) for name in (source_name, target_name)]
    source, target = (End(server, database(server)) for server in servers)
    chance = random.Random(seed)
    source.run(
        "CREATE TABLE t (id int PRIMARY KEY, v varchar(60), n int)",
        "INSERT INTO t VALUES " + ", ".join(f"({n}, 'v{n}', 0)" for n in range(ROWS)),
    )
    changed, lost = chance.sample(range(STILL, ROWS), 2)
    extra = ROWS + chance.randrange(1000)
    writers = Writers(source, seed)
    try:
        with following(source, target, tables=["t"]) as running:
            with writers.running():
                for _ in range(2):
                    false = running.verify()
                    assert false.ok, false
                target.run(
                    f"UPDATE t SET n = n + 1 WHERE id = {changed}",
                    f"DELETE FROM t WHERE id = {lost}",
                    f"INSERT INTO t VALUES ({extra}, NULL, NULL)",
                )
                (verdict,) = running.verify().tables
                found = {d.shown: d.kind for d in verdict.differences}
                assert found == {
                    str(changed): "different", str(lost): "missing", str(extra): "extra"
                }, verdict  # fmt: skip
                repaired = running.verify(repair=True)
                assert repaired.ok and repaired.tables[0].repaired == 3, repaired
            assert not writers.faults
            assert running.catch_up(120), running.error
            query = "SELECT id, v, n FROM t ORDER BY id"
            assert source.rows(query) == target.rows(query)
    finally:
        if is_postgres(source):
            source.run(f"SELECT pg_terminate_backend(active_pid, 5000) {OWN_SLOTS} AND active")
            source.run(f"SELECT pg_drop_replication_slot(slot_name) {OWN_SLOTS}")
    counted(
        f"verify under load {source_name} -> {target_name}, seed {seed}: 2 times equal, 3 of 3 "
        f"found and repaired, {writers.committed / writers.seconds:.0f} transactions a second"
    )
