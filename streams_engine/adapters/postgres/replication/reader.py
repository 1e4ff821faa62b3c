"""Read a slot's log: messages in, sets of whole transactions out."""

from __future__ import annotations

import struct
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import wait
from dataclasses import replace
from functools import partial

import numpy as np
import psycopg

from streams_engine.adapters.postgres.replication.catalog_watch import (
    CatalogWatch,
    structure_change,
)
from streams_engine.adapters.postgres.replication.ddl_events import parse_event
from streams_engine.adapters.postgres.replication.followed_relations import FollowedRelations
from streams_engine.adapters.postgres.replication.pending_messages import PendingMessages
from streams_engine.adapters.postgres.replication.pgoutput import (
    BEGIN,
    CHANGED,
    COMMIT,
    DONE,
    KEEP_ALIVE,
    ROW,
    SPECIAL,
    Messages,
    big,
    lsn_text,
    lsn_value,
    parse_begin,
    parse_commit,
    parse_relation,
    parse_truncate,
)
from streams_engine.adapters.postgres.replication.publication import PublicationWatch
from streams_engine.adapters.postgres.replication.relations import RelationReader
from streams_engine.adapters.postgres.replication.row_decoder import DecodePlan, decode
from streams_engine.adapters.postgres.replication.row_texts import row_texts
from streams_engine.adapters.postgres.replication.slot_stream import SlotStream
from streams_engine.adapters.sql.background import begin
from streams_engine.errors import LogLost
from streams_engine.model import (
    ChangeSet,
    Position,
    RowChanges,
    SchemaChange,
    TableId,
    TableSubscription,
    TextRows,
    Truncate,
)

__all__ = ["PostgresChangeReader"]

OID = struct.Struct(">I")

Part = RowChanges | TextRows | Truncate | SchemaChange

IDLE_SECONDS = 0.1
"""The least time between two positions without changes."""


class PostgresChangeReader:
    """A log from one position on. Used by one thread, but for `acknowledge`."""

    def __init__(
        self,
        stream: SlotStream,
        tracked: Sequence[TableSubscription],
        after: Position,
        describer: RelationReader,
        watch: PublicationWatch,
    ) -> None:
        self._stream, self._describer, self._watch = stream, describer, watch
        self._watching = threading.Lock()
        self._catalog = CatalogWatch(describer)
        self._polled = False
        self._start = lsn_value(after["lsn"])
        self._position = dict(after)
        self._given_at = 0.0
        self._relations = FollowedRelations(tracked, self._start, describer)
        self._first_look = begin(partial(self._catalog.look, self._relations.schemas))
        """Reads the catalog while the target is prepared. Until it has ended, nothing else uses the
        describer."""
        self._queued: deque[ChangeSet] = deque()
        self._pending = PendingMessages()
        self._final = 0
        """The LSN at which the open transaction commits; 0: none is open."""
        self._xid = 0
        """The number of the open transaction."""
        self._most_texts = 0
        """Sets of at most so many row changes are given as texts."""
        self._moved = self._given = self._start
        """How far the log advanced, and how far that was given, without changes of the stream in
        between."""

    # The contract

    def poll(self, timeout: float, rows: int | None = None) -> ChangeSet | None:
        """Return the next change set; see `ChangeReader.poll`."""
        if not self._polled:
            self._first_look.result()
            self._polled = True
        deadline, received = time.monotonic() + timeout, False
        while True:
            if self._watch.due:
                with self._describer.asking() as connection:
                    self.demand_published(connection)
            if self._catalog.due:
                self._catalog.look(self._relations.schemas)
            structure = None if self._queued else self._structure()
            if structure is not None:
                return structure
            while not self._queued and self._step(rows):
                pass
            if self._queued:
                return self._queued.popleft()
            if received and (idle := self._idle(False)) is not None:
                return idle  # others write all the time: the position advances without a rest
            left = 0.0 if self._stream.woken else deadline - time.monotonic()
            bursts = self._stream.take(self._rest(left))
            if bursts:
                self._pending.receive(bursts)
                received = True
                continue
            idle = self._idle(left <= 0)
            if idle is not None or left <= 0:
                self._stream.woken = False
                return idle

    def _rest(self, left: float) -> float:
        """Return for how long nothing but messages is to be waited for."""
        most = min(left, IDLE_SECONDS) if self._has_moved else left
        due = min(self._watch.due_at, self._catalog.due_at) - time.monotonic()
        return max(0.0, min(most, due))

    def wake(self) -> None:
        """Have the poll that waits, or else the next one, return at once. Thread-safe."""
        self._stream.wake()

    def give_texts(self, most: int) -> None:
        """Give sets of at most so many row changes as `TextRows` from here on, if that is exact."""
        self._most_texts = most

    def look_at_structure(self) -> None:
        """Have the catalog read at once. Thread-safe."""
        self._catalog.hurry()
        self._stream.wake()

    def _structure(self) -> ChangeSet | None:
        """Return a structure change from the catalog, if the log was read up to that look."""
        if self._final or self._pending.replaying:
            return None
        look = self._catalog.wider()
        if look is not None and self._relations.is_current(look):
            return ChangeSet((SchemaChange(look.before, look.wider, 0),), self._at(self._moved))
        look = self._catalog.ripe(self._moved, self._relations.is_current)
        if look is None:
            return None
        renamed = look.table is not None and look.table.id != look.before.id
        change = self._relations.exchanged(look.before) if renamed else None
        change = change or structure_change(look, self._describer)
        if renamed:
            instead = self._relations.successor(look.before)
            change = replace(change, instead=instead)
        if change.after is None:
            self._relations.forget(change.table)
        return ChangeSet((change,), self._at(self._moved))

    def demand_published(self, connection: psycopg.Connection) -> None:
        """Raise `LogLost` if the publication was altered so that changes may be missing.
        Thread-safe."""
        with self._watching:
            state = self._watch.check(connection)
        self._position = {**self._position, "publication": dict(state)}

    def adopt(self, table: TableId, tracked: TableSubscription | None) -> None:
        """Decode a table with this subscription from here on; None stops decoding it."""
        if not self._polled:  # the look compared with what was followed before
            self._first_look.result()
            self._catalog = CatalogWatch(self._describer)
        with self._watching:
            self._watch.adopt(table, tracked)
        self._relations.adopt(table, tracked)

    def acknowledge(self, position: Position) -> None:
        """Tell the server that all up to the position is durable on the target, so that it may
        remove its WAL. Thread-safe."""
        self._stream.acknowledge(lsn_value(position["lsn"]))

    def close(self) -> None:
        """End the stream, and discard spooled transactions."""
        self._stream.close()
        wait([self._first_look])
        self._describer.close()
        self._pending.close()

    def _idle(self, late: bool) -> ChangeSet | None:
        """Return the position alone if the log advanced."""
        if not self._has_moved:
            return None
        if not late and time.monotonic() - self._given_at < IDLE_SECONDS:
            return None
        return ChangeSet((), self._at(self._moved))

    @property
    def _has_moved(self) -> bool:
        """Whether a position without changes may be given, once the last one is old enough."""
        return not self._final and (self._moved > self._given or self._structure_moved())

    def _structure_moved(self) -> bool:
        """Return whether the catalog is known to be applied further than the last position said."""
        return self._catalog.applied > lsn_value(self._position.get("structure", "0/0"))

    def _at(self, lsn: int) -> Position:
        self._given, self._given_at = lsn, time.monotonic()
        self._moved = max(self._moved, lsn)
        if self._structure_moved():
            self._position = {**self._position, "structure": lsn_text(self._catalog.applied)}
        return {**self._position, "lsn": lsn_text(lsn)}

    # Sets

    def _step(self, rows: int | None) -> bool:
        """Process waiting messages, and queue a change set; return False if more messages must come
        first."""
        messages = self._pending.take()
        if messages is None:
            return False
        until = self._pending.until(messages, rows, opened=self._final != 0)
        if not until:
            return False
        stop, go_on, special = self._look(messages, until)
        changes = self._set(messages, stop, special)
        rest = messages.part(go_on, len(messages))
        if isinstance(special, bytes):
            self._pending.commit_streamed(special, rest)
        else:
            self._pending.keep(rest)
        if changes is not None:
            self._queued.append(changes)
        return True

    def _look(self, messages: Messages, until: int) -> tuple[int, int, SchemaChange | bytes | None]:
        """Process the messages that are no rows. Return (end of the set, where to continue, why it
        ends: a schema change, or the commit of a streamed transaction)."""
        for i in np.flatnonzero(SPECIAL[messages.kind[:until]]).tolist():
            letter = chr(messages.kind[i])
            if letter in "Rr":
                relation = parse_relation(messages.content(i))
                if letter == "r" and relation.oid in self._relations:
                    continue  # of a sub-transaction that was undone
                self._watch.hurry()  # sent again where the publication was altered
                self._catalog.hurry()  # or the table
                if self._relations.stays(relation):
                    continue
                if cut := _after_rows(messages, i):
                    return cut, cut, None
                if self._is_used(messages, i, relation.oid):
                    return i, i, None
                root = _next_table(messages, i)
                if root is None and i:
                    return i, i, None
                final, xid = self._begun(messages, i)
                change = self._relations.describe(relation, i, final)
                if change is None and root not in (None, 0, relation.oid):
                    change = self._relations.leaf(relation, root, i, final, xid)
                if change is not None:
                    return i, i, change
            elif letter == "M":
                if parse_event(messages.content(i)) is None:
                    continue
                if cut := _after_rows(messages, i):
                    return cut, cut, None
                final, _ = self._begun(messages, i)
                change = self._relations.told(messages.content(i), i, final)
                if change is not None:
                    return i, i + 1, change
            elif letter == "c":
                return i, i + 1, messages.content(i)
            elif letter in "bPKp":
                raise LogLost(
                    "The slot sends prepared transactions: it was created with two_phase.",
                    remedy="Drop the slot, and load the tables again (start with fresh=True).",
                )
        return until, until, None

    def _begun(self, messages: Messages, index: int) -> tuple[int, int]:
        """Return where the transaction of a message commits, and its number."""
        begins = np.flatnonzero(messages.kind[:index] == BEGIN)
        if not len(begins):
            return self._final, self._xid
        return parse_begin(messages.content(int(begins[-1])))

    def _is_used(self, messages: Messages, until: int, oid: int) -> bool:
        rows = np.flatnonzero(DONE[messages.kind[:until]])
        return bool((big(messages.buffer, "u4")[messages.body[rows]] == oid).any())

    # The parts of a set

    def _set(self, messages: Messages, stop: int, special: object) -> ChangeSet | None:
        """Return the change set of the messages before ``stop``; None if it has no changes of the
        stream."""
        kind = messages.kind[:stop]
        commits, begins = np.flatnonzero(kind == COMMIT), np.flatnonzero(kind == BEGIN)
        done = np.flatnonzero(DONE[kind])
        parts = self._parts(messages, done, begins)
        if isinstance(special, SchemaChange):
            parts.append(special)
        last = int(commits[-1]) if len(commits) else -1
        opened = len(begins) and int(begins[-1]) > last
        if opened:
            self._final, self._xid = parse_begin(messages.content(int(begins[-1])))
        elif len(commits):
            self._final = 0
        whole = not len(done) or int(done[-1]) < last
        position, stamp = None, None
        if last >= 0:
            _, end, stamp = parse_commit(messages.content(last))
            self._moved = max(self._moved, end)
        self._listen(messages, kind, last)
        if not parts:
            return None
        if whole and last >= 0:
            position = self._at(end)
        elif not len(done) and (not self._final or opened):
            position = self._at(self._given)  # nothing of the transaction came yet
        size = int(messages.end[stop - 1]) if stop else 0
        return ChangeSet(tuple(parts), position, len(commits), stamp, size)

    def _listen(self, messages: Messages, kind: np.ndarray, last: int) -> None:
        """Record how far the log has advanced, from keepalives outside of transactions."""
        if self._final:
            return
        calls = np.flatnonzero(kind == KEEP_ALIVE)
        if len(calls) and int(calls[-1]) > last:
            at = int(big(messages.buffer, "u8")[messages.body[calls[-1]]])
            self._moved = max(self._moved, at)

    def _parts(self, messages: Messages, done: np.ndarray, begins: np.ndarray) -> list[Part]:
        if not len(done):
            return []
        if len(done) <= self._most_texts:
            texts = self._text_rows(messages, done, begins)
            if texts is not None:
                return [texts] if texts.rows else []
        return [*self._decoded_parts(messages, done, begins)]

    def _text_rows(
        self, messages: Messages, done: np.ndarray, begins: np.ndarray
    ) -> TextRows | None:
        """Return a few changes as texts; None if they have to be decoded."""
        chosen: list[tuple[DecodePlan, int]] = []
        finals = self._finals(messages, done, begins).tolist()
        for index, final in zip(done.tolist(), finals, strict=True):
            if not ROW[messages.kind[index]]:
                return None
            (oid,) = OID.unpack_from(messages.buffer, messages.body[index])
            plan = self._relations.plan(oid)
            if plan is not None and final >= self._relations.since(plan.tracked):
                chosen.append((plan, index))
        rows = row_texts(messages, chosen)
        return None if rows is None else TextRows(rows, partial(_decoded, messages, chosen))

    def _decoded_parts(
        self, messages: Messages, done: np.ndarray, begins: np.ndarray
    ) -> list[RowChanges | Truncate]:
        kind, oids = messages.kind[done], big(messages.buffer, "u4")[messages.body[done]]
        finals = self._finals(messages, done, begins)
        rows = ROW[kind]
        parts: list[RowChanges | Truncate] = []
        for i in np.flatnonzero(~rows).tolist():
            parts += self._truncate(messages, int(done[i]), int(finals[i]))
        first = int(oids[0]) if len(oids) else 0
        several = [first] if (rows & (oids == first)).all() else np.unique(oids[rows]).tolist()
        earliest = int(finals.min())
        for oid in several:
            plan = self._relations.plan(oid)
            if plan is None:
                continue
            chosen = rows & (oids == oid)
            since = self._relations.since(plan.tracked)
            if earliest < since:
                chosen &= finals >= since
            if chosen.any():
                parts.append(decode(plan, messages, done[chosen]))
        return sorted(parts, key=lambda p: int(p.seq[0] if isinstance(p, RowChanges) else p.seq))

    def _finals(self, messages: Messages, done: np.ndarray, begins: np.ndarray) -> np.ndarray:
        """Return, for each change, where its transaction commits in the log.

        A commit ends at or before a position exactly if it begins before it.
        """
        values = big(messages.buffer, "u8")[messages.body[begins]].astype(np.uint64)
        known = np.concatenate([np.array([self._final], np.uint64), values])
        return np.asarray(known[np.searchsorted(begins, done)])

    def _truncate(self, messages: Messages, seq: int, final: int) -> list[Truncate]:
        oids, restart = parse_truncate(messages.content(seq))
        plans = [self._relations.plan(oid) for oid in oids if oid in self._relations]
        tables = tuple(
            plan.tracked.schema.id
            for plan in plans
            if plan is not None and final >= self._relations.since(plan.tracked)
        )
        return [Truncate(tables, seq, restart)] if tables else []


def _decoded(messages: Messages, chosen: Sequence[tuple[DecodePlan, int]]) -> list[RowChanges]:
    """Return these changes in columns, by table."""
    tables: dict[int, tuple[DecodePlan, list[int]]] = {}
    for plan, index in chosen:
        tables.setdefault(id(plan), (plan, []))[1].append(index)
    return [decode(plan, messages, np.array(indexes)) for plan, indexes in tables.values()]


def _next_table(messages: Messages, index: int) -> int | None:
    """Return the table of the row that follows a Relation message: the relation itself, or the root
    of which it is a partition. 0: a TRUNCATE follows; None: the row has not arrived yet."""
    behind = np.flatnonzero(CHANGED[messages.kind[index:]])
    if not len(behind):
        return None
    row = index + int(behind[0])
    truncates = messages.kind[row] in (ord("T"), ord("t"))
    return 0 if truncates else int(big(messages.buffer, "u4")[messages.body[row]])


def _after_rows(messages: Messages, index: int) -> int:
    """Return where the transactions before a message end, if they changed rows; else 0. A schema
    change does not share a set with them."""
    commits = np.flatnonzero(messages.kind[:index] == COMMIT)
    end = int(commits[-1]) + 1 if len(commits) else 0
    return end if DONE[messages.kind[:end]].any() else 0
