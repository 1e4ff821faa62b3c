"""The assembler of a binary log, from events made by hand: which transitions there are, what each
event does, and that a log may be cut anywhere."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams_engine.adapters.mysql.binlog import events as e
from streams_engine.adapters.mysql.binlog.assembler import (
    TRANSITIONS,
    Phase,
    Step,
    TransactionAssembler,
)
from streams_engine.errors import LogLost, ProtocolViolation, ServerError, StreamsError
from streams_engine.model import ChangeSet, Op, RowChanges, SchemaChange, TableId, Truncate
from tests.support.binlog_bytes import FILE, SECOND, SOURCE, Log, assembler, reader
from tests.support.memory_target import followed

COLUMNS = ("id", "a")
ONE = followed("one", COLUMNS, ("id",)).tracked
TABLE_ID = 9
XA_NAME = "X'78',X'',1"


def rows(log: Log, *keys: int, table: str = "one", op: Op = Op.INSERT) -> None:
    """One statement on a table, which has its number by its name."""
    number = TABLE_ID + len(table)
    log.table_map(number, 1, table, COLUMNS, (False, True), named=True)
    log.rows(number, op, [(key, key) for key in keys], [(0, 1)], 2)


def taken(source: TransactionAssembler, log: Log) -> list[Step]:
    return [source.take(event, (FILE, pos)) for event, pos in log.events()]


def keys(parts: Sequence[Any]) -> list[int]:
    """The keys of all rows, in the order of their numbers."""
    found: list[tuple[int, int]] = []
    for part in parts:
        if isinstance(part, RowChanges):
            found += zip(part.seq.tolist(), part.after["id"].to_pylist(), strict=True)
    return [key for _, key in sorted(found)]


# The table


def a_begin(log: Log) -> None:
    log.gtid(5)
    log.query("BEGIN")


def a_transaction(log: Log) -> None:
    a_begin(log)
    rows(log, 1)


STATES: dict[str, Callable[[Log], None]] = {
    "OUTSIDE": lambda log: None,
    "ANNOUNCED": lambda log: log.gtid(5),
    "OPEN": a_begin,
    "CHANGED": a_transaction,
    "PARTED": a_transaction,
    "REPLAYED": lambda log: (a_begin(log), log.xa_prepare(b"x")),  # type: ignore[return-value]
}
"""What leads to each phase; CHANGED: `OPEN`, with rows."""


def mapped() -> e.Event:
    log = Log()
    log.table_map(1, 1, "other", COLUMNS, (False, True), named=True)
    return log.events()[0][0]


def payload() -> e.Event:
    log, inner = Log(), Log()
    inner.query("BEGIN")
    inner.commit()
    log.payload(inner)
    return log.events()[0][0]


EVENTS: dict[type, e.Event] = {
    e.TableMapEvent: mapped(),
    e.Payload: payload(),
    e.Passed: e.Passed(),
    e.Format: e.Format(False),
    e.ServerStart: e.ServerStart(False),
    e.Rotate: e.Rotate("binlog.000002", 4),
    e.Gtid: e.Gtid(str(SOURCE), 6, None),
    e.GtidBegin: e.GtidBegin(str(SOURCE), 6, 0),
    e.Begin: e.Begin(),
    e.Rows: e.Rows(b"nobody", b"", 0, 0),
    e.PartialUpdate: e.PartialUpdate(b"nobody"),
    e.Query: e.Query("s", "DROP TABLE other"),
    e.Savepoint: e.Savepoint(),
    e.RollbackToSavepoint: e.RollbackToSavepoint(),
    e.Rollback: e.Rollback(),
    e.Commit: e.Commit(None),
    e.XaStart: e.XaStart(),
    e.XaEnd: e.XaEnd(),
    e.XaPrepare: e.XaPrepare("x"),
    e.XaCommit: e.XaCommit("x"),
    e.XaRollback: e.XaRollback("x"),
    e.ExecuteLoad: e.ExecuteLoad(),
    e.Incident: e.Incident(),
}

EXPECTED = """
                     OUTSIDE    ANNOUNCED  OPEN       CHANGED    PARTED     REPLAYED
Passed               OUTSIDE    ANNOUNCED  OPEN       OPEN       PARTED     violation
Format               OUTSIDE    ANNOUNCED  OPEN       OPEN       PARTED     violation
Rotate               OUTSIDE    ANNOUNCED  OPEN       OPEN       PARTED     violation
ServerStart          OUTSIDE    OUTSIDE    OUTSIDE    OUTSIDE    lost       lost
Gtid                 ANNOUNCED  ANNOUNCED  ANNOUNCED  violation  violation  violation
GtidBegin            OPEN       OPEN       OPEN       violation  violation  violation
Begin                OPEN       OPEN       OPEN       violation  violation  violation
XaStart              OPEN       OPEN       OPEN       violation  violation  violation
TableMapEvent        violation  violation  OPEN       OPEN       PARTED     violation
Rows                 violation  violation  OPEN       OPEN       PARTED     violation
PartialUpdate        lost       lost       OPEN       OPEN       PARTED     lost
Query                OUTSIDE    OUTSIDE    OPEN       OPEN       PARTED     violation
Savepoint            OUTSIDE    ANNOUNCED  OPEN       OPEN       PARTED     violation
RollbackToSavepoint  OUTSIDE    ANNOUNCED  OPEN       server     server     server
Rollback             OUTSIDE    OUTSIDE    OUTSIDE    OUTSIDE    server     server
Commit               OUTSIDE    OUTSIDE    OUTSIDE    OUTSIDE    OUTSIDE    violation
XaEnd                OUTSIDE    ANNOUNCED  OPEN       OPEN       PARTED     violation
XaPrepare            OUTSIDE    OUTSIDE    OUTSIDE    OUTSIDE    server     server
XaCommit             OUTSIDE    OUTSIDE    OUTSIDE    OUTSIDE    violation  violation
XaRollback           OUTSIDE    OUTSIDE    OUTSIDE    OUTSIDE    violation  violation
Payload              OUTSIDE    OUTSIDE    OUTSIDE    violation  violation  violation
ExecuteLoad          lost       lost       lost       lost       lost       lost
Incident             lost       lost       lost       lost       lost       lost
"""
"""Where each event leads from each state, or the error by which it is refused."""

ERRORS: dict[str, type[StreamsError]] = {
    "violation": ProtocolViolation,
    "server": ServerError,
    "lost": LogLost,
}


def expected() -> dict[tuple[str, str], str]:
    head, *lines = EXPECTED.strip().splitlines()
    found = {}
    for line in lines:
        kind, *outcomes = line.split()
        found |= {
            (state, kind): outcome for state, outcome in zip(head.split(), outcomes, strict=True)
        }
    return found


def in_state(state: str) -> TransactionAssembler:
    source, log = assembler([ONE], replay=state == "REPLAYED"), Log()
    STATES[state](log)
    taken(source, log)
    if state == "PARTED":
        assert keys(source.part(log.buffer).parts) == [1]
    source.tables.images[b"nobody"] = None
    return source


@pytest.mark.parametrize(("state", "kind"), list(itertools.product(STATES, EVENTS)))
def test_every_event_in_every_phase(state: str, kind: type) -> None:
    source, outcome = in_state(state), expected()[state, kind.__name__]
    phase = "OPEN" if state == "CHANGED" else state
    assert source.phase is Phase[phase]
    if outcome in ERRORS:
        with pytest.raises(ERRORS[outcome]):
            source.take(EVENTS[kind], (FILE, 100))
        assert source.phase is Phase[phase]
    else:
        step = source.take(EVENTS[kind], (FILE, 100))
        assert source.phase is Phase[outcome]
        within = Step.ADDED if kind in (e.Rows, e.Query) else Step.WITHIN
        assert step is (Step.BOUNDARY if outcome == "OUTSIDE" else within)


def test_the_table_names_every_event() -> None:
    assert set(TRANSITIONS) == set(EVENTS) == set(e.Event.__args__)


@pytest.mark.parametrize("kind", [e.Rows, e.PartialUpdate])
def test_rows_of_a_table_id_that_was_not_mapped_are_refused(kind: type) -> None:
    source = in_state("OPEN")
    source.tables.images.clear()
    with pytest.raises(ProtocolViolation, match="not mapped"):
        source.take(EVENTS[kind], (FILE, 100))


# What events do


def test_an_event_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        EVENTS[e.Gtid].number = 7  # type: ignore[union-attr, misc]


def test_a_gtid_counts_once_its_transaction_has_ended() -> None:
    source, log = assembler([ONE], gtids=f"{SOURCE}:1-4"), Log()
    a_transaction(log)
    taken(source, log)
    assert str(source.gtids) == f"{SOURCE}:1-4"
    source.take(e.Commit(None), (FILE, 100))
    assert str(source.gtids) == f"{SOURCE}:1-5"


def test_mysql_says_the_time_of_a_commit_in_its_gtid() -> None:
    source, log = assembler([ONE]), Log()
    log.gtid(5, 1_234_567)
    log.query("BEGIN")
    rows(log, 1)
    log.commit()
    taken(source, log)
    assembled = source.cut(log.buffer)
    assert (assembled.committed_at, assembled.transactions) == (1.234567, 1)
    assert keys(assembled.parts) == [1]


def test_mariadb_begins_a_transaction_with_its_gtid_and_says_the_time_in_the_commit() -> None:
    source, log = assembler([ONE], mariadb=True), Log()
    log.maria_gtid(7, standalone=True)
    log.query("DROP TABLE other")
    log.maria_gtid(8, standalone=False)
    rows(log, 1)
    log.commit()
    assert taken(source, log)[:3] == [Step.WITHIN, Step.BOUNDARY, Step.WITHIN]
    assembled = source.cut(log.buffer)
    assert (assembled.committed_at, assembled.transactions) == (SECOND, 2)
    assert str(source.gtids) == "0-1-8"


def test_an_open_transaction_is_not_in_a_set_that_is_cut() -> None:
    source, log = assembler([ONE]), Log()
    a_transaction(log)
    log.commit()
    log.gtid(6)
    log.query("BEGIN")
    rows(log, 2)
    taken(source, log)
    assert keys(source.cut(log.buffer).parts) == [1]
    assert source.phase is Phase.OUTSIDE
    assert source.cut(log.buffer).parts == ()


def test_a_rollback_leaves_the_transactions_before_it() -> None:
    source, log = assembler([ONE]), Log()
    a_transaction(log)
    log.commit()
    log.gtid(6)
    log.query("BEGIN")
    rows(log, 2)
    log.query("ROLLBACK")
    taken(source, log)
    assembled = source.cut(log.buffer)
    assert (keys(assembled.parts), assembled.transactions) == ([1], 2)


def test_a_transaction_that_a_server_had_not_written_whole_is_undone_at_its_next_start() -> None:
    source, log = assembler([ONE]), Log()
    a_transaction(log)
    log.format(started=True)
    log.gtid(5)
    log.query("BEGIN")
    rows(log, 2)
    log.commit()
    taken(source, log)
    assert keys(source.cut(log.buffer).parts) == [2]


def test_a_file_that_begins_within_a_transaction_undoes_nothing() -> None:
    source, log = assembler([ONE]), Log()
    a_transaction(log)
    log.rotate("binlog.000002")
    log.format()
    log.commit()
    taken(source, log)
    assert keys(source.cut(log.buffer).parts) == [1]


def test_prepared_rows_are_noted_and_come_by_a_replay() -> None:
    log = Log()
    log.gtid(5)
    begin = log._pos
    log = Log()
    log.gtid(5)
    log.query("XA START X'78',X'',1")
    rows(log, 1)
    log.query("XA END X'78',X'',1")
    log.xa_prepare(b"x")
    source = assembler([ONE])
    taken(source, log)
    assert source.prepared == {XA_NAME: [FILE, 4]}
    assert source.cut(log.buffer).parts == ()
    source.take(e.Gtid(str(SOURCE), 6, None), (FILE, begin))
    source.take(e.XaCommit(XA_NAME), (FILE, begin))
    assert source.complete
    assert source.prepared == {}
    assert source.cut(log.buffer).committed == (XA_NAME, (FILE, 4))

    again = assembler([ONE], replay=True)
    taken(again, log)
    assert again.phase is Phase.REPLAYED
    assert keys(again.cut(log.buffer).parts) == [1]


def test_a_prepared_transaction_without_our_rows_is_not_noted() -> None:
    source, log = assembler([ONE]), Log()
    log.gtid(5)
    log.query("XA START 'x'")
    rows(log, 1, table="other")
    log.xa_prepare(b"x")
    taken(source, log)
    assert source.prepared == {}


def test_xa_commit_waits_for_what_is_before_it() -> None:
    source, log = assembler([ONE], prepared={"x": [FILE, 50]}), Log()
    a_transaction(log)
    log.commit()
    taken(source, log)
    source.take(e.Gtid(str(SOURCE), 6, None), (FILE, 900))
    assert source.take(e.XaCommit("x"), (FILE, 950)) is Step.HELD
    assert source.complete
    assert keys(source.cut(log.buffer).parts) == [1]
    assert source.take(e.XaCommit("x"), (FILE, 950)) is Step.BOUNDARY
    assert source.cut(log.buffer).committed == ("x", (FILE, 50))


def test_xa_in_one_phase_is_a_commit() -> None:
    source, log = assembler([ONE]), Log()
    a_transaction(log)
    log.xa_prepare(b"x", one_phase=True)
    taken(source, log)
    assert keys(source.cut(log.buffer).parts) == [1]


@pytest.mark.parametrize("compressed", [True, False])
def test_a_payload_holds_a_transaction(compressed: bool) -> None:
    source, log, inner = assembler([ONE]), Log(), Log()
    inner.query("BEGIN")
    rows(inner, 1, 2)
    inner.commit()
    log.gtid(5)
    log.payload(inner, compressed=compressed)
    assert taken(source, log) == [Step.WITHIN, Step.BOUNDARY]
    assembled = source.cut(log.buffer)
    assert (keys(assembled.parts), assembled.transactions) == ([1, 2], 1)


def test_a_structure_that_changes_within_a_payload_comes_before_its_rows() -> None:
    source, log, inner = assembler([ONE]), Log(), Log()
    inner.query("BEGIN")
    inner.query("CREATE TABLE s.new (id INT PRIMARY KEY, a INT)")
    rows(inner, 1, table="new")
    inner.commit()
    log.gtid(5)
    log.payload(inner)
    gtid, payload = (event for event, _ in log.events())
    source.take(gtid, (FILE, 4))
    assert source.take(payload, (FILE, 50)) is Step.HELD
    (change,) = source.part(log.buffer).parts
    assert isinstance(change, SchemaChange)
    source.tables.adopt(TableId("s", "new"), followed("new", COLUMNS, ("id",)).tracked)
    assert source.take(payload, (FILE, 50)) is Step.BOUNDARY
    assembled = source.cut(log.buffer)
    assert (keys(assembled.parts), assembled.transactions) == ([1], 1)


def test_a_payload_without_an_end_is_refused() -> None:
    source, log, inner = assembler([ONE]), Log(), Log()
    inner.query("BEGIN")
    log.payload(inner)
    with pytest.raises(ProtocolViolation, match="no end"):
        taken(source, log)


def test_a_truncation_has_its_place_among_the_rows() -> None:
    source, log = assembler([ONE]), Log()
    for key in (1, 2):
        log.begin()
        rows(log, key)
        log.commit()
        log.statement("TRUNCATE TABLE s.one")
    taken(source, log)
    kinds = [type(part) for part in source.cut(log.buffer).parts]
    assert kinds.count(Truncate) == 2


def test_a_change_of_structure_comes_alone() -> None:
    source, log = assembler([ONE]), Log()
    a_transaction(log)
    log.commit()
    taken(source, log)
    alter = e.Query("s", "ALTER TABLE one ADD COLUMN b INT")
    source.take(e.Gtid(str(SOURCE), 6, None), (FILE, 900))
    assert source.take(alter, (FILE, 950)) is Step.HELD
    assert keys(source.cut(log.buffer).parts) == [1]
    source.take(e.Gtid(str(SOURCE), 6, None), (FILE, 900))
    assert source.take(alter, (FILE, 950)) is Step.BOUNDARY
    assert source.complete
    (change,) = source.cut(log.buffer).parts
    assert isinstance(change, SchemaChange)


def test_rows_that_a_snapshot_has_are_left_out() -> None:
    covered: list[Any] = []

    def is_covered(since: Any, begin: Any, gtid: Any) -> bool:
        covered.append((begin, gtid.number))
        return bool(gtid.number < 6)

    since = followed("one", COLUMNS, ("id",)).tracked
    since = type(since)(since.schema, since.extract, since.identity, {"pos": 500})
    source, log = assembler([since], covered=is_covered), Log()
    for number in (5, 6):
        log.gtid(number)
        log.query("BEGIN")
        rows(log, number)
        log.commit()
    taken(source, log)
    assert keys(source.cut(log.buffer).parts) == [6]
    assert covered[0] == ((FILE, 4), 5)


def test_a_part_makes_a_transaction_one_that_cannot_be_undone() -> None:
    source, log = assembler([ONE]), Log()
    a_begin(log)
    rows(log, 1, table="other")
    taken(source, log)
    source.part(log.buffer)
    assert source.phase is Phase.OPEN, "nothing of it was given"
    source = in_state("PARTED")
    assert source.take(e.Commit(None), (FILE, 100)) is Step.BOUNDARY
    assert source.cut(b"").transactions == 1


# Logs that are cut


@dataclass
class History:
    """A random log of one table, and the keys of its rows in the order of their commits."""

    log: Log
    chosen: random.Random
    keys: list[int] = field(default_factory=list)
    transactions: int = 0
    _key: int = 0
    _number: int = 0
    _prepared: list[tuple[str, list[int]]] = field(default_factory=list)

    def _rows(self, log: Log) -> list[int]:
        found: list[int] = []
        for _ in range(self.chosen.randint(1, 3)):
            new = [self._key + n for n in range(1, self.chosen.randint(2, 4))]
            self._key += len(new)
            if self.chosen.random() < 0.3:
                rows(log, *new, table="other")
            else:
                rows(log, *new)
                found += new
        return found

    def _announce(self) -> None:
        self._number += 1
        if self.chosen.random() < 0.5:
            self.log.gtid(self._number)
        else:
            self.log.anonymous()

    def _begin(self) -> None:
        self._announce()
        self.log.query("BEGIN")

    def commit(self) -> None:
        self._begin()
        found = self._rows(self.log)
        self.log.commit()
        self._ended(found)

    def rollback(self) -> None:
        self._begin()
        if self.chosen.random() < 0.5:
            rows(self.log, 0, table="other")
            self.log.query("SAVEPOINT s")
            self.log.query("ROLLBACK TO s")
        self.log.query("ROLLBACK")
        self._ended([])

    def payload(self) -> None:
        inner = Log()
        inner.query("BEGIN")
        found = self._rows(inner)
        inner.commit()
        self._announce()
        self.log.payload(inner)
        self._ended(found)

    def prepare(self) -> None:
        name = bytes([97 + len(self._prepared) + self.transactions % 20])
        text = f"X'{name.hex()}',X'',1"
        if any(text == other for other, _ in self._prepared):
            return
        self._announce()
        self.log.query(f"XA START {text}")
        found = self._rows(self.log)
        self.log.query(f"XA END {text}")
        self.log.xa_prepare(name)
        self._prepared.append((text, found))
        self._ended([])

    def resolve(self) -> None:
        if not self._prepared:
            return
        text, found = self._prepared.pop(self.chosen.randrange(len(self._prepared)))
        commit = self.chosen.random() < 0.7
        self._announce()
        self.log.query(f"XA {'COMMIT' if commit else 'ROLLBACK'} {text}")
        self._ended(found if commit else [])

    def statement(self) -> None:
        self.log.statement("DROP TABLE s.nobody")
        self._ended([])

    def pass_on(self) -> None:
        self.chosen.choice((self.log.passed, self.log.format))()

    def _ended(self, found: list[int]) -> None:
        self.keys += found
        self.transactions += 1


def history(chosen: random.Random, *, prepared: bool = True) -> History:
    made = History(Log(checksum=chosen.random() < 0.5), chosen)
    steps = [made.commit, made.commit, made.payload, made.rollback, made.statement, made.pass_on]
    if prepared:
        steps += [made.prepare, made.resolve]
    for _ in range(chosen.randint(1, 8)):
        chosen.choice(steps)()
    return made


def polled(source: Any, ended: Callable[[], bool], most: int | None) -> Iterator[ChangeSet]:
    """All sets of a log that is in memory."""
    idle = 0
    while idle < 2:
        found = source.poll(0, most)
        if found is not None:
            yield found
        idle = idle + 1 if found is None and ended() else 0


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    budget=st.sampled_from([2, 5, 50_000]),
    most=st.sampled_from([None, 1, 4]),
)
def test_a_log_that_comes_in_any_pieces_gives_every_transaction_once(
    seed: int, budget: int, most: int | None
) -> None:
    chosen = random.Random(seed)
    made = history(chosen, prepared=budget > 100)
    opened, ended = reader(made.log, chosen, budget)
    found = list(polled(opened([ONE]), ended, most))
    assert [key for one in found for key in keys(one.parts)] == made.keys
    assert sum(one.transactions for one in found) == made.transactions
    for place, one in enumerate(found):  # each position leads on from there
        if one.position is not None:
            opened, ended = reader(made.log, chosen, budget, after=one.position)
            rest = [
                key for after in polled(opened([ONE]), ended, most) for key in keys(after.parts)
            ]
            given_before = sum(len(keys(before.parts)) for before in found[: place + 1])
            assert rest == made.keys[given_before:]


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32), share=st.floats(0, 1))
def test_a_log_that_ends_anywhere_gives_the_transactions_before(seed: int, share: float) -> None:
    chosen = random.Random(seed)
    made = history(chosen)
    size = int(share * len(made.log.packets))
    opened, ended = reader(made.log.first(size), chosen)
    found = [key for one in polled(opened([ONE]), ended, None) for key in keys(one.parts)]
    assert found == made.keys[: len(found)]
    if size == len(made.log.packets):
        assert found == made.keys


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32), at=st.sets(st.integers(0, 60), max_size=8))
def test_sets_may_be_cut_after_any_event(seed: int, at: set[int]) -> None:
    """A set that is cut within a transaction forgets it; its events are taken again."""
    made = history(random.Random(seed), prepared=False)
    source, buffer, events = assembler([ONE]), made.log.buffer, made.log.events()
    place = boundary = transactions = 0
    found: list[int] = []
    pending = set(at)
    while place < len(events):
        event, pos = events[place]
        step = source.take(event, (FILE, pos))
        place += 1
        if step is Step.BOUNDARY:
            boundary = place
        if place in pending:
            pending.discard(place)
            assembled = source.cut(buffer)
            found += keys(assembled.parts)
            transactions += assembled.transactions
            place = boundary
    assembled = source.cut(buffer)
    assert found + keys(assembled.parts) == made.keys
    assert transactions + assembled.transactions == made.transactions


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32), at=st.sets(st.integers(0, 60), max_size=8))
def test_parts_may_be_given_after_any_event(seed: int, at: set[int]) -> None:
    chosen = random.Random(seed)
    made = History(Log(), chosen)
    for _ in range(chosen.randint(1, 4)):
        made.commit()
    source, buffer = assembler([ONE]), made.log.buffer
    found: list[int] = []
    for place, (event, pos) in enumerate(made.log.events()):
        source.take(event, (FILE, pos))
        if place in at:
            found += keys(source.part(buffer).parts)
    found += keys(source.cut(buffer).parts)
    assert found == made.keys


@settings(max_examples=300, deadline=None)
@given(
    data=st.binary(max_size=120), kind=st.sampled_from(sorted(e.PARSERS)), checksum=st.booleans()
)
def test_any_bytes_are_an_event_or_malformed(data: bytes, kind: int, checksum: bool) -> None:
    """No parser looks behind the end of its event."""
    event = data[:4] + bytes([kind]) + data[4:]
    try:
        first = _content(e.parse(bytearray(event + bytes(64)), 0, len(event), checksum))
    except (ValueError, LookupError, ArithmeticError):
        return
    assert first == _content(e.parse(bytearray(event + b"\xff" * 64), 0, len(event), checksum))


def _content(event: Any) -> Any:
    return (event.table_id, e.row_images(event)) if isinstance(event, e.Rows) else event


# Short transactions


def short_log(chosen: random.Random, *, mariadb: bool) -> Log:
    """Transactions of one small statement, and some that only look like it."""
    log = Log(checksum=chosen.random() < 0.5)
    # In half of the logs most of them come in runs of one form.
    odd = chosen.choice([0.1, 0.01])
    for number in range(1, chosen.randint(2, int(1.2 / odd))):
        if mariadb:
            log.maria_gtid(number, standalone=chosen.random() < odd)
        else:
            gap = chosen.random() < odd
            log.gtid(number + 1000 * gap, (SECOND + number) * 1_000_000)
            log.query("DROP TABLE s.nobody" if chosen.random() < odd else "BEGIN")
        kind = chosen.random() * 0.1 / odd
        if kind < 0.1:
            log.query("SAVEPOINT s")
        if kind < 0.1 / odd - 0.1:
            rows(log, number, table=chosen.choice(["one", "one", "other"]))
        if kind < 0.2:
            rows(log, 100 + number)
        if kind > 0.1 / odd - 0.05:
            log.query("ROLLBACK")
        else:
            log.commit()
    return log


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32), mariadb=st.booleans())
def test_a_short_transaction_is_what_its_events_are(seed: int, mariadb: bool) -> None:
    """What a reader takes at once equals what an assembler makes of each event."""
    chosen = random.Random(seed)
    log = short_log(chosen, mariadb=mariadb)
    one_by_one = assembler([ONE], mariadb=mariadb)
    expected: Any
    try:
        taken(one_by_one, log)
        made = one_by_one.cut(log.buffer)
        expected = (keys(made.parts), made.transactions, made.committed_at, str(one_by_one.gtids))
    except StreamsError as error:
        expected = error.message
    opened, ended = reader(log, chosen, mariadb=mariadb)
    try:
        found = list(polled(opened([ONE]), ended, None))
        got: Any = (
            [key for one in found for key in keys(one.parts)],
            sum(one.transactions for one in found),
            found[-1].committed_at,
            found[-1].position["gtid"],
        )
        assert found[-1].position["pos"] == log._pos
    except StreamsError as error:
        got = error.message
    assert got == expected


@pytest.mark.parametrize("event", range(1, 6))
def test_a_damaged_event_of_a_short_transaction_ends_the_log(event: int) -> None:
    log = Log(checksum=True)
    log.gtid(1)
    log.query("BEGIN")
    rows(log, 1)
    log.commit()
    end = [*log.places.values()][event]
    log.packets[end - 6] ^= 1
    opened, ended = reader(log, random.Random(0))
    with pytest.raises(LogLost, match="checksum of an event"):
        list(polled(opened([ONE]), ended, None))


@pytest.mark.parametrize("transaction", [0, 1, 9, 33, 39])
def test_a_damaged_event_within_a_run_of_short_transactions_ends_the_log(transaction: int) -> None:
    log = Log(checksum=True)
    for number in range(1, 41):
        log.gtid(number)
        log.query("BEGIN")
        rows(log, number)
        log.commit()
    end = [*log.places.values()][5 * transaction + 4]
    log.packets[end - 6] ^= 1
    opened, ended = reader(log, random.Random(0))
    with pytest.raises(LogLost, match="checksum of an event"):
        list(polled(opened([ONE]), ended, None))


# The reader


def test_an_event_whose_checksum_is_wrong_ends_the_log() -> None:
    log = Log(checksum=True)
    log.passed()
    log.packets[-1] ^= 1
    opened, _ = reader(log, random.Random(0))
    with pytest.raises(LogLost, match="checksum of an event"):
        list(polled(opened([ONE]), lambda: True, None))


def test_an_event_that_is_too_short_is_no_event() -> None:
    log = Log()
    log._event(e.GTID, bytes(24))
    opened, _ = reader(log, random.Random(0))
    with pytest.raises(ProtocolViolation, match="shorter than its type demands"):
        list(polled(opened([ONE]), lambda: True, None))


def test_a_position_that_is_given_while_idle_does_not_part_an_open_transaction() -> None:
    log = Log()
    log.passed()
    ended = log._pos
    log.begin()
    rows(log, 1)
    size = len(log.packets)
    log.xa_prepare(b"x")
    opened, _ = reader(log, random.Random(0))
    source = opened([ONE])
    source._dump.packets.data[:size] = log.packets[:size]
    source._dump.packets.fill, source._dump._left = size, memoryview(b"")
    found = source.poll(0)
    assert (found.parts, found.position["pos"]) == ((), ended)
    source._dump._left = memoryview(log.packets[size:])
    while source._dump._left:
        found = source.poll(0)
    assert found.parts == ()
    assert list(found.position["prepared"]) == [XA_NAME]


def test_each_part_of_a_structure_that_changes_within_a_transaction_comes_once() -> None:
    """CREATE TABLE ... SELECT after events that belong to no transaction."""
    log = Log()
    log.passed()
    log.begin()
    log.query("CREATE TABLE s.new (id INT PRIMARY KEY, a INT)")
    rows(log, 1, table="new")
    log.commit()
    opened, ended = reader(log, random.Random(0))
    source = opened([ONE])
    found: list[Any] = []
    for one in polled(source, ended, None):
        found += one.parts
        if any(isinstance(part, SchemaChange) for part in one.parts):
            source.adopt(TableId("s", "new"), followed("new", COLUMNS, ("id",)).tracked)
    assert [type(part) for part in found] == [SchemaChange, RowChanges]
